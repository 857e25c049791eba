//! A domain's key from certbot's folder layout.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::{Zeroize as _, Zeroizing};

use super::private::PrivateKey;
use super::{DomainKey, KeyError};
use crate::certificate::{CERTIFICATE_BYTES, CertificateError, Facts, LeafKey};
use crate::trust::CHAIN;

const CHAIN_FILE: &str = "fullchain.pem";
const KEY_FILE: &str = "privkey.pem";

/// A key and its certificates from `fullchain.pem` and `privkey.pem`, held in memory.
pub struct FileKey {
    chain: Vec<Vec<u8>>,
    facts: Facts,
    key: PrivateKey,
}

/// Why a folder gave no key. All of it is for the operator to put right, so each says how.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file that should hold certificates holds none.
    #[error("{}: no certificate in it; it needs the certificate and its intermediates in PEM, as certbot writes them", .0.display())]
    NoCertificate(PathBuf),
    /// More certificates, or longer ones, than a peer would take from us.
    #[error("{}: at most 6 certificates of at most 16 KiB each can be shown to a peer; leave out the root", .0.display())]
    ChainTooLong(PathBuf),
    /// The first certificate cannot be used.
    #[error("{}: the first certificate cannot be used: {error}", file.display())]
    Certificate {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// The certificate forbids signing with its key.
    #[error("{}: keyUsage without digitalSignature: ask the CA for an ordinary TLS certificate", .0.display())]
    MayNotSign(PathBuf),
    /// A file that should hold a private key holds none.
    #[error("{}: no private key in it; PKCS#8, PKCS#1 and SEC1 in PEM are read", .0.display())]
    NoKey(PathBuf),
    /// The private key is under a passphrase.
    #[error("{}: the private key is encrypted; `openssl pkey -in old.pem -out {KEY_FILE}` takes the passphrase off", .0.display())]
    EncryptedKey(PathBuf),
    /// The private key is broken, or of another kind than the certificate says.
    #[error("{}: not a private key of the kind that the certificate beside it has ({why})", file.display())]
    Key {
        /// Which file.
        file: PathBuf,
        /// What aws-lc says.
        why: String,
    },
    /// Key and certificate do not belong together.
    #[error("{} is not the key of the first certificate in {}: are both from one renewal?", key.display(), chain.display())]
    Mismatch {
        /// The certificates.
        chain: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

impl FileKey {
    /// Loads `fullchain.pem` and `privkey.pem` (PKCS#8, PKCS#1 or SEC1) of `folder`.
    ///
    /// The dates are not looked at: an expired certificate loads, and `facts` tells.
    ///
    /// # Errors
    ///
    /// Names the file and what to do about it.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let (chain, key) = (folder.join(CHAIN_FILE), folder.join(KEY_FILE));
        let read = |file: &PathBuf| fs::read(file).map_err(|error| LoadError::Unreadable { file: file.clone(), error });
        let chain_pem = read(&chain)?;
        let key_pem = Zeroizing::new(read(&key)?);
        Self::read((chain, &chain_pem), (key, &key_pem))
    }

    /// As [`load`](Self::load), from memory.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), with the bare file names.
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, LoadError> {
        Self::read((CHAIN_FILE.into(), chain_pem), (KEY_FILE.into(), key_pem))
    }

    fn read(chain: (PathBuf, &[u8]), key: (PathBuf, &[u8])) -> Result<Self, LoadError> {
        let (chain_file, key_file) = (chain.0, key.0);
        let chain = read_chain(&chain_file, chain.1)?;
        let unusable = |error| LoadError::Certificate { file: chain_file.clone(), error };
        let facts = Facts::read(&chain[0]).map_err(unusable)?;
        if !facts.may_sign {
            return Err(LoadError::MayNotSign(chain_file));
        }
        let mut der = read_key(&key_file, key.1)?;
        let private = PrivateKey::read(&der, facts.key);
        der.zeroize();
        let private = private.map_err(|error| LoadError::Key { file: key_file.clone(), why: error.to_string() })?;
        let public = LeafKey::read(&chain[0]).map_err(unusable)?;
        if private.public() != public.raw {
            return Err(LoadError::Mismatch { chain: chain_file, key: key_file });
        }
        Ok(Self { chain, facts, key: private })
    }
}

/// At least one certificate and no more than a peer takes.
fn read_chain(file: &Path, pem: &[u8]) -> Result<Vec<Vec<u8>>, LoadError> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let Ok(certificate) = certificate else {
            return Err(LoadError::NoCertificate(file.to_owned()));
        };
        if chain.len() == CHAIN || certificate.len() > CERTIFICATE_BYTES {
            return Err(LoadError::ChainTooLong(file.to_owned()));
        }
        chain.push(certificate.to_vec());
    }
    if chain.is_empty() { Err(LoadError::NoCertificate(file.to_owned())) } else { Ok(chain) }
}

fn read_key(file: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, LoadError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        // "BEGIN ENCRYPTED PRIVATE KEY" (PKCS#8), or "Proc-Type: 4,ENCRYPTED" (the old format).
        let encrypted = pem.windows(9).any(|window| window == b"ENCRYPTED");
        if encrypted { LoadError::EncryptedKey(file.to_owned()) } else { LoadError::NoKey(file.to_owned()) }
    })
}

impl DomainKey for FileKey {
    fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.key.sign(message)
    }

    fn decrypt_oaep(&self, ciphertext: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.key.decrypt_oaep(ciphertext, label)
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey").field("names", &self.facts.names).field("key", &self.key).finish_non_exhaustive()
    }
}
