//! Dialback (XEP-0220) where it fails, and the router as the server that is asked.

use heteronym_proto::dialback::{DialbackSecret, Ends};
use heteronym_proto::stream_error::Condition;

use super::ground::{ANA, Ground, JOSE};
use crate::support::name;
use crate::support::server::{BY_DIALBACK, Classic, DIALBACK, EXTERNAL, Server};

const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// A stream of a server that proves nothing by its certificate.
async fn stranger(ground: &Ground, server: &Server) -> Classic {
    server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await
}

/// Expects that the router could not verify the key of pessoa.lit: why, in the words of a stanza error.
async fn expect_error(stream: &mut Classic, from: &str, to: &str) -> Vec<String> {
    let verdict = stream.expect_verdict(from, to, "error").await;
    let error = verdict.children().find(|child| child.name() == "error").unwrap();
    error.children().filter(|child| child.namespace() == STANZAS).map(|child| child.name().to_owned()).collect()
}

/// And still it may prove itself, in the right way.
async fn is_let_in_after_all(ground: &mut Ground, server: &Server, stream: &mut Classic) {
    stream.send_key("pessoa.lit", "saramago.lit").await;
    server.answer_verify("", |right| if right { "valid" } else { "invalid" }).await;
    stream.expect_verdict("pessoa.lit", "saramago.lit", "valid").await;
    stream.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
}

#[tokio::test]
async fn a_wrong_key_is_invalid_and_the_stream_goes_on() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    let mut stream = stranger(&ground, &server).await;
    stream.wire.send("<db:result from='pessoa.lit' to='saramago.lit'>0123456789abcdef</db:result>").await;
    server.answer_verify("", |right| if right { "valid" } else { "invalid" }).await;
    stream.expect_verdict("pessoa.lit", "saramago.lit", "invalid").await;
    is_let_in_after_all(&mut ground, &server, &mut stream).await;
    drop(stream);
    ground.end().await;
}

/// A key is made for one stream: seen elsewhere, it proves nothing.
#[tokio::test]
async fn a_key_of_another_stream_is_invalid() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    let mut stream = stranger(&ground, &server).await;
    let other = stranger(&ground, &server).await;
    let id = std::mem::replace(&mut stream.id, other.id.clone());
    stream.send_key("pessoa.lit", "saramago.lit").await;
    server.answer_verify("", |right| if right { "valid" } else { "invalid" }).await;
    stream.expect_verdict("pessoa.lit", "saramago.lit", "invalid").await;
    stream.id = id;
    is_let_in_after_all(&mut ground, &server, &mut stream).await;
    drop((stream, other));
    ground.end().await;
}

#[tokio::test]
async fn a_domain_without_a_server_cannot_be_verified() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    let mut stream = stranger(&ground, &server).await;
    stream.send_key("nowhere.lit", "saramago.lit").await;
    let conditions = expect_error(&mut stream, "nowhere.lit", "saramago.lit").await;
    assert_eq!(conditions, ["remote-server-not-found"]);
    is_let_in_after_all(&mut ground, &server, &mut stream).await;
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_domain_whose_server_cannot_be_reached_cannot_be_verified() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    ground.records("campos.lit", &[(super::ground::STARTTLS, 0, 0, "127.0.0.1:1".parse().unwrap())]);
    let mut stream = stranger(&ground, &server).await;
    stream.send_key("campos.lit", "saramago.lit").await;
    assert_eq!(expect_error(&mut stream, "campos.lit", "saramago.lit").await, ["remote-server-timeout"]);
    is_let_in_after_all(&mut ground, &server, &mut stream).await;
    drop(stream);
    ground.end().await;
}

/// Whoever is asked speaks for the domain that it was asked about, and for the key that it was asked about.
#[tokio::test]
async fn an_answer_about_something_else_verifies_nothing() {
    for (from, to, id) in [
        ("campos.lit", "saramago.lit", None),
        ("pessoa.lit", "chat.saramago.lit", None),
        ("pessoa.lit", "saramago.lit", Some("x")),
    ] {
        let mut ground = Ground::new("").await;
        let server = ground.stranger("pessoa.lit").await;
        let mut stream = stranger(&ground, &server).await;
        stream.send_key("pessoa.lit", "saramago.lit").await;
        let mut asked = server.accept("").await;
        let verify = asked.wire.element().await;
        assert!(verify.is("verify", DIALBACK), "{verify:?}");
        let id = id.or(verify.attr("id")).unwrap();
        asked.wire.send(format!("<db:verify from='{from}' to='{to}' id='{id}' type='valid'/></stream:stream>")).await;
        assert_eq!(expect_error(&mut stream, "pessoa.lit", "saramago.lit").await, ["remote-server-timeout"]);
        is_let_in_after_all(&mut ground, &server, &mut stream).await;
        drop((stream, asked));
        ground.end().await;
    }
}

#[tokio::test]
async fn a_key_for_a_domain_that_is_not_here_is_an_error_and_the_stream_goes_on() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    let mut stream = stranger(&ground, &server).await;
    stream.send_key("pessoa.lit", "ricardo.lit").await;
    assert_eq!(expect_error(&mut stream, "pessoa.lit", "ricardo.lit").await, ["item-not-found"]);
    stream.send_key("chat.saramago.lit", "saramago.lit").await;
    assert_eq!(expect_error(&mut stream, "chat.saramago.lit", "saramago.lit").await, ["not-allowed"]);
    assert!(!server.has_been_dialled().await, "nobody is asked about that");
    is_let_in_after_all(&mut ground, &server, &mut stream).await;
    drop(stream);
    ground.end().await;
}

/// Whoever has our key from another stream, or for another domain, does not get it confirmed.
#[tokio::test]
async fn only_the_key_of_a_stream_is_verified_for_who_asks() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    let (id, key) = (stream.id.clone(), stream.expect_key("saramago.lit", "pessoa.lit").await);
    let mut asking = stranger(&ground, &server).await;
    for (from, of, id, key, expected) in [
        ("pessoa.lit", "saramago.lit", &*id, &*key, "valid"),
        ("pessoa.lit", "saramago.lit", &id, "0123456789abcdef", "invalid"),
        ("pessoa.lit", "saramago.lit", "another", &key, "invalid"),
        ("campos.lit", "saramago.lit", &id, &key, "invalid"),
        ("pessoa.lit", "chat.saramago.lit", &id, &key, "invalid"),
        ("pessoa.lit", "ricardo.lit", &id, &key, "error"),
        ("pessoa.lit", "saramago.lit", &id, &key, "valid"),
    ] {
        assert_eq!(asking.verify(from, of, id, key).await, expected, "{from} of {of}, {id}");
    }
    stream.judge_key("saramago.lit", "pessoa.lit", "valid").await;
    stream.expect("out").await;
    drop((stream, asking));
    ground.end().await;
}

/// Being asked proves nobody, and makes nothing of it be delivered.
#[tokio::test]
async fn who_only_asks_may_send_nothing() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    let mut asking = stranger(&ground, &server).await;
    asking.verify("pessoa.lit", "saramago.lit", "x", "y").await;
    asking.tell(ANA, JOSE, "in").await;
    asking.wire.expect_error(Condition::NotAuthorized).await;
    ground.is_quiet().await;
    ground.end().await;
}

/// The id of a stream is its receiving server's (XEP-0220 §2.1.1). On a stream that we have dialled the other side
/// made it, and may have made it what an old key of somebody else is good for.
#[tokio::test]
async fn a_key_on_a_stream_that_we_dialled_proves_nobody() {
    for offers in ["", BY_DIALBACK] {
        let mut ground = Ground::new("").await;
        let server = ground.server("pessoa.lit").await;
        let victim = ground.stranger("victim.lit").await.with_secret("victim's");
        ground.local.tell(JOSE, ANA, "out").await;
        let mut stream = server.accept(EXTERNAL).await;
        stream.let_in(offers).await;
        stream.expect("out").await;
        let ends = Ends { from: name("victim.lit"), to: name("saramago.lit") };
        let key = DialbackSecret::new("victim's").key(&ends, "restarted");
        stream.wire.send(format!("<db:result from='victim.lit' to='saramago.lit'>{key}</db:result>")).await;
        stream.expect_verdict("victim.lit", "saramago.lit", "error").await;
        assert!(!victim.has_been_dialled().await);
        stream.tell("user@victim.lit", JOSE, "forged").await;
        stream.wire.hear_error(Condition::NotAuthorized).await;
        ground.is_quiet().await;
        ground.end().await;
    }
}
