//! DNS for our own servers: where their look-ups lead, and what is asked of others.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use heteronym::demo::name_server::{NameServer, Srv, Zone};
use heteronym_net::dns::{DnsError, Resolver};
use hickory_server::proto::op::{Message, Query, ResponseCode};
use hickory_server::proto::rr::{Name, RData, RecordType};

use crate::support::http::get;
use crate::support::soon;
use crate::support::stage::{Set, World};
use crate::support::wire::Heard;

const SERVER: &str = "_xmpp-server._tcp";

/// A router, where it answers look-ups, and the port of its listener for servers of its own.
struct Steered {
    world: World,
    address: SocketAddr,
    port: u16,
}

impl Steered {
    async fn new() -> Self {
        let loopback = "local_s2s = ['127.0.0.1:0']\nsteering_dns = ['127.5.3.2:0']".to_owned();
        let world = World::with(Set { loopback, ..Set::default() }).await;
        let (address, port) = (world.router.steering_dns.unwrap(), world.router.local_s2s.unwrap().port());
        Self { world, address, port }
    }

    /// As a server of ours has it.
    fn resolver(&self) -> Resolver {
        Resolver::new(&[self.address]).unwrap()
    }

    async fn is_led_here(&self, domain: &str) {
        let answer = soon("a record", self.resolver().srv(SERVER, domain)).await.unwrap();
        let targets: Vec<_> = answer.records.iter().map(|record| (record.port, record.target.as_str())).collect();
        assert_eq!((targets, answer.ttl), (vec![(self.port, "127.0.0.1")], Duration::from_secs(60)), "{domain}");
    }

    /// How many questions ended so.
    fn counted(&self, result: &str) -> Option<u64> {
        let (_, metrics) = get(self.world.router.admin, "/metrics", None);
        let of = |line: &str| {
            line.strip_prefix(&format!("heteronym_steering_questions_total{{result=\"{result}\"}} "))?.parse().ok()
        };
        metrics.lines().find_map(of)
    }
}

/// The answer to one datagram.
fn ask(address: SocketAddr, name: &Name, kind: RecordType) -> Message {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
    socket.send_to(&question.to_vec().unwrap(), address).unwrap();
    let mut answer = [0; 4096];
    let (size, _) = socket.recv_from(&mut answer).unwrap();
    Message::from_vec(&answer[..size]).unwrap()
}

#[tokio::test]
async fn every_domain_leads_to_the_loopback_listener() {
    let steered = Steered::new().await;
    steered.world.names.set_service(SERVER, "pessoa.lit", vec![(0, 0, 5269, "xmpp.other.isp".to_owned())]);
    for domain in ["pessoa.lit", "chat.pessoa.lit", "nobody.lit", "saramago.lit"] {
        steered.is_led_here(domain).await;
        assert_eq!(steered.world.names.questions(&format!("{SERVER}.{domain}")), 0, "nobody else is asked");
    }
    let target = steered.resolver().addresses("127.0.0.1.").await.unwrap();
    assert_eq!(target, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    steered.world.router.drain().await;
}

/// Published all the same, and found by whoever asks the name server.
#[tokio::test]
async fn nothing_leads_past_the_router() {
    let steered = Steered::new().await;
    let names = &steered.world.names;
    for service in ["_xmpps-server._tcp", "_xmpp-federation._tcp", "_jabber._tcp"] {
        names.set_service(service, "pessoa.lit", vec![(0, 0, 5270, "xmpp.other.isp".to_owned())]);
        let answer = steered.resolver().srv(service, "pessoa.lit").await.unwrap();
        assert_eq!((answer.records.len(), answer.ttl), (0, Duration::from_secs(60)), "{service}");
        let real = Resolver::new(&[names.address()]).unwrap();
        assert_eq!(real.srv(service, "pessoa.lit").await.unwrap().records.len(), 1, "{service}");
    }
    steered.world.router.drain().await;
}

#[tokio::test]
async fn everything_else_is_asked_of_dns_servers() {
    let steered = Steered::new().await;
    let (names, resolver) = (&steered.world.names, steered.resolver());
    let many: Vec<Srv> = (0..50).map(|n| (5, 0, n, format!("a-rather-long-name-of-a-host-{n}.other.isp"))).collect();
    names.set_service("_xmpp-client._tcp", "pessoa.lit", many);
    let over_tcp = resolver.srv("_xmpp-client._tcp", "pessoa.lit").await.unwrap();
    assert_eq!(over_tcp.records.len(), 50);
    assert_eq!(resolver.addresses("xmpp.other.isp").await.unwrap(), ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    names.set_ttl(7);
    let absent = resolver.srv("_sip._tcp", "nobody.lit").await.unwrap();
    assert_eq!((absent.records.len(), absent.ttl), (0, Duration::from_secs(7)));
    names.fail("pessoa.lit");
    assert!(matches!(resolver.addresses("pessoa.lit").await, Err(DnsError::ServFail { .. })));
    steered.is_led_here("pessoa.lit").await;
    steered.world.router.drain().await;
}

#[tokio::test]
async fn silence_is_answered_as_a_failure() {
    let steered = Steered::new().await;
    steered.world.names.silence("silent.lit");
    let (address, name) = (steered.address, Name::from_ascii("silent.lit.").unwrap());
    let asking = tokio::task::spawn_blocking(move || ask(address, &name, RecordType::MX));
    assert_eq!(asking.await.unwrap().metadata.response_code, ResponseCode::ServFail);
    steered.world.router.drain().await;
}

#[tokio::test]
async fn the_case_of_a_question_is_kept() {
    let steered = Steered::new().await;
    steered.world.names.set_addresses("pessoa.lit", vec!["127.0.0.1".parse().unwrap()]);
    for (name, kind) in [("_xMpp-SeRver._tCp.pEssoa.liT.", RecordType::SRV), ("pEsSoa.lIt.", RecordType::A)] {
        let (address, mixed) = (steered.address, Name::from_ascii(name).unwrap());
        let question = mixed.clone();
        let answer = tokio::task::spawn_blocking(move || ask(address, &question, kind)).await.unwrap();
        assert!(answer.queries[0].name().eq_case(&mixed) && answer.answers.len() == 1, "{answer:?}");
    }
    steered.world.router.drain().await;
}

#[tokio::test]
async fn questions_are_counted_by_what_became_of_them() {
    let steered = Steered::new().await;
    let results = ["steered", "absent", "forwarded", "failed"];
    let counted = || results.map(|result| steered.counted(result).unwrap());
    assert_eq!(counted(), [0; 4], "each is there before it is counted");
    let (address, of) = (steered.address, |name: &str| Name::from_ascii(name).unwrap());
    let [server, other] = [of("_xmpp-server._tcp.pessoa.lit."), of("pessoa.lit.")];
    let asking = tokio::task::spawn_blocking(move || {
        ask(address, &server, RecordType::SRV);
        ask(address, &server, RecordType::CNAME);
        ask(address, &other, RecordType::TXT);
        ask(address, &other, RecordType::AXFR);
    });
    asking.await.unwrap();
    assert_eq!(counted(), [1; 4]);
    steered.world.router.drain().await;
}

#[tokio::test]
async fn a_reload_names_other_servers_to_ask() {
    let steered = Steered::new().await;
    let found = async || steered.resolver().addresses("campos.lit").await.unwrap();
    assert!(found().await.is_empty());
    let mut zone = Zone::new();
    zone.set_addresses("campos.lit", vec!["127.0.0.9".parse().unwrap()]);
    let others = NameServer::start(zone).unwrap();
    let text = steered.world.text.replace(&steered.world.names.address().to_string(), &others.address().to_string());
    assert_eq!(steered.world.reload(&text).0, 200);
    assert_eq!(found().await, ["127.0.0.9".parse::<IpAddr>().unwrap()]);
    steered.is_led_here("pessoa.lit").await;
    steered.world.router.drain().await;
}

/// Nothing is known then: our own look-ups would come here as well.
#[tokio::test]
async fn a_router_that_would_ask_itself_says_nothing() {
    let steered = Steered::new().await;
    let text = steered.world.text.replace(&steered.world.names.address().to_string(), &steered.address.to_string());
    assert_eq!(steered.world.reload(&text).0, 200);
    let failed = steered.resolver().srv(SERVER, "pessoa.lit").await;
    assert!(matches!(failed, Err(DnsError::ServFail { .. })), "{failed:?}");
    assert_eq!(steered.world.reload(&steered.world.text).0, 200);
    steered.is_led_here("pessoa.lit").await;
    steered.world.router.drain().await;
}

#[tokio::test]
async fn it_answers_until_the_router_has_drained() {
    let steered = Steered::new().await;
    let address = steered.address;
    let mut link = steered.world.host.dial(&steered.world.router).await;
    link.settle().await;
    let Steered { world: World { router, .. }, port, .. } = steered;
    let draining = router.begin_drain();
    // Its end is not answered yet: for that the router waits.
    assert!(matches!(link.wire.hear().await, Heard::End));
    let name = Name::from_ascii(format!("{SERVER}.pessoa.lit.")).unwrap();
    let asking = tokio::task::spawn_blocking(move || ask(address, &name, RecordType::SRV));
    let answer = asking.await.unwrap();
    assert!(matches!(&answer.answers[0].data, RData::SRV(record) if record.port == port), "{answer:?}");
    drop(link);
    draining.ended().await;
    assert!(UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok(), "and then no more");
}

#[tokio::test]
async fn a_port_in_use_is_an_error_of_the_start() {
    let steered = Steered::new().await;
    let file = steered.world.folder.path().join("second.toml");
    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    for taken in [udp.local_addr().unwrap(), tcp.local_addr().unwrap(), steered.address] {
        let listen = format!("steering_dns = ['{taken}']");
        let text = steered.world.text.replace("steering_dns = ['127.5.3.2:0']", &listen);
        std::fs::write(&file, text).unwrap();
        let mut run = Command::new(env!("CARGO_BIN_EXE_heteronym"));
        run.arg("run").arg("-c").arg(&file);
        let output = tokio::task::spawn_blocking(move || run.output()).await.unwrap().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("listen.steering_dns = {taken}: cannot listen on {taken}")), "{said}");
    }
    steered.world.router.drain().await;
}
