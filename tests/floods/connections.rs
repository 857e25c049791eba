//! Connections that lead nowhere, from one address or from several.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heteronym_proto::checker::Scope;
use heteronym_proto::limits::HANDSHAKES_OF_ONE_NETWORK;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::hostile::{active, third};
use crate::support::metrics::{metric, metric_until};
use crate::support::soon;
use crate::support::stage::{ROUTER, Stage, World};
use crate::support::wire::{Heard, Wire};

const CROWDED: &str = "heteronym_incoming_connections_total{listener=\"federation\",result=\"crowded\"}";
const ESTABLISHED: &str = "heteronym_incoming_connections_total{listener=\"federation\",result=\"established\"}";
const FAILED: &str = "heteronym_incoming_connections_total{listener=\"federation\",result=\"failed\"}";
const LATE: &str = "heteronym_incoming_connections_total{listener=\"federation\",result=\"late\"}";
const UNDER_WAY: &str = "heteronym_handshakes{listener=\"federation\"}";
const NO_TLS: &str = "heteronym_tls_handshakes_total{result=\"failed\",role=\"server\"}";

async fn dial(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    soon("the federation port", socket.connect(to)).await.unwrap()
}

/// Waits until the router closes; what it said before.
async fn closed(mut tcp: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    if let Err(error) = soon("the end of the connection", tcp.read_to_end(&mut all)).await {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    all
}

/// A world in which nothing ends because it took too long.
async fn patient() -> Stage {
    Stage::on(World::configured("[limits]\nconnect_timeout = '5m'").await).await
}

#[tokio::test]
async fn thousands_of_connections_from_one_address_keep_nobody_else_out() {
    let mut stage = patient().await;
    let router = stage.world.router.federation;
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_OF_ONE_NETWORK {
        silent.push(dial("127.0.0.1", router).await);
    }
    for _ in 0..3000 {
        assert!(closed(dial("127.0.0.1", router).await).await.is_empty());
    }
    let numbers = [CROWDED, UNDER_WAY].map(|sample| metric(&stage.world.router, sample));
    assert_eq!(numbers, [3000.0, HANDSHAKES_OF_ONE_NETWORK as f64]);
    stage.talk().await;
    let before = metric(&stage.world.router, ESTABLISHED);
    let host = third(&stage).await;
    let mut other = host.authenticate(host.secure_over(dial("127.0.0.2", router).await).await).await;
    other.settle().await;
    assert_eq!(metric(&stage.world.router, ESTABLISHED), before + 1.0);
    drop(silent);
    metric_until(&stage.world.router, UNDER_WAY, |under_way| under_way == 0.0).await;
    stage.end().await;
}

#[tokio::test]
async fn garbage_before_tls_is_closed_and_counted() {
    let stage = patient().await;
    for n in 0..=255_u8 {
        let mut tcp = dial("127.0.0.1", stage.world.router.federation).await;
        let garbage: Vec<u8> = (0..4096_u32).map(|at| n.wrapping_add((at * at % 251) as u8)).collect();
        let _ = tcp.write_all(&garbage).await;
        // Whoever waits for the rest of a record is told that there is none.
        let _ = tcp.shutdown().await;
        closed(tcp).await;
    }
    metric_until(&stage.world.router, UNDER_WAY, |under_way| under_way == 0.0).await;
    assert_eq!(metric(&stage.world.router, FAILED), 256.0);
    assert!(metric(&stage.world.router, NO_TLS) >= 1.0);
    stage.end().await;
}

/// What a client of TLS says first.
fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(ROUTER).unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// A byte now and then, and each of them right.
#[tokio::test]
async fn a_handshake_of_tls_that_drips_is_cut_off_and_counted() {
    let stage = Stage::on(World::configured("[limits]\nconnect_timeout = '1s'").await).await;
    let mut tcp = dial("127.0.0.1", stage.world.router.federation).await;
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    let dripping = async {
        // It is longer than the time for it by far.
        for byte in client_hello().into_iter().cycle() {
            pause.tick().await;
            if tcp.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    };
    soon("the cut", dripping).await;
    assert_eq!(metric(&stage.world.router, LATE), 1.0);
    stage.end().await;
}

/// Nothing is to come any more, before the handshake is over.
#[tokio::test]
async fn a_half_closed_handshake_is_closed_and_counted() {
    let stage = patient().await;
    let host = third(&stage).await;
    let hello = client_hello();
    let header = host.header(ROUTER);
    let mut count = 0.0;
    for said in [&b""[..], &hello[..1], &hello[..100], &hello[..], b"<", header.as_bytes()] {
        let mut tcp = dial("127.0.0.1", stage.world.router.federation).await;
        tcp.write_all(said).await.unwrap();
        tcp.shutdown().await.unwrap();
        closed(tcp).await;
        count += 1.0;
    }
    for said in ["", "<", &header] {
        let mut wire = Wire::new(host.secure(&stage.world.router).await.stream, Scope::SERVER);
        wire.send(said).await;
        wire.half_close().await;
        while !matches!(wire.hear().await, Heard::Closed) {}
        count += 1.0;
    }
    let mut link = host.knock(host.secure(&stage.world.router).await).await;
    link.wire.half_close().await;
    while !matches!(link.wire.hear().await, Heard::Closed) {}
    count += 1.0;
    metric_until(&stage.world.router, UNDER_WAY, |under_way| under_way == 0.0).await;
    assert_eq!(metric(&stage.world.router, FAILED), count);
    stage.end().await;
}

/// The stream has not ended, but nothing can come any more.
#[tokio::test]
async fn a_half_closed_link_is_closed() {
    let stage = patient().await;
    let host = third(&stage).await;
    let mut link = active(&stage, &host).await;
    link.wire.half_close().await;
    while !matches!(link.wire.hear().await, Heard::Closed) {}
    let gone = |status: &heteronym_proto::status::Status| {
        status.hosts.iter().filter(|of| of.name == host.name.as_str()).all(|of| of.address.is_none())
    };
    stage.world.router.status_until("the end of the link", gone).await;
    stage.end().await;
}
