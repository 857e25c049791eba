//! TLS between servers of classic S2S: for any number of domains, with or without a certificate of the
//! other side, down to TLS 1.2 (RFC 7590).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, CommonState, ServerConfig};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::certificates::certified;
use super::verifier::Deferred;
use super::{ALPN, TlsError, UNSENT, server_name};
use crate::keys::DomainKey;
use crate::wire::{BATCH, Stream};

/// Both ends of TLS with remote servers. Cloning is cheap.
///
/// As between hosts, the handshake proves that the other side holds the key of its certificate, and
/// nothing more: the caller judges the chain, for the name that the stream is about.
#[derive(Clone)]
pub struct ServerTls {
    anonymous: Arc<ClientConfig>,
    by_domain: Arc<HashMap<String, Arc<CertifiedKey>>>,
    server: Arc<ServerConfig>,
}

/// A finished handshake. **The other side is not trusted yet.**
#[derive(Debug)]
pub struct ServerSecured {
    /// The encrypted stream.
    pub stream: Stream,
    /// The other side's certificates in DER, leaf first; empty where it showed none.
    pub peer_chain: Vec<Vec<u8>>,
}

impl ServerTls {
    /// TLS with these certificates, by domain.
    ///
    /// # Errors
    ///
    /// [`TlsError::Setup`] if the cryptography cannot do TLS.
    pub fn new(keys: impl IntoIterator<Item = (String, Arc<dyn DomainKey>)>) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let by_domain = keys.into_iter().map(|(domain, key)| (domain.to_ascii_lowercase(), certified(key)));
        let by_domain = Arc::new(by_domain.collect());
        let anonymous = Arc::new(client(&provider).map_err(TlsError::Setup)?);
        let server = Arc::new(listener(&provider, Arc::clone(&by_domain)).map_err(TlsError::Setup)?);
        Ok(Self { anonymous, by_domain, server })
    }

    /// TLS with servers that do not look at certificates: everybody is shown this one.
    ///
    /// # Errors
    ///
    /// [`TlsError::Setup`] if the cryptography cannot do TLS.
    pub fn self_made(key: Arc<dyn DomainKey>) -> Result<Self, TlsError> {
        let mut tls = Self::new([])?;
        let by_name = ByName { keys: Arc::clone(&tls.by_domain), otherwise: Some(certified(key)) };
        Arc::make_mut(&mut tls.server).cert_resolver = Arc::new(by_name);
        Ok(tls)
    }

    /// Whether we can show a certificate of `domain`.
    #[must_use]
    pub fn has(&self, domain: &str) -> bool {
        self.by_domain.contains_key(domain)
    }

    /// Secures a connection that we dialled for `local`, to a server of the domain `remote`: at once
    /// (XEP-0368), or after `<proceed/>`. The certificate of `local` is shown to who asks for one.
    ///
    /// # Errors
    ///
    /// Why the handshake failed. There is no time-out in here.
    pub async fn connect(&self, tcp: TcpStream, local: &str, remote: &str) -> Result<ServerSecured, TlsError> {
        let name = server_name(remote)?;
        let mut config = Arc::clone(&self.anonymous);
        if let Some(key) = self.by_domain.get(local) {
            let key = rustls::sign::SingleCertAndKey::from(Arc::clone(key));
            Arc::make_mut(&mut config).client_auth_cert_resolver = Arc::new(key);
        }
        let io = BufReader::with_capacity(BATCH, tcp);
        let handshake =
            TlsConnector::from(config).connect_with(name, io, |session| session.set_buffer_limit(Some(UNSENT)));
        handshake.await.map(|tls| ServerSecured::new(tls.into())).map_err(TlsError::from_io)
    }

    /// Secures a connection that we accepted. The certificate is that of the name asked for (SNI), else of
    /// `to`, the domain that the stream's header named; without either there is none to show.
    ///
    /// # Errors
    ///
    /// Why the handshake failed. There is no time-out in here.
    pub async fn accept(&self, tcp: TcpStream, to: Option<&str>) -> Result<ServerSecured, TlsError> {
        let mut config = Arc::clone(&self.server);
        if let Some(key) = to.and_then(|to| self.by_domain.get(to)) {
            let by_name = ByName { keys: Arc::clone(&self.by_domain), otherwise: Some(Arc::clone(key)) };
            Arc::make_mut(&mut config).cert_resolver = Arc::new(by_name);
        }
        let io = BufReader::with_capacity(BATCH, tcp);
        let handshake = TlsAcceptor::from(config).accept_with(io, |session| session.set_buffer_limit(Some(UNSENT)));
        handshake.await.map(|tls| ServerSecured::new(tls.into())).map_err(TlsError::from_io)
    }
}

impl ServerSecured {
    fn new(tls: TlsStream<BufReader<TcpStream>>) -> Self {
        let state: &CommonState = tls.get_ref().1;
        let peer_chain = state.peer_certificates().unwrap_or_default().iter().map(|der| der.to_vec()).collect();
        Self { stream: Stream::Tls(Box::new(tls)), peer_chain }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("domains", &self.by_domain.len()).finish_non_exhaustive()
    }
}

fn client(provider: &Arc<CryptoProvider>) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Deferred::of_servers(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn listener(
    provider: &Arc<CryptoProvider>,
    keys: Arc<HashMap<String, Arc<CertifiedKey>>>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(Arc::new(Deferred::of_servers(provider)))
        .with_cert_resolver(Arc::new(ByName { keys, otherwise: None }));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The certificates of our domains.
struct ByName {
    keys: Arc<HashMap<String, Arc<CertifiedKey>>>,
    otherwise: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().and_then(|name| self.keys.get(&name.to_ascii_lowercase()));
        asked.or(self.otherwise.as_ref()).cloned()
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByName").field("names", &self.keys.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::ClientConfig;
    use rustls::version::TLS12;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::testing::{Authority, Leaf};
    use crate::trust::Roots;

    const NOW: u64 = 1_790_000_000;

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (dialled, listener.accept().await.unwrap().0)
    }

    fn server(authority: &Authority, domains: &[&str]) -> ServerTls {
        let key = |domain: &&str| {
            let key: Arc<dyn DomainKey> = Arc::new(authority.issue(&Leaf::new(domain)).key());
            ((*domain).to_owned(), key)
        };
        ServerTls::new(domains.iter().map(key)).unwrap()
    }

    fn roots(authority: &Authority) -> Roots {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &authority.root_pem).unwrap();
        Roots::from_pem_files(&[file.path().to_owned()]).unwrap()
    }

    #[tokio::test]
    async fn each_domain_shows_its_own_certificate_on_either_side() {
        let authority = Authority::new();
        let (ours, theirs) = (server(&authority, &["a.lit", "b.lit"]), server(&authority, &["c.lit", "d.lit"]));
        let roots = roots(&authority);
        for (local, remote) in [("a.lit", "c.lit"), ("a.lit", "d.lit"), ("b.lit", "d.lit")] {
            let (dialled, accepted) = sockets().await;
            let ends = tokio::join!(ours.connect(dialled, local, remote), theirs.accept(accepted, None));
            let (dialled, accepted) = (ends.0.unwrap(), ends.1.unwrap());
            assert_eq!(roots.check(&dialled.peer_chain, remote, NOW), Ok(()), "{remote}");
            assert_eq!(roots.check(&accepted.peer_chain, local, NOW), Ok(()), "{local}");
        }
    }

    #[tokio::test]
    async fn who_has_no_certificate_is_let_in_without() {
        let authority = Authority::new();
        let (ours, theirs) = (server(&authority, &[]), server(&authority, &["c.lit"]));
        let (dialled, accepted) = sockets().await;
        let ends = tokio::join!(ours.connect(dialled, "a.lit", "c.lit"), theirs.accept(accepted, None));
        assert!(ends.0.is_ok() && ends.1.unwrap().peer_chain.is_empty());
    }

    #[tokio::test]
    async fn a_self_made_certificate_is_shown_to_everybody() {
        let authority = Authority::new();
        let key = authority.issue(&Leaf::new("xmpp.my.isp")).key();
        let (ours, theirs) = (server(&authority, &[]), ServerTls::self_made(Arc::new(key)).unwrap());
        for domain in ["pessoa.lit", "wherever.example"] {
            let (dialled, accepted) = sockets().await;
            let ends = tokio::join!(ours.connect(dialled, "a.lit", domain), theirs.accept(accepted, None));
            assert_eq!((ends.0.unwrap().peer_chain.len(), ends.1.is_ok()), (2, true), "{domain}");
        }
    }

    #[tokio::test]
    async fn a_domain_that_is_not_here_is_refused() {
        let authority = Authority::new();
        let (ours, theirs) = (server(&authority, &[]), server(&authority, &["c.lit"]));
        let (dialled, accepted) = sockets().await;
        let ends = tokio::join!(ours.connect(dialled, "a.lit", "e.lit"), theirs.accept(accepted, None));
        assert!(ends.0.is_err() && ends.1.is_err());
    }

    /// A server of old: TLS 1.2, and no SNI behind STARTTLS.
    #[tokio::test]
    async fn an_old_server_is_shown_the_domain_that_its_stream_named() {
        let authority = Authority::new();
        let theirs = server(&authority, &["c.lit", "d.lit"]);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut old = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Deferred::of_servers(&provider)))
            .with_no_client_auth();
        old.enable_sni = false;
        for (to, shown) in [(Some("d.lit"), true), (None, false)] {
            let (dialled, accepted) = sockets().await;
            let connector = TlsConnector::from(Arc::new(old.clone()));
            let ends =
                tokio::join!(connector.connect("d.lit".try_into().unwrap(), dialled), theirs.accept(accepted, to));
            assert_eq!((ends.0.is_ok(), ends.1.is_ok()), (shown, shown), "{to:?}");
        }
    }
}
