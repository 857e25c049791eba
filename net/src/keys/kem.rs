//! HPKE (RFC 9180): what is sealed to a domain whose certificate cannot be encrypted to.

use zeroize::Zeroizing;

use super::KeyError;

/// An X25519 key of ours; its secret half is erased when it goes.
pub struct KemKey {}

impl KemKey {
    /// A fresh key.
    #[must_use]
    pub fn generate() -> Self {
        unimplemented!()
    }

    /// The public half, 32 bytes.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        unimplemented!()
    }

    /// Opens what [`seal_kem`] made with the same `info`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Refused`] if it was sealed to another key, with another `info`, or changed.
    pub fn open(&self, info: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let _ = (info, sealed);
        unimplemented!()
    }
}

/// Seals to an X25519 key of the peer's: 32 bytes of encapsulated key, then the ciphertext.
///
/// # Errors
///
/// If `public` is no X25519 key.
pub fn seal_kem(public: &[u8], info: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, KeyError> {
    let _ = (public, info, plaintext);
    unimplemented!()
}
