//! Signing, verifying, sealing and opening with the keys of domains.

use zeroize::Zeroizing;

use crate::certificate::Facts;

mod file;
mod kem;

pub use file::{FileKey, LoadError};
pub use kem::{KemKey, seal_kem};

/// A domain's private key and certificates, wherever they live: in a file, in an HSM.
pub trait DomainKey: Send + Sync {
    /// The certificates in DER, leaf first.
    fn chain(&self) -> &[Vec<u8>];
    /// The facts of the leaf.
    fn facts(&self) -> &Facts;
    /// Signs by the scheme of the key's type.
    ///
    /// # Errors
    ///
    /// If the key's owner fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
    /// Opens what was sealed with RSA-OAEP (SHA-256, MGF1 with SHA-256) to the certificate.
    ///
    /// # Errors
    ///
    /// [`KeyError::Refused`] for any ciphertext or label that is not right, without saying which.
    fn decrypt_oaep(&self, ciphertext: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError>;
}

/// Why a key operation gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The signature or the ciphertext is not right.
    #[error("signature or ciphertext does not fit the key")]
    Refused,
}

/// Verifies a signature by the scheme of the leaf's key type.
///
/// # Errors
///
/// [`KeyError::Refused`] if it is not the leaf's signature over `message`.
pub fn verify(leaf_der: &[u8], message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
    let _ = (leaf_der, message, signature);
    unimplemented!()
}

/// Seals to the leaf's RSA key with OAEP (SHA-256, MGF1 with SHA-256), bound to `label`.
///
/// # Errors
///
/// If the leaf's key is not RSA or the plaintext is too long for it.
pub fn seal_oaep(leaf_der: &[u8], label: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, KeyError> {
    let _ = (leaf_der, label, plaintext);
    unimplemented!()
}
