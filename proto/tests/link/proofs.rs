//! Proofs that are altered, replayed, reflected, relayed or left out.

use std::cell::Cell;
use std::rc::Rc;

use heteronym_proto::activation::{Run, initiator};
use heteronym_proto::control::{About, Activate, Control, Request, Response};
use heteronym_proto::domain_pair::SaidBy;
use heteronym_proto::host_stream::PairChange;
use heteronym_proto::refusal::Refusal;
use heteronym_proto::suite::KeyType;
use heteronym_proto::transcript::Exporter;
use zeroize::Zeroizing;

use crate::bench::{Link, MINE, OTHER, Setup, name, xml};
use crate::peer::{Scripted, read};
use crate::vault::Certificate;

const AID: [u8; 16] = [9; 16];

fn refused(refusal: Refusal) -> Control {
    Control::Refused { about: About::Aid(AID), refusal }
}

/// Our host with camoes.lit and sophia.lit active, to see that they are left alone.
fn with_bystander() -> Scripted {
    let mut peer = Scripted::new();
    peer.until_active("sophia.lit", "camoes.lit", [1; 16]);
    peer
}

fn expect_bystander(peer: &mut Scripted) {
    let before = peer.side.delivered.len();
    peer.raw("<message from='u@sophia.lit' to='v@camoes.lit'/>");
    assert_eq!(peer.side.delivered.len(), before + 1, "another pair of the link is not disturbed");
    assert!(peer.side.closed.is_none());
}

#[test]
fn a_peer_that_keeps_to_the_book_is_let_in() {
    let mut peer = with_bystander();
    peer.until_active("pessoa.lit", "saramago.lit", AID);
    expect_bystander(&mut peer);
}

#[test]
fn activate_with_a_wrong_confirmation_is_a_bad_proof() {
    let mut peer = with_bystander();
    let mut activate = peer.until_response("pessoa.lit", "saramago.lit", AID);
    activate.confirm[31] ^= 1;
    peer.say(&Control::Activate(activate.clone()));
    assert_eq!(peer.control(), refused(Refusal::BadProof));
    assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"));
    activate.confirm[31] ^= 1;
    peer.say(&Control::Activate(activate));
    assert_eq!(peer.control(), refused(Refusal::Malformed), "there is no second try");
    expect_bystander(&mut peer);
}

#[test]
fn activate_that_names_other_domains_is_a_bad_proof() {
    for (initiator, responder) in [("sophia.lit", "saramago.lit"), ("pessoa.lit", "camoes.lit")] {
        let mut peer = with_bystander();
        let activate = peer.until_response("pessoa.lit", "saramago.lit", AID);
        let (initiator, responder) = (name(initiator), name(responder));
        peer.say(&Control::Activate(Activate { initiator, responder, ..activate }));
        assert_eq!(peer.control(), refused(Refusal::BadProof));
        assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"));
        expect_bystander(&mut peer);
    }
}

#[test]
fn activate_before_the_response_is_malformed() {
    let mut peer = with_bystander();
    peer.show("pessoa.lit", "saramago.lit");
    let activate =
        Activate { aid: AID, initiator: name("pessoa.lit"), responder: name("saramago.lit"), confirm: vec![0; 32] };
    peer.say(&Control::Activate(activate.clone()));
    assert_eq!(peer.control(), refused(Refusal::Malformed), "of nothing");
    peer.side.frozen = true;
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.say(&Control::Request(request));
    peer.say(&Control::Activate(activate));
    assert_eq!(peer.control(), refused(Refusal::Malformed), "while the request is looked at");
    assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"));
    expect_bystander(&mut peer);
}

#[test]
fn activate_with_another_runs_confirmation_is_a_bad_proof() {
    let mut peer = Scripted::new();
    let first = peer.until_response("pessoa.lit", "saramago.lit", [8; 16]);
    let second = peer.until_response("sophia.lit", "camoes.lit", AID);
    peer.say(&Control::Activate(Activate { confirm: first.confirm.clone(), ..second }));
    assert_eq!(peer.control(), refused(Refusal::BadProof));
    peer.say(&Control::Activate(first));
    assert!(matches!(peer.control(), Control::Active { .. }), "the run that it belongs to");
    assert!(!peer.side.is_active("camoes.lit", "sophia.lit"));
}

#[test]
fn activate_of_the_activation_in_force_does_not_harm_a_renewal() {
    let mut peer = Scripted::new();
    let first = peer.until_response("pessoa.lit", "saramago.lit", [8; 16]);
    peer.say(&Control::Activate(first.clone()));
    assert!(matches!(peer.control(), Control::Active { .. }));
    let renewal = peer.until_response("pessoa.lit", "saramago.lit", AID);
    peer.say(&Control::Activate(first));
    let about = About::Aid([8; 16]);
    assert_eq!(peer.control(), Control::Refused { about: about.clone(), refusal: Refusal::Malformed });
    peer.say(&Control::Refused { about, refusal: Refusal::BadProof });
    peer.say(&Control::Activate(renewal));
    assert!(matches!(peer.control(), Control::Active { aid: AID, .. }), "the run was not touched");
}

#[test]
fn a_replayed_request_is_malformed_while_its_run_or_its_activation_lasts() {
    let mut peer = with_bystander();
    peer.show("pessoa.lit", "saramago.lit");
    let (requested, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.say(&Control::Request(request.clone()));
    let Control::Response(response) = peer.control() else { panic!("no response") };
    peer.say(&Control::Request(request.clone()));
    assert_eq!(peer.control(), refused(Refusal::Malformed));
    let activate = peer.activate(requested, response);
    peer.say(&Control::Activate(activate.clone()));
    assert!(matches!(peer.control(), Control::Active { .. }));
    peer.say(&Control::Request(request));
    assert_eq!(peer.control(), refused(Refusal::Malformed));
    peer.say(&Control::Activate(activate));
    assert_eq!(peer.control(), refused(Refusal::Malformed));
    assert!(peer.side.is_active("saramago.lit", "pessoa.lit"), "what is in force stays so");
    expect_bystander(&mut peer);
}

#[test]
fn a_request_replayed_later_on_the_same_link_leads_nowhere() {
    let mut peer = with_bystander();
    let first = peer.until_response("pessoa.lit", "saramago.lit", AID);
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    let mut broken = first.clone();
    broken.confirm[0] ^= 1;
    peer.say(&Control::Activate(broken));
    assert_eq!(peer.control(), refused(Refusal::BadProof));
    peer.say(&Control::Request(request));
    let Control::Response(_) = peer.control() else { panic!("no response") };
    peer.say(&Control::Activate(first));
    assert_eq!(peer.control(), refused(Refusal::BadProof), "our key is fresh: the old confirmation is worthless");
    expect_bystander(&mut peer);
}

#[test]
fn a_request_relayed_from_another_link_is_a_bad_proof() {
    let mut peer = with_bystander();
    peer.show("pessoa.lit", "saramago.lit");
    peer.setting.exporter = Exporter::new(&[8; 64]);
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.say(&Control::Request(request));
    assert_eq!(peer.control(), refused(Refusal::BadProof));
    expect_bystander(&mut peer);
}

#[test]
fn a_request_made_for_another_host_is_a_bad_proof() {
    for us_and_peer in [("xmpp.third.isp", MINE), (OTHER, "xmpp.third.isp"), (MINE, OTHER)] {
        let mut peer = with_bystander();
        peer.show("pessoa.lit", "saramago.lit");
        (peer.setting.our_host, peer.setting.peer_host) = (name(us_and_peer.0), name(us_and_peer.1));
        let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
        peer.say(&Control::Request(request));
        assert_eq!(peer.control(), refused(Refusal::BadProof), "{us_and_peer:?}");
        expect_bystander(&mut peer);
    }
}

#[test]
fn our_own_request_reflected_is_refused() {
    let mut peer = with_bystander();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let aid = request.aid;
    peer.say(&Control::Request(request));
    assert_eq!(peer.control(), Control::Refused { about: About::Aid(aid), refusal: Refusal::Malformed });
    expect_bystander(&mut peer);
}

#[test]
fn our_own_request_reflected_as_the_response_is_a_bad_proof() {
    let mut peer = with_bystander();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let Request { aid, key, signature, .. } = request;
    peer.say(&Control::Response(Response { aid, key, signature, confirm: vec![0; 32] }));
    assert_eq!(peer.control(), Control::Refused { about: About::Aid(aid), refusal: Refusal::BadProof });
    assert_eq!(peer.side.refusals(), [Refusal::BadProof]);
    expect_bystander(&mut peer);
}

#[test]
fn our_response_reflected_leads_nowhere() {
    let mut peer = with_bystander();
    peer.show("pessoa.lit", "saramago.lit");
    let (_, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.say(&Control::Request(request));
    let Control::Response(response) = peer.control() else { panic!("no response") };
    peer.say(&Control::Response(response.clone()));
    assert_eq!(peer.control(), refused(Refusal::Malformed));
    let activate = Activate {
        aid: AID,
        initiator: name("pessoa.lit"),
        responder: name("saramago.lit"),
        confirm: response.confirm,
    };
    peer.say(&Control::Activate(activate));
    assert_eq!(peer.control(), refused(Refusal::BadProof), "conf_R is not conf_I");
    expect_bystander(&mut peer);
}

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
fn a_response_by_the_book_is_answered_with_the_expected_confirmation() {
    let mut peer = with_bystander();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let (response, expected) = peer.response(&request);
    peer.say(&Control::Response(response));
    let heard = peer.heard();
    let Control::Activate(activate) = read(&heard[0]) else { panic!("no activate") };
    assert_eq!(activate.confirm, expected);
    assert!(heard[1].starts_with("<message"), "the stanza is right behind");
    expect_bystander(&mut peer);
}

#[test]
fn a_response_to_a_request_that_was_never_made_is_refused() {
    let mut peer = with_bystander();
    let response = Response { aid: AID, key: vec![1; 64], signature: vec![1; 32], confirm: vec![1; 32] };
    peer.say(&Control::Response(response));
    assert_eq!(peer.control(), refused(Refusal::Malformed));
    expect_bystander(&mut peer);
}

#[test]
fn a_second_response_does_not_count() {
    let mut peer = with_bystander();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let (response, _) = peer.response(&request);
    let mut forged = response.clone();
    forged.signature[0] ^= 1;
    peer.side.frozen = true;
    peer.say(&Control::Response(response));
    peer.say(&Control::Response(forged));
    peer.side.thaw(peer.now);
    let heard = peer.heard();
    assert!(matches!(read(&heard[0]), Control::Activate(_)));
    expect_bystander(&mut peer);
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
fn a_bad_proof_says_whose_word_it_is() {
    let mut link = Link::new();
    link.other.vault.forging.insert(name("pessoa.lit"));
    link.other.send(link.now, "pessoa.lit", "camoes.lit", "1");
    link.run();
    let said_by = |(_, change): &(_, PairChange)| match change {
        PairChange::Refused(failure) | PairChange::RefusedPeer(failure) => Some(failure.said_by),
        PairChange::Requested | PairChange::Activated { .. } | PairChange::Deactivated(_) => None,
    };
    assert_eq!(link.mine.changes.iter().find_map(said_by), Some(SaidBy::Us));
    assert_eq!(link.other.changes.iter().find_map(said_by), Some(SaidBy::Peer));
    assert_eq!(link.other.refusals(), [Refusal::BadProof]);
}

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
    let elsewhere =
        crate::vault::Vault::new(&name("xmpp.third.isp"), vec![Certificate::new("pessoa.lit", KeyType::P256)]);
    peer.side.send(peer.now, "saramago.lit", "pessoa.lit", "1");
    let Control::IdentityRequest(question) = peer.control() else { panic!("no question") };
    let identity = elsewhere.own(&name("pessoa.lit"), peer.now.unix).expect("hosted").identity;
    peer.say(&Control::Identity { id: question.id, identity });
    assert_eq!(peer.side.refusals(), [Refusal::UntrustedCertificate]);
    expect_bystander(&mut peer);
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
