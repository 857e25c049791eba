//! Every field of the transcript, altered in turn: who signs, seals or confirms over anything else than
//! what this run is about, on this channel, between these two, has proved nothing.
//!
//! The elements themselves are right in every case. A field that is left out of the transcript would let
//! its case pass.

use heteronym_proto::control::{About, Activate, Control, Request, Response};
use heteronym_proto::crypto::{ActivationKey, CryptoOp, CryptoResult};
use heteronym_proto::refusal::Refusal;
use heteronym_proto::suite::{KeyType, Suite};
use heteronym_proto::transcript::{Confirmation, Context, Exporter, Schedule};

use super::{AID, refused};
use crate::bench::{MINE, OTHER, Setup, name};
use crate::peer::Scripted;
use crate::vault::Certificate;

/// The fields of CTX, each with another value.
const FIELDS: [(&str, fn(&mut Context)); 14] = [
    ("aid", |context| context.aid[0] ^= 1),
    ("cb", |context| context.exporter = channel_that_differs_at(0)),
    ("host_I", |context| context.host_i = name("xmpp.third.isp")),
    ("host_R", |context| context.host_r = name("xmpp.third.isp")),
    ("domain_I", |context| context.domain_i = name("sophia.lit")),
    ("domain_R", |context| context.domain_r = name("camoes.lit")),
    ("H(leaf_I)", |context| context.leaf_i[0] ^= 1),
    ("H(leaf_R)", |context| context.leaf_r[0] ^= 1),
    ("H(kem_I)", |context| context.kem_i = Some([1; 32])),
    ("H(kem_R)", |context| context.kem_r = Some([1; 32])),
    ("no H(kem_I)", |context| context.kem_i = None),
    ("no H(kem_R)", |context| context.kem_r = None),
    ("suite_I", |context| context.suite_i = Suite::RsaOaep),
    ("suite_R", |context| context.suite_r = Suite::RsaOaep),
];

/// The channel of the test, where one byte is another: of cb before 32, of xs from there on.
fn channel_that_differs_at(at: usize) -> Exporter {
    let mut exported = [7; 64];
    exported[at] ^= 1;
    Exporter::new(&exported)
}

/// Our host with saramago.lit, and a peer with pessoa.lit: KEM keys on both sides, so that no field is empty.
fn scripted() -> Scripted {
    let domains = ["saramago.lit", "camoes.lit"].map(|domain| Certificate::new(domain, KeyType::P256));
    Scripted::with(Setup::new(MINE, domains.into()))
}

/// What a run between the two is about, as the peer initiates it.
fn context(peer: &Scripted) -> Context {
    let (own, ours) = (peer.own("pessoa.lit"), peer.ours("saramago.lit"));
    Context {
        aid: AID,
        exporter: Exporter::new(&[7; 64]),
        host_i: name(OTHER),
        host_r: name(MINE),
        domain_i: name("pessoa.lit"),
        domain_r: name("saramago.lit"),
        leaf_i: own.certificate.fingerprint,
        leaf_r: ours.certificate.fingerprint,
        kem_i: own.kem_hash(),
        kem_r: ours.kem_hash(),
        suite_i: own.suite,
        suite_r: ours.suite,
    }
}

/// The element that names all of it.
fn request(context: &Context, key: Vec<u8>, signature: Vec<u8>) -> Request {
    Request {
        aid: context.aid,
        initiator: context.domain_i.clone(),
        responder: context.domain_r.clone(),
        initiator_cert: context.leaf_i,
        responder_cert: context.leaf_r,
        initiator_kem: context.kem_i,
        responder_kem: context.kem_r,
        initiator_suite: context.suite_i.as_str().to_owned(),
        responder_suite: context.suite_r.as_str().to_owned(),
        key,
        signature,
    }
}

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

const K_I: [u8; 32] = [1; 32];
const K_R: [u8; 32] = [2; 32];

/// pessoa.lit's keys at work.
impl Scripted {
    fn sealed(&self, label: [u8; 32], key: [u8; 32]) -> Vec<u8> {
        let op = CryptoOp::Seal { to: self.ours("saramago.lit"), label, key: ActivationKey::new(key) };
        let CryptoResult::Seal(Some(sealed)) = self.vault.perform(op, self.now.unix) else { panic!("no seal") };
        sealed
    }

    fn signed(&self, message: Vec<u8>) -> Vec<u8> {
        self.sign(CryptoOp::Sign { domain: name("pessoa.lit"), message })
    }

    fn opened(&self, label: [u8; 32], ciphertext: Vec<u8>) -> [u8; 32] {
        let (domain, kem) = (name("pessoa.lit"), self.own("pessoa.lit").kem_hash());
        let op = CryptoOp::Open { domain, kem, label, ciphertext };
        let CryptoResult::Open(Some(key)) = self.vault.perform(op, self.now.unix) else { panic!("not for pessoa") };
        *key
    }

    /// Sends the request and says whether it was answered; otherwise it is a bad proof.
    fn is_answered(&mut self, request: Request) -> bool {
        self.say(&Control::Request(request));
        match self.control() {
            Control::Response(_) => true,
            other => {
                assert_eq!(other, refused(Refusal::BadProof));
                false
            }
        }
    }

    fn operations_since(&self, before: usize) -> &[&'static str] {
        &self.side.operations[before..]
    }
}

/// `message` in another role: the role stands behind the prefix that every transcript has.
fn in_role(message: &[u8], from: &str, to: &str) -> Vec<u8> {
    let start = 64 + "XMPP federation 0, ".len();
    assert_eq!(&message[start..=start + from.len()], format!("{from}\0").as_bytes());
    [&message[..start], to.as_bytes(), &message[start + from.len()..]].concat()
}

#[test]
fn a_run_over_the_right_fields_is_answered() {
    let mut peer = scripted();
    peer.show("pessoa.lit", "saramago.lit");
    let right = context(&peer);
    let ct_i = peer.sealed(right.request_label(), K_I);
    let sig_i = peer.signed(right.request(&ct_i));
    assert!(peer.is_answered(request(&right, ct_i, sig_i)), "the twin of all that follow");
}

#[test]
fn a_request_signed_over_any_other_field_is_a_bad_proof() {
    for (field, alter) in FIELDS {
        let mut peer = scripted();
        peer.show("pessoa.lit", "saramago.lit");
        let right = context(&peer);
        let mut other = right.clone();
        alter(&mut other);
        let ct_i = peer.sealed(right.request_label(), K_I);
        let sig_i = peer.signed(other.request(&ct_i));
        let before = peer.side.operations.len();
        assert!(!peer.is_answered(request(&right, ct_i, sig_i)), "{field}");
        assert_eq!(peer.operations_since(before), ["own", "verify"], "{field}: no private key is used");
    }
}

#[test]
fn a_request_signed_over_another_key_or_in_another_role_is_a_bad_proof() {
    let mut peer = scripted();
    peer.show("pessoa.lit", "saramago.lit");
    let right = context(&peer);
    let (ct_i, other) = (peer.sealed(right.request_label(), K_I), peer.sealed(right.request_label(), K_R));
    let m1 = right.request(&ct_i);
    for message in [right.request(&other), in_role(&m1, "request", "response"), in_role(&m1, "request", "")] {
        let sig_i = peer.signed(message);
        assert!(!peer.is_answered(request(&right, ct_i.clone(), sig_i)));
    }
}

#[test]
fn a_key_sealed_to_us_under_any_other_field_is_a_bad_proof() {
    for (field, alter) in FIELDS {
        let mut peer = scripted();
        peer.show("pessoa.lit", "saramago.lit");
        let right = context(&peer);
        let mut other = right.clone();
        alter(&mut other);
        let ct_i = peer.sealed(other.request_label(), K_I);
        let sig_i = peer.signed(right.request(&ct_i));
        let before = peer.side.operations.len();
        assert!(!peer.is_answered(request(&right, ct_i, sig_i)), "{field}");
        assert!(peer.operations_since(before).ends_with(&["open"]), "{field}: the label is what refuses it");
    }
}

#[test]
fn a_key_sealed_to_us_in_another_role_or_without_a_label_is_a_bad_proof() {
    let mut peer = scripted();
    peer.show("pessoa.lit", "saramago.lit");
    let right = context(&peer);
    for label in [right.response_label(), [0; 32]] {
        let ct_i = peer.sealed(label, K_I);
        let sig_i = peer.signed(right.request(&ct_i));
        assert!(!peer.is_answered(request(&right, ct_i, sig_i)));
    }
}

/// A response of which every part can be another, to a request of our host's.
struct Answer {
    peer: Scripted,
    right: Context,
    request: Request,
    k_i: [u8; 32],
}

impl Answer {
    fn begin() -> Self {
        let mut peer = scripted();
        let request = peer.until_requested("saramago.lit", "pessoa.lit");
        let right = context_of(&request);
        let k_i = peer.opened(right.request_label(), request.key.clone());
        Self { peer, right, request, k_i }
    }

    fn m2(&self, context: &Context, ct_r: &[u8]) -> Vec<u8> {
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
    fn is_confirmed(&mut self, key: Vec<u8>, signature: Vec<u8>, confirm: Vec<u8>) -> bool {
        let aid = self.request.aid;
        self.peer.say(&Control::Response(Response { aid, key, signature, confirm }));
        let heard = self.peer.heard();
        match crate::peer::read(&heard[0]) {
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
const INPUTS: [(&str, fn(&mut Inputs)); 5] = [
    ("xs", |inputs| inputs.context.exporter = channel_that_differs_at(32)),
    ("m2", |inputs| inputs.m2.push(0)),
    ("sig_R", |inputs| inputs.sig_r.push(0)),
    ("K_I", |inputs| inputs.k_i[0] ^= 1),
    ("K_R", |inputs| inputs.k_r[0] ^= 1),
];

#[test]
fn a_responders_confirmation_from_anything_else_is_a_bad_proof() {
    type Confirm = fn(Schedule) -> Confirmation;
    let (responder, initiator): (Confirm, Confirm) =
        (|schedule| schedule.confirm_responder.clone(), |schedule| schedule.confirm_initiator.clone());
    let same: fn(&mut Inputs) = |_| ();
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
fn activates(alter: fn(&mut Inputs), confirm: fn(Schedule) -> Confirmation) -> bool {
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
