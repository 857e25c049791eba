//! `<identity/>`: a domain's certificate chain and its signed KEM key (protocol §4).

use crate::control::{NAMESPACE, base64, read_base64};
use crate::element::Element;
use crate::name::Name;
use crate::suite::{CertificateFacts, Fingerprint, Suite};
use crate::transcript::KemKeyStatement;

/// Certificates in one chain.
const CHAIN_CERTIFICATES: usize = 6;
/// Bytes of one certificate in DER.
const CERTIFICATE_BYTES: usize = 16 << 10;
/// Bytes of a signature: RSA-8192 makes 1,024.
const SIGNATURE_BYTES: usize = 1024;
/// Bytes of an X25519 public key.
const X25519_BYTES: usize = 32;
/// The longest life of a KEM key, in seconds.
pub const KEM_LIFE: u64 = 24 * 3600;
/// How long a KEM key is still accepted after its end, in seconds.
pub const KEM_GRACE: u64 = 3600;

/// What a domain shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The domain.
    pub domain: Name,
    /// DER certificates, leaf first; empty where the asker `have`s the current leaf.
    pub chain: Vec<Vec<u8>>,
    /// The encryption key, where the suite needs one.
    pub kem: Option<KemOffer>,
}

/// `<kem/>`: an X25519 key signed by the certificate's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KemOffer {
    /// Start of validity, Unix seconds.
    pub not_before: u64,
    /// End of validity, Unix seconds.
    pub not_after: u64,
    /// The public key, 32 bytes.
    pub key: Vec<u8>,
    /// By the certificate's key, over [`KemKeyStatement`].
    pub signature: Vec<u8>,
}

impl KemOffer {
    /// What the signature covers.
    #[must_use]
    pub fn statement<'a>(&'a self, domain: &'a Name, host: &'a Name, leaf: &'a Fingerprint) -> KemKeyStatement<'a> {
        let Self { not_before, not_after, key, .. } = self;
        KemKeyStatement { domain, host, leaf, key, not_before: *not_before, not_after: *not_after }
    }

    /// Whether the dates allow to encrypt to the key now, at `unix` seconds.
    #[must_use]
    pub fn is_current(&self, unix: u64) -> bool {
        let life = self.not_after.checked_sub(self.not_before);
        let has_not_ended = unix < self.not_after.saturating_add(KEM_GRACE);
        self.not_before <= unix && has_not_ended && life.is_some_and(|life| life <= KEM_LIFE)
    }
}

impl Identity {
    pub(crate) fn write(&self) -> Element {
        let mut element = Element::new("identity", NAMESPACE).with_attr("domain", self.domain.as_str());
        for certificate in &self.chain {
            element = element.with_child(Element::new("x509", NAMESPACE).with_text(&base64(certificate)));
        }
        match &self.kem {
            Some(kem) => element.with_child(kem.write()),
            None => element,
        }
    }

    /// Reads an `<identity/>`; `None` where anything is missing, too long or no base64.
    pub(crate) fn read(element: &Element) -> Option<Self> {
        let domain = Name::parse(element.attr("domain")?).ok()?;
        let mut chain = Vec::new();
        for x509 in element.children().filter(|child| child.is("x509", NAMESPACE)) {
            if chain.len() == CHAIN_CERTIFICATES {
                return None;
            }
            chain.push(read_base64(x509.text(), 1..=CERTIFICATE_BYTES)?);
        }
        let kem = match element.child("kem", NAMESPACE) {
            Some(kem) => Some(KemOffer::read(kem)?),
            None => None,
        };
        Some(Self { domain, chain, kem })
    }
}

impl KemOffer {
    fn write(&self) -> Element {
        Element::new("kem", NAMESPACE)
            .with_attr("alg", "x25519")
            .with_attr("not-before", &self.not_before.to_string())
            .with_attr("not-after", &self.not_after.to_string())
            .with_child(Element::new("key", NAMESPACE).with_text(&base64(&self.key)))
            .with_child(Element::new("signature", NAMESPACE).with_text(&base64(&self.signature)))
    }

    fn read(element: &Element) -> Option<Self> {
        let date = |name| element.attr(name)?.parse::<u64>().ok();
        let binary = |name, length| read_base64(element.child(name, NAMESPACE)?.text(), length);
        let offer = Self {
            not_before: date("not-before")?,
            not_after: date("not-after")?,
            key: binary("key", X25519_BYTES..=X25519_BYTES)?,
            signature: binary("signature", 1..=SIGNATURE_BYTES)?,
        };
        let sane = offer.not_before <= offer.not_after && offer.not_after < u64::from(u32::MAX) * 16;
        (element.attr("alg") == Some("x25519") && sane).then_some(offer)
    }
}

/// An identity of one of *our* domains, with what the transcript needs of it.
#[derive(Clone, Debug)]
pub struct OwnIdentity {
    /// What is shown.
    pub identity: Identity,
    /// The leaf certificate.
    pub certificate: CertificateFacts,
    /// By key type and keyUsage.
    pub suite: Suite,
    /// H(kem) of `identity.kem`.
    pub kem: Option<Fingerprint>,
    /// H(kem) of the keys before it that are still accepted: peers may know nothing newer yet.
    pub former_kems: Vec<Fingerprint>,
}

/// An identity of a peer's domain that was found trustworthy.
#[derive(Clone, Debug)]
pub struct PeerIdentity {
    /// The domain.
    pub domain: Name,
    /// DER certificates, leaf first; signatures are checked with the leaf.
    pub chain: Vec<Vec<u8>>,
    /// What the leaf says.
    pub certificate: CertificateFacts,
    /// By key type and keyUsage.
    pub suite: Suite,
    /// The KEM key, whose signature held.
    pub kem: Option<PeerKem>,
}

/// A peer's KEM key.
#[derive(Clone, Debug)]
pub struct PeerKem {
    /// The public key, 32 bytes.
    pub key: Vec<u8>,
    /// H(kem).
    pub hash: Fingerprint,
    /// End of validity, Unix seconds.
    pub not_after: u64,
}

impl PeerIdentity {
    /// Whether certificate and KEM key may be relied on at `unix` seconds.
    #[must_use]
    pub fn is_current(&self, unix: u64) -> bool {
        let certificate = self.certificate.not_before <= unix && unix < self.certificate.not_after;
        certificate && (!self.suite.uses_kem() || self.kem.as_ref().is_some_and(|kem| unix < kem.not_after))
    }

    /// H(kem) where the suite uses the key, as the transcript holds it.
    #[must_use]
    pub fn kem_hash(&self) -> Option<Fingerprint> {
        self.kem.as_ref().filter(|_| self.suite.uses_kem()).map(|kem| kem.hash)
    }
}

impl OwnIdentity {
    /// Whether what a peer encrypts with this H(kem) is decrypted; `None` where the suite uses none.
    #[must_use]
    pub fn accepts_kem(&self, kem: Option<Fingerprint>) -> bool {
        let is_former = || kem.is_some_and(|kem| self.suite.uses_kem() && self.former_kems.contains(&kem));
        kem == self.kem_hash() || is_former()
    }

    /// H(kem) where the suite uses the key, as the transcript holds it.
    #[must_use]
    pub fn kem_hash(&self) -> Option<Fingerprint> {
        self.kem.filter(|_| self.suite.uses_kem())
    }
}
