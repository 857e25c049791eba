//! The attack that breaks the literal version: a host that pessoa.lit activates, in good faith, passes
//! pessoa.lit's proof on to our host as its own; and a relay that sits between two hosts.

use std::sync::Arc;

use heteronym_proto::activation::{Run, Setting, initiator};
use heteronym_proto::control::{Activate, Control, IdentityRequest, Request};
use heteronym_proto::crypto::{ActivationKey, CryptoOp, CryptoResult};
use heteronym_proto::identity::{OwnIdentity, PeerIdentity};
use heteronym_proto::refusal::Refusal;
use heteronym_proto::suite::KeyType;
use heteronym_proto::transcript::Exporter;

use super::{AID, refused};
use crate::bench::{OTHER, Setup, name};
use crate::peer::Scripted;
use crate::vault::{Certificate, Vault};
use crate::wire::Link;

/// The enemy: a host with a good certificate and a domain of its own.
const THIRD: &str = "xmpp.third.isp";

/// pessoa.lit with its RSA certificate, as the proposal has it: nothing in it names a host.
fn pessoa() -> Vault {
    Vault::new(&name(OTHER), vec![Certificate::new("pessoa.lit", KeyType::Rsa)])
}

fn own(vault: &Vault, domain: &str) -> Arc<OwnIdentity> {
    Arc::new(vault.own(&name(domain), crate::bench::UNIX).expect("hosted"))
}

fn seen(by: &Vault, own: &OwnIdentity, host: &str) -> Arc<PeerIdentity> {
    let op = CryptoOp::CheckIdentity { identity: own.identity.clone(), host: name(host) };
    let CryptoResult::CheckIdentity(Ok(identity)) = by.perform(op, crate::bench::UNIX) else { panic!("untrusted") };
    identity
}

/// pessoa.lit asks for third.lit, on a channel of its own: what the third host hears, and the key in it.
fn asked_in_good_faith(third: &Vault) -> (Request, ActivationKey) {
    let pessoa = pessoa();
    let setting = Setting { our_host: name(OTHER), peer_host: name(THIRD), exporter: Exporter::new(&[8; 64]) };
    let (asking, asked) = (own(&pessoa, "pessoa.lit"), own(third, "third.lit"));
    let run = Run::initiated(&setting, AID, asking, seen(&pessoa, &asked, THIRD));
    let (sealing, op) = initiator::Sealing::begin(run, ActivationKey::new([1; 32]));
    let CryptoOp::Seal { label, .. } = &op else { panic!("{op:?}") };
    let label = *label;
    let CryptoResult::Seal(Some(ct_i)) = pessoa.perform(op, crate::bench::UNIX) else { panic!("no seal") };
    let (signing, op) = sealing.sealed(ct_i.clone());
    let CryptoResult::Sign(Some(sig_i)) = pessoa.perform(op, crate::bench::UNIX) else { panic!("no signature") };
    let op = CryptoOp::Open { domain: name("third.lit"), kem: asked.kem_hash(), label, ciphertext: ct_i };
    let CryptoResult::Open(Some(key)) = third.perform(op, crate::bench::UNIX) else { panic!("not for third.lit") };
    (signing.signed(sig_i).1, key)
}

/// The third host's link to us, with third.lit active on it and pessoa.lit shown.
fn third_host() -> Scripted {
    let third = vec![Certificate::new("third.lit", KeyType::P256)];
    let mut peer = Scripted::of(Setup::mine(), THIRD, third);
    peer.until_active("third.lit", "camoes.lit", [1; 16]);
    let identity = own(&pessoa(), "pessoa.lit").identity.clone();
    let question = IdentityRequest { id: "q".to_owned(), domain: name("saramago.lit"), have: None, identity };
    peer.say(&Control::IdentityRequest(question));
    assert!(matches!(peer.control(), Control::Identity { .. }), "a certificate is public: showing it proves nothing");
    peer
}

/// The request that the third host makes of what it heard: our names, its own channel, pessoa.lit's signature.
fn forwarded(peer: &Scripted, heard: &Request, key: &ActivationKey) -> Request {
    let run = Run::initiated(&peer.setting, AID, own(&pessoa(), "pessoa.lit"), peer.ours("saramago.lit"));
    let (sealing, op) = initiator::Sealing::begin(run, key.clone());
    let CryptoResult::Seal(Some(ct_i)) = peer.vault.perform(op, peer.now.unix) else { panic!("no seal") };
    sealing.sealed(ct_i).0.signed(heard.signature.clone()).1
}

fn expect_third_lit_alone(peer: &mut Scripted) {
    assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"));
    peer.raw("<message from='u@pessoa.lit' to='v@saramago.lit'/>");
    assert!(peer.side.delivered.is_empty());
    peer.heard();
    peer.raw("<message from='u@third.lit' to='v@camoes.lit'/>");
    assert_eq!(peer.side.delivered.len(), 1);
}

#[test]
fn a_signed_key_encrypted_anew_by_a_third_host_is_a_bad_proof() {
    let mut peer = third_host();
    let (heard, key) = asked_in_good_faith(&peer.vault);
    let request = forwarded(&peer, &heard, &key);
    let before = peer.side.operations.len();
    peer.say(&Control::Request(request));
    assert_eq!(peer.control(), refused(Refusal::BadProof));
    assert_eq!(peer.side.operations[before..], ["own", "verify"], "nothing was decrypted, nobody was looked up");
    expect_third_lit_alone(&mut peer);
}

#[test]
fn a_signed_key_forwarded_as_it_is_by_a_third_host_is_refused() {
    let mut peer = third_host();
    let (heard, key) = asked_in_good_faith(&peer.vault);
    peer.say(&Control::Request(heard.clone()));
    assert_eq!(peer.control(), refused(Refusal::UnknownDomain), "it was for third.lit");
    let Request { key: ct_i, signature, .. } = heard;
    let request = Request { key: ct_i, signature, ..forwarded(&peer, &asked_in_good_faith(&peer.vault).0, &key) };
    peer.say(&Control::Request(request));
    assert_eq!(peer.control(), refused(Refusal::BadProof), "the names alone were changed");
    expect_third_lit_alone(&mut peer);
}

/// Without a proof there is nothing to activate: where the literal version takes the bare element.
#[test]
fn a_third_host_cannot_activate_what_it_did_not_prove() {
    let mut peer = third_host();
    let (initiator, responder) = (name("pessoa.lit"), name("saramago.lit"));
    let activate = Activate { aid: AID, initiator, responder, confirm: vec![0; 32] };
    peer.say(&Control::Activate(activate));
    assert_eq!(peer.control(), refused(Refusal::Malformed));
    peer.raw("<activate xmlns='urn:xmpp:federation:0' aid='CQkJCQkJCQkJCQkJCQkJCQ==' initiator='pessoa.lit' responder='saramago.lit'/>");
    assert_eq!(peer.control(), refused(Refusal::Malformed));
    expect_third_lit_alone(&mut peer);
}

/// It passes what we ask of pessoa.lit on to pessoa.lit, as its own question; and back what it answers.
#[test]
fn our_request_forwarded_to_another_host_is_a_bad_proof_there() {
    for channels in [([7; 64], [8; 64]), ([8; 64], [7; 64])] {
        let (mut mine, mut other) = (Setup::mine(), Setup::other());
        (mine.exporter, other.exporter) = channels;
        let mut link = Link::with(mine, other);
        link.mine.send(link.now, "saramago.lit", "pessoa.lit", "1");
        link.other.send(link.now, "sophia.lit", "camoes.lit", "2");
        link.run();
        assert_eq!((link.mine.refusals(), link.other.refusals()), (vec![Refusal::BadProof], vec![Refusal::BadProof]));
        assert_eq!((link.mine.bounced_bodies(), link.other.bounced_bodies()), (vec!["1"], vec!["2"]));
        assert!(link.mine.delivered.is_empty() && link.other.delivered.is_empty());
        assert!(!link.mine.operations.contains(&"open") && !link.other.operations.contains(&"open"));
    }
}
