//! Confirmations made from anything else than what both sides have signed, sealed and exported.

use heteronym_proto::control::{Activate, Control};
use heteronym_proto::refusal::Refusal;
use heteronym_proto::transcript::{Confirmation, Context, Schedule};

use super::responses::Answer;
use super::transcript::{K_I, K_R, channel_that_differs_at, context, request, scripted};
use super::{AID, refused};
use crate::bench::name;

type Alter = fn(&mut Inputs);
type Confirm = fn(Schedule) -> Confirmation;

/// What the confirmations are made from.
struct Inputs {
    context: Context,
    m2: Vec<u8>,
    sig_r: Vec<u8>,
    k_i: [u8; 32],
    k_r: [u8; 32],
}

impl Inputs {
    fn schedule(&self) -> Schedule {
        self.context.schedule(&self.m2, &self.sig_r, &self.k_i, &self.k_r)
    }
}

/// Each of them with another value. What the domains have signed enters through m2.
const INPUTS: [(&str, Alter); 5] = [
    ("xs", |inputs| inputs.context.exporter = channel_that_differs_at(32)),
    ("m2", |inputs| inputs.m2.push(0)),
    ("sig_R", |inputs| inputs.sig_r.push(0)),
    ("K_I", |inputs| inputs.k_i[0] ^= 1),
    ("K_R", |inputs| inputs.k_r[0] ^= 1),
];

#[test]
fn a_responders_confirmation_from_anything_else_is_a_bad_proof() {
    let (responder, initiator): (Confirm, Confirm) =
        (|schedule| schedule.confirm_responder.clone(), |schedule| schedule.confirm_initiator.clone());
    let same: Alter = |_| ();
    let cases = INPUTS.map(|(what, alter)| (what, alter, responder));
    for (what, alter, confirm) in cases.into_iter().chain([("conf_I", same, initiator)]) {
        let mut answer = Answer::begin();
        let ct_r = answer.peer.sealed(answer.right.response_label(), K_R);
        let m2 = answer.m2(&answer.right, &ct_r);
        let sig_r = answer.peer.signed(m2.clone());
        let mut inputs = Inputs { context: answer.right.clone(), m2, sig_r: sig_r.clone(), k_i: answer.k_i, k_r: K_R };
        alter(&mut inputs);
        let confirm = confirm(inputs.schedule()).as_bytes().to_vec();
        assert!(!answer.is_confirmed(ct_r, sig_r, confirm), "{what}");
    }
}

/// Has the peer ask, hear the response, and say `<activate/>` with what `alter` has made of the inputs.
fn activates(alter: Alter, confirm: Confirm) -> bool {
    let mut peer = scripted();
    peer.show("pessoa.lit", "saramago.lit");
    let context = context(&peer);
    let ct_i = peer.sealed(context.request_label(), K_I);
    let sig_i = peer.signed(context.request(&ct_i));
    peer.say(&Control::Request(request(&context, ct_i.clone(), sig_i.clone())));
    let Control::Response(response) = peer.control() else { panic!("no response") };
    let m2 = context.response(&ct_i, &sig_i, &response.key);
    let k_r = peer.opened(context.response_label(), response.key);
    let mut inputs = Inputs { context, m2, sig_r: response.signature, k_i: K_I, k_r };
    alter(&mut inputs);
    let (initiator, responder) = (name("pessoa.lit"), name("saramago.lit"));
    let confirm = confirm(inputs.schedule()).as_bytes().to_vec();
    peer.say(&Control::Activate(Activate { aid: AID, initiator, responder, confirm }));
    match peer.control() {
        Control::Active { .. } => true,
        other => {
            assert_eq!(other, refused(Refusal::BadProof));
            assert!(!peer.side.is_active("saramago.lit", "pessoa.lit"));
            false
        }
    }
}

#[test]
fn an_initiators_confirmation_from_anything_else_is_a_bad_proof() {
    assert!(activates(|_| (), |schedule| schedule.confirm_initiator.clone()), "the twin");
    assert!(!activates(|_| (), |schedule| schedule.confirm_responder.clone()), "conf_R");
    for (what, alter) in INPUTS {
        assert!(!activates(alter, |schedule| schedule.confirm_initiator.clone()), "{what}");
    }
}
