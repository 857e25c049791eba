//! A domain's key from certbot's folder layout.

use std::path::Path;

use zeroize::Zeroizing;

use super::{DomainKey, KeyError};
use crate::certificate::Facts;

/// A key from `fullchain.pem` and `privkey.pem`.
pub struct FileKey {}

/// Why a folder gave no key.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nothing there.
    #[error("no certificate")]
    NoCertificate,
}

impl FileKey {
    /// Loads `fullchain.pem` and `privkey.pem` (PKCS#8, PKCS#1 or SEC1) of `folder`.
    ///
    /// # Errors
    ///
    /// Names the file and what to do about it.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let _ = folder;
        unimplemented!()
    }

    /// As [`load`](Self::load), from memory.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, LoadError> {
        let _ = (chain_pem, key_pem);
        unimplemented!()
    }
}

impl DomainKey for FileKey {
    fn chain(&self) -> &[Vec<u8>] {
        unimplemented!()
    }

    fn facts(&self) -> &Facts {
        unimplemented!()
    }

    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, KeyError> {
        unimplemented!()
    }

    fn decrypt_oaep(&self, _ciphertext: &[u8], _label: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        unimplemented!()
    }
}
