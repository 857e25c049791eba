//! Mutual TLS 1.3 between hosts.

use std::sync::Arc;

use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::keys::DomainKey;
use crate::wire::Stream;

/// Both ends of host TLS. Cloning is cheap.
#[derive(Clone)]
pub struct HostTls {}

/// The certificates a listener can show, by the name the peer asks for (SNI).
pub struct Certificates {}

/// A finished handshake. **The peer is not trusted yet**: judge `peer_chain` before use.
pub struct Secured {
    /// The encrypted stream.
    pub stream: Stream,
    /// The peer's certificates in DER, leaf first; never empty.
    pub peer_chain: Vec<Vec<u8>>,
    /// TLS exporter, label `EXPERIMENTAL urn:xmpp:federation:0`, no context.
    pub exporter: Zeroizing<[u8; 64]>,
    /// The application protocol agreed on.
    pub alpn: Option<Vec<u8>>,
    /// The name the dialling side asked for.
    pub server_name: Option<String>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer closed in the middle.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
}

impl Certificates {
    /// `host` is shown to peers that name nobody, and to peers that name it.
    #[must_use]
    pub fn new(host_name: &str, host: Arc<dyn DomainKey>) -> Self {
        let _ = (host_name, host);
        unimplemented!()
    }

    /// Shows `key` to peers that ask for `name` as well.
    #[must_use]
    pub fn with(self, name: &str, key: Arc<dyn DomainKey>) -> Self {
        let _ = (name, key);
        unimplemented!()
    }
}

impl HostTls {
    /// TLS with the certificates of `certificates`; the host's is shown when we dial.
    ///
    /// # Errors
    ///
    /// If the cryptography cannot do TLS 1.3.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, TlsError> {
        let _ = certificates;
        unimplemented!()
    }

    /// Secures a connection we dialled to the host `server_name`.
    ///
    /// # Errors
    ///
    /// Why the handshake failed.
    pub async fn connect(&self, tcp: TcpStream, server_name: &str) -> Result<Secured, TlsError> {
        let _ = (tcp, server_name);
        unimplemented!()
    }

    /// Secures a connection we accepted; the peer has to show a certificate.
    ///
    /// # Errors
    ///
    /// Why the handshake failed.
    pub async fn accept(&self, tcp: TcpStream) -> Result<Secured, TlsError> {
        let _ = tcp;
        unimplemented!()
    }
}
