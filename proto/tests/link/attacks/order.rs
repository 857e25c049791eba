//! Control elements of the right form at the wrong time: each is refused or passed over, and none makes
//! or breaks an activation.

use heteronym_proto::control::{About, Activate, Control, DeactivateReason, Response, UndeliveredReason};
use heteronym_proto::refusal::Refusal;

use super::{AID, expect_bystander, with_bystander};
use crate::bench::name;
use crate::peer::{Scripted, read};

/// Every element that is about run `aid` and that nobody has asked for.
fn about(peer: &Scripted, aid: [u8; 16]) -> Vec<Control> {
    let (initiator, responder) = (name("pessoa.lit"), name("saramago.lit"));
    let identity = peer.own("pessoa.lit").identity.clone();
    vec![
        Control::Response(Response { aid, key: vec![1; 64], signature: vec![1; 32], confirm: vec![1; 32] }),
        Control::Activate(Activate { aid, initiator, responder, confirm: vec![1; 32] }),
        Control::Active { aid, expires: u64::MAX },
        Control::Deactivate { aid, reason: DeactivateReason::KeyCompromise },
        Control::Refused { about: About::Id("nobody".to_owned()), refusal: Refusal::BadProof },
        Control::Identity { id: "nobody".to_owned(), identity },
        Control::Undelivered { n: u64::MAX, reason: UndeliveredReason::PairNotActive },
        Control::Hold(name("ghost.lit")),
        Control::Go(name("ghost.lit")),
    ]
}

/// Says it and takes what comes back, which is nothing or a refusal of it.
fn passes_over(peer: &mut Scripted, control: &Control) {
    peer.say(control);
    for answer in peer.heard() {
        let Control::Refused { refusal, .. } = read(&answer) else { panic!("{control:?}: {answer}") };
        assert_eq!(refusal, Refusal::Malformed, "{control:?}");
    }
    assert!(peer.side.closed.is_none(), "{control:?}");
}

#[test]
fn elements_about_no_run_change_nothing() {
    let mut peer = with_bystander();
    for control in about(&peer, AID) {
        passes_over(&mut peer, &control);
        assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"), "{control:?}");
        expect_bystander(&mut peer);
    }
    peer.until_active("pessoa.lit", "saramago.lit", AID);
}

/// While we look at the peer's request: nothing but its own refusal can be said about it.
#[test]
fn elements_about_a_run_that_we_serve_do_not_hurry_it() {
    let mut peer = with_bystander();
    peer.show("pessoa.lit", "saramago.lit");
    let (requested, request) = peer.request("pessoa.lit", "saramago.lit", AID);
    peer.side.frozen = true;
    peer.say(&Control::Request(request));
    for control in about(&peer, AID) {
        passes_over(&mut peer, &control);
        assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"), "{control:?}");
        expect_bystander(&mut peer);
    }
    peer.side.thaw(peer.now);
    let Control::Response(response) = peer.control() else { panic!("no response") };
    let activate = peer.activate(requested, response);
    peer.say(&Control::Activate(activate));
    assert!(matches!(peer.control(), Control::Active { .. }));
}

/// While we wait for the response: everything but the response itself.
#[test]
fn elements_about_a_run_of_ours_do_not_hurry_it() {
    let mut peer = with_bystander();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    for control in about(&peer, request.aid) {
        if !matches!(control, Control::Response(_)) {
            passes_over(&mut peer, &control);
            assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"), "{control:?}");
            assert!(!peer.side.is_routed("saramago.lit", "pessoa.lit"), "{control:?}");
            expect_bystander(&mut peer);
        }
    }
    let (response, expected) = peer.response(&request);
    peer.say(&Control::Response(response));
    let Control::Activate(activate) = read(&peer.heard()[0]) else { panic!("no activate") };
    assert_eq!(activate.confirm, expected);
}

/// While we wait for `<active/>`: the response again, or a confirmation back.
#[test]
fn elements_about_a_run_that_is_concluded_do_not_harm_it() {
    let mut peer = with_bystander();
    let request = peer.until_requested("saramago.lit", "pessoa.lit");
    let (response, _) = peer.response(&request);
    peer.say(&Control::Response(response));
    assert_eq!(peer.heard().len(), 2, "<activate/> and the stanza");
    for control in about(&peer, request.aid) {
        if !matches!(control, Control::Active { .. }) {
            passes_over(&mut peer, &control);
            expect_bystander(&mut peer);
        }
    }
    peer.say(&Control::Active { aid: request.aid, expires: u64::MAX });
    assert!(peer.side.is_active("saramago.lit", "pessoa.lit"));
}
