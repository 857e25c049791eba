//! Identities that prove nothing.

use heteronym_proto::control::Control;
use heteronym_proto::refusal::Refusal;
use heteronym_proto::suite::KeyType;

use super::{expect_bystander, with_bystander};
use crate::bench::name;
use crate::vault::{Certificate, Vault};

#[test]
fn an_identity_for_another_domain_than_asked_for_is_not_taken() {
    let mut peer = with_bystander();
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "1");
    let Control::IdentityRequest(question) = peer.control() else { panic!("no question") };
    let identity = peer.own("sophia.lit").identity.clone();
    peer.say(&Control::Identity { id: question.id.clone(), identity });
    assert_eq!(peer.side.refusals(), [Refusal::UntrustedCertificate]);
    let identity = peer.own("pessoa.lit").identity.clone();
    peer.say(&Control::Identity { id: question.id, identity });
    assert!(peer.controls().is_empty(), "an answer that nobody waits for");
    expect_bystander(&mut peer);
}

#[test]
fn a_kem_key_made_for_another_host_is_not_taken() {
    let mut peer = with_bystander();
    let elsewhere = Vault::new(&name("xmpp.third.isp"), vec![Certificate::new("pessoa.lit", KeyType::P256)]);
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "1");
    let Control::IdentityRequest(question) = peer.control() else { panic!("no question") };
    let identity = elsewhere.own(&name("pessoa.lit"), peer.now.unix).expect("hosted").identity;
    peer.say(&Control::Identity { id: question.id, identity });
    assert_eq!(peer.side.refusals(), [Refusal::UntrustedCertificate]);
    expect_bystander(&mut peer);
}
