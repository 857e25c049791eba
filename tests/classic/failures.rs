//! What fails by classic S2S: what senders are told, how long it is remembered, what operators see.

use heteronym_proto::element::Element;
use heteronym_proto::pairs::PairState;
use heteronym_proto::status::{LocalState, Via};

use super::ground::{ANA, Ground, JOSE, STARTTLS};
use crate::support::http::get_json;
use crate::support::server::{BY_DIALBACK, DIALBACK, EXTERNAL, Server};
use crate::support::soon;

const RUI: &str = "rui@chat.saramago.lit";
const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// The next connections that the router has dialled already: how many.
async fn dials(server: &Server) -> usize {
    let mut dials = 0;
    while server.has_been_dialled().await {
        dials += 1;
    }
    dials
}

/// However many stanzas come, there is no dial for each.
#[tokio::test]
async fn a_failure_is_followed_by_a_pause_in_which_stanzas_go_back_at_once() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "first").await;
    drop(server.accept_tcp().await);
    let first = ground.local.hear_error("first", "remote-server-timeout").await;
    assert!(first.contains("s2s.pessoa.lit"), "{first}");
    for n in 0..50 {
        let (from, id) = (if n % 2 == 0 { JOSE } else { RUI }, n.to_string());
        ground.local.tell(from, ANA, &id).await;
        let text = tokio::select! {
            text = ground.local.hear_error(&id, "remote-server-timeout") => text,
            tcp = server.accept_tcp() => {
                drop(tcp);
                ground.local.hear_error(&id, "remote-server-timeout").await
            }
        };
        assert!(text.contains("s2s.pessoa.lit"), "the same reason: {text}");
    }
    let again = dials(&server).await;
    assert!(again < 10, "{again} dials for 50 stanzas");
    ground.end().await;
}

#[tokio::test]
async fn a_reload_ends_the_pause() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    // After two failures in a row the pause is a second at least.
    for _ in 0..2 {
        let failed = async {
            loop {
                ground.local.tell(JOSE, ANA, "failing").await;
                tokio::select! {
                    _ = ground.local.wire.element() => (),
                    tcp = server.accept_tcp() => {
                        drop(tcp);
                        return ground.local.expect_error("failing", "remote-server-timeout").await;
                    }
                }
            }
        };
        soon("a dial that fails", failed).await;
    }
    assert_eq!(ground.reload(&ground.text).0, 200);
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("out").await;
    drop(stream);
    ground.end().await;
}

/// Of a key that is refused; the pair is not asked for again, and another pair is none the worse.
#[tokio::test]
async fn a_refused_key_sends_what_waits_back_and_is_remembered() {
    for (type_, says) in [("invalid", "found our dialback key invalid"), ("error", "could not verify our dialback key")]
    {
        let mut ground = Ground::new("").await;
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(JOSE, ANA, "good").await;
        let mut stream = server.accept(BY_DIALBACK).await;
        stream.take_key("saramago.lit", "pessoa.lit").await;
        stream.expect("good").await;
        for n in 0..3 {
            ground.local.tell(RUI, ANA, &n.to_string()).await;
        }
        stream.expect_key("chat.saramago.lit", "pessoa.lit").await;
        stream.judge_key("chat.saramago.lit", "pessoa.lit", type_).await;
        for n in 0..3 {
            ground.local.expect_error_saying(&n.to_string(), "remote-server-timeout", says).await;
        }
        ground.local.tell(RUI, ANA, "at-once").await;
        ground.local.expect_error_saying("at-once", "remote-server-timeout", says).await;
        let [pair] = &ground.router.pairs("chat.saramago.lit", "pessoa.lit").await[..] else { panic!("one pair") };
        assert_eq!((pair.via, pair.state), (Via::Classic, PairState::Refused));
        assert!(pair.last_error.as_deref().unwrap().contains(says), "{pair:?}");
        ground.local.tell(JOSE, ANA, "as-before").await;
        stream.expect("as-before").await;
        assert_eq!(ground.reload(&ground.text).0, 200);
        ground.local.tell(RUI, ANA, "again").await;
        stream.take_key("chat.saramago.lit", "pessoa.lit").await;
        stream.expect("again").await;
        drop(stream);
        ground.end().await;
    }
}

/// The same of the pair that the stream was dialled for. Where a refusal does not end the stream (`<errors/>`),
/// it serves further pairs; else it has no use.
#[tokio::test]
async fn a_first_key_that_is_refused_sends_what_waits_back() {
    for offers in [BY_DIALBACK, "<dialback xmlns='urn:xmpp:features:dialback'/>"] {
        let mut ground = Ground::new("").await;
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(JOSE, ANA, "1").await;
        ground.local.tell(JOSE, ANA, "2").await;
        let mut stream = server.accept(offers).await;
        stream.expect_key("saramago.lit", "pessoa.lit").await;
        stream.judge_key("saramago.lit", "pessoa.lit", "invalid").await;
        for id in ["1", "2", "3"] {
            if id == "3" {
                ground.local.tell(JOSE, ANA, id).await;
            }
            ground.local.expect_error_saying(id, "remote-server-timeout", "key invalid").await;
        }
        if offers != BY_DIALBACK {
            stream.wire.expect_end().await;
        }
        ground.local.tell(RUI, ANA, "other").await;
        if offers != BY_DIALBACK {
            stream = server.accept(offers).await;
        }
        stream.take_key("chat.saramago.lit", "pessoa.lit").await;
        stream.expect("other").await;
        drop(stream);
        ground.end().await;
    }
}

/// After half a minute it is as good as none.
#[tokio::test]
async fn a_verdict_that_does_not_come_sends_what_waits_back() {
    let mut ground = Ground::new("[limits]\nstanza_wait = '1h'").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "1").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.expect_key("saramago.lit", "pessoa.lit").await;
    ground.local.expect_error_saying("1", "remote-server-timeout", "no verdict").await;
    ground.local.tell(JOSE, ANA, "2").await;
    ground.local.expect_error_saying("2", "remote-server-timeout", "no verdict").await;
    drop(stream);
    ground.end().await;
}

/// The server goes away with stanzas in the middle of everything: none is lost, and none is sent twice.
#[tokio::test]
async fn a_server_that_goes_away_before_its_verdict_gets_nothing_and_the_senders_are_told() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    for n in 0..3 {
        ground.local.tell(JOSE, ANA, &n.to_string()).await;
    }
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.expect_key("saramago.lit", "pessoa.lit").await;
    drop(stream);
    for n in 0..3 {
        ground.local.expect_error(&n.to_string(), "remote-server-timeout").await;
    }
    ground.end().await;
}

/// Everything that was tried is named, each with what was wrong with it.
#[tokio::test]
async fn the_status_says_what_was_tried_and_why_it_failed() {
    let mut ground = Ground::new("[classic]\ndialback = false").await;
    let other = ground.issue("campos.lit");
    let (impostor, refusing) = (Server::new(&[("pessoa.lit", &other)]).await, ground.server("pessoa.lit").await);
    let closed = "127.0.0.1:1".parse().unwrap();
    let records = [
        (STARTTLS, 0, 0, closed),
        (super::ground::DIRECT_TLS, 1, 0, impostor.address()),
        (STARTTLS, 2, 0, refusing.address()),
    ];
    ground.records("pessoa.lit", &records);
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = impostor.accept_tls(EXTERNAL).await;
    stream.let_in("").await;
    let mut second = refusing.accept(EXTERNAL).await;
    second.refuse_certificate().await;
    let text = ground.local.hear_error("out", "remote-server-timeout").await;
    let (_, status) = get_json(ground.router.admin, "/api/status");
    let pair = status["pairs"].as_array().unwrap().iter().find(|pair| pair["remote"] == "pessoa.lit").unwrap();
    assert_eq!((&pair["state"], &pair["via"]), (&"refused".into(), &"classic".into()), "{pair}");
    let error = pair["last_error"].as_str().unwrap();
    for words in [
        "s0.pessoa.lit port 1 (STARTTLS): 127.0.0.1:1: Connection refused".to_owned(),
        format!(
            "s1.pessoa.lit port {0} (direct TLS): {1}: the certificate of pessoa.lit is not trusted: certificate is for campos.lit",
            impostor.address().port(),
            impostor.address()
        ),
        format!(
            "s2.pessoa.lit port {0} (STARTTLS): {1}: the server refused our certificate",
            refusing.address().port(),
            refusing.address()
        ),
    ] {
        assert!(error.contains(&words), "{words}: {error}");
    }
    assert!(text.contains("no federation record"), "{text}");
    drop((stream, second));
    ground.end().await;
}

/// A pair without a server, or with a verdict outstanding, is seen as well.
#[tokio::test]
async fn the_status_of_a_pair_follows_it() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let state = |status: &heteronym_proto::status::Status| {
        let of = status.pairs.iter().find(|pair| pair.pair.remote.as_str() == "pessoa.lit");
        of.map(|pair| (pair.via, pair.state, pair.stanzas_in, pair.stanzas_out))
    };
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.expect_key("saramago.lit", "pessoa.lit").await;
    assert_eq!(state(&ground.router.status().await), Some((Via::Classic, PairState::Requested, 0, 0)));
    stream.judge_key("saramago.lit", "pessoa.lit", "valid").await;
    stream.expect("out").await;
    assert_eq!(state(&ground.router.status().await), Some((Via::Classic, PairState::Active, 0, 1)));
    drop(stream);
    ground.router.status_until("the end of the pair", |status| state(status).is_none()).await;
    ground.end().await;
}

/// What may not be answered is not; everything else is, whatever kind of stanza it is.
#[tokio::test]
async fn errors_and_results_that_cannot_be_sent_are_not_answered() {
    let mut ground = Ground::new("").await;
    for stanza in [
        "<iq type='result' id='r' from='jose@saramago.lit' to='ana@pessoa.lit'/>",
        "<message type='error' id='e' from='jose@saramago.lit' to='ana@pessoa.lit'/>",
        "<presence type='error' id='p' from='jose@saramago.lit' to='ana@pessoa.lit'/>",
    ] {
        ground.local.send(stanza).await;
    }
    ground.local.send("<iq type='get' id='g' from='jose@saramago.lit' to='ana@pessoa.lit'><q xmlns='x'/></iq>").await;
    let error: Element = ground.local.wire.element().await;
    assert_eq!((error.name(), error.attr("id"), error.attr("type")), ("iq", Some("g"), Some("error")));
    assert!(format!("{error:?}").contains(STANZAS) && !format!("{error:?}").contains(DIALBACK));
    ground.end().await;
}

/// The stream that a stanza came by has ended before our server was given up.
#[tokio::test]
async fn who_has_ended_its_stream_is_told_what_could_not_be_delivered() {
    let ground = Ground::new("[limits]\nlocal_link_grace = '1s'").await;
    let server = ground.server("pessoa.lit").await;
    let mut inbound = server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await;
    inbound.authenticate("pessoa.lit", "saramago.lit").await;
    let Ground { router, local, names, folder, .. } = ground;
    drop(local);
    router.status_until("its end", |status| status.locals.iter().all(|local| local.state != LocalState::Up)).await;
    inbound.tell(ANA, JOSE, "undelivered").await;
    inbound.wire.send("</stream:stream>").await;
    inbound.wire.expect_end().await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    let error = stream.wire.element().await;
    assert_eq!((error.attr("type"), error.attr("id")), (Some("error"), Some("undelivered")));
    drop(stream);
    router.drain().await;
    drop((names, folder));
}
