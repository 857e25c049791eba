//! One stream for several domains: of ours (sender multiplexing), and of one server (target multiplexing).

use heteronym::demo::authority::{Authority, KeyKind, Request};

use super::ground::{ANA, Ground, JOSE};
use crate::support::server::{BY_DIALBACK, Classic, DIALBACK, EXTERNAL, Server};

const RUI: &str = "rui@chat.saramago.lit";
const ALVARO: &str = "alvaro@campos.lit";
/// Dialback by a server that ends the stream where it fails.
const STRICT: &str = "<dialback xmlns='urn:xmpp:features:dialback'/>";

/// The server of both remote domains with one certificate for `names`, of an authority that the router trusts or
/// not.
pub(super) async fn server_of_both(ground: &Ground, names: &[&str], trusted: bool) -> Server {
    let other = Authority::new("Somebody's").unwrap();
    let authority = if trusted { &ground.authority } else { &other };
    let issued = authority.issue(&Request::new(names.iter().copied(), KeyKind::P256)).unwrap();
    let server = Server::new(&[("pessoa.lit", &issued), ("campos.lit", &issued)]).await;
    ground.publish("pessoa.lit", &server);
    ground.publish("campos.lit", &server);
    server
}

const BOTH: [&str; 2] = ["pessoa.lit", "campos.lit"];

/// A stream for saramago.lit and pessoa.lit that carries stanzas.
async fn first_stream(ground: &mut Ground, server: &Server, offers: &str) -> Classic {
    ground.local.tell(JOSE, ANA, "first").await;
    let mut stream = server.accept(offers).await;
    if offers.contains("mechanism") {
        // What is offered behind authentication is what may be used there.
        stream.let_in(&offers.replace(EXTERNAL, "")).await;
    } else {
        stream.take_key("saramago.lit", "pessoa.lit").await;
    }
    stream.expect("first").await;
    stream
}

#[tokio::test]
async fn our_domains_share_a_stream_where_the_server_takes_keys() {
    for offers in [format!("{EXTERNAL}{BY_DIALBACK}"), format!("{EXTERNAL}{STRICT}"), BY_DIALBACK.to_owned()] {
        let mut ground = Ground::new("").await;
        let server = ground.server("pessoa.lit").await;
        let mut stream = first_stream(&mut ground, &server, &offers).await;
        ground.local.tell(RUI, ANA, "second").await;
        stream.take_key("chat.saramago.lit", "pessoa.lit").await;
        stream.expect("second").await;
        ground.local.tell(JOSE, ANA, "third").await;
        stream.expect("third").await;
        assert!(!server.has_been_dialled().await);
        drop(stream);
        ground.end().await;
    }
}

/// It takes certificates and nothing else: a key would end the stream, and the first domain's with it.
#[tokio::test]
async fn our_domains_have_streams_of_their_own_where_the_server_takes_no_keys() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = first_stream(&mut ground, &server, EXTERNAL).await;
    ground.local.tell(RUI, ANA, "second").await;
    let mut second = server.accept(EXTERNAL).await;
    assert_eq!(second.shown(), ["chat.saramago.lit"]);
    second.let_in("").await;
    second.expect("second").await;
    ground.local.tell(JOSE, ANA, "third").await;
    stream.expect("third").await;
    drop((stream, second));
    ground.end().await;
}

/// A domain that cannot prove itself there, or is not wanted, costs the others no pause.
#[tokio::test]
async fn a_domain_that_is_refused_is_no_pause_for_the_others() {
    for says in ["refused our certificate", "policy-violation"] {
        let mut ground = Ground::new("[classic]\ndialback = false").await;
        let server = ground.server("pessoa.lit").await;
        ground.local.tell(RUI, ANA, "refused").await;
        let mut stream = server.accept(EXTERNAL).await;
        if says == "policy-violation" {
            let error = format!("<{says} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
            stream.wire.send(format!("<stream:error>{error}</stream:error></stream:stream>")).await;
        } else {
            stream.refuse_certificate().await;
        }
        ground.local.expect_error_saying("refused", "remote-server-timeout", says).await;
        ground.local.tell(RUI, ANA, "remembered").await;
        ground.local.expect_error_saying("remembered", "remote-server-timeout", says).await;
        let mut stream = first_stream(&mut ground, &server, EXTERNAL).await;
        ground.local.tell(RUI, ANA, "still").await;
        ground.local.expect_error_saying("still", "remote-server-timeout", says).await;
        ground.local.tell(JOSE, ANA, "second").await;
        stream.expect("second").await;
        drop(stream);
        ground.end().await;
    }
}

/// Where a refusal does not end the stream, the server is the same, and its certificate proves both or neither.
#[tokio::test]
async fn domains_of_one_server_share_a_stream() {
    for (names, trusted, offers) in [
        (&BOTH[..], true, format!("{EXTERNAL}{BY_DIALBACK}")),
        (&BOTH, true, BY_DIALBACK.to_owned()),
        (&BOTH, false, BY_DIALBACK.to_owned()),
        (&["elsewhere.lit"], true, BY_DIALBACK.to_owned()),
    ] {
        let mut ground = Ground::new("").await;
        let server = server_of_both(&ground, names, trusted).await;
        let mut stream = first_stream(&mut ground, &server, &offers).await;
        ground.local.tell(JOSE, ALVARO, "guest").await;
        stream.take_key("saramago.lit", "campos.lit").await;
        stream.expect("guest").await;
        ground.local.tell(RUI, ALVARO, "another").await;
        stream.take_key("chat.saramago.lit", "campos.lit").await;
        stream.expect("another").await;
        assert!(!server.has_been_dialled().await);
        drop(stream);
        ground.end().await;
    }
}

/// A refusal would end it for both; or the server has shown that it is one of them and not the other.
#[tokio::test]
async fn domains_of_one_server_have_streams_of_their_own_where_sharing_could_do_harm() {
    let with_errors = format!("{EXTERNAL}{BY_DIALBACK}");
    for (names, more, offers) in [
        (&BOTH[..], "", format!("{EXTERNAL}{STRICT}")),
        (&BOTH, "", EXTERNAL.to_owned()),
        (&["pessoa.lit"], "", with_errors.clone()),
        (&BOTH, "[classic]\ndialback = false", with_errors),
    ] {
        let mut ground = Ground::new(more).await;
        let server = server_of_both(&ground, names, true).await;
        let mut stream = first_stream(&mut ground, &server, &offers).await;
        ground.local.tell(JOSE, ALVARO, "own").await;
        let mut own = server.accept(&offers).await;
        assert_eq!(own.hello.server_name.as_deref(), Some("campos.lit"));
        own.let_in("").await;
        own.expect("own").await;
        ground.local.tell(JOSE, ANA, "second").await;
        stream.expect("second").await;
        drop((stream, own));
        ground.end().await;
    }
}

#[tokio::test]
async fn domains_of_servers_at_other_addresses_have_streams_of_their_own() {
    let mut ground = Ground::new("").await;
    let (server, other) = (ground.server("pessoa.lit").await, ground.server("campos.lit").await);
    let mut stream = first_stream(&mut ground, &server, BY_DIALBACK).await;
    ground.local.tell(JOSE, ALVARO, "own").await;
    let mut own = other.accept(BY_DIALBACK).await;
    own.take_key("saramago.lit", "campos.lit").await;
    own.expect("own").await;
    ground.local.tell(JOSE, ANA, "second").await;
    stream.expect("second").await;
    drop((stream, own));
    ground.end().await;
}

/// And nothing that was sent meanwhile is lost, or overtaken.
#[tokio::test]
async fn a_guest_that_is_refused_gets_a_stream_of_its_own() {
    for type_ in ["error", "invalid"] {
        let mut ground = Ground::new("").await;
        let server = server_of_both(&ground, &BOTH, true).await;
        let mut stream = first_stream(&mut ground, &server, BY_DIALBACK).await;
        ground.local.tell(JOSE, ALVARO, "0").await;
        stream.expect_key("saramago.lit", "campos.lit").await;
        ground.local.tell(JOSE, ALVARO, "1").await;
        ground.is_quiet().await;
        stream.judge_key("saramago.lit", "campos.lit", type_).await;
        for n in 2..20 {
            ground.local.tell(JOSE, ALVARO, &n.to_string()).await;
        }
        let mut own = server.accept(BY_DIALBACK).await;
        own.take_key("saramago.lit", "campos.lit").await;
        for n in 0..20 {
            own.expect(&n.to_string()).await;
        }
        ground.local.tell(JOSE, ANA, "second").await;
        stream.expect("second").await;
        drop((stream, own));
        ground.end().await;
    }
}

/// Refused there as well, it is refused.
#[tokio::test]
async fn a_guest_that_is_refused_on_its_own_stream_too_is_refused() {
    let mut ground = Ground::new("").await;
    let server = server_of_both(&ground, &BOTH, true).await;
    let mut stream = first_stream(&mut ground, &server, BY_DIALBACK).await;
    ground.local.tell(JOSE, ALVARO, "refused").await;
    stream.expect_key("saramago.lit", "campos.lit").await;
    stream.judge_key("saramago.lit", "campos.lit", "error").await;
    let mut own = server.accept(BY_DIALBACK).await;
    own.expect_key("saramago.lit", "campos.lit").await;
    own.judge_key("saramago.lit", "campos.lit", "invalid").await;
    ground.local.expect_error_saying("refused", "remote-server-timeout", "key invalid").await;
    ground.local.tell(JOSE, ALVARO, "remembered").await;
    ground.local.expect_error("remembered", "remote-server-timeout").await;
    ground.local.tell(JOSE, ANA, "second").await;
    stream.expect("second").await;
    drop((stream, own));
    ground.end().await;
}

/// Everybody on it finds another, and what was not sent goes there.
#[tokio::test]
async fn a_shared_stream_that_ends_is_replaced_for_everybody() {
    let mut ground = Ground::new("").await;
    let server = server_of_both(&ground, &BOTH, true).await;
    let mut stream = first_stream(&mut ground, &server, BY_DIALBACK).await;
    ground.local.tell(JOSE, ALVARO, "guest").await;
    stream.take_key("saramago.lit", "campos.lit").await;
    stream.expect("guest").await;
    drop(stream);
    ground.router.status_until("the end of the stream", |status| status.pairs.is_empty()).await;
    ground.local.tell(JOSE, ALVARO, "again").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.take_key("saramago.lit", "campos.lit").await;
    stream.expect("again").await;
    ground.local.tell(JOSE, ANA, "again-too").await;
    stream.take_key("saramago.lit", "pessoa.lit").await;
    stream.expect("again-too").await;
    drop(stream);
    ground.end().await;
}

/// Both of our domains are refused on another domain's stream at once.
#[tokio::test]
async fn every_pair_of_a_guest_that_is_refused_gets_a_stream_of_its_own() {
    let mut ground = Ground::new("").await;
    let server = server_of_both(&ground, &BOTH, true).await;
    let mut stream = first_stream(&mut ground, &server, BY_DIALBACK).await;
    for (from, domain, id) in [(JOSE, "saramago.lit", "jose"), (RUI, "chat.saramago.lit", "rui")] {
        ground.local.tell(from, ALVARO, id).await;
        stream.expect_key(domain, "campos.lit").await;
    }
    stream.judge_key("saramago.lit", "campos.lit", "error").await;
    stream.judge_key("chat.saramago.lit", "campos.lit", "error").await;
    let mut own = server.accept(BY_DIALBACK).await;
    own.take_key("saramago.lit", "campos.lit").await;
    // The other pair's key comes before or behind the first stanza.
    let mut stanzas = Vec::new();
    while stanzas.len() < 2 {
        let element = own.wire.element().await;
        if element.is("result", DIALBACK) {
            own.judge_key("chat.saramago.lit", "campos.lit", "valid").await;
        } else {
            stanzas.push(element.attr("id").unwrap().to_owned());
        }
    }
    assert_eq!(stanzas, ["jose", "rui"]);
    drop((stream, own));
    ground.end().await;
}
