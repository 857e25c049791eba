//! Acknowledgements on the streams that the router dials (XEP-0198): what may not have arrived is sent again.

use heteronym_proto::stream_error::Condition;

use super::ground::{ANA, Ground, JOSE};
use crate::support::server::{ACKS, BIDI, BY_DIALBACK, Classic, EXTERNAL, SM, Server};
use crate::support::wire::Heard;

/// A stream that counts, up to its first stanza.
async fn counting(ground: &mut Ground, server: &Server, first: &str) -> Classic {
    ground.local.tell(JOSE, ANA, first).await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in_counting().await;
    stream.expect_counted(first).await;
    stream
}

#[tokio::test]
async fn the_router_counts_where_that_is_offered_and_asks_how_far_the_server_is() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = counting(&mut ground, &server, "1").await;
    assert!(stream.wire.element().await.is("r", SM));
    stream.acknowledge(1).await;
    ground.local.tell(JOSE, ANA, "2").await;
    stream.expect("2").await;
    stream.acknowledge(2).await;
    drop(stream);
    ground.end().await;
}

/// XEP-0198 §3: not before authentication, which dialback is not.
#[tokio::test]
async fn nobody_counts_on_a_stream_without_authentication() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(&format!("{ACKS}{BY_DIALBACK}")).await;
    stream.take_key("saramago.lit", "pessoa.lit").await;
    stream.expect("out").await;
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_goes_by_the_next_stream_in_order() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = counting(&mut ground, &server, "1").await;
    for n in 2..=9 {
        ground.local.tell(JOSE, ANA, &n.to_string()).await;
        stream.expect_counted(&n.to_string()).await;
    }
    stream.acknowledge(4).await;
    drop(stream);
    let mut stream = server.accept(EXTERNAL).await;
    ground.local.tell(JOSE, ANA, "10").await;
    stream.let_in_counting().await;
    for n in 5..=10 {
        stream.expect_counted(&n.to_string()).await;
    }
    stream.acknowledge(6).await;
    drop(stream);
    ground.end().await;
}

/// RFC 6120 gives no way to know: what was written is not written twice.
#[tokio::test]
async fn without_acknowledgements_nothing_is_sent_again() {
    for offers in ["", ACKS] {
        let mut ground = Ground::new("").await;
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(JOSE, ANA, "1").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in(offers).await;
        if !offers.is_empty() {
            assert!(stream.wire.element().await.is("enable", SM));
            stream.wire.send(format!("<failed xmlns='{SM}'/>")).await;
        }
        stream.expect_counted("1").await;
        stream.how_far().await;
        drop(stream);
        ground.local.tell(JOSE, ANA, "2").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in("").await;
        stream.expect("2").await;
        drop(stream);
        ground.end().await;
    }
}

#[tokio::test]
async fn a_count_that_is_too_high_ends_the_stream() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = counting(&mut ground, &server, "1").await;
    assert!(stream.wire.element().await.is("r", SM));
    stream.wire.send(format!("<a xmlns='{SM}' h='2'/>")).await;
    stream.wire.expect_error(Condition::UndefinedCondition).await;
    // Nobody knows what it has: it is sent again.
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("1").await;
    drop(stream);
    ground.end().await;
}

/// On a stream of both directions either side counts what it gets.
#[tokio::test]
async fn the_router_says_how_far_it_is_on_a_stream_of_its_own() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "1").await;
    let mut stream = server.accept(&format!("{EXTERNAL}{BIDI}")).await;
    assert!(stream.wire.element().await.is("bidi", "urn:xmpp:bidi"));
    stream.let_in_counting().await;
    stream.expect_counted("1").await;
    stream.wire.send(format!("<enable xmlns='{SM}'/>")).await;
    assert!(stream.next_but_requests().await.is("enabled", SM));
    for n in 1..=3 {
        stream.tell(ANA, JOSE, &n.to_string()).await;
        ground.local.expect(&n.to_string()).await;
        assert_eq!(stream.how_far().await, n);
    }
    stream.acknowledge(1).await;
    drop(stream);
    ground.end().await;
}

/// The server has ended its own side in order, and so has taken everything, whether it said so or not: what was
/// written before our end does not go by the next stream.
#[tokio::test]
async fn what_was_sent_before_an_end_in_order_is_not_sent_again() {
    for answers in [true, false] {
        let mut ground = Ground::new("[limits]\nidle_timeout = '1s'").await;
        let server = ground.server("pessoa.lit").await;
        let mut stream = counting(&mut ground, &server, "1").await;
        let mut asked = 0;
        loop {
            match stream.wire.hear().await {
                Heard::Element(element) if element.is("r", SM) => asked += 1,
                Heard::End => break,
                other => panic!("expected the end: {other:?}"),
            }
        }
        assert!(asked > 0, "the server is asked before the end");
        if answers {
            stream.wire.send(format!("<a xmlns='{SM}' h='1'/>")).await;
        }
        stream.wire.send("</stream:stream>").await;
        stream.wire.expect_closed().await;
        ground.local.tell(JOSE, ANA, "2").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in("").await;
        stream.expect("2").await;
        drop(stream);
        ground.end().await;
    }
}

/// A stanza that a server dies of is not sent to it for ever.
#[tokio::test]
async fn a_stanza_that_ends_every_stream_goes_back() {
    for offers in [EXTERNAL, BY_DIALBACK] {
        let mut ground = Ground::new("").await;
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(JOSE, ANA, "poison").await;
        let mut streams = 0;
        let error = loop {
            tokio::select! {
                error = ground.local.wire.element() => break error,
                mut stream = server.accept(offers) => {
                    streams += 1;
                    assert!(streams < 9, "and again");
                    if offers == EXTERNAL {
                        stream.let_in_counting().await;
                        stream.expect_counted("poison").await;
                    } else {
                        // Gone before anything can be written.
                        stream.expect_key("saramago.lit", "pessoa.lit").await;
                        let valid = "<db:result from='pessoa.lit' to='saramago.lit' type='valid'/>";
                        stream.wire.send(format!("{valid}</stream:stream>")).await;
                    }
                }
            }
        };
        assert_eq!((error.attr("type"), error.attr("id")), (Some("error"), Some("poison")), "{error:?}");
        assert!(streams > 1, "once is no reason");
        ground.end().await;
    }
}
