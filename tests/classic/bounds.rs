//! Bounds of streams that the router has dialled: the server's (XEP-0478), and those of what waits.

use std::time::Duration;

use heteronym_proto::pairs::PairState;
use heteronym_proto::status::Via;
use tokio::time::timeout;

use super::ground::{ANA, Ground, JOSE};
use crate::support::http::get_json;
use crate::support::message;
use crate::support::server::{BY_DIALBACK, EXTERNAL};
use crate::support::wire::Heard;

/// A user of the router's other domain.
const RUI: &str = "rui@chat.saramago.lit";
/// A user of another remote domain.
const ALVARO: &str = "alvaro@campos.lit";

fn limits(text: &str) -> String {
    format!("<limits xmlns='urn:xmpp:stream-limits:0'>{text}</limits>")
}

/// A message of at least so many bytes.
fn large(from: &str, to: &str, id: &str, bytes: usize) -> String {
    message(from, to, id).replace("<body>", &format!("<body>{}", "x".repeat(bytes)))
}

#[tokio::test]
async fn a_stanza_that_the_server_does_not_take_goes_back() {
    for (offers, taken) in [(limits("<max-bytes>5000</max-bytes>"), false), (limits(""), true), (String::new(), true)] {
        let mut ground = Ground::new("").await;
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(JOSE, ANA, "small").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in(&offers).await;
        stream.expect("small").await;
        ground.local.send(large(JOSE, ANA, "large", 6000)).await;
        if taken {
            stream.expect("large").await;
        } else {
            ground.local.expect_error("large", "policy-violation").await;
        }
        ground.local.tell(JOSE, ANA, "behind").await;
        stream.expect("behind").await;
        drop(stream);
        ground.end().await;
    }
}

/// In order, and before the server would have ended it; what comes later goes by another.
#[tokio::test]
async fn a_stream_ends_before_either_side_finds_it_idle() {
    for (offers, more) in
        [(limits("<idle-seconds>1</idle-seconds>"), ""), (String::new(), "[limits]\nidle_timeout = '1s'")]
    {
        let mut ground = Ground::new(more).await;
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(JOSE, ANA, "1").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in(&offers).await;
        stream.expect("1").await;
        stream.wire.expect_end().await;
        ground.local.tell(JOSE, ANA, "2").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in("").await;
        stream.expect("2").await;
        drop(stream);
        ground.end().await;
    }
}

/// What comes while our end is under way goes by the next stream, and nothing is lost in between.
#[tokio::test]
async fn what_comes_behind_the_end_of_an_idle_stream_goes_by_the_next() {
    let mut ground = Ground::new("[limits]\nidle_timeout = '1s'").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "1").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("1").await;
    assert!(matches!(stream.wire.hear().await, Heard::End));
    for n in 2..=9 {
        ground.local.tell(JOSE, ANA, &n.to_string()).await;
    }
    ground.is_quiet().await;
    stream.wire.send("</stream:stream>").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    for n in 2..=9 {
        stream.expect(&n.to_string()).await;
    }
    drop(stream);
    ground.end().await;
}

/// Beside a pair whose server is silent, and whose queue is full, others are served.
#[tokio::test]
async fn what_waits_for_a_pair_is_bounded_and_costs_no_other() {
    let mut ground = Ground::new("[limits]\npair_queue_bytes = '4KiB'").await;
    let (silent, server) = (ground.server("pessoa.lit").await, ground.server("campos.lit").await);
    let filler = |n: usize| large(JOSE, ANA, &n.to_string(), 1000);
    for n in 0..8 {
        ground.local.send(filler(n)).await;
    }
    let _open = silent.accept_tcp().await;
    for n in 3..8 {
        let text = ground.local.hear_error(&n.to_string(), "resource-constraint").await;
        assert!(text.contains("pessoa.lit"), "{text}");
    }
    ground.local.tell(JOSE, ALVARO, "other").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("other").await;
    let [waiting] = &ground.router.pairs("saramago.lit", "pessoa.lit").await[..] else { panic!("one pair") };
    assert_eq!((waiting.via, waiting.state), (Via::Classic, PairState::Requested));
    let why = waiting.last_error.as_deref().unwrap();
    assert!(why.contains("no federation record") && why.contains("being dialled"), "{why}");
    let (_, queues) = get_json(ground.router.admin, "/api/queues?pair=saramago.lit,pessoa.lit");
    assert_eq!(queues["count"], 3, "{queues}");
    let why = queues["queues"][0]["why"].as_str().unwrap();
    assert!(why.contains("being dialled by classic S2S"), "{queues}");
    drop(stream);
    let Ground { router, local, .. } = ground;
    drop(local);
    router.drain().await;
}

/// The same on a stream that is open, where the server has not let the domain in.
#[tokio::test]
async fn what_waits_for_a_verdict_is_bounded_and_costs_no_other() {
    let mut ground = Ground::new("[limits]\npair_queue_bytes = '4KiB'").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "first").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.take_key("saramago.lit", "pessoa.lit").await;
    stream.expect("first").await;
    for n in 0..8 {
        ground.local.send(large(RUI, ANA, &n.to_string(), 1000)).await;
    }
    stream.expect_key("chat.saramago.lit", "pessoa.lit").await;
    for n in 3..8 {
        ground.local.expect_error(&n.to_string(), "resource-constraint").await;
    }
    ground.local.tell(JOSE, ANA, "other").await;
    stream.expect("other").await;
    let (_, queues) = get_json(ground.router.admin, "/api/queues?pair=chat.saramago.lit,pessoa.lit");
    assert_eq!(queues["count"], 3, "{queues}");
    assert!(queues["queues"][0]["why"].as_str().unwrap().contains("has not let the domain in"), "{queues}");
    let [waiting] = &ground.router.pairs("chat.saramago.lit", "pessoa.lit").await[..] else { panic!("one pair") };
    assert_eq!((waiting.via, waiting.state), (Via::Classic, PairState::Requested));
    stream.judge_key("chat.saramago.lit", "pessoa.lit", "valid").await;
    for n in 0..3 {
        stream.expect(&n.to_string()).await;
    }
    drop(stream);
    ground.end().await;
}

/// Its server says nothing: at the end of the time to wait the stanzas go back, whatever the dial does.
#[tokio::test]
async fn what_waits_for_a_stream_goes_back_in_time() {
    let mut ground = Ground::new("[limits]\nstanza_wait = '1s'").await;
    let (silent, server) = (ground.server("pessoa.lit").await, ground.server("campos.lit").await);
    ground.local.tell(JOSE, ANA, "waiting").await;
    let open = silent.accept_tcp().await;
    ground.local.tell(JOSE, ALVARO, "other").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("other").await;
    ground.local.expect_error_saying("waiting", "remote-server-timeout", "being dialled by classic S2S").await;
    drop((stream, open));
    ground.end().await;
}

#[tokio::test]
async fn what_waits_for_a_verdict_goes_back_in_time() {
    let mut ground = Ground::new("[limits]\nstanza_wait = '1s'").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "first").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.take_key("saramago.lit", "pessoa.lit").await;
    stream.expect("first").await;
    ground.local.tell(RUI, ANA, "waiting").await;
    stream.expect_key("chat.saramago.lit", "pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "other").await;
    stream.expect("other").await;
    ground.local.expect_error_saying("waiting", "remote-server-timeout", "has not let the domain in").await;
    drop(stream);
    ground.end().await;
}

/// The server has let us in and reads nothing more: what does not fit into the connection goes back in time.
#[tokio::test]
async fn what_a_server_does_not_read_goes_back_in_time() {
    let mut ground = Ground::new("[limits]\nstanza_wait = '1s'\npair_queue_bytes = '16MiB'").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "first").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("first").await;
    let mut sent = 0;
    let error = loop {
        ground.local.send(large(JOSE, ANA, &sent.to_string(), 100_000)).await;
        if let Ok(error) = timeout(Duration::ZERO, ground.local.wire.element()).await {
            break error;
        }
        sent += 1;
        assert!(sent < 1000, "all of it was taken");
    };
    assert_eq!(error.attr("type"), Some("error"), "{error:?}");
    let text = format!("{error:?}");
    assert!(text.contains("remote-server-timeout") && text.contains("does not read"), "{text}");
    drop(stream);
    let Ground { router, local, .. } = ground;
    drop(local);
    router.drain().await;
}
