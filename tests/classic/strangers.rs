//! Who has proved nothing: bounds, and the errors that end its stream. Nothing of it is delivered or answered.

use std::net::SocketAddr;

use heteronym_proto::checker::Scope;
use heteronym_proto::limits::{CHECKS, PENDING_CHECKS};
use heteronym_proto::stream_error::Condition;
use tokio::net::{TcpSocket, TcpStream};

use super::ground::{ANA, Ground, JOSE, STARTTLS};
use super::sharing::server_of_both;
use crate::support::host::{AUTH, SASL, TLS};
use crate::support::message;
use crate::support::server::{Classic, EXTERNAL, Server, header};
use crate::support::silence::Silent;
use crate::support::soon;
use crate::support::wire::{Heard, Wire};

/// Connections of one network on which nobody is proved.
const PLACES: usize = 64;
const KEY: &str = "<db:result from='pessoa.lit' to='saramago.lit'>0123456789abcdef</db:result>";

/// A connection on which nothing was said.
async fn plain(ground: &Ground) -> Wire<TcpStream> {
    Wire::new(soon("the S2S port", TcpStream::connect(ground.s2s())).await.unwrap(), Scope::DIALBACK)
}

/// The same with TLS.
async fn secured(ground: &Ground, server: &Server) -> Wire<heteronym_net::wire::Stream> {
    let tcp = soon("the S2S port", TcpStream::connect(ground.s2s())).await.unwrap();
    server.secured(tcp, "pessoa.lit", "saramago.lit").await
}

/// A stream of a server that proves nothing by its certificate.
async fn stranger(ground: &Ground, server: &Server) -> Classic {
    server.dial(ground.s2s(), "pessoa.lit", "saramago.lit").await
}

/// Headers that are refused, and how.
const HEADERS: [(&str, &str, Condition); 6] = [
    ("pessoa.lit", "ricardo.lit", Condition::HostUnknown),
    ("pessoa.lit", "", Condition::ImproperAddressing),
    ("::1", "saramago.lit", Condition::ImproperAddressing),
    ("pessoa.lit", "::1", Condition::ImproperAddressing),
    ("saramago.lit", "chat.saramago.lit", Condition::InvalidFrom),
    ("chat.saramago.lit", "saramago.lit", Condition::InvalidFrom),
];

#[tokio::test]
async fn a_header_with_wrong_names_is_refused_behind_a_header_of_ours() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    for (from, to, condition) in HEADERS {
        let mut wire = plain(&ground).await;
        wire.send(header(from, to, "")).await;
        wire.header().await;
        wire.expect_error(condition).await;
        let mut wire = secured(&ground, &server).await;
        wire.send(header(from, to, "")).await;
        wire.header().await;
        wire.expect_error(condition).await;
    }
    ground.is_quiet().await;
    ground.end().await;
}

#[tokio::test]
async fn another_domain_after_sasl_is_an_invalid_from() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    for (from, to) in [("campos.lit", "saramago.lit"), ("pessoa.lit", "chat.saramago.lit")] {
        let mut stream = stranger(&ground, &server).await;
        stream.wire.send(AUTH).await;
        assert!(stream.wire.element().await.is("success", SASL));
        stream.wire.restart();
        stream.wire.send(header(from, to, "")).await;
        stream.wire.header().await;
        stream.wire.expect_error(Condition::InvalidFrom).await;
    }
    ground.is_quiet().await;
    ground.end().await;
}

/// XEP-0178 §3: the identity that is asked for is that of the stream.
#[tokio::test]
async fn another_identity_in_sasl_is_refused() {
    let ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let auth = |text: &str| AUTH.replace(">=<", &format!(">{text}<"));
    for (text, condition) in [("Y2FtcG9zLmxpdA==", "invalid-authzid"), ("!", "invalid-authzid")] {
        let mut stream = stranger(&ground, &server).await;
        stream.wire.send(auth(text)).await;
        let failure = stream.wire.element().await;
        assert!(failure.is("failure", SASL) && failure.child(condition, SASL).is_some(), "{failure:?}");
        stream.wire.expect_end().await;
    }
    let mut stream = stranger(&ground, &server).await;
    stream.wire.send(auth("cGVzc29hLmxpdA==")).await;
    assert!(stream.wire.element().await.is("success", SASL), "the identity of the stream");
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn a_from_of_another_domain_ends_an_authenticated_stream() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    for from in ["alvaro@campos.lit", "jose@saramago.lit", "ana@chat.pessoa.lit"] {
        let mut stream = stranger(&ground, &server).await;
        stream.authenticate("pessoa.lit", "saramago.lit").await;
        stream.tell(ANA, JOSE, "in").await;
        ground.local.expect("in").await;
        stream.wire.send(message(from, JOSE, "forged") + &message(ANA, JOSE, "behind")).await;
        stream.wire.expect_error(Condition::InvalidFrom).await;
        ground.is_quiet().await;
    }
    ground.end().await;
}

#[tokio::test]
async fn a_stanza_without_addresses_ends_an_authenticated_stream() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    for addresses in ["to='jose@saramago.lit'", "from='ana@pessoa.lit'", "from='@pessoa.lit' to='jose@saramago.lit'"] {
        let mut stream = stranger(&ground, &server).await;
        stream.authenticate("pessoa.lit", "saramago.lit").await;
        stream.wire.send(format!("<message {addresses}><body>x</body></message>")).await;
        stream.wire.expect_error(Condition::ImproperAddressing).await;
    }
    ground.is_quiet().await;
    ground.end().await;
}

/// Neither by who could prove himself, nor by who cannot, nor where a key is being verified.
#[tokio::test]
async fn a_stanza_before_any_proof_is_not_authorized() {
    let mut ground = Ground::new("").await;
    let (known, other) = (ground.server("pessoa.lit").await, ground.stranger("campos.lit").await);
    for mut stream in [stranger(&ground, &known).await, other.dial(ground.s2s(), "campos.lit", "saramago.lit").await] {
        stream.tell(ANA, JOSE, "in").await;
        stream.wire.expect_error(Condition::NotAuthorized).await;
    }
    let mut stream = other.dial(ground.s2s(), "campos.lit", "saramago.lit").await;
    stream.send_key("campos.lit", "saramago.lit").await;
    stream.tell("alvaro@campos.lit", JOSE, "in").await;
    stream.tell("alvaro@campos.lit", "nobody@nowhere.lit", "in").await;
    stream.wire.expect_error(Condition::NotAuthorized).await;
    ground.is_quiet().await;
    ground.end().await;
}

#[tokio::test]
async fn anything_but_starttls_in_the_clear_violates_the_policy() {
    let mut ground = Ground::new("").await;
    let _server = ground.server("pessoa.lit").await;
    for early in [AUTH, KEY, "<bidi xmlns='urn:xmpp:bidi'/>", &message(ANA, JOSE, "in")] {
        let mut wire = plain(&ground).await;
        wire.send(header("pessoa.lit", "saramago.lit", "")).await;
        wire.header().await;
        let features = wire.element().await;
        let offered: Vec<_> = features.children().map(|child| child.name()).collect();
        assert_eq!(offered, ["starttls"]);
        assert!(features.child("starttls", TLS).unwrap().child("required", TLS).is_some());
        wire.send(early).await;
        wire.expect_error(Condition::PolicyViolation).await;
    }
    ground.is_quiet().await;
    ground.end().await;
}

#[tokio::test]
async fn what_stands_behind_starttls_is_not_taken_for_secured() {
    let ground = Ground::new("").await;
    let mut wire = plain(&ground).await;
    wire.send(header("pessoa.lit", "saramago.lit", "")).await;
    wire.header().await;
    wire.element().await;
    wire.send(format!("<starttls xmlns='{TLS}'/>{}", header("pessoa.lit", "saramago.lit", ""))).await;
    assert!(wire.element().await.is("proceed", TLS));
    wire.expect_closed().await;
    ground.end().await;
}

#[tokio::test]
async fn a_domain_that_federation_is_required_of_violates_the_policy() {
    let policy = "[federation.domains.\"pessoa.lit\"]\npolicy = 'require'";
    let mut ground = Ground::new(policy).await;
    // Its certificate proves both: that is not enough.
    let server = server_of_both(&ground, &["pessoa.lit", "campos.lit"], true).await;
    let mut wire = secured(&ground, &server).await;
    wire.send(header("pessoa.lit", "saramago.lit", "")).await;
    wire.header().await;
    let text = wire.hear_error(Condition::PolicyViolation).await;
    assert!(text.contains("require"), "{text}");
    let mut stream = server.dial(ground.s2s(), "campos.lit", "saramago.lit").await;
    stream.authenticate("campos.lit", "saramago.lit").await;
    stream.send_key("pessoa.lit", "saramago.lit").await;
    let verdict = stream.expect_verdict("pessoa.lit", "saramago.lit", "error").await;
    let error = verdict.children().next().unwrap();
    assert!(error.children().any(|child| child.name() == "policy-violation"), "{verdict:?}");
    assert!(!server.has_been_dialled().await, "nobody is asked about its key");
    stream.tell("alvaro@campos.lit", JOSE, "in").await;
    ground.local.expect("in").await;
    ground.is_quiet().await;
    drop(stream);
    ground.end().await;
}

#[tokio::test]
async fn without_classic_everybody_violates_the_policy() {
    let ground = Ground::new("[classic]\nenabled = false").await;
    let server = ground.server("pessoa.lit").await;
    let mut wire = secured(&ground, &server).await;
    wire.send(header("pessoa.lit", "saramago.lit", "")).await;
    wire.header().await;
    wire.expect_error(Condition::PolicyViolation).await;
    ground.end().await;
}

#[tokio::test]
async fn who_says_nothing_is_told_that_time_is_up() {
    let ground = Ground::new("[limits]\nconnect_timeout = '500ms'").await;
    let mut wire = plain(&ground).await;
    wire.header().await;
    wire.expect_error(Condition::ConnectionTimeout).await;
    ground.end().await;
}

#[tokio::test]
async fn who_stops_in_the_middle_is_told_that_time_is_up() {
    let ground = Ground::new("[limits]\nconnect_timeout = '500ms'").await;
    let server = ground.server("pessoa.lit").await;
    let mut silent = plain(&ground).await;
    silent.send(header("pessoa.lit", "saramago.lit", "")).await;
    silent.header().await;
    silent.element().await;
    silent.expect_error(Condition::ConnectionTimeout).await;
    let mut stream = stranger(&ground, &server).await;
    stream.wire.expect_error(Condition::ConnectionTimeout).await;
    let mut stream = stranger(&ground, &server).await;
    stream.wire.send(AUTH).await;
    assert!(stream.wire.element().await.is("success", SASL));
    stream.wire.restart();
    stream.wire.header().await;
    stream.wire.expect_error(Condition::ConnectionTimeout).await;
    // It began with TLS, and never came to its end.
    let mut halfway = plain(&ground).await;
    halfway.send([22, 3, 1]).await;
    halfway.expect_closed().await;
    ground.end().await;
}

/// Its keys are wrong, again and again; the bound is that of a verdict.
#[tokio::test]
async fn who_never_proves_a_domain_is_told_that_time_is_up() {
    let mut ground = Ground::new("[limits]\nconnect_timeout = '500ms'").await;
    let server = ground.stranger("pessoa.lit").await;
    let mut stream = stranger(&ground, &server).await;
    stream.wire.send(KEY).await;
    server.answer_verify("", |_| "invalid").await;
    stream.expect_verdict("pessoa.lit", "saramago.lit", "invalid").await;
    stream.wire.expect_error(Condition::ConnectionTimeout).await;
    ground.is_quiet().await;
    ground.end().await;
}

async fn from_address(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    soon("the S2S port", socket.connect(to)).await.unwrap()
}

/// A place is held until a domain is proved, and by nobody else's connections.
#[tokio::test]
async fn a_network_has_so_many_connections_on_which_nobody_is_proved() {
    let mut ground = Ground::new("[limits]\nconnect_timeout = '60s'").await;
    let server = ground.server("pessoa.lit").await;
    let mut first = stranger(&ground, &server).await;
    let mut idle = Vec::new();
    for _ in 1..PLACES {
        idle.push(plain(&ground).await);
    }
    plain(&ground).await.expect_closed().await;
    let mut neighbour = Wire::new(from_address("127.0.0.2", ground.s2s()).await, Scope::DIALBACK);
    neighbour.send(header("pessoa.lit", "saramago.lit", "")).await;
    neighbour.header().await;
    first.authenticate("pessoa.lit", "saramago.lit").await;
    first.tell(ANA, JOSE, "in").await;
    ground.local.expect("in").await;
    let mut next = plain(&ground).await;
    next.send(header("pessoa.lit", "saramago.lit", "")).await;
    next.header().await;
    plain(&ground).await.expect_closed().await;
    drop((first, idle, neighbour, next));
    ground.end().await;
}

#[tokio::test]
async fn an_element_before_authentication_is_small() {
    let ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let mut stream = stranger(&ground, &server).await;
    stream.wire.send(AUTH.replace(">=<", &format!(">{}<", "A".repeat(20_000)))).await;
    stream.wire.expect_error(Condition::PolicyViolation).await;
    let mut wire = plain(&ground).await;
    wire.send(header("pessoa.lit", "saramago.lit", &format!(" x='{}'", "x".repeat(20_000)))).await;
    wire.header().await;
    wire.expect_error(Condition::PolicyViolation).await;
    ground.end().await;
}

/// Each of its elements is answered, until all of them together are too much.
#[tokio::test]
async fn what_is_said_before_a_proof_is_little() {
    let ground = Ground::new("").await;
    let server = ground.stranger("pessoa.lit").await;
    let mut stream = stranger(&ground, &server).await;
    let key = format!("<db:result from='pessoa.lit' to='ricardo.lit'>{}</db:result>", "k".repeat(900));
    let (mut answered, mut text) = (0, None);
    while text.is_none() {
        let _ = stream.wire.try_send(&key).await;
        let element = stream.wire.element().await;
        match heteronym_proto::stream_error::StreamError::from_element(&element) {
            Some(error) => text = Some((error.condition, error.text)),
            None => answered += 1,
        }
    }
    assert_eq!(text.unwrap().0, Condition::PolicyViolation);
    assert!((32..=160).contains(&answered), "{answered}");
    assert!(matches!(stream.wire.hear().await, Heard::End | Heard::Closed));
    ground.end().await;
}

#[tokio::test]
async fn one_stream_has_so_many_keys_verified_at_once() {
    let ground = Ground::new("").await;
    let silent = Silent::on(&["127.0.0.1"]).await;
    let server = ground.stranger("pessoa.lit").await;
    ground.names.set_addresses("s2s.silent.lit", vec!["127.0.0.1".parse().unwrap()]);
    let mut stream = stranger(&ground, &server).await;
    for n in 0..=PENDING_CHECKS {
        let domain = format!("d{n}.evil.lit");
        ground.names.set_service(STARTTLS, &domain, vec![(0, 0, silent.port(), "s2s.silent.lit".to_owned())]);
        stream.send_key(&domain, "saramago.lit").await;
    }
    let last = format!("d{PENDING_CHECKS}.evil.lit");
    let verdict = stream.expect_verdict(&last, "saramago.lit", "error").await;
    assert!(format!("{verdict:?}").contains("resource-constraint"), "{verdict:?}");
    drop(stream);
    ground.end().await;
}

/// Strangers make the router dial servers that never answer, and its own users' servers are dialled still.
#[tokio::test]
async fn checks_without_an_answer_hold_up_nobodys_stanzas() {
    let mut ground = Ground::new("").await;
    let silent = Silent::on(&["127.0.0.1"]).await;
    let (stranger, server) = (ground.stranger("evil.lit").await, ground.server("pessoa.lit").await);
    ground.names.set_addresses("s2s.silent.lit", vec!["127.0.0.1".parse().unwrap()]);
    let mut streams = Vec::new();
    // Some more than there is room for: a check may fail early.
    for n in 0..=CHECKS / PENDING_CHECKS {
        let mut stream = stranger.dial(ground.s2s(), "evil.lit", "saramago.lit").await;
        for m in 0..PENDING_CHECKS {
            let domain = format!("d{n}-{m}.evil.lit");
            ground.names.set_service(STARTTLS, &domain, vec![(0, 0, silent.port(), "s2s.silent.lit".to_owned())]);
            stream.send_key(&domain, "saramago.lit").await;
        }
        streams.push(stream);
    }
    let mut last = stranger.dial(ground.s2s(), "evil.lit", "saramago.lit").await;
    // One that the others leave no room for: then all of them are under way.
    last.send_key("evil.lit", "saramago.lit").await;
    loop {
        tokio::select! {
            biased;
            verdict = last.wire.element() => match verdict.attr("type").unwrap() {
                "error" => break,
                _ => last.send_key("evil.lit", "saramago.lit").await,
            },
            mut asked = stranger.accept("") => asked.answer_verify(|_| "invalid").await,
        }
    }
    ground.local.tell(JOSE, ANA, "out").await;
    let mut stream = server.accept(EXTERNAL).await;
    stream.let_in("").await;
    stream.expect("out").await;
    drop((streams, last, stream));
    ground.end().await;
}
