//! Is this chain good for that name?
//!
//! One judgement for hosts and domains, for the side that dials and the side that accepts: public
//! CAs issue server certificates only, so *serverAuth if there is an extended key usage* is asked
//! of both. What webpki does not look at is looked at here: keyUsage, the kind and size of the
//! leaf's key, the length of the chain. Revocation lists are out of scope.
//!
//! XMPP's own names, id-on-xmppAddr and SRVName, count where the chain ends at a root that the
//! operator configured, which public CAs' are not: those check DNS names and nothing else, and would
//! sign any other name that they do not look at.

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
    /// How many of them, from the first on, are the system's and not configured.
    public: usize,
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
        if anchors.is_empty() {
            return Err(RootsError::NoneInSystem);
        }
        Ok(Self { public: anchors.len(), anchors: Arc::new(anchors) })
    }

    /// No roots: nobody is trusted.
    #[must_use]
    pub fn none() -> Self {
        Self { anchors: Arc::default(), public: 0 }
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
        Ok(Self { anchors: Arc::new(anchors), public: self.public })
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
        let path =
            Path { leaf: EndEntityCert::try_from(&leaf).map_err(|error| Untrusted::chain(&error))?, chain, unix };
        match ServerName::try_from(name) {
            Ok(dns @ ServerName::DnsName(_)) if path.leaf.verify_is_valid_for_subject_name(&dns).is_ok() => {
                path.leads_to(&self.anchors).map(drop)
            }
            Ok(ServerName::DnsName(_)) if facts.xmpp_names.iter().any(|xmpp| xmpp == name) => {
                self.check_xmpp_name(&path)
            }
            _ => Err(Untrusted::WrongName { wanted: name.to_owned(), has: facts.all_names() }),
        }
    }

    /// XMPP's own names are taken from configured roots only. Name constraints cannot limit them,
    /// so that whoever is held to some DNS names must not name a domain in this way.
    fn check_xmpp_name(&self, path: &Path<'_>) -> Result<(), Untrusted> {
        let (public, configured) = self.anchors.split_at(self.public);
        match path.leads_to(configured) {
            Ok(anchor) if anchor.name_constraints.is_some() || path.is_constrained() => {
                Err(Untrusted::XmppNameUnderConstraints)
            }
            Ok(_) => Ok(()),
            Err(_) if path.leads_to(public).is_ok() => Err(Untrusted::XmppNameOfPublicRoot),
            Err(untrusted) => Err(untrusted),
        }
    }
}

/// A chain as it was shown, on its way to a root.
struct Path<'a> {
    leaf: EndEntityCert<'a>,
    chain: &'a [Vec<u8>],
    unix: u64,
}

impl Path<'_> {
    /// Which of `anchors` the chain ends at, with everything on the way in order.
    fn leads_to<'r>(&self, anchors: &'r [TrustAnchor<'static>]) -> Result<&'r TrustAnchor<'static>, Untrusted> {
        let intermediates: Vec<_> = self.chain[1..].iter().map(|der| CertificateDer::from_slice(der)).collect();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(self.unix));
        let usage = KeyUsage::server_auth();
        let algorithms = ALL_VERIFICATION_ALGS;
        let path = self.leaf.verify_for_usage(algorithms, anchors, &intermediates, time, usage, None, None);
        let found = path.map(|path| anchors.iter().find(|anchor| std::ptr::eq(*anchor, path.anchor())));
        match found {
            Ok(Some(anchor)) => Ok(anchor),
            Ok(None) | Err(webpki::Error::UnknownIssuer) => Err(self.unknown_issuer()),
            Err(other) => Err(Untrusted::chain(&other)),
        }
    }

    fn unknown_issuer(&self) -> Untrusted {
        if certificate::is_self_issued(&self.chain[0]) {
            return Untrusted::SelfSigned;
        }
        let issuer = self.chain.last().and_then(|der| certificate::issuer(der)).unwrap_or_default();
        Untrusted::UnknownIssuer { issuer, alone: self.chain.len() == 1 }
    }

    fn is_constrained(&self) -> bool {
        self.chain[1..].iter().any(|der| certificate::has_name_constraints(der))
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
