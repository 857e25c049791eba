//! Step 5 without what only the two domains can know.

use heteronym_proto::control::{About, Activate, Control};
use heteronym_proto::refusal::Refusal;

use super::{AID, expect_bystander, refused, with_bystander};
use crate::bench::name;
use crate::peer::{Scripted, read};

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
