//! Is this chain good for that name?
//!
//! One judgement for hosts and domains, for the side that dials and the side that accepts: public
//! CAs issue server certificates only, so *serverAuth if there is an extended key usage* is asked
//! of both. What webpki does not look at is looked at here: keyUsage, the kind and size of the
//! leaf's key, the length of the chain. Revocation lists are out of scope.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::certificate::{self, CERTIFICATE_BYTES, Facts};

mod error;

pub use error::{RootsError, Untrusted};

/// The most certificates in a chain. Public ones have two or three.
pub const CHAIN: usize = 6;

/// The certificate authorities we trust. Cloning is cheap.
#[derive(Clone)]
pub struct Roots {
    anchors: Arc<Vec<TrustAnchor<'static>>>,
}

impl Roots {
    /// The operating system's roots. Those that cannot be used are left out and logged.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn system() -> Result<Self, RootsError> {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a root certificate of the system cannot be read");
        }
        let anchors: Vec<_> = found.certs.iter().filter_map(anchor).collect();
        if anchors.is_empty() { Err(RootsError::NoneInSystem) } else { Ok(Self { anchors: Arc::new(anchors) }) }
    }

    /// No roots: nobody is trusted.
    #[must_use]
    pub fn none() -> Self {
        Self { anchors: Arc::default() }
    }

    /// The roots in these PEM files, and no others.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or holds a certificate that cannot be used, or none.
    pub fn from_pem_files(files: &[PathBuf]) -> Result<Self, RootsError> {
        Self::none().with_extra(files)
    }

    /// These roots and those in the PEM files as well.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn with_extra(&self, files: &[PathBuf]) -> Result<Self, RootsError> {
        let mut anchors = self.anchors.to_vec();
        for file in files {
            let before = anchors.len();
            let pem = std::fs::read(file).map_err(|error| RootsError::Unreadable { file: file.clone(), error })?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let root = certificate.ok().as_ref().and_then(anchor);
                anchors.push(root.ok_or_else(|| RootsError::Unusable(file.clone()))?);
            }
            if anchors.len() == before {
                return Err(RootsError::NoneInFile(file.clone()));
            }
        }
        Ok(Self { anchors: Arc::new(anchors) })
    }

    /// Whether `chain` (DER, leaf first) proves `name` at `unix` seconds since 1970.
    ///
    /// `name` is a lower-case A-label name without a final dot; a wildcard in the certificate
    /// stands for one label (RFC 6125). The verdict holds until the leaf's `not_after` at most.
    ///
    /// # Errors
    ///
    /// Why not, in words for an operator; the cheapest reason first.
    pub fn check(&self, chain: &[Vec<u8>], name: &str, unix: u64) -> Result<(), Untrusted> {
        let leaf = check_size(chain)?;
        let facts = Facts::read(leaf)?;
        check_leaf(&facts, unix)?;
        let leaf = CertificateDer::from_slice(leaf);
        let entity = EndEntityCert::try_from(&leaf).map_err(|error| Untrusted::chain(&error))?;
        let wrong = || Untrusted::WrongName { wanted: name.to_owned(), has: facts.names.clone() };
        match ServerName::try_from(name) {
            Ok(dns @ ServerName::DnsName(_)) => {
                entity.verify_is_valid_for_subject_name(&dns).map_err(|_| wrong())?;
            }
            _ => return Err(wrong()),
        }
        self.check_path(&entity, chain, unix)
    }

    fn check_path(&self, leaf: &EndEntityCert<'_>, chain: &[Vec<u8>], unix: u64) -> Result<(), Untrusted> {
        let intermediates: Vec<_> = chain[1..].iter().map(|der| CertificateDer::from_slice(der)).collect();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(unix));
        leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &self.anchors,
            &intermediates,
            time,
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map(|_path| ())
        .map_err(|error| match error {
            webpki::Error::UnknownIssuer => Untrusted::UnknownIssuer {
                issuer: chain.last().and_then(|der| certificate::issuer(der)).unwrap_or_default(),
                alone: chain.len() == 1,
            },
            other => Untrusted::chain(&other),
        })
    }
}

/// The leaf of a chain that is neither empty nor too long.
fn check_size(chain: &[Vec<u8>]) -> Result<&[u8], Untrusted> {
    let leaf = chain.first().ok_or(Untrusted::Missing)?;
    if chain.len() > CHAIN {
        return Err(Untrusted::TooLong(chain.len()));
    }
    match chain.iter().map(Vec::len).find(|size| *size > CERTIFICATE_BYTES) {
        Some(size) => Err(Untrusted::TooLarge(size)),
        None => Ok(leaf),
    }
}

fn check_leaf(facts: &Facts, unix: u64) -> Result<(), Untrusted> {
    if unix > facts.not_after {
        return Err(Untrusted::Expired { not_after: facts.not_after });
    }
    if unix < facts.not_before {
        return Err(Untrusted::NotYetValid { not_before: facts.not_before });
    }
    if facts.may_sign { Ok(()) } else { Err(Untrusted::KeyUsage) }
}

fn anchor(root: &CertificateDer<'static>) -> Option<TrustAnchor<'static>> {
    anchor_from_trusted_cert(root).ok().map(|anchor| anchor.to_owned())
}

#[cfg(test)]
mod tests;
