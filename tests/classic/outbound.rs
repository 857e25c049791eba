//! Servers that the router dials: TLS, who proves what and how, both directions on one stream.

use std::fs;

use heteronym::demo::authority::{Authority, Issued, KeyKind, Request};
use heteronym_net::clock::Now;

use super::ground::{ANA, DIRECT_TLS, Ground, JOSE, STARTTLS};
use crate::support::host::{SASL, TLS};
use crate::support::server::{BIDI, BY_DIALBACK, EXTERNAL, Server};
use crate::support::wire::Heard;

/// A user of the router's other domain.
const RUI: &str = "rui@chat.saramago.lit";
const NO_DIALBACK: &str = "[classic]\ndialback = false";

#[tokio::test]
async fn a_server_that_takes_certificates_gets_ours() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(EXTERNAL).await;
    assert_eq!(stream.shown(), ["saramago.lit"]);
    stream.let_in("").await;
    stream.expect("out").await;
    drop(stream);
    ground.end().await;
}

/// A certificate speaks for its own domain; without dialback there is a stream for each.
#[tokio::test]
async fn each_domain_shows_its_own_certificate_on_a_stream_of_its_own() {
    let mut ground = Ground::new(NO_DIALBACK).await;
    let server = ground.server("pessoa.lit").await;
    let mut streams = Vec::new();
    for (from, certificate) in [(JOSE, "saramago.lit"), (RUI, "chat.saramago.lit")] {
        ground.local.tell(from, ANA, certificate).await;
        let mut stream = server.accept(&format!("{EXTERNAL}{BY_DIALBACK}")).await;
        assert_eq!(stream.shown(), [certificate]);
        stream.let_in("").await;
        stream.expect(certificate).await;
        streams.push(stream);
    }
    drop(streams);
    ground.end().await;
}

/// Behind STARTTLS and at once; the name is the domain's and not the server's.
#[tokio::test]
async fn tls_asks_for_the_domain() {
    for direct in [false, true] {
        let mut ground = Ground::new("").await;
        let server = Server::new(&[("pessoa.lit", &ground.issue("pessoa.lit"))]).await;
        let service = if direct { DIRECT_TLS } else { STARTTLS };
        ground.records("pessoa.lit", &[(service, 0, 0, server.address())]);
        ground.local.tell(JOSE, ANA, "out").await;
        let mut stream = if direct { server.accept_tls(EXTERNAL).await } else { server.accept(EXTERNAL).await };
        assert_eq!(stream.hello.server_name.as_deref(), Some("pessoa.lit"));
        if direct {
            assert_eq!(stream.hello.protocols, ["xmpp-server"]);
        }
        stream.let_in("").await;
        stream.expect("out").await;
        drop(stream);
        ground.end().await;
    }
}

/// Nothing is said in the clear that RFC 7590 wants encrypted, whatever is offered there.
#[tokio::test]
async fn a_server_without_tls_gets_no_stanza() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut plain = server.accept_clear(&format!("{EXTERNAL}{BY_DIALBACK}{BIDI}")).await;
    let said = plain.hear().await;
    assert!(matches!(said, Heard::End), "{said:?}");
    let text = ground.local.hear_error("out", "remote-server-timeout").await;
    assert!(text.contains("offers no TLS"), "{text}");
    ground.end().await;
}

#[tokio::test]
async fn a_server_that_fails_to_start_tls_gets_no_stanza() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut plain = server.accept_clear(&format!("<starttls xmlns='{TLS}'/>{BY_DIALBACK}")).await;
    assert!(plain.element().await.is("starttls", TLS));
    plain.send(format!("<failure xmlns='{TLS}'/></stream:stream>")).await;
    ground.local.expect_error_saying("out", "remote-server-timeout", "failed to start TLS").await;
    ground.end().await;
}

/// Somebody on the way could put words into the server's mouth.
#[tokio::test]
async fn what_stands_behind_proceed_is_not_taken_for_secured() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut plain = server.accept_clear(&format!("<starttls xmlns='{TLS}'/>")).await;
    assert!(plain.element().await.is("starttls", TLS));
    plain.send(format!("<proceed xmlns='{TLS}'/><stream:features>{BY_DIALBACK}</stream:features>")).await;
    ground.local.expect_error_saying("out", "remote-server-timeout", "STARTTLS").await;
    ground.end().await;
}

#[tokio::test]
async fn a_server_that_takes_no_certificates_gets_a_key() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.take_key("saramago.lit", "pessoa.lit").await;
    stream.expect("out").await;
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_server_that_refuses_our_certificate_gets_a_key() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(&format!("{EXTERNAL}{BY_DIALBACK}")).await;
    stream.refuse_certificate().await;
    stream.take_key("saramago.lit", "pessoa.lit").await;
    stream.expect("out").await;
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_server_that_refuses_our_certificate_gets_no_key_where_dialback_is_off() {
    let mut ground = Ground::new(NO_DIALBACK).await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(&format!("{EXTERNAL}{BY_DIALBACK}")).await;
    stream.refuse_certificate().await;
    stream.wire.expect_end().await;
    ground.local.expect_error_saying("out", "remote-server-timeout", "refused our certificate").await;
    drop(stream);
    ground.end().await;
}

/// A domain whose certificate is missing has dialback left, where it is allowed.
#[tokio::test]
async fn a_domain_without_a_certificate_is_proved_by_dialback() {
    for (more, says) in [("", None), (NO_DIALBACK, Some("no certificate for our domain"))] {
        let mut ground = Ground::new(more).await;
        fs::remove_dir_all(ground.folder.path().join("certs/saramago.lit")).unwrap();
        assert_eq!(ground.reload(&ground.text).0, 200);
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(JOSE, ANA, "out").await;
        let mut stream = server.accept(&format!("{EXTERNAL}{BY_DIALBACK}")).await;
        assert!(stream.chain.is_empty(), "none is shown");
        match says {
            None => {
                stream.take_key("saramago.lit", "pessoa.lit").await;
                stream.expect("out").await;
            }
            Some(says) => ground.local.expect_error_saying("out", "remote-server-timeout", says).await,
        }
        drop(stream);
        ground.end().await;
    }
}

/// The server asks back whether the key is ours, and the domain's certificate answers for nothing there.
#[tokio::test]
async fn our_key_is_verified_by_asking_us() {
    let mut ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    let key = stream.expect_key("saramago.lit", "pessoa.lit").await;
    let mut asking = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    assert_eq!(asking.verify("pessoa.lit", "saramago.lit", &stream.id, &key).await, "valid");
    stream.judge_key("saramago.lit", "pessoa.lit", "valid").await;
    stream.expect("out").await;
    drop(stream);
    drop(asking);
    ground.end().await;
}

#[tokio::test]
async fn the_servers_stanzas_come_by_our_stream_where_it_offers_that() {
    for offers in [EXTERNAL, BY_DIALBACK] {
        let mut ground = Ground::new("").await;
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(JOSE, ANA, "out").await;
        let mut stream = server.accept(&format!("{BIDI}{offers}")).await;
        let bidi = stream.wire.element().await;
        assert!(bidi.is("bidi", "urn:xmpp:bidi"), "before authentication: {bidi:?}");
        match offers {
            EXTERNAL => stream.let_in("").await,
            _ => stream.take_key("saramago.lit", "pessoa.lit").await,
        }
        stream.expect("out").await;
        stream.tell(ANA, JOSE, "back").await;
        ground.local.expect("back").await;
        drop(stream);
        ground.end().await;
    }
}

/// Nobody asked for it, and nobody proved anything on this stream but we.
#[tokio::test]
async fn stanzas_by_our_stream_end_it_where_nobody_agreed_on_them() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("out").await;
    stream.tell(ANA, JOSE, "back").await;
    stream.wire.expect_error(heteronym_proto::stream_error::Condition::NotAuthorized).await;
    ground.is_quiet().await;
    drop(stream);
    ground.end().await;
}

/// What a server may show that does not prove the domain.
fn bad(ground: &Ground, case: &str) -> Issued {
    let now = Now::read().unix;
    let request = Request::new(["pessoa.lit"], KeyKind::P256);
    match case {
        "is for campos.lit" => ground.issue("campos.lit"),
        "expired" => {
            let expired = Request { not_before: Some(now - 7200), not_after: Some(now - 3600), ..request };
            ground.authority.issue(&expired).unwrap()
        }
        _ => Authority::new("Somebody's").unwrap().issue(&request).unwrap(),
    }
}

#[tokio::test]
async fn a_server_with_a_bad_certificate_gets_nothing_where_dialback_is_off() {
    for case in ["is for campos.lit", "expired", "leads to no trusted root"] {
        let mut ground = Ground::new(NO_DIALBACK).await;
        let server = Server::new(&[("pessoa.lit", &bad(&ground, case))]).await;
        ground.publish("pessoa.lit", &server);
        ground.local.tell(JOSE, ANA, "out").await;
        let mut stream = server.accept(EXTERNAL).await;
        // It may take our certificate, but it is not the one that the stanza is for.
        let auth = stream.wire.hear().await;
        if let Heard::Element(auth) = &auth {
            assert!(auth.is("auth", SASL), "{auth:?}");
            stream.wire.send(format!("<success xmlns='{SASL}'/>")).await;
            stream.restart("").await;
            stream.wire.expect_end().await;
        }
        let text = ground.local.hear_error("out", "remote-server-timeout").await;
        assert!(text.contains("certificate of pessoa.lit") && text.contains(case), "{case}: {text}");
        drop(stream);
        ground.end().await;
    }
}

/// With dialback it is DNS that is trusted, as between servers without certificates.
#[tokio::test]
async fn a_server_with_a_bad_certificate_is_used_where_dialback_is_on() {
    for case in ["is for campos.lit", "expired", "leads to no trusted root"] {
        let mut ground = Ground::new("").await;
        let server = Server::new(&[("pessoa.lit", &bad(&ground, case))]).await;
        ground.publish("pessoa.lit", &server);
        ground.local.tell(JOSE, ANA, "out").await;
        let mut stream = server.accept(BY_DIALBACK).await;
        stream.take_key("saramago.lit", "pessoa.lit").await;
        stream.expect("out").await;
        drop(stream);
        ground.end().await;
    }
}

/// A verdict counts for the domain that it is of, on the stream that it comes by.
#[tokio::test]
async fn a_verdict_about_another_pair_lets_nobody_in() {
    let mut ground = Ground::new("[limits]\nstanza_wait = '1s'").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.expect_key("saramago.lit", "pessoa.lit").await;
    stream.judge_key("chat.saramago.lit", "pessoa.lit", "valid").await;
    stream.judge_key("saramago.lit", "campos.lit", "valid").await;
    ground.local.expect_error("out", "remote-server-timeout").await;
    let heard = tokio::time::timeout(std::time::Duration::ZERO, stream.wire.hear()).await;
    assert!(heard.is_err(), "nothing was sent: {heard:?}");
    drop(stream);
    ground.end().await;
}
