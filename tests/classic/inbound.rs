//! Servers that dial the router: which certificate they are shown, and what lets them in.

use std::sync::Arc;

use heteronym::demo::authority::{Authority, ExtendedKeyUsage, Issued, KeyKind, Request};
use heteronym_net::clock::Now;
use heteronym_proto::checker::Scope;
use heteronym_proto::stream_error::Condition;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::ground::{ANA, DOMAINS, Ground, JOSE};
use crate::support::host::{SASL, TLS};
use crate::support::server::{Classic, EXTERNAL, Server, header};
use crate::support::soon;
use crate::support::wire::Wire;

const RUI: &str = "rui@chat.saramago.lit";
const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";

#[tokio::test]
async fn a_certificate_lets_a_server_in() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    assert!(!server.has_been_dialled().await, "nobody is asked back");
    drop(stream);
    ground.end().await;
}

/// XEP-0368.
#[tokio::test]
async fn tls_may_come_first() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial_tls(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    assert!(!stream.offers("starttls", TLS), "once is enough");
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn the_domain_that_is_asked_for_shows_its_own_certificate() {
    let ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    for domain in DOMAINS {
        for stream in [
            server.dial(ground.s2s(), "pessoa.lit", domain).await,
            server.dial_tls(ground.s2s(), "pessoa.lit", domain).await,
        ] {
            assert_eq!(stream.shown(), [domain]);
        }
    }
    ground.end().await;
}

/// TLS of old: no SNI.
async fn without_a_name(ground: &Ground, tcp: TcpStream, domain: &'static str) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ground.authority.root_pem().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.enable_sni = false;
    let name = ServerName::try_from(domain).unwrap();
    soon("the handshake", TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.is_ok()
}

/// Then it is the stream's `to` that tells whose certificate to show; where TLS comes first, nothing does.
#[tokio::test]
async fn the_domain_of_the_stream_shows_its_certificate_where_tls_names_none() {
    let ground = Ground::new("").await;
    for domain in DOMAINS {
        let mut plain = Wire::new(TcpStream::connect(ground.s2s()).await.unwrap(), Scope::DIALBACK);
        plain.send(header("pessoa.lit", domain, "")).await;
        plain.header().await;
        plain.element().await;
        plain.send(format!("<starttls xmlns='{TLS}'/>")).await;
        assert!(plain.element().await.is("proceed", TLS));
        assert!(without_a_name(&ground, plain.into_io(), domain).await, "{domain}");
        let tcp = TcpStream::connect(ground.s2s()).await.unwrap();
        assert!(!without_a_name(&ground, tcp, domain).await, "{domain}");
    }
    ground.end().await;
}

/// Public CAs issue nothing but serverAuth (XEP-0178 as of 2026); who has clientAuth only is a client.
#[tokio::test]
async fn a_certificate_for_servers_is_enough() {
    use ExtendedKeyUsage::{Absent, ClientAuth, ServerAndClientAuth, ServerAuth};
    let ground = Ground::new("").await;
    for (extended, expected) in [(ServerAuth, true), (Absent, true), (ServerAndClientAuth, true), (ClientAuth, false)] {
        let request = Request { extended, ..Request::new(["pessoa.lit"], KeyKind::P256) };
        let server = Server::new(&[("pessoa.lit", &ground.authority.issue(&request).unwrap())]).await;
        let stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
        assert_eq!(stream.offers("mechanisms", SASL), expected, "{extended:?}");
    }
    ground.end().await;
}

/// XEP-0344: the certificate answers for the key.
#[tokio::test]
async fn a_certificate_answers_for_a_dialback_key() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    stream.send_key("pessoa.lit", "saramago.lit").await;
    stream.expect_verdict("pessoa.lit", "saramago.lit", "valid").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    assert!(!server.has_been_dialled().await, "nobody is asked back");
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_key_is_verified_by_asking_back() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    assert!(!stream.offers("mechanisms", SASL), "its certificate proves nothing");
    stream.send_key("pessoa.lit", "saramago.lit").await;
    server.answer_verify("", |right| if right { "valid" } else { "invalid" }).await;
    stream.expect_verdict("pessoa.lit", "saramago.lit", "valid").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_server_that_shows_no_certificate_comes_in_by_dialback() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    let anonymous = Server::new(&[]).await;
    let mut stream = anonymous.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    assert!(!stream.offers("mechanisms", SASL));
    stream.send_key("pessoa.lit", "saramago.lit").await;
    server.answer_verify("", |right| if right { "valid" } else { "invalid" }).await;
    stream.expect_verdict("pessoa.lit", "saramago.lit", "valid").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_server_with_a_bad_certificate_is_not_let_in_where_dialback_is_off() {
    let ground = Ground::new("[classic]\ndialback = false").await;
    let tcp = || TcpStream::connect(ground.s2s());
    for (case, issued) in bad(&ground) {
        let server = Server::new(&[("pessoa.lit", &issued)]).await;
        let mut stream = server.secured(tcp().await.unwrap(), "pessoa.lit", "saramago.lit").await;
        stream.send(header("pessoa.lit", "saramago.lit", "")).await;
        stream.header().await;
        let text = stream.hear_error(Condition::NotAuthorized).await;
        assert!(text.contains(case), "{text}");
    }
    ground.end().await;
}

/// Certificates that do not prove pessoa.lit, and what is said about them.
fn bad(ground: &Ground) -> [(&'static str, Issued); 3] {
    let now = Now::read().unix;
    let request = Request::new(["pessoa.lit"], KeyKind::P256);
    let expired = Request { not_before: Some(now - 7200), not_after: Some(now - 3600), ..request.clone() };
    let other = Authority::new("Somebody's").unwrap();
    [
        ("is for campos.lit", ground.issue("campos.lit")),
        ("expired", ground.authority.issue(&expired).unwrap()),
        ("leads to no trusted root", other.issue(&request).unwrap()),
    ]
}

/// What is proved counts for its domain, and each is proved once: then it may write to all of ours.
#[tokio::test]
async fn many_pairs_share_one_stream() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger_of(&["pessoa.lit", "campos.lit"]).await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    for (from, to) in
        [("pessoa.lit", "saramago.lit"), ("campos.lit", "saramago.lit"), ("campos.lit", "chat.saramago.lit")]
    {
        stream.send_key(from, to).await;
        server.answer_verify("", |right| if right { "valid" } else { "invalid" }).await;
        stream.expect_verdict(from, to, "valid").await;
    }
    for (n, from) in ["ana@pessoa.lit", "alvaro@campos.lit"].into_iter().enumerate() {
        for (m, to) in [JOSE, RUI].into_iter().enumerate() {
            let id = format!("in-{n}-{m}");
            stream.tell(from, to, &id).await;
            ground.local.expect(&id).await;
        }
    }
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_server_that_asks_for_both_directions_gets_answers_on_its_stream() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    assert!(stream.offers("bidi", BIDI_FEATURE));
    stream.wire.send("<bidi xmlns='urn:xmpp:bidi'/>").await;
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    ground.local.tell(JOSE, ANA, "out").await;
    stream.expect("out").await;
    assert!(!server.has_been_dialled().await);
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_server_that_does_not_ask_for_both_directions_is_dialled() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut ours = server.accept(EXTERNAL).await;
    ours.let_in("").await;
    ours.expect("out").await;
    drop((stream, ours));
    ground.end().await;
}

/// What a stream offers, before and after authentication (XEP-0220, XEP-0288, XEP-0198, XEP-0478).
#[tokio::test]
async fn a_stream_offers_what_it_takes() {
    let ground = Ground::new("[limits]\nstanza_bytes = '20KiB'\nidle_timeout = '90s'").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    let limit = |stream: &Classic, name| {
        let limits = stream.features.child("limits", "urn:xmpp:stream-limits:0").unwrap();
        limits.child(name, "urn:xmpp:stream-limits:0").unwrap().text().to_owned()
    };
    let errors = stream.features.child("dialback", DIALBACK_FEATURE).unwrap().child("errors", DIALBACK_FEATURE);
    assert!(errors.is_some() && stream.offers("bidi", BIDI_FEATURE) && stream.offers("mechanisms", SASL));
    assert!(!stream.offers("sm", "urn:xmpp:sm:3"), "not before authentication");
    assert_eq!((limit(&stream, "max-bytes"), limit(&stream, "idle-seconds")), ("20480".to_owned(), "90".to_owned()));
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    assert!(stream.offers("sm", "urn:xmpp:sm:3") && !stream.offers("mechanisms", SASL));
    assert_eq!(limit(&stream, "max-bytes"), "20480");
    drop(stream);
    ground.end().await;
}

/// XEP-0198: the router counts for a server that wants it, and says how far it is.
#[tokio::test]
async fn what_a_server_sends_is_acknowledged() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.wire.send("<enable xmlns='urn:xmpp:sm:3'/>").await;
    assert!(stream.wire.element().await.is("enabled", "urn:xmpp:sm:3"));
    for n in 1..=3 {
        stream.tell(ANA, JOSE, &n.to_string()).await;
        ground.local.expect(&n.to_string()).await;
        stream.wire.send("<r xmlns='urn:xmpp:sm:3'/>").await;
        let answer = stream.wire.element().await;
        assert!(answer.is("a", "urn:xmpp:sm:3") && answer.attr("h") == Some(&n.to_string()), "{answer:?}");
    }
    drop(stream);
    ground.end().await;
}
