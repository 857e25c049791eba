//! The name server, asked by the router's own resolver.

use std::net::UdpSocket;

use heteronym_net::dns::{DnsError, Resolver, SrvRecord};

use super::*;

const SERVICE: &str = "_xmpp-federation._tcp";

fn start() -> NameServer {
    let mut zone = Zone::new().with_ttl(7);
    zone.set_srv("pessoa.lit", vec![(5, 1, 5270, "xmpp.other.isp".into()), (9, 2, 443, "b.other.isp.".into())]);
    zone.set_addresses("xmpp.other.isp", vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]);
    NameServer::start(zone).unwrap()
}

fn resolver(server: &NameServer) -> Resolver {
    Resolver::new(&[server.address()]).unwrap()
}

#[tokio::test]
async fn records_are_answered_with_their_life() {
    let server = start();
    let answer = resolver(&server).srv(SERVICE, "Pessoa.lit").await.unwrap();
    let targets: Vec<_> = answer.records.iter().map(|record| (record.port, record.target.as_str())).collect();
    assert_eq!(targets, [(5270, "xmpp.other.isp"), (443, "b.other.isp")]);
    assert_eq!(answer.ttl, Duration::from_secs(7));
    let addresses = resolver(&server).addresses("xmpp.other.isp").await.unwrap();
    assert_eq!(addresses, ["::1".parse::<IpAddr>().unwrap(), "127.0.0.1".parse().unwrap()]);
}

#[tokio::test]
async fn absence_is_clean_and_says_how_long_it_holds() {
    let server = start();
    // NXDOMAIN, and NODATA of a name that has others below it.
    for (service, domain) in [(SERVICE, "reis.lit"), ("_tcp", "pessoa.lit")] {
        let answer = resolver(&server).srv(service, domain).await.unwrap();
        assert_eq!((answer.records, answer.ttl), (Vec::<SrvRecord>::new(), Duration::from_secs(7)));
    }
    assert!(resolver(&server).addresses("pessoa.lit").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_changes_is_answered_at_once() {
    let server = start();
    let ports = async |domain| {
        let answer = resolver(&server).srv(SERVICE, domain).await.unwrap();
        answer.records.iter().map(|record| record.port).collect::<Vec<_>>()
    };
    server.set_srv("pessoa.lit", vec![(5, 0, 1234, "xmpp.other.isp".into())]);
    assert_eq!(ports("pessoa.lit").await, [1234]);
    server.remove("pessoa.lit");
    assert!(ports("pessoa.lit").await.is_empty());
}

#[tokio::test]
async fn a_domain_fails_until_it_recovers_and_others_do_not() {
    let server = start();
    server.fail("pessoa.lit");
    let failed = resolver(&server).srv(SERVICE, "pessoa.lit").await;
    assert!(matches!(failed, Err(DnsError::ServFail { .. })), "{failed:?}");
    assert!(resolver(&server).srv(SERVICE, "chat.pessoa.lit").await.is_ok());
    server.recover("pessoa.lit");
    assert_eq!(resolver(&server).srv(SERVICE, "pessoa.lit").await.unwrap().records.len(), 2);
}

#[tokio::test]
async fn one_name_of_a_domain_may_fail() {
    let server = start();
    server.fail("_xmpp-server._tcp.pessoa.lit");
    assert!(resolver(&server).srv("_xmpp-server._tcp", "pessoa.lit").await.is_err());
    assert!(resolver(&server).srv(SERVICE, "pessoa.lit").await.is_ok());
    server.recover("_xmpp-server._tcp.pessoa.lit");
    assert!(resolver(&server).srv("_xmpp-server._tcp", "pessoa.lit").await.is_ok());
}

#[tokio::test]
async fn a_silenced_domain_is_asked_for_and_not_answered() {
    let server = start();
    server.silence("pessoa.lit");
    let resolver = resolver(&server);
    let asking = tokio::time::timeout(Duration::from_millis(200), resolver.srv(SERVICE, "pessoa.lit"));
    assert!(asking.await.is_err(), "no answer");
    assert!(server.questions("_xmpp-federation._tcp.pessoa.lit") >= 1);
}

#[tokio::test]
async fn questions_are_counted_by_name() {
    let server = start();
    assert_eq!(server.questions("_xmpp-federation._tcp.pessoa.lit"), 0);
    let _ = resolver(&server).srv(SERVICE, "pessoa.lit").await;
    assert_eq!(server.questions("_XMPP-federation._tcp.pessoa.lit."), 1);
    assert_eq!(server.questions("pessoa.lit"), 0);
}

#[tokio::test]
async fn what_a_datagram_does_not_hold_comes_over_tcp() {
    let server = start();
    let many = (0..50).map(|n| (5, 0, n, format!("a-rather-long-name-of-a-host-{n}.other.isp"))).collect();
    server.set_srv("pessoa.lit", many);
    assert_eq!(resolver(&server).srv(SERVICE, "pessoa.lit").await.unwrap().records.len(), 50);
    assert_eq!(server.questions("_xmpp-federation._tcp.pessoa.lit"), 2);
}

#[tokio::test]
async fn an_alias_is_answered_with_what_it_leads_to() {
    let server = start();
    server.set_alias("_xmpp-federation._tcp.reis.lit", "_xmpp-federation._tcp.campos.lit");
    server.set_alias("_xmpp-federation._tcp.campos.lit", "_xmpp-federation._tcp.pessoa.lit");
    server.set_alias("alias.other.isp", "XMPP.other.isp.");
    assert_eq!(resolver(&server).srv(SERVICE, "reis.lit").await.unwrap().records.len(), 2);
    assert_eq!(resolver(&server).addresses("alias.other.isp").await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_alias_that_leads_nowhere_is_absent_and_one_to_itself_fails() {
    let server = start();
    server.set_alias("_xmpp-federation._tcp.reis.lit", "_xmpp-federation._tcp.nowhere.lit");
    server.set_alias("_xmpp-federation._tcp.campos.lit", "_xmpp-federation._tcp.campos.lit");
    let absent = resolver(&server).srv(SERVICE, "reis.lit").await.unwrap();
    assert_eq!((absent.records.len(), absent.ttl), (0, Duration::from_secs(7)));
    let failed = resolver(&server).srv(SERVICE, "campos.lit").await;
    assert!(matches!(failed, Err(DnsError::ServFail { .. })), "{failed:?}");
}

#[test]
fn it_ends_when_it_is_dropped() {
    let server = start();
    let address = server.address();
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
    assert!(UdpSocket::bind(address).is_ok());
}
