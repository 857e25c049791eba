//! The response to a request of our host's, with each part of its transcript altered.

use heteronym_proto::control::{About, Control, Request, Response};
use heteronym_proto::refusal::Refusal;
use heteronym_proto::suite::Suite;
use heteronym_proto::transcript::{Context, Exporter, Schedule};

use super::transcript::{FIELDS, K_R, in_role, scripted};
use crate::bench::{MINE, OTHER, name};
use crate::peer::{Scripted, read};

/// What a request of our host's is about, as it stands in the element.
fn context_of(request: &Request) -> Context {
    Context {
        aid: request.aid,
        exporter: Exporter::new(&[7; 64]),
        host_i: name(MINE),
        host_r: name(OTHER),
        domain_i: request.initiator.clone(),
        domain_r: request.responder.clone(),
        leaf_i: request.initiator_cert,
        leaf_r: request.responder_cert,
        kem_i: request.initiator_kem,
        kem_r: request.responder_kem,
        suite_i: Suite::parse(&request.initiator_suite).expect("a suite"),
        suite_r: Suite::parse(&request.responder_suite).expect("a suite"),
    }
}

/// A response of which every part can be another, to a request of our host's.
pub(super) struct Answer {
    pub(super) peer: Scripted,
    pub(super) right: Context,
    request: Request,
    pub(super) k_i: [u8; 32],
}

impl Answer {
    pub(super) fn begin() -> Self {
        let mut peer = scripted();
        let request = peer.until_requested("saramago.lit", "pessoa.lit");
        let right = context_of(&request);
        let k_i = peer.opened(right.request_label(), request.key.clone());
        Self { peer, right, request, k_i }
    }

    pub(super) fn m2(&self, context: &Context, ct_r: &[u8]) -> Vec<u8> {
        context.response(&self.request.key, &self.request.signature, ct_r)
    }

    fn schedule(&self, ct_r: &[u8], sig_r: &[u8]) -> Schedule {
        self.right.schedule(&self.m2(&self.right, ct_r), sig_r, &self.k_i, &K_R)
    }

    /// Answers with these, and with the confirmation that belongs to them.
    fn is_accepted(&mut self, key: Vec<u8>, signature: Vec<u8>) -> bool {
        let confirm = self.schedule(&key, &signature).confirm_responder;
        self.is_confirmed(key, signature, confirm.as_bytes().to_vec())
    }

    /// Answers with these: whether `<activate/>` comes back; otherwise it is a bad proof.
    pub(super) fn is_confirmed(&mut self, key: Vec<u8>, signature: Vec<u8>, confirm: Vec<u8>) -> bool {
        let aid = self.request.aid;
        self.peer.say(&Control::Response(Response { aid, key, signature, confirm }));
        let heard = self.peer.heard();
        match read(&heard[0]) {
            Control::Activate(_) => true,
            other => {
                assert_eq!(other, Control::Refused { about: About::Aid(aid), refusal: Refusal::BadProof });
                assert_eq!(heard.len(), 1, "no stanza goes out");
                false
            }
        }
    }
}

#[test]
fn a_response_over_the_right_fields_is_accepted() {
    let mut answer = Answer::begin();
    let ct_r = answer.peer.sealed(answer.right.response_label(), K_R);
    let sig_r = answer.peer.signed(answer.m2(&answer.right, &ct_r));
    assert!(answer.is_accepted(ct_r, sig_r), "the twin of all that follow");
}

#[test]
fn a_response_signed_over_any_other_field_is_a_bad_proof() {
    for (field, alter) in FIELDS {
        let mut answer = Answer::begin();
        let mut other = answer.right.clone();
        alter(&mut other);
        let ct_r = answer.peer.sealed(answer.right.response_label(), K_R);
        let sig_r = answer.peer.signed(answer.m2(&other, &ct_r));
        assert!(!answer.is_accepted(ct_r, sig_r), "{field}");
    }
}

#[test]
fn a_response_signed_over_another_request_or_key_or_in_another_role_is_a_bad_proof() {
    type Message = fn(&Answer, &[u8]) -> Vec<u8>;
    let messages: [(&str, Message); 4] = [
        ("ct_I", |answer, ct_r| answer.right.response(&[1], &answer.request.signature, ct_r)),
        ("sig_I", |answer, ct_r| answer.right.response(&answer.request.key, &[1], ct_r)),
        ("ct_R", |answer, _| answer.m2(&answer.right, &[1])),
        ("role", |answer, ct_r| in_role(&answer.m2(&answer.right, ct_r), "response", "request")),
    ];
    for (what, message) in messages {
        let mut answer = Answer::begin();
        let ct_r = answer.peer.sealed(answer.right.response_label(), K_R);
        let sig_r = answer.peer.signed(message(&answer, &ct_r));
        assert!(!answer.is_accepted(ct_r, sig_r), "{what}");
    }
}

#[test]
fn a_key_sealed_back_to_us_under_any_other_field_is_a_bad_proof() {
    for (field, alter) in FIELDS {
        let mut answer = Answer::begin();
        let mut other = answer.right.clone();
        alter(&mut other);
        let ct_r = answer.peer.sealed(other.response_label(), K_R);
        let sig_r = answer.peer.signed(answer.m2(&answer.right, &ct_r));
        assert!(!answer.is_accepted(ct_r, sig_r), "{field}");
    }
}

#[test]
fn a_key_sealed_back_to_us_in_another_role_or_without_a_label_is_a_bad_proof() {
    for label in [|right: &Context| right.request_label(), |_: &Context| [0; 32]] {
        let mut answer = Answer::begin();
        let ct_r = answer.peer.sealed(label(&answer.right), K_R);
        let sig_r = answer.peer.signed(answer.m2(&answer.right, &ct_r));
        assert!(!answer.is_accepted(ct_r, sig_r));
    }
}
