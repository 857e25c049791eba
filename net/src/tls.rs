//! Mutual TLS 1.3 between hosts; TLS of classic S2S is in [`ServerTls`].
//!
//! # Who is judged when
//!
//! The handshake proves that the peer *holds the key* of the certificate it shows: rustls checks
//! that signature, on both sides. Whether that certificate chains to a root of ours, is in date and
//! carries the right name is **not** judged during the handshake, on either side. The caller does
//! it, with [`Roots::check`](crate::trust::Roots::check) on [`Secured::peer_chain`], before a byte
//! of what was read counts:
//!
//! - The side that accepts cannot do otherwise: TLS does not tell it who dials. The stream header
//!   names the host, and then the certificate has to prove it.
//! - The side that dials could, but then the peer would be told by an alert and our log would have
//!   one word. So it does the same, with the name it dialled, and can say what was wrong.
//! - rustls's stock verifier for client certificates asks for the purpose clientAuth, which public
//!   CAs no longer give; both sides ask for serverAuth instead.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use zeroize::Zeroizing;

use crate::wire::{BATCH, Stream};

mod certificates;
mod error;
mod server;
mod verifier;

pub use certificates::Certificates;
pub use error::TlsError;
pub use server::{ServerSecured, ServerTls};

use verifier::Deferred;

/// The application protocol of XMPP between servers (XEP-0368).
const ALPN: &[u8] = b"xmpp-server";
/// What the exporter is asked for (protocol §5); never sent.
const EXPORTER: &[u8] = b"EXPERIMENTAL urn:xmpp:federation:0";
/// Ciphertext that may wait in one connection: a batch that went over by a long stanza.
const UNSENT: usize = 8 * BATCH;

/// Both ends of host TLS. Cloning is cheap.
///
/// TLS 1.3 and nothing older; no tickets, no resumption, no early data: each link has an exporter
/// of its own.
#[derive(Clone)]
pub struct HostTls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

/// A finished handshake. **The peer is not trusted yet**: see the module.
pub struct Secured {
    /// The encrypted stream.
    pub stream: Stream,
    /// The peer's certificates in DER, leaf first; never empty, and the peer holds the leaf's key.
    pub peer_chain: Vec<Vec<u8>>,
    /// The TLS exporter of the label `EXPERIMENTAL urn:xmpp:federation:0`, without a context: the
    /// same on both ends, and on no other connection.
    pub exporter: Zeroizing<[u8; 64]>,
    /// `xmpp-server`, or `None` with STARTTLS if the peer did not offer it.
    pub alpn: Option<Vec<u8>>,
    /// The name that the dialling side asked for (SNI), lower-case.
    pub server_name: Option<String>,
}

impl HostTls {
    /// TLS with these certificates; the host's own is shown to whom we dial.
    ///
    /// After a renewal make a new one: connections keep what they began with.
    ///
    /// # Errors
    ///
    /// [`TlsError::Setup`] if the cryptography cannot do TLS 1.3.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let client = client(&provider, &certificates).map_err(TlsError::Setup)?;
        let server = server(&provider, certificates).map_err(TlsError::Setup)?;
        Ok(Self { connector: Arc::new(client).into(), acceptor: Arc::new(server).into() })
    }

    /// Secures a connection we dialled to the host `server_name`, at once or after `<proceed/>`.
    ///
    /// That it succeeds does not mean that the peer took *our* certificate: in TLS 1.3 its refusal
    /// arrives later, as an error of the first read.
    ///
    /// # Errors
    ///
    /// Why the handshake failed. There is no time-out in here.
    pub async fn connect(&self, tcp: TcpStream, server_name: &str) -> Result<Secured, TlsError> {
        let name = self::server_name(server_name)?;
        let io = BufReader::with_capacity(BATCH, tcp);
        let handshake = self.connector.connect_with(name, io, |session| session.set_buffer_limit(Some(UNSENT)));
        let tls = handshake.await.map_err(TlsError::from_io)?;
        Secured::new(tls.into(), Some(server_name.to_ascii_lowercase()))
    }

    /// Secures a connection we accepted, at once or after `<proceed/>`. The peer has to show a
    /// certificate; one that offers application protocols has to offer `xmpp-server`.
    ///
    /// # Errors
    ///
    /// Why the handshake failed. There is no time-out in here.
    pub async fn accept(&self, tcp: TcpStream) -> Result<Secured, TlsError> {
        let io = BufReader::with_capacity(BATCH, tcp);
        let handshake = self.acceptor.accept_with(io, |session| session.set_buffer_limit(Some(UNSENT)));
        let tls = handshake.await.map_err(TlsError::from_io)?;
        let server_name = tls.get_ref().1.server_name().map(str::to_ascii_lowercase);
        Secured::new(tls.into(), server_name)
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    match ServerName::try_from(name) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name.to_owned()),
        _ => Err(TlsError::BadName(name.escape_debug().to_string())),
    }
}

impl Secured {
    fn new(tls: TlsStream<BufReader<TcpStream>>, server_name: Option<String>) -> Result<Self, TlsError> {
        let mut exporter = Zeroizing::new([0; 64]);
        let exported = match &tls {
            TlsStream::Client(end) => end.get_ref().1.export_keying_material(&mut exporter[..], EXPORTER, None),
            TlsStream::Server(end) => end.get_ref().1.export_keying_material(&mut exporter[..], EXPORTER, None),
        };
        exported.map_err(TlsError::Setup)?;
        let state: &CommonState = tls.get_ref().1;
        let peer_chain: Vec<_> = state.peer_certificates().unwrap_or_default().iter().map(|der| der.to_vec()).collect();
        if peer_chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let alpn = state.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Self { stream: Stream::Tls(Box::new(tls)), peer_chain, exporter, alpn, server_name })
    }
}

/// Shows no exporter.
impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured")
            .field("stream", &self.stream)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// AES-128 first: it is as safe here as AES-256 and a fifth cheaper. The hybrid key exchange first:
/// what is recorded today stays secret even from a quantum computer.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

fn client(provider: &Arc<CryptoProvider>, certificates: &Certificates) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Deferred::of_hosts(provider)))
        .with_client_cert_resolver(certificates.host());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server(provider: &Arc<CryptoProvider>, certificates: Arc<Certificates>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Deferred::of_hosts(provider)))
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests;
