//! Every byte that is signed, MACed or fed to the key schedule (protocol §4 and §5).
//!
//! `f(x) = u16be(length) ‖ x`; H is SHA-256; HMAC and HKDF use SHA-256.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::name::Name;
use crate::suite::{Fingerprint, Suite};

/// The label of the TLS exporter (RFC 8446 §7.5), used without a context for [`EXPORTER_BYTES`].
pub const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL urn:xmpp:federation:0";
/// Bytes taken from the exporter: 32 for the channel binding, 32 for the salt.
pub const EXPORTER_BYTES: usize = 64;

const PREFIX: &[u8] = b"XMPP federation 0, ";

/// What one TLS channel gives to all transcripts on it; never sent.
#[derive(Clone)]
pub struct Exporter {
    cb: [u8; 32],
    xs: Zeroizing<[u8; 32]>,
}

impl Exporter {
    /// Splits the exporter's output: cb = E[0..32], xs = E[32..64].
    #[must_use]
    pub fn new(exported: &[u8; EXPORTER_BYTES]) -> Self {
        let (mut cb, mut xs) = ([0; 32], [0; 32]);
        cb.copy_from_slice(&exported[..32]);
        xs.copy_from_slice(&exported[32..]);
        Self { cb, xs: Zeroizing::new(xs) }
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter(..)")
    }
}

/// `TBS(role, x1..xn)`: 64 spaces, the protocol's name, the role, a NUL and the fields.
///
/// Fields are at most 65,535 bytes; control elements with longer ones are refused when they are read.
#[must_use]
pub fn to_be_signed(role: &str, fields: &[&[u8]]) -> Vec<u8> {
    let fields_bytes: usize = fields.iter().map(|field| 2 + field.len()).sum();
    let mut out = Vec::with_capacity(64 + PREFIX.len() + role.len() + 1 + fields_bytes);
    out.resize(64, 0x20);
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(role.as_bytes());
    out.push(0);
    for field in fields {
        push_field(&mut out, field);
    }
    out
}

fn push_field(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(&length(field));
    out.extend_from_slice(field);
}

fn length(field: &[u8]) -> [u8; 2] {
    debug_assert!(field.len() <= usize::from(u16::MAX), "a field's length fits into two bytes");
    #[expect(clippy::cast_possible_truncation, reason = "fields are bounded where control elements are read")]
    (field.len() as u16).to_be_bytes()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hash_with_signature(message: &[u8], signature: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(message).chain_update(length(signature)).chain_update(signature).finalize().into()
}

/// A KEM key before it is signed (protocol §4): `TBS("kem key", domain, host, H(leaf), "x25519", key, ..)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KemKeyStatement<'a> {
    /// The domain whose certificate key signs.
    pub domain: &'a Name,
    /// The host that serves the domain.
    pub host: &'a Name,
    /// The domain's leaf certificate.
    pub leaf: &'a Fingerprint,
    /// The X25519 public key, 32 bytes.
    pub key: &'a [u8],
    /// Start of validity, Unix seconds.
    pub not_before: u64,
    /// End of validity, Unix seconds; at most 24 hours later.
    pub not_after: u64,
}

impl KemKeyStatement<'_> {
    /// K, the bytes that are signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_be_signed(
            "kem key",
            &[
                self.domain.as_str().as_bytes(),
                self.host.as_str().as_bytes(),
                self.leaf,
                b"x25519",
                self.key,
                &self.not_before.to_be_bytes(),
                &self.not_after.to_be_bytes(),
            ],
        )
    }

    /// H(kem) = H(K ‖ f(signature)): what requests name and transcripts hold.
    #[must_use]
    pub fn hash(&self, signature: &[u8]) -> Fingerprint {
        hash_with_signature(&self.to_bytes(), signature)
    }
}

/// Everything that one activation is about: the fields of CTX.
#[derive(Clone, Debug)]
pub struct Context {
    /// The activation's id: 16 random bytes.
    pub aid: [u8; 16],
    /// The TLS channel.
    pub exporter: Exporter,
    /// The initiator's host.
    pub host_i: Name,
    /// The responder's host.
    pub host_r: Name,
    /// The initiator's domain.
    pub domain_i: Name,
    /// The responder's domain.
    pub domain_r: Name,
    /// The initiator's leaf certificate.
    pub leaf_i: Fingerprint,
    /// The responder's leaf certificate.
    pub leaf_r: Fingerprint,
    /// The initiator's KEM key; `None` (an empty field) where its suite uses none.
    pub kem_i: Option<Fingerprint>,
    /// The responder's KEM key; `None` (an empty field) where its suite uses none.
    pub kem_r: Option<Fingerprint>,
    /// How the initiator signs, and how one encrypts to it.
    pub suite_i: Suite,
    /// How the responder signs, and how one encrypts to it.
    pub suite_r: Suite,
}

impl Context {
    fn fields(&self) -> [&[u8]; 12] {
        [
            &self.aid,
            &self.exporter.cb,
            self.host_i.as_str().as_bytes(),
            self.host_r.as_str().as_bytes(),
            self.domain_i.as_str().as_bytes(),
            self.domain_r.as_str().as_bytes(),
            &self.leaf_i,
            &self.leaf_r,
            self.kem_i.as_ref().map_or(&[], Fingerprint::as_slice),
            self.kem_r.as_ref().map_or(&[], Fingerprint::as_slice),
            self.suite_i.as_str().as_bytes(),
            self.suite_r.as_str().as_bytes(),
        ]
    }

    /// The label (OAEP) or info (HPKE) under which K_I is encrypted to the responder.
    #[must_use]
    pub fn request_label(&self) -> [u8; 32] {
        hash(&to_be_signed("request key", &self.fields()))
    }

    /// The label (OAEP) or info (HPKE) under which K_R is encrypted to the initiator.
    #[must_use]
    pub fn response_label(&self) -> [u8; 32] {
        hash(&to_be_signed("response key", &self.fields()))
    }

    /// m1 = CTX("request") ‖ f(ct_I): what the initiator signs.
    #[must_use]
    pub fn request(&self, ct_i: &[u8]) -> Vec<u8> {
        to_be_signed("request", &[&self.fields()[..], &[ct_i]].concat())
    }

    /// m2 = TBS("response", th1, ct_R), where th1 = H(m1 ‖ f(sig_I)): what the responder signs.
    #[must_use]
    pub fn response(&self, ct_i: &[u8], sig_i: &[u8], ct_r: &[u8]) -> Vec<u8> {
        let th1 = hash_with_signature(&self.request(ct_i), sig_i);
        to_be_signed("response", &[&th1, ct_r])
    }

    /// The keys that both sides derive once both random keys are known.
    #[must_use]
    pub fn schedule(&self, m2: &[u8], sig_r: &[u8], k_i: &[u8; 32], k_r: &[u8; 32]) -> Schedule {
        Schedule::derive(&self.exporter, hash_with_signature(m2, sig_r), k_i, k_r)
    }
}

/// The confirmations of an activation and the secrets that outlive it.
pub struct Schedule {
    /// conf_R, sent with the response.
    pub confirm_responder: Confirmation,
    /// conf_I, sent with `<activate/>`.
    pub confirm_initiator: Confirmation,
    /// rs, with which the pair is resumed on another link.
    pub resume_secret: Zeroizing<[u8; 32]>,
    /// rid, which names it.
    pub resume_id: [u8; 16],
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schedule(..)")
    }
}

impl Schedule {
    fn derive(exporter: &Exporter, th2: [u8; 32], k_i: &[u8; 32], k_r: &[u8; 32]) -> Self {
        let mut ikm = Zeroizing::new([0; 64]);
        ikm[..32].copy_from_slice(k_i);
        ikm[32..].copy_from_slice(k_r);
        let prk = Hkdf::<Sha256>::new(Some(exporter.xs.as_slice()), ikm.as_slice());
        let key = |label: &str| {
            let mut out = Zeroizing::new([0; 32]);
            let info = [PREFIX, label.as_bytes(), &[0], &th2].concat();
            prk.expand(&info, out.as_mut_slice()).expect("32 bytes are less than HKDF's limit of 8,160");
            out
        };
        let mut resume_id = [0; 16];
        resume_id.copy_from_slice(&key("resume id")[..16]);
        Self {
            confirm_responder: Confirmation::new(&key("confirm responder"), &th2),
            confirm_initiator: Confirmation::new(&key("confirm initiator"), &th2),
            resume_secret: key("resume secret"),
            resume_id,
        }
    }
}

/// A proof that a side knows the secret of an activation, on one channel (protocol §6).
pub type Tag = [u8; 16];

/// Where pairs are resumed: the fields of both tags that are the same for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Resumption<'a> {
    /// The new channel.
    pub exporter: &'a Exporter,
    /// The host that dialled it.
    pub dialler: &'a Name,
    /// The other one.
    pub other: &'a Name,
}

impl Resumption<'_> {
    /// tag_1 = HMAC(rs, TBS("resume 1", cb', host_dialler, host_other, rid))[0..16]
    #[must_use]
    pub fn tag_1(&self, rs: &[u8; 32], rid: &[u8; 16]) -> Tag {
        let [cb, dialler, other] = self.channel();
        tag(rs, &to_be_signed("resume 1", &[cb, dialler, other, rid]))
    }

    /// tag_2 = HMAC(rs, TBS("resume 2", cb', host_dialler, host_other, rid, tag_1))[0..16]
    #[must_use]
    pub fn tag_2(&self, rs: &[u8; 32], rid: &[u8; 16], tag_1: &Tag) -> Tag {
        let [cb, dialler, other] = self.channel();
        tag(rs, &to_be_signed("resume 2", &[cb, dialler, other, rid, tag_1]))
    }

    fn channel(&self) -> [&[u8]; 3] {
        [&self.exporter.cb, self.dialler.as_str().as_bytes(), self.other.as_str().as_bytes()]
    }
}

fn tag(rs: &[u8; 32], signed: &[u8]) -> Tag {
    let mut mac = Hmac::<Sha256>::new_from_slice(rs).expect("HMAC takes keys of any length");
    mac.update(signed);
    let mut tag = Tag::default();
    tag.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    tag
}

/// Whether two tags are one; in constant time.
#[must_use]
pub fn is_tag(expected: &Tag, received: &Tag) -> bool {
    expected.ct_eq(received).into()
}

/// An HMAC over the transcript; compared in constant time.
#[derive(Clone)]
pub struct Confirmation([u8; 32]);

impl Confirmation {
    fn new(key: &[u8; 32], th2: &[u8; 32]) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(th2);
        Self(mac.finalize().into_bytes().into())
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the peer sent the same.
    #[must_use]
    pub fn matches(&self, received: &[u8]) -> bool {
        self.0.ct_eq(received).into()
    }
}

impl std::fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Confirmation(..)")
    }
}

impl Drop for Confirmation {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn context() -> Context {
        let name = |text| Name::parse(text).unwrap();
        Context {
            aid: [1; 16],
            exporter: Exporter::new(&[2; 64]),
            host_i: name("xmpp.other.isp"),
            host_r: name("xmpp.my.isp"),
            domain_i: name("pessoa.lit"),
            domain_r: name("saramago.lit"),
            leaf_i: [3; 32],
            leaf_r: [4; 32],
            kem_i: None,
            kem_r: Some([6; 32]),
            suite_i: Suite::RsaOaep,
            suite_r: Suite::P256Hpke,
        }
    }

    #[test]
    fn tbs_has_the_documented_bytes() {
        let bytes = to_be_signed("role", &[b"ab", b""]);
        assert_eq!(&bytes[..64], &[b' '; 64]);
        assert_eq!(&bytes[64..], b"XMPP federation 0, role\0\0\x02ab\0\0");
    }

    #[test]
    fn both_confirmations_depend_on_every_key_and_differ() {
        let context = context();
        let base = context.schedule(b"m2", b"sig", &[7; 32], &[8; 32]);
        assert!(!base.confirm_initiator.matches(base.confirm_responder.as_bytes()));
        for other in [
            context.schedule(b"m2", b"sig", &[7; 32], &[9; 32]),
            context.schedule(b"m2", b"sig", &[9; 32], &[8; 32]),
            context.schedule(b"m2", b"gis", &[7; 32], &[8; 32]),
            context.schedule(b"m3", b"sig", &[7; 32], &[8; 32]),
        ] {
            assert!(!base.confirm_initiator.matches(other.confirm_initiator.as_bytes()));
            assert_ne!(base.resume_id, other.resume_id);
        }
    }

    #[test]
    fn labels_and_messages_of_the_roles_differ() {
        let context = context();
        assert_ne!(context.request_label(), context.response_label());
        assert_ne!(context.request(b"x"), context.request(b"y"));
        assert_ne!(context.response(b"x", b"s", b"r"), context.response(b"x", b"t", b"r"));
    }

    /// Each field, the role and the secret count: no tag holds on another channel, or for the other role.
    #[test]
    fn tags_are_of_one_secret_channel_direction_and_role() {
        let (exporter, elsewhere) = (Exporter::new(&[2; 64]), Exporter::new(&[3; 64]));
        let (a, b) = (Name::parse("a.isp").unwrap(), Name::parse("b.isp").unwrap());
        let here = Resumption { exporter: &exporter, dialler: &a, other: &b };
        let (rs, rid) = ([1; 32], [4; 16]);
        let tag_1 = here.tag_1(&rs, &rid);
        let others = [
            here.tag_2(&rs, &rid, &tag_1),
            here.tag_2(&rs, &rid, &[0; 16]),
            here.tag_1(&[9; 32], &rid),
            here.tag_1(&rs, &[5; 16]),
            Resumption { exporter: &elsewhere, ..here }.tag_1(&rs, &rid),
            Resumption { dialler: &b, other: &a, ..here }.tag_1(&rs, &rid),
        ];
        assert!(is_tag(&tag_1, &here.tag_1(&rs, &rid)));
        for (at, other) in others.iter().enumerate() {
            assert!(!is_tag(&tag_1, other), "{at}");
            assert!(!others[..at].contains(other), "{at}");
        }
    }
}
