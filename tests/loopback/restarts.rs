//! What becomes of stanzas when the server, or the router, goes away.

use heteronym_proto::status::LocalState;

use super::house::{BLIMUNDA, House, SECRET, entry};
use crate::classic::ground::{JOSE, OWN, ROUTER};
use crate::support::server::{BY_DIALBACK, Classic, Server};

/// The next stream of the router's, which the server lets in.
async fn attached_again(house: &House) -> Classic {
    let mut stream = house.server.accept_plain(BY_DIALBACK, "again").await;
    stream.take_key(ROUTER, OWN[0]).await;
    stream
}

#[tokio::test]
async fn what_comes_while_a_server_restarts_waits_in_order() {
    let mut house = House::new().await;
    house.ground.local.tell(JOSE, BLIMUNDA, "before").await;
    house.hear("saramago.lit", "blimunda.lit", "before").await;
    house.stream.wire.send("</stream:stream>").await;
    house.stream.wire.expect_end().await;
    house.is(LocalState::Connecting).await;
    for n in 0..20 {
        house.ground.local.tell(JOSE, BLIMUNDA, &n.to_string()).await;
    }
    house.stream = attached_again(&house).await;
    house.hear("saramago.lit", "blimunda.lit", "0").await;
    for n in 1..20 {
        house.stream.expect(&n.to_string()).await;
    }
    house.ground.local.tell(JOSE, BLIMUNDA, "behind").await;
    house.stream.expect("behind").await;
    house.end().await;
}

/// A key is asked for first: until then stanzas are here, and the stream's end loses none.
#[tokio::test]
async fn what_was_not_written_when_a_stream_ends_goes_first_on_the_next() {
    let mut house = House::new().await;
    for n in 0..5 {
        house.ground.local.tell(JOSE, BLIMUNDA, &n.to_string()).await;
    }
    house.stream.expect_key("saramago.lit", "blimunda.lit").await;
    house.stream.wire.send("</stream:stream>").await;
    house.is(LocalState::Connecting).await;
    for n in 5..10 {
        house.ground.local.tell(JOSE, BLIMUNDA, &n.to_string()).await;
    }
    house.stream = attached_again(&house).await;
    house.hear("saramago.lit", "blimunda.lit", "0").await;
    for n in 1..10 {
        house.stream.expect(&n.to_string()).await;
    }
    house.end().await;
}

#[tokio::test]
async fn what_waits_longer_than_the_grace_goes_back() {
    let mut house = House::with("[limits]\nlocal_link_grace = '1s'").await;
    house.stream.wire.send("</stream:stream>").await;
    house.is(LocalState::Connecting).await;
    house.ground.local.tell(JOSE, BLIMUNDA, "m1").await;
    // Nobody answers the dials.
    house.ground.local.expect_error_saying("m1", "remote-server-timeout", "server is down").await;
    let router = house.ground;
    drop((house.server, house.stream));
    router.end().await;
}

/// The server has its dead pair's stanzas back, and others go on.
#[tokio::test]
async fn a_pair_that_the_server_refuses_is_no_others_trouble() {
    let mut house = House::new().await;
    house.ground.local.tell(JOSE, BLIMUNDA, "refused").await;
    house.stream.expect_key("saramago.lit", "blimunda.lit").await;
    house.stream.judge_key("saramago.lit", "blimunda.lit", "invalid").await;
    house.ground.local.expect_error("refused", "remote-server-timeout").await;
    house.ground.local.tell("rui@chat.saramago.lit", BLIMUNDA, "m1").await;
    house.hear("chat.saramago.lit", "blimunda.lit", "m1").await;
    house.end().await;
}

/// Both hear the end before the connection's.
#[tokio::test]
async fn a_drain_delivers_what_is_there_and_ends_every_stream() {
    let mut house = House::new().await;
    let mut theirs = house.let_in("blimunda.lit", "saramago.lit").await;
    for n in 0..20 {
        house.ground.local.tell(JOSE, BLIMUNDA, &n.to_string()).await;
        theirs.tell(BLIMUNDA, JOSE, &n.to_string()).await;
    }
    house.hear("saramago.lit", "blimunda.lit", "0").await;
    for n in 1..20 {
        house.stream.expect(&n.to_string()).await;
    }
    for n in 0..20 {
        house.ground.local.expect(&n.to_string()).await;
    }
    let House { ground, mut stream, .. } = house;
    let draining = ground.router.begin_drain();
    let mut local = ground.local;
    local.wire.expect_end().await;
    stream.wire.expect_end().await;
    theirs.wire.expect_end().await;
    draining.ended().await;
}

#[tokio::test]
async fn a_reload_leads_to_another_port() {
    let mut house = House::new().await;
    let moved = Server::new(&[]).await.with_secret(SECRET);
    let before = entry(house.server.address(), SECRET);
    let text = house.ground.text.replace(&before, &entry(moved.address(), SECRET));
    let (status, answer) = house.ground.reload(&text);
    assert_eq!(status, 200, "{answer}");
    house.stream.wire.expect_end().await;
    house.server = moved;
    house.stream = attached_again(&house).await;
    house.ground.local.tell(JOSE, BLIMUNDA, "m1").await;
    house.hear("saramago.lit", "blimunda.lit", "m1").await;
    house.end().await;
}

/// It counts for the next key; who is in stays in.
#[tokio::test]
async fn a_reload_knows_another_secret() {
    let mut house = House::new().await;
    let mut old = house.let_in("blimunda.lit", "saramago.lit").await;
    let text = house.ground.text.replace(&format!("'{SECRET}'"), "'another'");
    assert_eq!(house.ground.reload(&text).0, 200);
    old.tell(BLIMUNDA, JOSE, "still").await;
    house.ground.local.expect("still").await;
    old.send_key("blimunda.lit", "pessoa.lit").await;
    old.expect_verdict("blimunda.lit", "pessoa.lit", "invalid").await;
    drop(old);
    house.end().await;
}
