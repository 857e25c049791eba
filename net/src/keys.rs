//! Signing, verifying, sealing and opening with the keys of domains.
//!
//! Private keys are used with aws-lc, in constant time: what strangers send us is decrypted with
//! them, and the `rsa` crate leaks through timing there (RUSTSEC-2023-0071). That crate only reads
//! and checks RSA *public* keys.
//!
//! The type of a certificate's key decides the scheme; nothing is negotiated:
//!
//! | key | signature |
//! |---|---|
//! | RSA | RSASSA-PSS, SHA-256, salt of 32 bytes (RFC 8017) |
//! | P-256 | ECDSA, SHA-256, in DER |
//! | P-384 | ECDSA, SHA-384, in DER |
//! | Ed25519 | RFC 8032 |
//!
//! These are TLS 1.3's own schemes, so that one [`DomainKey`] serves both. Their messages cannot
//! be taken for each other: both begin with 64 spaces and a text of their own.

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use zeroize::Zeroizing;

use crate::certificate::{CertificateError, Facts, KeyType, LeafKey};

mod file;
mod kem;
mod private;

pub use file::{FileKey, LoadError};
pub use kem::{KemKey, seal_kem};

/// A domain's private key and certificates, wherever they live: in a file, in an HSM.
pub trait DomainKey: Send + Sync {
    /// The certificates in DER, leaf first; never empty.
    fn chain(&self) -> &[Vec<u8>];

    /// The facts of the leaf.
    fn facts(&self) -> &Facts;

    /// Signs by the scheme of the key's type. Blocks for 0.02 to 1 ms of CPU, or as long as an HSM
    /// takes: not for I/O threads, TLS handshakes apart.
    ///
    /// # Errors
    ///
    /// [`KeyError::Owner`] if whoever holds the key fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Opens what [`seal_oaep`] made. Blocks as [`sign`](Self::sign) does.
    ///
    /// # Errors
    ///
    /// [`KeyError::Refused`] for any ciphertext or label that is not right, without saying which:
    /// the difference would help an attacker. [`KeyError::NotRsa`] if the key cannot do it.
    fn decrypt_oaep(&self, ciphertext: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError>;
}

/// Why a key operation gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The peer's fault: the signature, ciphertext, label or public key is not right.
    #[error("signature or ciphertext does not fit the key")]
    Refused,
    /// The peer's fault: its certificate cannot be used.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// Only RSA certificates can be encrypted to; the caller's mistake.
    #[error("not an RSA key: it cannot encrypt")]
    NotRsa,
    /// More plaintext than the RSA key can hold; the caller's mistake.
    #[error("{0} bytes are too long for the RSA key")]
    TooLong(usize),
    /// Our own key's holder failed.
    #[error("the private key cannot be used: {0}")]
    Owner(String),
}

/// Verifies a signature by the scheme of the leaf's key type.
///
/// The leaf is *not* judged: whose it is and whether it is valid, [`Roots`](crate::trust::Roots)
/// says.
///
/// # Errors
///
/// [`KeyError::Refused`] if it is not the leaf's signature over `message`;
/// [`KeyError::Certificate`] if the leaf cannot be used.
pub fn verify(leaf_der: &[u8], message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
    let key = LeafKey::read(leaf_der)?;
    let algorithm: &'static dyn VerificationAlgorithm = match key.kind {
        // aws-lc takes only a salt as long as the digest: 32 bytes.
        KeyType::Rsa { .. } => &RSA_PSS_2048_8192_SHA256,
        KeyType::P256 => &ECDSA_P256_SHA256_ASN1,
        KeyType::P384 => &ECDSA_P384_SHA384_ASN1,
        KeyType::Ed25519 => &ED25519,
    };
    UnparsedPublicKey::new(algorithm, &key.raw).verify(message, signature).map_err(|_| KeyError::Refused)
}

/// Seals to the leaf's RSA key with OAEP (SHA-256, MGF1 with SHA-256, RFC 8017), bound to `label`.
///
/// aws-lc does it, since the `rsa` crate takes labels only in UTF-8 and ours are digests.
///
/// # Errors
///
/// If the leaf cannot be used, its key is not RSA, or the plaintext is too long for it.
pub fn seal_oaep(leaf_der: &[u8], label: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, KeyError> {
    let key = LeafKey::read(leaf_der)?;
    match key.kind {
        KeyType::Rsa { .. } => {}
        KeyType::P256 | KeyType::P384 | KeyType::Ed25519 => return Err(KeyError::NotRsa),
    }
    let public = PublicEncryptingKey::from_der(&key.spki).map_err(|_| KeyError::Refused)?;
    let public = OaepPublicEncryptingKey::new(public).map_err(|_| KeyError::Refused)?;
    if plaintext.len() > public.max_plaintext_size(&OAEP_SHA256_MGF1SHA256) {
        return Err(KeyError::TooLong(plaintext.len()));
    }
    let mut sealed = vec![0; public.ciphertext_size()];
    let size = public
        .encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut sealed, Some(label))
        .map_err(|_| KeyError::Refused)?
        .len();
    sealed.truncate(size);
    Ok(sealed)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
