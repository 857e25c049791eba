//! Whoever dials the federation port and does not come to the end of the handshake.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use heteronym_proto::stream_error::Condition;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{active, third};
use crate::support::host::{AUTH, TLS};
use crate::support::soon;
use crate::support::stage::{ROUTER, Stage, World};
use crate::support::wire::{Heard, Wire};

/// A connection on which `first` was said.
async fn said(stage: &Stage, first: &[u8]) -> TcpStream {
    let mut tcp = soon("the federation port", TcpStream::connect(stage.world.router.federation)).await.unwrap();
    // Whoever is cut off already cannot go on.
    let _ = tcp.write_all(first).await;
    tcp
}

/// Everything that comes until the router closes.
async fn rest(mut tcp: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match soon("the end of the connection", tcp.read_to_end(&mut all)).await {
        Ok(_) => (),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    all
}

#[tokio::test]
async fn what_is_no_tls_is_answered_with_an_error() {
    let mut stage = Stage::new().await;
    let long = format!("<stream:stream xmlns='jabber:server' a='{}", "x".repeat(100_000));
    for (first, condition) in [
        ("GET / HTTP/1.1\r\nHost: xmpp.my.isp\r\n\r\n", Condition::NotWellFormed),
        ("SSH-2.0-OpenSSH_9.9\r\n", Condition::NotWellFormed),
        ("\0\u{1}\u{2}\u{3}", Condition::NotWellFormed),
        ("</stream:stream>", Condition::NotWellFormed),
        ("<?xml version='1.0'?><!DOCTYPE x [<!ENTITY lol 'lol'>]>", Condition::RestrictedXml),
        ("<message from='ana@pessoa.lit' to='jose@saramago.lit'>", Condition::BadFormat),
        (&long, Condition::PolicyViolation),
    ] {
        let answer = rest(said(&stage, first.as_bytes()).await).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("<?xml version='1.0'?><stream:stream "), "{first:.50}: {answer}");
        assert!(answer.contains(&format!("<{condition} ")) && answer.ends_with("</stream:stream>"), "{answer}");
        stage.talk().await;
    }
    stage.end().await;
}

#[tokio::test]
async fn what_looks_like_tls_and_is_none_ends_with_an_alert() {
    let mut stage = Stage::new().await;
    let records: [&[u8]; 4] = [
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x03\xff\xff\x01",
        b"\x16\x16\x16\x16\x16\x16\x16\x16",
        // A ServerHello from somebody who dialled.
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
    ];
    for record in records {
        let mut tcp = said(&stage, record).await;
        let _ = tcp.shutdown().await;
        let answer = rest(tcp).await;
        assert!(answer.is_empty() || answer[0] == 0x15, "an alert or nothing: {answer:?}");
        stage.talk().await;
    }
    stage.end().await;
}

/// A client of TLS without a certificate, as a browser would be.
fn browser(stage: &Stage, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(stage.world.authority.root_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn another_application_or_another_name_is_refused_within_tls() {
    let mut stage = Stage::new().await;
    for (alpn, server) in [
        (vec![b"h2".as_slice(), b"http/1.1"], ROUTER),
        (vec![b"xmpp-client".as_slice()], ROUTER),
        (vec![], "xmpp.third.isp"),
        (vec![], "saramago.lit"),
    ] {
        let tcp = said(&stage, b"").await;
        let handshake = browser(&stage, &alpn).connect(ServerName::try_from(server).unwrap(), tcp);
        let error = soon("the handshake", handshake).await.map(drop).unwrap_err();
        assert!(error.to_string().contains("alert"), "{server}: {error}");
        stage.talk().await;
    }
    stage.end().await;
}

/// As slow as it likes: whoever has not arrived in the time for connecting is cut off, wherever it is.
#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off() {
    let mut stage = Stage::on(World::configured("[limits]\nconnect_timeout = '3s'").await).await;
    let host = third(&stage).await;
    let header = host.header(ROUTER);
    let start_tls = format!("{header}<starttls xmlns='{TLS}'/>");
    let mut plain = Vec::new();
    for first in ["", "\u{16}", "\u{16}\u{3}\u{1}\u{2}", "<", "<stream:stream xmlns='", &header, &start_tls] {
        plain.push(said(&stage, first.as_bytes()).await);
    }
    let mut secured = Vec::new();
    for first in ["", "<", &header, &format!("{header}<"), &format!("{header}{}", &AUTH[..20])] {
        let mut wire =
            Wire::new(host.secure(&stage.world.router).await.stream, heteronym_proto::checker::Scope::SERVER);
        wire.send(first).await;
        secured.push(wire);
    }
    let authenticated = host.knock(host.secure(&stage.world.router).await).await;
    secured.push(authenticated.wire);
    stage.talk().await;
    for tcp in plain {
        rest(tcp).await;
    }
    for mut wire in secured {
        while !matches!(wire.hear().await, Heard::Closed) {}
    }
    active(&stage, &host).await;
    stage.end().await;
}

/// Whoever opens connections without end and says nothing gets so many of the places, and no more.
#[tokio::test]
async fn handshakes_from_one_address_are_bounded() {
    let mut stage = Stage::on(World::configured("[limits]\nconnect_timeout = '5m'").await).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(said(&stage, b"").await);
    }
    assert!(rest(said(&stage, b"").await).await.is_empty(), "one too many");
    stage.talk().await;
    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let tcp = elsewhere.connect(stage.world.router.federation).await.unwrap();
    let host = third(&stage).await;
    host.authenticate(host.secure_over(tcp).await).await.settle().await;
    drop(silent);
    stage.end().await;
}

/// A byte now and then does not count as progress.
#[tokio::test]
async fn a_handshake_that_drips_is_cut_off() {
    let mut stage = Stage::on(World::configured("[limits]\nconnect_timeout = '2s'").await).await;
    let mut tcp = said(&stage, b"").await;
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    let header =
        format!("{}{}", " ".repeat(10), "<stream:stream xmlns='jabber:server' ".to_owned() + &" ".repeat(10_000));
    let dripping = async {
        for byte in header.bytes() {
            pause.tick().await;
            if tcp.write_all(&[byte]).await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(soon("the cut", dripping).await, "it was read to the end");
    stage.talk().await;
    stage.end().await;
}
