//! Is this chain good for that name?

use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::TrustAnchor;

/// The certificate authorities we trust. Cloning is cheap.
#[derive(Clone)]
pub struct Roots {
    #[expect(dead_code)]
    anchors: Arc<Vec<TrustAnchor<'static>>>,
}

/// Why there are no roots.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// None found.
    #[error("no trusted root certificates found")]
    Empty,
}

/// Why a chain is not good for a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// No chain at all.
    #[error("no certificate")]
    Missing,
}

impl Roots {
    /// The operating system's roots.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn system() -> Result<Self, RootsError> {
        unimplemented!()
    }

    /// The roots in these PEM files, and no others.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or holds no certificate.
    pub fn from_pem_files(files: &[PathBuf]) -> Result<Self, RootsError> {
        let _ = files;
        unimplemented!()
    }

    /// These roots and those in the PEM files as well.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn with_extra(&self, files: &[PathBuf]) -> Result<Self, RootsError> {
        let _ = files;
        unimplemented!()
    }

    /// Whether `chain` (DER, leaf first) proves `name` at `unix` seconds since 1970.
    ///
    /// # Errors
    ///
    /// Why not, in words for an operator.
    pub fn check(&self, chain: &[Vec<u8>], name: &str, unix: u64) -> Result<(), Untrusted> {
        let _ = (chain, name, unix);
        unimplemented!()
    }
}
