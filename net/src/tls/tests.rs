//! Handshakes on 127.0.0.1, and what is refused.

use std::sync::Arc;

use rcgen::KeyPair;
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::{Certificates, Deferred, HostTls, Secured, TlsError, provider};
use crate::testing::{Authority, Issued, Leaf, keys};
use crate::trust::Roots;

const OURS: &str = "xmpp.my.isp";
const THEIRS: &str = "xmpp.other.isp";
const NOW: u64 = 1_790_000_000;

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}

fn host(name: &str, issued: &Issued) -> HostTls {
    HostTls::new(Arc::new(Certificates::new(name, Arc::new(issued.key())))).unwrap()
}

/// Two hosts with certificates of one authority.
fn hosts() -> (Authority, HostTls, HostTls) {
    let authority = Authority::new();
    let ours = host(OURS, &authority.issue(&Leaf::new(OURS)));
    let theirs = host(THEIRS, &authority.issue(&Leaf::new(THEIRS)));
    (authority, ours, theirs)
}

async fn handshake(
    dials: &HostTls,
    name: &str,
    accepts: &HostTls,
) -> (Result<Secured, TlsError>, Result<Secured, TlsError>) {
    let (dialled, accepted) = sockets().await;
    tokio::join!(dials.connect(dialled, name), accepts.accept(accepted))
}

/// A client that is not ours, with what a test changes.
async fn foreign(accepts: &HostTls, change: impl FnOnce(&mut ClientConfig)) -> (std::io::Error, TlsError) {
    let provider = Arc::new(provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Deferred::of_hosts(&provider)))
        .with_no_client_auth();
    change(&mut config);
    let (dialled, accepted) = sockets().await;
    let dial = async {
        let mut tls = TlsConnector::from(Arc::new(config)).connect(THEIRS.try_into().unwrap(), dialled).await?;
        tls.read_u8().await
    };
    let (dialled, accepted) = tokio::join!(dial, accepts.accept(accepted));
    (dialled.unwrap_err(), accepted.unwrap_err())
}

#[tokio::test]
async fn server_certificates_on_both_sides_prove_both_hosts() {
    let (authority, ours, theirs) = hosts();
    let (dialled, accepted) = handshake(&ours, THEIRS, &theirs).await;
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &authority.root_pem).unwrap();
    let roots = Roots::from_pem_files(&[file.path().to_owned()]).unwrap();
    assert_eq!(roots.check(&dialled.peer_chain, THEIRS, NOW), Ok(()));
    assert_eq!(roots.check(&accepted.peer_chain, OURS, NOW), Ok(()));
    assert!(roots.check(&accepted.peer_chain, THEIRS, NOW).is_err());
}

#[tokio::test]
async fn both_ends_know_name_and_protocol() {
    let (_, ours, theirs) = hosts();
    let (dialled, accepted) = handshake(&ours, THEIRS, &theirs).await;
    for end in [dialled.unwrap(), accepted.unwrap()] {
        assert_eq!(end.alpn.as_deref(), Some(&b"xmpp-server"[..]));
        assert_eq!(end.server_name.as_deref(), Some(THEIRS));
        assert!(end.stream.is_tls());
        assert!(end.stream.peer_addr().unwrap().ip().is_loopback());
    }
}

#[tokio::test]
async fn the_exporter_is_equal_on_both_ends_and_new_on_every_link() {
    let (_, ours, theirs) = hosts();
    let (dialled, accepted) = handshake(&ours, THEIRS, &theirs).await;
    let first = dialled.unwrap().exporter;
    assert_eq!(first, accepted.unwrap().exporter);
    assert_ne!(*first, [0; 64]);
    assert_ne!(first, handshake(&ours, THEIRS, &theirs).await.0.unwrap().exporter);
}

#[tokio::test]
async fn every_kind_of_key_can_be_a_hosts() {
    let authority = Authority::new();
    for (kind, key) in keys() {
        let host = host(THEIRS, &authority.issue(&Leaf::new(THEIRS).with_key(key)));
        let (dialled, accepted) = handshake(&host, THEIRS, &host).await;
        assert!(dialled.is_ok() && accepted.is_ok(), "{kind:?}");
    }
}

#[tokio::test]
async fn a_peer_without_certificate_is_refused() {
    let (_, _, theirs) = hosts();
    let (dialled, accepted) = foreign(&theirs, |_| {}).await;
    assert!(matches!(accepted, TlsError::NoCertificate), "{accepted}");
    let told = TlsError::from_io(dialled);
    assert!(matches!(told, TlsError::Refused(AlertDescription::CertificateRequired)), "{told}");
}

#[tokio::test]
async fn another_application_protocol_is_refused() {
    let (_, _, theirs) = hosts();
    let (dialled, accepted) = foreign(&theirs, |config| config.alpn_protocols = vec![b"h2".to_vec()]).await;
    assert!(matches!(accepted, TlsError::NoXmpp), "{accepted}");
    let told = TlsError::from_io(dialled);
    assert!(matches!(told, TlsError::Refused(AlertDescription::NoApplicationProtocol)), "{told}");
}

#[tokio::test]
async fn without_application_protocol_a_peer_is_accepted_as_after_starttls() {
    let (authority, _, theirs) = hosts();
    let provider = Arc::new(provider());
    let certificates = Certificates::new(OURS, Arc::new(authority.issue(&Leaf::new(OURS)).key()));
    let mut config = super::client(&provider, &certificates).unwrap();
    config.alpn_protocols.clear();
    let (dialled, accepted) = sockets().await;
    let connector = TlsConnector::from(Arc::new(config));
    let dial = connector.connect(THEIRS.try_into().unwrap(), dialled);
    let (_dialled, accepted) = tokio::join!(dial, theirs.accept(accepted));
    assert_eq!(accepted.unwrap().alpn, None);
}

#[tokio::test]
async fn a_name_that_is_not_served_ends_in_an_alert() {
    let (_, ours, theirs) = hosts();
    let (dialled, accepted) = handshake(&ours, "xmpp.nobody.isp", &theirs).await;
    assert!(matches!(accepted, Err(TlsError::UnknownName)), "{accepted:?}");
    let told = dialled.unwrap_err();
    assert!(told.to_string().contains("it does not serve that host name"), "{told}");
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_asked_for() {
    let authority = Authority::new();
    let (host_leaf, domain_leaf) = (authority.issue(&Leaf::new(THEIRS)), authority.issue(&Leaf::new("pessoa.lit")));
    let certificates =
        Certificates::new(THEIRS, Arc::new(host_leaf.key())).with("Pessoa.lit", Arc::new(domain_leaf.key()));
    let theirs = HostTls::new(Arc::new(certificates)).unwrap();
    let shown = async |name| handshake(&theirs, name, &theirs).await.0.unwrap().peer_chain;
    assert_eq!(shown(THEIRS).await, host_leaf.chain);
    assert_eq!(shown("PESSOA.lit").await, domain_leaf.chain);
}

#[tokio::test]
async fn who_names_nobody_is_shown_the_hosts_certificate() {
    let (_, _, theirs) = hosts();
    // It gets as far as the certificate it does not have.
    let (_, accepted) = foreign(&theirs, |config| config.enable_sni = false).await;
    assert!(matches!(accepted, TlsError::NoCertificate), "{accepted}");
}

#[tokio::test]
async fn an_address_is_not_dialled_as_a_name() {
    let (_, ours, theirs) = hosts();
    let (dialled, accepted) = handshake(&ours, "127.0.0.1", &theirs).await;
    assert!(matches!(dialled, Err(TlsError::BadName(_))), "{dialled:?}");
    assert!(matches!(accepted, Err(TlsError::Closed)), "{accepted:?}");
}

/// A ClientHello as of 2008: TLS 1.2, one suite, no `supported_versions`.
fn tls_1_2_hello() -> Vec<u8> {
    let mut hello = vec![0x03, 0x03];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0x00, 0x02, 0xc0, 0x2b]);
    hello.extend([0x01, 0x00]);
    // supported_groups, ec_point_formats, signature_algorithms
    let extensions = [
        &[0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17][..],
        &[0x00, 0x0b, 0x00, 0x02, 0x01, 0x00],
        &[0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03],
    ]
    .concat();
    hello.extend([0x00, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let size = u8::try_from(hello.len()).unwrap();
    [&[0x16, 0x03, 0x01, 0x00, size + 4, 0x01, 0x00, 0x00, size][..], &hello].concat()
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let (_, _, theirs) = hosts();
    let (mut dialled, accepted) = sockets().await;
    dialled.write_all(&tls_1_2_hello()).await.unwrap();
    let error = theirs.accept(accepted).await.unwrap_err();
    assert!(matches!(error, TlsError::Incompatible(_)), "{error}");
    let mut alert = [0; 7];
    dialled.read_exact(&mut alert).await.unwrap();
    assert_eq!((alert[0], alert[5], alert[6]), (21, 2, 70), "fatal, protocol_version");
}

#[tokio::test]
async fn what_is_not_tls_is_told_apart_from_a_close() {
    let (_, _, theirs) = hosts();
    let (mut dialled, accepted) = sockets().await;
    dialled.write_all(b"<stream:stream xmlns='jabber:server'>").await.unwrap();
    let error = theirs.accept(accepted).await.unwrap_err();
    assert!(matches!(error, TlsError::Misbehaved(_)), "{error}");
    let (dialled, accepted) = sockets().await;
    drop(dialled);
    let error = theirs.accept(accepted).await.unwrap_err();
    assert!(matches!(error, TlsError::Closed), "{error}");
}

/// Shows a certificate without its key.
#[tokio::test]
async fn a_certificate_of_somebody_else_does_not_get_through() {
    let (authority, _, theirs) = hosts();
    let stolen = authority.issue(&Leaf::new(OURS));
    let own = authority.issue(&Leaf::new(OURS).with_key(KeyPair::generate().unwrap()));
    let liar = HostTls::new(Arc::new(Certificates::new(OURS, Arc::new(Liar { stolen: stolen.key(), own: own.key() }))));
    let (_, accepted) = handshake(&liar.unwrap(), THEIRS, &theirs).await;
    assert!(matches!(accepted, Err(TlsError::Misbehaved(_))), "{accepted:?}");
}

struct Liar {
    stolen: crate::keys::FileKey,
    own: crate::keys::FileKey,
}

impl crate::keys::DomainKey for Liar {
    fn chain(&self) -> &[Vec<u8>] {
        self.stolen.chain()
    }

    fn facts(&self) -> &crate::certificate::Facts {
        self.stolen.facts()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, crate::keys::KeyError> {
        self.own.sign(message)
    }

    fn decrypt_oaep(&self, _: &[u8], _: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, crate::keys::KeyError> {
        Err(crate::keys::KeyError::NotRsa)
    }
}

#[tokio::test]
async fn debug_shows_no_exporter() {
    let (_, ours, theirs) = hosts();
    let secured = handshake(&ours, THEIRS, &theirs).await.0.unwrap();
    let shown = format!("{secured:?}");
    assert!(shown.starts_with("Secured { stream: Tls(Some(127.0.0.1:"), "{shown}");
    assert!(shown.ends_with("server_name: Some(\"xmpp.other.isp\"), .. }"), "{shown}");
}
