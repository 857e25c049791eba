//! Every field of the transcript, altered in turn: who signs, seals or confirms over anything else than
//! what this run is about, on this channel, between these two, has proved nothing.
//!
//! The elements themselves are right in every case. A field that is left out of the transcript would let
//! its case pass.

use heteronym_proto::control::{Control, Request};
use heteronym_proto::crypto::{ActivationKey, CryptoOp, CryptoResult};
use heteronym_proto::refusal::Refusal;
use heteronym_proto::suite::{KeyType, Suite};
use heteronym_proto::transcript::{Context, Exporter};

use super::{AID, refused};
use crate::bench::{MINE, OTHER, Setup, name};
use crate::peer::Scripted;
use crate::vault::Certificate;

type Alter = fn(&mut Context);

/// The fields of CTX, each with another value.
pub(super) const FIELDS: [(&str, Alter); 14] = [
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
pub(super) fn channel_that_differs_at(at: usize) -> Exporter {
    let mut exported = [7; 64];
    exported[at] ^= 1;
    Exporter::new(&exported)
}

/// Our host with saramago.lit, and a peer with pessoa.lit: KEM keys on both sides, so that no field is empty.
pub(super) fn scripted() -> Scripted {
    let domains = ["saramago.lit", "camoes.lit"].map(|domain| Certificate::new(domain, KeyType::P256));
    Scripted::with(Setup::new(MINE, domains.into()))
}

/// What a run between the two is about, as the peer initiates it.
pub(super) fn context(peer: &Scripted) -> Context {
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
pub(super) fn request(context: &Context, key: Vec<u8>, signature: Vec<u8>) -> Request {
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

pub(super) const K_I: [u8; 32] = [1; 32];
pub(super) const K_R: [u8; 32] = [2; 32];

/// pessoa.lit's keys at work.
impl Scripted {
    pub(super) fn sealed(&self, label: [u8; 32], key: [u8; 32]) -> Vec<u8> {
        let op = CryptoOp::Seal { to: self.ours("saramago.lit"), label, key: ActivationKey::new(key) };
        let CryptoResult::Seal(Some(sealed)) = self.vault.perform(op, self.now.unix) else { panic!("no seal") };
        sealed
    }

    pub(super) fn signed(&self, message: Vec<u8>) -> Vec<u8> {
        self.sign(CryptoOp::Sign { domain: name("pessoa.lit"), message })
    }

    pub(super) fn opened(&self, label: [u8; 32], ciphertext: Vec<u8>) -> [u8; 32] {
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
pub(super) fn in_role(message: &[u8], from: &str, to: &str) -> Vec<u8> {
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
