//! What was said before, on this link, on another, or by ourselves.

use heteronym_proto::control::{About, Control, Request, Response};
use heteronym_proto::refusal::Refusal;
use heteronym_proto::transcript::Exporter;

use super::{AID, expect_bystander, refused, with_bystander};
use crate::bench::{MINE, OTHER, name};
use crate::peer::read;

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
