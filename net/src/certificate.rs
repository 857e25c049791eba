//! What the protocol needs to know of a certificate.
//!
//! Reading is not judging: a certificate that reads well may be expired or signed by nobody. That
//! is [`trust`](crate::trust).

use aws_lc_rs::digest;
use jiff::Timestamp;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPublicKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use names::Names;

mod names;

/// The longest certificate looked at, in bytes of DER. Real ones have 1 to 3 KiB.
pub const CERTIFICATE_BYTES: usize = 16 << 10;
/// RSA keys below this are weak (NIST SP 800-57, CA/Browser Forum).
const RSA_BITS: usize = 2048;
/// RSA keys above this cost more to verify than a stranger may ask for.
const RSA_BITS_MOST: usize = 4096;

/// The kind of key a certificate carries; it decides the signature scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA, 2048 to 4096 bits.
    Rsa {
        /// Size of the modulus.
        bits: usize,
    },
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// The facts of one leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// SHA-256 of the DER.
    pub fingerprint: [u8; 32],
    /// Seconds since 1970.
    pub not_before: u64,
    /// Seconds since 1970; valid up to and including it.
    pub not_after: u64,
    /// What kind of key it carries.
    pub key: KeyType,
    /// keyUsage is absent or has digitalSignature.
    pub may_sign: bool,
    /// keyUsage is absent or has keyEncipherment.
    pub may_encipher: bool,
    /// The dNSNames, lower-case; wildcards as they are. What could be no host name is left out, so
    /// that these can be logged.
    pub names: Vec<String>,
    /// The domains of its id-on-xmppAddr and of its SRVNames for `_xmpp-server`, as lower-case A-labels
    /// (RFC 6120 §13.7.1). They count where the chain ends at a root that an operator configured.
    pub xmpp_names: Vec<String>,
}

/// Why a certificate cannot be used, whoever signed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate, or one that breaks the rules of X.509.
    #[error("not a proper X.509 certificate ({0})")]
    Malformed(&'static str),
    /// Longer than we look at.
    #[error("certificate of {0} bytes: at most 16 KiB are read")]
    TooLarge(usize),
    /// An RSA key that is too small, too large, or broken.
    #[error("RSA key of {bits} bits: {why}")]
    Rsa {
        /// Size of the modulus.
        bits: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A kind of key that the protocol has no suite for.
    #[error("unsupported kind of key (RSA, P-256, P-384 and Ed25519 are)")]
    UnsupportedKey,
}

impl Facts {
    /// Reads the facts of a certificate in DER.
    ///
    /// # Errors
    ///
    /// If it is no certificate, or its key is weak or of a kind that the protocol has no suite for.
    pub fn read(leaf_der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse(leaf_der)?;
        let usage = certificate.key_usage().map_err(|_| CertificateError::Malformed("keyUsage"))?;
        let (validity, names) = (certificate.validity(), Names::read(&certificate)?);
        Ok(Self {
            fingerprint: fingerprint(leaf_der),
            not_before: seconds(validity.not_before.timestamp()),
            not_after: seconds(validity.not_after.timestamp()),
            key: key_type(certificate.public_key())?,
            may_sign: usage.as_ref().is_none_or(|usage| usage.value.digital_signature()),
            may_encipher: usage.as_ref().is_none_or(|usage| usage.value.key_encipherment()),
            names: names.dns,
            xmpp_names: names.xmpp,
        })
    }
}

/// SHA-256 of a certificate in DER: the FP of the protocol.
#[must_use]
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    fingerprint
}

/// The public key of a certificate, checked as [`Facts::read`] does.
pub(crate) struct LeafKey {
    pub(crate) kind: KeyType,
    /// What the bit string holds: a point, 32 bytes, or an `RSAPublicKey`.
    pub(crate) raw: Vec<u8>,
    /// The whole `SubjectPublicKeyInfo` in DER.
    pub(crate) spki: Vec<u8>,
}

impl LeafKey {
    pub(crate) fn read(leaf_der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse(leaf_der)?;
        let info = certificate.public_key();
        Ok(Self { kind: key_type(info)?, raw: info.subject_public_key.data.to_vec(), spki: info.raw.to_vec() })
    }
}

/// Who signed a certificate, in words fit for a log; nothing if it cannot be read.
pub(crate) fn issuer(der: &[u8]) -> Option<String> {
    let name = parse(der).ok()?.issuer().to_string();
    // A stranger wrote this name: no control characters, no novel.
    Some(name.chars().take(120).flat_map(char::escape_debug).collect())
}

/// Whether a certificate names itself as its issuer.
pub(crate) fn is_self_issued(der: &[u8]) -> bool {
    parse(der).is_ok_and(|certificate| certificate.issuer() == certificate.subject())
}

/// Whether an authority's certificate limits the names it may sign, or cannot be read.
pub(crate) fn has_name_constraints(der: &[u8]) -> bool {
    !matches!(parse(der).as_ref().map(|authority| authority.name_constraints()), Ok(Ok(None)))
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > CERTIFICATE_BYTES {
        return Err(CertificateError::TooLarge(der.len()));
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertificateError::Malformed("bytes behind its end")),
        Err(_) => Err(CertificateError::Malformed("it does not parse")),
    }
}

/// Unix seconds as a date for an operator, such as `2026-11-22T20:00:00Z`.
#[must_use]
pub fn date(unix: u64) -> String {
    let date = i64::try_from(unix).ok().and_then(|unix| Timestamp::from_second(unix).ok());
    date.map_or_else(|| format!("{unix} (Unix time)"), |date| date.to_string())
}

/// Before 1970 is 0: it is over either way.
fn seconds(timestamp: i64) -> u64 {
    timestamp.try_into().unwrap_or(0)
}

fn key_type(info: &SubjectPublicKeyInfo<'_>) -> Result<KeyType, CertificateError> {
    let algorithm = &info.algorithm.algorithm;
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return rsa_key(info);
    }
    if *algorithm == OID_SIG_ED25519 {
        return Ok(KeyType::Ed25519);
    }
    if *algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
        return Err(CertificateError::UnsupportedKey);
    }
    let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match curve {
        Some(curve) if curve == OID_EC_P256 => Ok(KeyType::P256),
        Some(curve) if curve == OID_NIST_EC_P384 => Ok(KeyType::P384),
        Some(_) | None => Err(CertificateError::UnsupportedKey),
    }
}

/// Size, parity and exponent are checked by the `rsa` crate, which is sound for public keys.
fn rsa_key(info: &SubjectPublicKeyInfo<'_>) -> Result<KeyType, CertificateError> {
    let Ok(PublicKey::RSA(key)) = info.parsed() else {
        return Err(CertificateError::Malformed("RSA key"));
    };
    // DER integers are signed: a leading 1 bit is a negative number.
    let negative = |number: &[u8]| number.first().is_none_or(|byte| byte & 0x80 != 0);
    if negative(key.modulus) || negative(key.exponent) {
        return Err(CertificateError::Malformed("RSA key"));
    }
    let (modulus, exponent) = (BigUint::from_bytes_be(key.modulus), BigUint::from_bytes_be(key.exponent));
    let bits = modulus.bits();
    let error = |why| Err(CertificateError::Rsa { bits, why });
    if bits < RSA_BITS {
        return error("at least 2048 are needed");
    }
    if bits > RSA_BITS_MOST {
        return error("at most 4096 are accepted");
    }
    match RsaPublicKey::new_with_max_size(modulus, exponent, RSA_BITS_MOST) {
        Ok(key) => Ok(KeyType::Rsa { bits: key.n().bits() }),
        Err(_) => error("the modulus or the exponent is not sound"),
    }
}

#[cfg(test)]
mod tests {
    use super::{CertificateError, Facts};
    use crate::testing::{self, Authority, Leaf};
    use rcgen::KeyUsagePurpose;

    #[test]
    fn each_kind_of_key_is_told() {
        let authority = Authority::new();
        for (kind, key) in testing::keys() {
            let leaf = authority.issue(&Leaf::new("saramago.lit").with_key(key));
            assert_eq!(Facts::read(&leaf.chain[0]).unwrap().key, kind);
        }
    }

    #[test]
    fn names_are_lower_case_and_wildcards_stay() {
        let leaf = Authority::new().issue(&Leaf::new("Saramago.LIT").and_name("*.saramago.lit"));
        assert_eq!(Facts::read(&leaf.chain[0]).unwrap().names, ["saramago.lit", "*.saramago.lit"]);
    }

    #[test]
    fn dates_are_seconds_since_1970() {
        let leaf = Authority::new().issue(&Leaf::new("saramago.lit").valid(1_700_000_000, 1_800_000_000));
        let facts = Facts::read(&leaf.chain[0]).unwrap();
        assert_eq!((facts.not_before, facts.not_after), (1_700_000_000, 1_800_000_000));
    }

    #[test]
    fn an_operator_reads_dates() {
        assert_eq!(super::date(1_790_000_000), "2026-09-21T14:13:20Z");
        assert_eq!(super::date(u64::MAX), "18446744073709551615 (Unix time)");
    }

    #[test]
    fn without_key_usage_everything_is_allowed() {
        let leaf = Authority::new().issue(&Leaf::new("saramago.lit"));
        let facts = Facts::read(&leaf.chain[0]).unwrap();
        assert!(facts.may_sign && facts.may_encipher);
    }

    #[test]
    fn key_usage_allows_what_it_names() {
        let authority = Authority::new();
        let facts = |usage| {
            let leaf = authority.issue(&Leaf::new("saramago.lit").with_usage(usage));
            Facts::read(&leaf.chain[0]).unwrap()
        };
        let signs = facts(KeyUsagePurpose::DigitalSignature);
        assert!(signs.may_sign && !signs.may_encipher);
        let enciphers = facts(KeyUsagePurpose::KeyEncipherment);
        assert!(!enciphers.may_sign && enciphers.may_encipher);
    }

    #[test]
    fn the_fingerprint_is_sha256_of_the_der() {
        let leaf = Authority::new().issue(&Leaf::new("saramago.lit"));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf.chain[0]);
        assert_eq!(Facts::read(&leaf.chain[0]).unwrap().fingerprint, digest.as_ref());
    }

    #[test]
    fn rsa_of_1024_bits_is_refused() {
        let error = Facts::read(&Authority::new().issue_rsa("saramago.lit", 1024)).unwrap_err();
        assert!(matches!(error, CertificateError::Rsa { bits: 1024, .. }), "{error}");
    }

    #[test]
    fn rsa_of_more_than_4096_bits_is_refused() {
        let authority = Authority::new();
        assert!(Facts::read(&authority.issue_rsa("saramago.lit", 4096)).is_ok());
        let error = Facts::read(&authority.issue_rsa("saramago.lit", 4104)).unwrap_err();
        assert_eq!(error.to_string(), "RSA key of 4104 bits: at most 4096 are accepted");
    }

    #[test]
    fn bytes_behind_the_end_are_refused() {
        let mut der = Authority::new().issue(&Leaf::new("saramago.lit")).chain[0].clone();
        der.push(0);
        assert_eq!(Facts::read(&der), Err(CertificateError::Malformed("bytes behind its end")));
    }

    #[test]
    fn no_cut_or_flipped_certificate_panics() {
        let der = Authority::new().issue(&Leaf::new("saramago.lit")).chain[0].clone();
        for at in 0..der.len() {
            assert!(Facts::read(&der[..at]).is_err());
            let mut flipped = der.clone();
            flipped[at] ^= 0xff;
            let _ = Facts::read(&flipped);
        }
    }
}
