//! Elements that somebody changed on their way.

use std::cell::Cell;
use std::rc::Rc;

use heteronym_proto::activation::{Run, initiator};
use heteronym_proto::control::{About, Control, Request, Response};
use heteronym_proto::domain_pair::SaidBy;
use heteronym_proto::host_stream::PairChange;
use heteronym_proto::refusal::Refusal;
use zeroize::Zeroizing;

use super::{AID, expect_bystander, refused, with_bystander};
use crate::bench::{Setup, name, xml};
use crate::peer::{Scripted, read};
use crate::wire::Link;

#[test]
fn a_response_altered_in_any_part_is_a_bad_proof_and_the_peer_is_told() {
    let alterations: [fn(&mut Response); 4] = [
        |response| response.key[0] ^= 1,
        |response| response.signature[0] ^= 1,
        |response| response.confirm[0] ^= 1,
        |response| response.confirm.fill(0),
    ];
    for alter in alterations {
        let mut peer = with_bystander();
        let request = peer.until_requested("saramago.lit", "pessoa.lit");
        let (mut response, _) = peer.response(&request);
        alter(&mut response);
        peer.say(&Control::Response(response));
        let about = About::Aid(request.aid);
        assert_eq!(peer.control(), Control::Refused { about, refusal: Refusal::BadProof });
        assert_eq!(peer.side.refusals(), [Refusal::BadProof]);
        assert_eq!(peer.side.bounced.len(), 1);
        expect_bystander(&mut peer);
    }
}

#[test]
fn a_key_sealed_with_another_label_or_for_another_domain_is_a_bad_proof() {
    // The signature is right in both cases: only what was encrypted is another run's or another's.
    let mut peer = with_bystander();
    peer.show("pessoa.lit", "saramago.lit");
    for (ours, aid) in [("saramago.lit", [7; 16]), ("camoes.lit", AID)] {
        let (_, other) = peer.request("pessoa.lit", ours, aid);
        let request = sign_over(&peer, other.key);
        peer.say(&Control::Request(request));
        assert_eq!(peer.control(), refused(Refusal::BadProof));
        expect_bystander(&mut peer);
    }
}

/// A request with a good signature over `ct_i`.
fn sign_over(peer: &Scripted, ct_i: Vec<u8>) -> Request {
    let run = Run::initiated(&peer.setting, AID, peer.own("pessoa.lit"), peer.ours("saramago.lit"));
    let (sealing, _) = initiator::Sealing::begin(run, Zeroizing::new([1; 32]));
    let (signing, op) = sealing.sealed(ct_i);
    signing.signed(peer.sign(op)).1
}

#[test]
fn a_request_altered_in_any_field_is_refused() {
    type Alteration = (&'static str, fn(&mut Request), Refusal);
    let alterations: [Alteration; 12] = [
        ("aid", |request| request.aid[0] ^= 1, Refusal::BadProof),
        ("initiator", |request| request.initiator = name("sophia.lit"), Refusal::StaleIdentity),
        ("responder", |request| request.responder = name("camoes.lit"), Refusal::StaleIdentity),
        ("initiator-cert", |request| request.initiator_cert[0] ^= 1, Refusal::StaleIdentity),
        ("responder-cert", |request| request.responder_cert[0] ^= 1, Refusal::StaleIdentity),
        ("initiator-kem", |request| request.initiator_kem = Some([1; 32]), Refusal::StaleIdentity),
        ("no initiator-kem", |request| request.initiator_kem = None, Refusal::StaleIdentity),
        ("responder-kem", |request| request.responder_kem = Some([1; 32]), Refusal::StaleIdentity),
        ("initiator-suite", |request| request.initiator_suite.push('x'), Refusal::UnsupportedSuite),
        (
            "responder-suite",
            |request| request.responder_suite = request.initiator_suite.clone(),
            Refusal::UnsupportedSuite,
        ),
        ("key", |request| request.key[0] ^= 1, Refusal::BadProof),
        ("signature", |request| request.signature[0] ^= 1, Refusal::BadProof),
    ];
    for (what, alter, refusal) in alterations {
        let mut peer = with_bystander();
        peer.show("pessoa.lit", "saramago.lit");
        let (_, mut request) = peer.request("pessoa.lit", "saramago.lit", AID);
        alter(&mut request);
        let about = About::Aid(request.aid);
        peer.say(&Control::Request(request));
        assert_eq!(peer.control(), Control::Refused { about, refusal }, "{what}");
        assert!(
            !peer
                .side
                .stream
                .records()
                .any(|record| record.pair.remote == name("pessoa.lit") && record.active.is_some())
        );
        expect_bystander(&mut peer);
    }
}

#[test]
fn nothing_is_decrypted_for_a_stranger_without_a_signature() {
    let mut peer = with_bystander();
    peer.show("pessoa.lit", "saramago.lit");
    peer.vault.forging.insert(name("pessoa.lit"));
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    let before = peer.side.operations.clone();
    peer.say(&Control::Request(request));
    assert_eq!(peer.control(), refused(Refusal::BadProof));
    assert_eq!(peer.side.operations[before.len()..], ["own", "verify"], "no private key was used, nobody looked up");
    expect_bystander(&mut peer);
}

#[test]
fn what_a_relay_changes_between_two_hosts_is_noticed() {
    // Every control element of a run, once each: the second to last character of its last base64 text.
    for element in ["request", "response", "activate"] {
        let mut link = Link::new();
        link.activate("sophia.lit", "camoes.lit");
        let done = Rc::new(Cell::new(false));
        let seen = Rc::clone(&done);
        link.tamper = Some(Box::new(move |_, text| {
            let at = text.starts_with(&format!("<{element} ")).then(|| text.rfind("=</")).flatten()?;
            if seen.replace(true) {
                return None;
            }
            let mut altered = text.as_bytes().to_vec();
            altered[at - 8] = if altered[at - 8] == b'A' { b'B' } else { b'A' };
            Some(vec![String::from_utf8(altered).expect("ASCII")])
        }));
        link.other.send(link.now, "pessoa.lit", "saramago.lit", "1");
        link.run();
        assert!(done.get(), "{element}");
        assert!(
            !link.mine.is_active("saramago.lit", "pessoa.lit") && !link.other.is_active("pessoa.lit", "saramago.lit")
        );
        assert_eq!(link.other.refusals(), [Refusal::BadProof], "{element}");
        assert_eq!(link.other.bounced.len(), 1);
        assert!(!link.other.is_routed("pessoa.lit", "saramago.lit"), "{element}");
        link.expect_usable("camoes.lit", "sophia.lit");
    }
}

#[test]
fn control_elements_survive_the_relay_unchanged() {
    // The twin of every test with a relay: one that changes nothing is not noticed.
    let mut link = Link::with(Setup::mine(), Setup::other());
    link.tamper = Some(Box::new(|_, text| {
        let control = text.contains("urn:xmpp:federation:0").then(|| xml(&read(text)));
        control.map(|text| vec![text])
    }));
    link.activate("pessoa.lit", "saramago.lit");
    link.expect_usable("saramago.lit", "pessoa.lit");
}

#[test]
fn a_bad_proof_says_whose_word_it_is() {
    let mut link = Link::new();
    link.other.vault.forging.insert(name("pessoa.lit"));
    link.other.send(link.now, "pessoa.lit", "camoes.lit", "1");
    link.run();
    let said_by = |(_, change): &(_, PairChange)| match change {
        PairChange::Refused(failure) | PairChange::RefusedPeer(failure) => Some(failure.said_by),
        PairChange::Requested
        | PairChange::Activated { .. }
        | PairChange::Resumed { .. }
        | PairChange::Deactivated(_) => None,
    };
    assert_eq!(link.mine.changes.iter().find_map(said_by), Some(SaidBy::Us));
    assert_eq!(link.other.changes.iter().find_map(said_by), Some(SaidBy::Peer));
    assert_eq!(link.other.refusals(), [Refusal::BadProof]);
}
