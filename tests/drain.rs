//! The end in order: what was accepted is delivered or bounced, and every stream has an end.

use heteronym_proto::control::UndeliveredReason;

use crate::support::message;
use crate::support::stage::{ROUTER, Stage, World};
use crate::support::wire::Heard;

const JOSE: &str = "jose@saramago.lit/x";
const ANA: &str = "ana@pessoa.lit";
/// Stanzas under way in either direction when the end comes.
const STANZAS: usize = 2000;

/// Sends a ping behind everything else, so that its answer says that all of it was accepted.
async fn all_is_accepted(stage: &mut Stage) {
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    stage.local.send(format!("<iq type='get' id='last' from='{JOSE}' to='{ROUTER}'>{ping}</iq>")).await;
    let answer = stage.local.wire.element().await;
    assert_eq!((answer.attr("type"), answer.attr("id")), (Some("result"), Some("last")));
}

#[tokio::test]
async fn what_was_accepted_for_a_peer_arrives_before_the_end() {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let all: String = (0..STANZAS).map(|n| message(JOSE, ANA, &n.to_string())).collect();
    stage.local.send(all).await;
    all_is_accepted(&mut stage).await;
    let Stage { world, mut local, mut link, .. } = stage;
    let draining = world.router.begin_drain();
    for n in 0..STANZAS {
        link.expect(&n.to_string()).await;
    }
    link.wire.expect_end().await;
    local.wire.expect_end().await;
    draining.ended().await;
}

#[tokio::test]
async fn what_was_accepted_from_a_peer_arrives_before_the_end() {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let all: String = (0..STANZAS).map(|n| message(ANA, JOSE, &n.to_string())).collect();
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    let from = stage.world.host.name.clone();
    let last = format!("<iq type='get' id='last' from='{from}' to='{ROUTER}'>{ping}</iq>");
    stage.link.wire.send(all + &last).await;
    let answer = stage.link.stanza().await;
    assert_eq!((answer.attr("type"), answer.attr("id")), (Some("result"), Some("last")));
    let Stage { world, mut local, mut link, .. } = stage;
    let draining = world.router.begin_drain();
    for n in 0..STANZAS {
        local.expect(&n.to_string()).await;
    }
    local.wire.expect_end().await;
    link.wire.expect_end().await;
    draining.ended().await;
}

/// The end of our stream is not the end of the peer's: what was under way then is taken (RFC 6120 §4.4).
#[tokio::test]
async fn what_is_under_way_from_a_peer_when_the_end_comes_arrives() {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let Stage { world, mut local, mut link, .. } = stage;
    let draining = world.router.begin_drain();
    let end = link.wire.hear().await;
    assert!(matches!(end, Heard::End), "{end:?}");
    // In one piece: the router hears its peer out for two seconds.
    let all: String = (0..100).map(|n| message(ANA, JOSE, &n.to_string())).collect();
    link.wire.send(all + "</stream:stream>").await;
    for n in 0..100 {
        local.expect(&n.to_string()).await;
    }
    local.wire.expect_end().await;
    draining.ended().await;
}

/// A component learns of the end when its stream ends: what it sends until then is answered.
#[tokio::test]
async fn what_a_component_sends_while_the_router_drains_comes_back() {
    let Stage { world, mut local, mut link, .. } = Stage::new().await;
    let draining = world.router.begin_drain();
    let end = link.wire.hear().await;
    assert!(matches!(end, Heard::End), "{end:?}");
    local.tell(JOSE, ANA, "late").await;
    local.expect_error_saying("late", "remote-server-timeout", "shuts down").await;
    link.wire.send("</stream:stream>").await;
    local.wire.expect_end().await;
    draining.ended().await;
}

#[tokio::test]
async fn what_waits_for_an_activation_comes_back() {
    let mut stage = Stage::new().await;
    stage.local.tell(JOSE, ANA, "waiting").await;
    stage.link.show(&stage.pessoa).await;
    stage.link.hear_request().await;
    let Stage { world, mut local, mut link, .. } = stage;
    let draining = world.router.begin_drain();
    local.expect_error("waiting", "remote-server-timeout").await;
    link.wire.expect_end().await;
    local.wire.expect_end().await;
    draining.ended().await;
}

#[tokio::test]
async fn what_waits_for_a_host_comes_back() {
    let world = World::new().await;
    let mut local = world.attach().await;
    local.tell(JOSE, ANA, "waiting").await;
    let dialled = world.host.accept_tcp().await;
    let draining = world.router.begin_drain();
    local.expect_error("waiting", "remote-server-timeout").await;
    local.wire.expect_end().await;
    drop(dialled);
    draining.ended().await;
}

/// What was read from the peer and has nobody to go to is told before the stream ends.
#[tokio::test]
async fn what_waits_for_a_component_is_handed_back() {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.pessoa, "baltasar.lit").await;
    let n = stage.link.tell(ANA, "sete@baltasar.lit", "waiting").await;
    stage.talk().await;
    let Stage { world, mut local, mut link, .. } = stage;
    let draining = world.router.begin_drain();
    link.expect_undelivered(n, UndeliveredReason::DomainUnavailable).await;
    link.wire.expect_end().await;
    local.wire.expect_end().await;
    draining.ended().await;
}

#[tokio::test]
async fn nothing_is_accepted_any_more() {
    let stage = Stage::new().await;
    let (federation, component) = (stage.world.router.federation, stage.world.router.component);
    stage.end().await;
    for address in [federation, component] {
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "{address} still takes connections");
    }
}

/// Whoever does not read cannot hold the router up: what was written for it is lost with it.
#[tokio::test]
async fn a_peer_that_does_not_read_is_not_waited_for() {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    let text = "x".repeat(50_000);
    for _ in 0..200 {
        stage.local.send(message(JOSE, ANA, "large").replace("large</body>", &format!("{text}</body>"))).await;
    }
    let Stage { world, link, local, .. } = stage;
    world.router.drain().await;
    drop((link, local));
}

/// A peer that takes what it gets, never says so, and does not end its stream: nobody knows, and the sender is told.
#[tokio::test]
async fn what_a_peer_has_not_acknowledged_at_the_end_comes_back() {
    let world = World::new().await;
    let mut local = world.attach().await;
    let mut link = world.host.dial(&world.router).await;
    link.settle().await;
    link.wire.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let enabled = link.wire.element().await;
    assert!(enabled.is("enabled", "urn:xmpp:sm:3"), "{enabled:?}");
    link.activate(&world.domain("pessoa.lit"), "saramago.lit").await;
    local.tell(JOSE, ANA, "1").await;
    link.expect("1").await;
    let draining = world.router.begin_drain();
    local.expect_error_saying("1", "remote-server-timeout", "may or may not have arrived").await;
    local.wire.expect_end().await;
    drop((link, local));
    draining.ended().await;
}
