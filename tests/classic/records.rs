//! Where the servers of a domain are (RFC 6120 §3.2, XEP-0368), and which of them is used.

use std::net::SocketAddr;

use heteronym_proto::checker::Scope;
use tokio::net::TcpStream;

use super::ground::{ANA, DIRECT_TLS, Ground, JOSE, STARTTLS};
use crate::support::host::TLS;
use crate::support::server::{Classic, EXTERNAL, Server};
use crate::support::silence::Silent;
use crate::support::wire::{Heard, Wire};

/// A port where nobody listens.
const CLOSED: &str = "127.0.0.1:1";

fn closed() -> SocketAddr {
    CLOSED.parse().unwrap()
}

/// Another server of a domain, with a good certificate and no record.
async fn another(ground: &Ground, domain: &str) -> Server {
    Server::new(&[(domain, &ground.issue(domain))]).await
}

/// The next stream to `server` gets the stanza.
async fn gets(mut stream: Classic, id: &str) {
    stream.let_in("").await;
    stream.expect(id).await;
}

#[tokio::test]
async fn records_of_both_kinds_are_tried_by_priority() {
    for (direct, starttls) in [(1, 2), (2, 1)] {
        let mut ground = Ground::new("").await;
        let (secure, plain) = (another(&ground, "pessoa.lit").await, another(&ground, "pessoa.lit").await);
        let records = [(DIRECT_TLS, direct, 0, secure.address()), (STARTTLS, starttls, 0, plain.address())];
        ground.records("pessoa.lit", &records);
        ground.local.tell(JOSE, ANA, "out").await;
        if direct < starttls {
            gets(secure.accept_tls(EXTERNAL).await, "out").await;
            assert!(!plain.has_been_dialled().await);
        } else {
            gets(plain.accept(EXTERNAL).await, "out").await;
            assert!(!secure.has_been_dialled().await);
        }
        ground.end().await;
    }
}

/// Of one priority, a weight of 0 is all but never taken beside the greatest (RFC 2782).
#[tokio::test]
async fn records_of_both_kinds_share_their_weights() {
    for (direct, starttls) in [(u16::MAX, 0), (0, u16::MAX)] {
        let mut ground = Ground::new("").await;
        let (secure, plain) = (another(&ground, "pessoa.lit").await, another(&ground, "pessoa.lit").await);
        let records = [(DIRECT_TLS, 5, direct, secure.address()), (STARTTLS, 5, starttls, plain.address())];
        ground.records("pessoa.lit", &records);
        ground.local.tell(JOSE, ANA, "out").await;
        if direct > starttls {
            gets(secure.accept_tls(EXTERNAL).await, "out").await;
        } else {
            gets(plain.accept(EXTERNAL).await, "out").await;
        }
        ground.end().await;
    }
}

#[tokio::test]
async fn a_dot_says_that_there_is_no_server() {
    let mut ground = Ground::new("").await;
    let server = Server::on("127.0.53.70:5269", &[("pessoa.lit", &ground.issue("pessoa.lit"))]).await;
    ground.names.set_addresses("pessoa.lit", vec![server.address().ip()]);
    ground.names.set_service(STARTTLS, "pessoa.lit", vec![(0, 0, 0, ".".to_owned())]);
    let text = ground.bounced("out", "remote-server-not-found").await;
    assert!(text.contains("no XMPP service"), "{text}");
    assert!(!server.has_been_dialled().await);
    ground.end().await;
}

/// It says so of direct TLS only.
#[tokio::test]
async fn a_dot_for_direct_tls_leaves_starttls() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.names.set_service(DIRECT_TLS, "pessoa.lit", vec![(0, 0, 0, ".".to_owned())]);
    ground.local.tell(JOSE, ANA, "out").await;
    gets(server.accept(EXTERNAL).await, "out").await;
    ground.end().await;
}

/// And the domain's own addresses, where nothing is said of STARTTLS.
#[tokio::test]
async fn a_dot_for_direct_tls_alone_leaves_the_domain_itself() {
    let mut ground = Ground::new("").await;
    let server = Server::on("127.0.53.74:5269", &[("pessoa.lit", &ground.issue("pessoa.lit"))]).await;
    ground.names.set_addresses("pessoa.lit", vec![server.address().ip()]);
    ground.names.set_service(DIRECT_TLS, "pessoa.lit", vec![(0, 0, 0, ".".to_owned())]);
    ground.local.tell(JOSE, ANA, "out").await;
    gets(server.accept(EXTERNAL).await, "out").await;
    ground.end().await;
}

#[tokio::test]
async fn a_domain_without_records_is_dialled_itself() {
    let mut ground = Ground::new("").await;
    let server = Server::on("127.0.53.69:5269", &[("pessoa.lit", &ground.issue("pessoa.lit"))]).await;
    ground.names.set_addresses("pessoa.lit", vec![server.address().ip()]);
    ground.local.tell(JOSE, ANA, "out").await;
    gets(server.accept(EXTERNAL).await, "out").await;
    ground.end().await;
}

#[tokio::test]
async fn a_domain_with_records_is_not_dialled_itself() {
    let mut ground = Ground::new("").await;
    let server = Server::on("127.0.53.71:5269", &[("pessoa.lit", &ground.issue("pessoa.lit"))]).await;
    ground.names.set_addresses("pessoa.lit", vec![server.address().ip()]);
    ground.records("pessoa.lit", &[(STARTTLS, 0, 0, closed())]);
    let text = ground.bounced("out", "remote-server-timeout").await;
    assert!(text.contains("s0.pessoa.lit port 1"), "{text}");
    assert!(!server.has_been_dialled().await);
    ground.end().await;
}

#[tokio::test]
async fn a_domain_without_records_and_addresses_is_not_found() {
    let mut ground = Ground::new("").await;
    let text = ground.bounced("out", "remote-server-not-found").await;
    assert!(text.contains("no address"), "{text}");
    ground.end().await;
}

/// The first of its addresses takes connections and says nothing.
#[tokio::test]
async fn the_addresses_of_a_server_are_raced() {
    let mut ground = Ground::new("").await;
    let silent = Silent::on(&["127.0.53.72"]).await;
    let issued = ground.issue("pessoa.lit");
    let server = Server::on(&format!("127.0.53.73:{}", silent.port()), &[("pessoa.lit", &issued)]).await;
    ground.publish("pessoa.lit", &server);
    let addresses = ["127.0.53.72", "127.0.53.73"].map(|address| address.parse().unwrap());
    ground.names.set_addresses("s2s.pessoa.lit", addresses.to_vec());
    ground.local.tell(JOSE, ANA, "out").await;
    gets(server.accept(EXTERNAL).await, "out").await;
    ground.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_gives_way_to_the_next() {
    let mut ground = Ground::new("").await;
    let good = another(&ground, "pessoa.lit").await;
    let records = [(STARTTLS, 0, 0, closed()), (DIRECT_TLS, 1, 0, closed()), (STARTTLS, 2, 0, good.address())];
    ground.records("pessoa.lit", &records);
    ground.local.tell(JOSE, ANA, "out").await;
    gets(good.accept(EXTERNAL).await, "out").await;
    ground.end().await;
}

/// What a server does that is none, as far as the router is concerned.
#[derive(Clone, Copy, Debug)]
enum Fault {
    NoTls,
    TlsFails,
    Refuses,
    AnotherProtocol,
    HangsUp,
    Silent,
}

/// Gives what is to be kept open.
async fn fails(server: &Server, fault: Fault) -> Option<TcpStream> {
    match fault {
        Fault::NoTls => {
            let mut plain = server.accept_clear(EXTERNAL).await;
            let said = plain.hear().await;
            assert!(matches!(said, Heard::End), "nothing but the end without TLS: {said:?}");
        }
        Fault::TlsFails => {
            let mut plain = server.accept_clear(&format!("<starttls xmlns='{TLS}'/>")).await;
            assert!(plain.element().await.is("starttls", TLS));
            plain.send(format!("<proceed xmlns='{TLS}'/>")).await;
            plain.send("this is no TLS, whatever it is").await;
        }
        Fault::Refuses => {
            let mut plain = server.accept_clear("").await;
            let unknown = "<host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>";
            plain.send(format!("<stream:error>{unknown}</stream:error></stream:stream>")).await;
        }
        Fault::AnotherProtocol => {
            let mut plain = Wire::new(server.accept_tcp().await, Scope::DIALBACK);
            plain.header().await;
            plain.send("220 mail.pessoa.lit ESMTP\r\n").await;
        }
        Fault::HangsUp => drop(server.accept_tcp().await),
        Fault::Silent => return Some(server.accept_tcp().await),
    }
    None
}

#[tokio::test]
async fn a_server_that_cannot_be_used_gives_way_to_the_next() {
    use Fault::{AnotherProtocol, HangsUp, NoTls, Refuses, Silent, TlsFails};
    for fault in [NoTls, TlsFails, Refuses, AnotherProtocol, HangsUp, Silent] {
        let mut ground = Ground::new("[limits]\nconnect_timeout = '500ms'").await;
        let (bad, good) = (another(&ground, "pessoa.lit").await, another(&ground, "pessoa.lit").await);
        ground.records("pessoa.lit", &[(STARTTLS, 0, 0, bad.address()), (STARTTLS, 1, 0, good.address())]);
        ground.local.tell(JOSE, ANA, "out").await;
        let _open = fails(&bad, fault).await;
        gets(good.accept(EXTERNAL).await, "out").await;
        ground.end().await;
    }
}
