//! Which certificate is shown to whom.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::CertificateDer;

use crate::certificate::KeyType;
use crate::keys::DomainKey;

/// The certificates a listener can show, by the name the peer asks for (SNI).
///
/// A name that is not among them ends the handshake with an alert: a certificate that does not fit
/// would be of no use to the peer. One that names nobody is shown the host's.
pub struct Certificates {
    host: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    /// `host` is shown to peers that ask for `host_name` or for nobody, and to hosts we dial.
    #[must_use]
    pub fn new(host_name: &str, host: Arc<dyn DomainKey>) -> Self {
        let host = certified(host);
        let by_name = HashMap::from([(host_name.to_ascii_lowercase(), Arc::clone(&host))]);
        Self { host, by_name }
    }

    /// Shows `key` to peers that ask for `name`, as well.
    #[must_use]
    pub fn with(mut self, name: &str, key: Arc<dyn DomainKey>) -> Self {
        self.by_name.insert(name.to_ascii_lowercase(), certified(key));
        self
    }

    pub(super) fn host(&self) -> Arc<SingleCertAndKey> {
        Arc::new(Arc::clone(&self.host).into())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name() {
            None => Some(Arc::clone(&self.host)),
            Some(name) => self.by_name.get(&name.to_ascii_lowercase()).cloned(),
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("names", &self.by_name.len()).finish_non_exhaustive()
    }
}

pub(super) fn certified(key: Arc<dyn DomainKey>) -> Arc<CertifiedKey> {
    let chain = key.chain().iter().map(|der| CertificateDer::from(der.clone())).collect();
    Arc::new(CertifiedKey::new(chain, Arc::new(TlsKey(key))))
}

/// A domain's key in rustls's terms: the key never leaves its owner.
#[derive(Clone)]
struct TlsKey(Arc<dyn DomainKey>);

impl TlsKey {
    fn scheme_of_kind(&self) -> SignatureScheme {
        match self.0.facts().key {
            KeyType::Rsa { .. } => SignatureScheme::RSA_PSS_SHA256,
            KeyType::P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            KeyType::P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            KeyType::Ed25519 => SignatureScheme::ED25519,
        }
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme_of_kind()).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.facts().key {
            KeyType::Rsa { .. } => SignatureAlgorithm::RSA,
            KeyType::P256 | KeyType::P384 => SignatureAlgorithm::ECDSA,
            KeyType::Ed25519 => SignatureAlgorithm::ED25519,
        }
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message).map_err(|error| Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme_of_kind()
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsKey").field(&self.0.facts().names).finish()
    }
}
