//! What lets a server of ours in, and the router into the server.

use heteronym_proto::checker::Scope;
use heteronym_proto::stream_error::Condition;
use tokio::net::TcpStream;

use super::house::{BLIMUNDA, House};
use crate::classic::ground::{JOSE, ROUTER};
use crate::support::server::{BY_DIALBACK, Server, header};
use crate::support::wire::Wire;

#[tokio::test]
async fn the_secret_proves_a_server_and_nobody_is_asked_back() {
    let mut house = House::new().await;
    let mut stream = house.let_in("blimunda.lit", "saramago.lit").await;
    stream.tell(BLIMUNDA, JOSE, "m1").await;
    house.ground.local.expect("m1").await;
    assert!(!house.server.has_been_dialled().await, "a look at the key is enough");
    drop(stream);
    house.end().await;
}

#[tokio::test]
async fn a_key_of_another_secret_is_invalid() {
    let mut house = House::new().await;
    let stranger = Server::new(&[]).await.with_secret("another");
    let mut stream = stranger.dial_plain(house.loopback(), "blimunda.lit", "saramago.lit").await;
    stream.send_key("blimunda.lit", "saramago.lit").await;
    stream.expect_verdict("blimunda.lit", "saramago.lit", "invalid").await;
    stream.tell(BLIMUNDA, JOSE, "forged").await;
    stream.wire.expect_error(Condition::NotAuthorized).await;
    house.ground.is_quiet().await;
    house.end().await;
}

#[tokio::test]
async fn without_a_secret_the_server_is_asked_back() {
    let mut house = House::asking_back().await;
    let mut stream = house.server.dial_plain(house.loopback(), "blimunda.lit", "saramago.lit").await;
    stream.send_key("blimunda.lit", "saramago.lit").await;
    let mut asked = house.server.accept_plain(BY_DIALBACK, "asked").await;
    asked.answer_verify(|good| if good { "valid" } else { "invalid" }).await;
    stream.expect_verdict("blimunda.lit", "saramago.lit", "valid").await;
    stream.tell(BLIMUNDA, JOSE, "m1").await;
    house.ground.local.expect("m1").await;
    asked.wire.expect_end().await;
    drop(stream);
    house.end().await;
}

#[tokio::test]
async fn the_servers_own_word_counts_where_it_is_asked_back() {
    let mut house = House::asking_back().await;
    let mut stream = house.server.dial_plain(house.loopback(), "blimunda.lit", "saramago.lit").await;
    stream.send_key("blimunda.lit", "saramago.lit").await;
    let mut asked = house.server.accept_plain(BY_DIALBACK, "asked").await;
    asked.answer_verify(|_| "invalid").await;
    stream.expect_verdict("blimunda.lit", "saramago.lit", "invalid").await;
    house.ground.is_quiet().await;
    drop(stream);
    house.end().await;
}

/// Prosody and ejabberd send nothing before their key is answered, and answer ours only then.
#[tokio::test]
async fn a_key_is_answered_before_our_own_is() {
    let house = House::unattached("").await;
    let mut ours = house.server.accept_plain(BY_DIALBACK, "one").await;
    ours.expect_key(ROUTER, "blimunda.lit").await;
    let loopback = house.ground.router.local_s2s.unwrap();
    let mut theirs = house.server.dial_plain(loopback, "blimunda.lit", "saramago.lit").await;
    theirs.send_key("blimunda.lit", "saramago.lit").await;
    theirs.expect_verdict("blimunda.lit", "saramago.lit", "valid").await;
    ours.judge_key(ROUTER, "blimunda.lit", "valid").await;
    drop((ours, theirs));
    house.ground.end().await;
}

#[tokio::test]
async fn a_server_that_finds_our_key_wrong_is_said_to() {
    let house = House::unattached("").await;
    let mut ours = house.server.accept_plain(BY_DIALBACK, "one").await;
    ours.expect_key(ROUTER, "blimunda.lit").await;
    ours.judge_key(ROUTER, "blimunda.lit", "invalid").await;
    let why = house.why().await;
    assert!(why.contains("found our dialback key invalid"), "{why}");
    drop(ours);
    house.ground.end().await;
}

/// The domain in `from` is all that it says of itself.
#[tokio::test]
async fn who_is_no_server_of_ours_is_told_so() {
    let house = House::new().await;
    for (from, to) in [("pessoa.lit", "blimunda.lit"), ("saramago.lit", "pessoa.lit")] {
        let tcp = TcpStream::connect(house.loopback()).await.unwrap();
        let mut stranger = Wire::new(tcp, Scope::DIALBACK);
        stranger.send(header(from, to, "")).await;
        stranger.header().await;
        let text = stranger.hear_error(Condition::NotAuthorized).await;
        assert!(text.contains("[[local]]"), "{from}: {text}");
    }
    house.end().await;
}

#[tokio::test]
async fn further_pairs_are_proved_one_by_one() {
    let mut house = House::new().await;
    let mut stream = house.let_in("blimunda.lit", "saramago.lit").await;
    house.prove(&mut stream, "chat.blimunda.lit", "saramago.lit").await;
    house.prove(&mut stream, "blimunda.lit", "pessoa.lit").await;
    stream.send_key("saramago.lit", "pessoa.lit").await;
    stream.expect_verdict("saramago.lit", "pessoa.lit", "error").await;
    stream.tell(BLIMUNDA, JOSE, "still here").await;
    house.ground.local.expect("still here").await;
    drop(stream);
    house.end().await;
}
