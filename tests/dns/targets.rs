//! Which host is dialled, where, and in which order.

use heteronym_proto::limits::DIALS;

use super::{ANA, JOSE, SERVICE, is_bounced, is_delivered, of_the_peer};
use crate::support::silence::Silent;
use crate::support::stage::{Stage, World};

const PEER_ADDRESS: &str = "127.0.0.1";
/// A port where nobody listens.
const CLOSED: u16 = 1;

#[tokio::test]
async fn an_alias_of_the_record_is_followed() {
    let world = World::new().await;
    world.names.remove("pessoa.lit");
    world.names.set_alias(SERVICE, "_xmpp-federation._tcp.campos.lit");
    let mut local = world.attach().await;
    is_delivered(&world, &mut local).await;
    world.router.drain().await;
}

/// The target's own name stays the one that TLS and the stream ask for: `Host::accept` looks.
#[tokio::test]
async fn an_alias_of_the_target_is_followed() {
    let world = World::new().await;
    world.names.remove(world.host.name.as_str());
    world.names.set_alias(world.host.name.as_str(), "a.other.isp");
    world.names.set_addresses("a.other.isp", vec![PEER_ADDRESS.parse().unwrap()]);
    let mut local = world.attach().await;
    is_delivered(&world, &mut local).await;
    world.router.drain().await;
}

#[tokio::test]
async fn a_target_without_an_address_gives_way_to_the_next() {
    let world = World::new().await;
    let nowhere = (0, 0, 5270, "xmpp.nowhere.isp".to_owned());
    world.names.set_srv("pessoa.lit", vec![of_the_peer(&world, 9), nowhere]);
    let mut local = world.attach().await;
    is_delivered(&world, &mut local).await;
    world.router.drain().await;
}

#[tokio::test]
async fn a_target_whose_look_up_fails_gives_way_to_the_next() {
    let world = World::new().await;
    world.names.fail("xmpp.broken.isp");
    let broken = (0, 0, 5270, "xmpp.broken.isp".to_owned());
    world.names.set_srv("pessoa.lit", vec![of_the_peer(&world, 9), broken]);
    let mut local = world.attach().await;
    is_delivered(&world, &mut local).await;
    world.router.drain().await;
}

/// The stanza waits, since a host may come back, and every target is named with what is wrong there.
#[tokio::test]
async fn targets_that_cannot_be_reached_are_all_named() {
    let world = World::configured("[limits]\nstanza_wait = '3s'").await;
    world.names.fail("xmpp.broken.isp");
    let records = [(0, "xmpp.nowhere.isp"), (1, "xmpp.broken.isp"), (2, "xmpp.closed.isp")];
    let records = records.map(|(priority, host)| (priority, 0, CLOSED, host.to_owned()));
    world.names.set_addresses("xmpp.closed.isp", vec![PEER_ADDRESS.parse().unwrap()]);
    world.names.set_srv("pessoa.lit", records.to_vec());
    let mut local = world.attach().await;
    local.tell(JOSE, ANA, "out").await;
    let error = local.hear_error("out", "remote-server-timeout").await;
    for why in ["xmpp.nowhere.isp has no address", "xmpp.broken.isp: SERVFAIL", "Connection refused"] {
        assert!(error.contains(why), "expected {why}: {error}");
    }
    world.router.drain().await;
}

/// And so does the status, while it waits.
#[tokio::test]
async fn the_status_says_which_host_is_not_reached() {
    let world = World::new().await;
    world.names.set_srv("pessoa.lit", vec![(0, 0, 5270, "xmpp.nowhere.isp".to_owned())]);
    let mut local = world.attach().await;
    local.tell(JOSE, ANA, "waiting").await;
    let why = "xmpp.nowhere.isp has no address";
    world
        .router
        .status_until("why the host is not reached", |status| {
            let says = |error: &Option<String>| error.as_ref().is_some_and(|error| error.contains(why));
            status.hosts.iter().any(|host| host.name == "xmpp.nowhere.isp" && says(&host.last_error))
                && status.pairs.iter().any(|pair| says(&pair.last_error))
        })
        .await;
    world.router.drain().await;
    local.expect_error("waiting", "remote-server-timeout").await;
}

#[tokio::test]
async fn the_lowest_priority_goes_first_although_another_has_a_link() {
    let mut stage = Stage::new().await;
    let first = stage.world.another_host("xmpp.first.isp").await;
    let records = vec![of_the_peer(&stage.world, 20), (10, 0, first.port(), first.name.to_string())];
    stage.world.names.set_srv("pessoa.lit", records);
    stage.local.tell(JOSE, ANA, "out").await;
    let mut link = first.accept().await;
    link.settle().await;
    link.serve(&stage.world.domain_of("pessoa.lit", &first)).await;
    link.expect("out").await;
    stage.end().await;
}

#[tokio::test]
async fn of_one_priority_a_host_with_a_link_goes_first() {
    let mut stage = Stage::new().await;
    let other = stage.world.another_host("xmpp.third.isp").await;
    let records = vec![(10, 1000, other.port(), other.name.to_string()), of_the_peer(&stage.world, 10)];
    stage.world.names.set_srv("pessoa.lit", records);
    stage.local.tell(JOSE, ANA, "out").await;
    stage.link.serve(&stage.pessoa).await;
    stage.link.expect("out").await;
    assert!(!other.has_been_dialled().await);
    stage.end().await;
}

/// Two records of one host are two doors of one house: 443 where 5270 is filtered.
#[tokio::test]
async fn the_second_port_of_a_host_is_tried_where_the_first_is_closed() {
    let world = World::new().await;
    let closed = (0, 0, CLOSED, world.host.name.to_string());
    world.names.set_srv("pessoa.lit", vec![closed, of_the_peer(&world, 1)]);
    let mut local = world.attach().await;
    is_delivered(&world, &mut local).await;
    world.router.drain().await;
}

/// RFC 8305: the other family is tried beside it, and nobody waits for the time-out.
#[tokio::test]
async fn an_address_that_swallows_everything_is_overtaken() {
    let silent = Silent::on(&["::1", "127.0.0.3"]).await;
    let world = World::configured("[limits]\nconnect_timeout = '5m'\nstanza_wait = '5m'").await;
    let second = world.host.also_listening("127.0.0.4", silent.port()).await;
    let addresses = ["::1", "127.0.0.3", "127.0.0.4"].map(|address| address.parse().unwrap());
    world.names.set_addresses(world.host.name.as_str(), addresses.to_vec());
    world.names.set_srv("pessoa.lit", vec![(0, 0, silent.port(), world.host.name.to_string())]);
    let mut local = world.attach().await;
    local.tell(JOSE, ANA, "out").await;
    let (tcp, _) = crate::support::soon("the address that answers", second.accept()).await.unwrap();
    let mut link = world.host.let_in(tcp).await;
    link.settle().await;
    link.serve(&world.domain("pessoa.lit")).await;
    link.expect("out").await;
    drop(silent);
    world.router.drain().await;
}

#[tokio::test]
async fn a_host_that_swallows_everything_is_named_with_its_addresses() {
    let silent = Silent::on(&["127.0.0.3"]).await;
    let world = World::configured("[limits]\nconnect_timeout = '1s'\nstanza_wait = '2s'").await;
    world.names.set_addresses(world.host.name.as_str(), vec!["127.0.0.3".parse().unwrap()]);
    world.names.set_srv("pessoa.lit", vec![(0, 0, silent.port(), world.host.name.to_string())]);
    let mut local = world.attach().await;
    is_bounced(&mut local, "remote-server-timeout", &format!("127.0.0.3:{}: no answer in time", silent.port())).await;
    world.router.drain().await;
}

/// More records than a datagram holds: the answer is truncated, and comes over TCP.
#[tokio::test]
async fn the_host_is_found_in_an_answer_that_was_truncated() {
    let world = World::new().await;
    let mut records: Vec<_> =
        (1..50).map(|n| (n, 0, 5270, format!("a-rather-long-name-of-a-host-{n}.other.isp"))).collect();
    records.push(of_the_peer(&world, 0));
    world.names.set_srv("pessoa.lit", records);
    let mut local = world.attach().await;
    is_delivered(&world, &mut local).await;
    assert_eq!(world.names.questions(SERVICE), 2, "over UDP and over TCP");
    world.router.drain().await;
}

/// A host is dialled once, whatever the number of domains that wait for it.
#[tokio::test]
async fn many_domains_of_one_host_dial_it_once() {
    let world = World::new().await;
    let mut local = world.attach().await;
    let domains: Vec<_> = (0..50).map(|n| format!("d{n}.lit")).collect();
    for domain in &domains {
        world.names.set_srv(domain, vec![of_the_peer(&world, 0)]);
    }
    for domain in &domains {
        local.tell(JOSE, domain, domain).await;
    }
    let tcp = world.host.accept_tcp().await;
    local.tell(JOSE, ANA, "one-more").await;
    let mut link = world.host.let_in(tcp).await;
    link.settle().await;
    for _ in 0..=domains.len() {
        link.hear_question().await;
    }
    assert!(!world.host.has_been_dialled().await);
    assert_eq!(world.names.questions(world.host.name.as_str()), 2, "A and AAAA, once");
    world.router.drain().await;
}

/// Names of hosts cost an enemy nothing; each dial costs descriptors for as long as it lasts.
#[tokio::test]
async fn hosts_that_swallow_everything_are_dialled_in_bounds() {
    let silent = Silent::on(&["127.0.0.3"]).await;
    let world = World::configured("[limits]\nconnect_timeout = '1m'\nstanza_wait = '10s'").await;
    let mut local = world.attach().await;
    for n in 0..=DIALS {
        let (domain, host) = (format!("d{n}.silent.lit"), format!("h{n}.silent.isp"));
        world.names.set_addresses(&host, vec!["127.0.0.3".parse().unwrap()]);
        world.names.set_srv(&domain, vec![(0, 0, silent.port(), host)]);
        local.tell(JOSE, &domain, "out").await;
    }
    let mut over = 0;
    for _ in 0..=DIALS {
        let why = local.hear_error("out", "remote-server-timeout").await;
        over += usize::from(why.contains("too many hosts are being dialled"));
    }
    assert_eq!(over, 1);
    drop(silent);
}
