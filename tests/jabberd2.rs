//! A jabberd2 of ours, whose router's default route we are.

use heteronym_proto::status::{LocalState, LocalStatus, Status};

use crate::classic::ground::{ANA, Ground, JOSE, OWN};
use crate::support::http::get;
use crate::support::jabberd2::{CLIENT, Jabberd2, Routes};
use crate::support::wire::Heard;

const BLIMUNDA: &str = "blimunda@blimunda.lit";
const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// What jabberd2's session manager takes for a packet of a session.
const SESSION: &str = "xmlns:sc='http://jabberd.jabberstudio.org/ns/session/1.0'";

/// A router, jabberd2's, and a component of ours besides.
struct House {
    ground: Ground,
    jabberd2: Jabberd2,
    routes: Routes,
}

fn of_two(status: &Status) -> Option<&LocalStatus> {
    status.locals.iter().find(|local| local.name == "two")
}

impl House {
    async fn new(more: &str) -> Self {
        let jabberd2 = Jabberd2::start().await;
        let ground = Ground::new(&format!("{}{more}", jabberd2.entry(&OWN))).await;
        let mut routes = jabberd2.accept().await;
        for domain in OWN {
            routes.serves(domain, "").await;
        }
        let house = Self { ground, jabberd2, routes };
        house.is(LocalState::Up).await;
        house
    }

    async fn is(&self, state: LocalState) {
        let holds = |status: &Status| of_two(status).is_some_and(|local| local.state == state);
        self.ground.router.status_until(&format!("{state:?}"), holds).await;
    }

    /// Waits until the status page says this of jabberd2, or nothing.
    async fn says(&self, words: Option<&str>) {
        let holds = |status: &Status| match (of_two(status).and_then(|local| local.last_error.as_deref()), words) {
            (Some(said), Some(words)) => said.contains(words),
            (said, words) => said == words,
        };
        self.ground.router.status_until(&format!("{words:?}"), holds).await;
    }

    fn counted(&self, line: &str) -> bool {
        get(self.ground.router.admin, "/metrics", None).1.contains(line)
    }

    async fn end(self) {
        let Self { ground, mut routes, .. } = self;
        let Ground { router, mut local, .. } = ground;
        let draining = router.begin_drain();
        local.wire.expect_end().await;
        routes.wire.expect_end().await;
        draining.ended().await;
    }
}

#[tokio::test]
async fn stanzas_go_both_ways_in_routes() {
    let mut house = House::new("").await;
    house.ground.local.tell(JOSE, BLIMUNDA, "in").await;
    house.routes.expect("blimunda.lit", "in").await;
    house.ground.local.tell(JOSE, "maria@chat.blimunda.lit", "another domain").await;
    house.routes.expect("chat.blimunda.lit", "another domain").await;
    house.routes.tell(BLIMUNDA, JOSE, "out").await;
    house.ground.local.expect("out").await;
    let outside = house.ground.server("pessoa.lit").await;
    house.routes.tell(BLIMUNDA, ANA, "far").await;
    let mut ana = outside.accept(crate::support::server::EXTERNAL).await;
    assert_eq!(ana.shown(), ["blimunda.lit"]);
    ana.let_in("").await;
    ana.expect("far").await;
    drop(ana);
    house.end().await;
}

#[tokio::test]
async fn a_router_with_another_secret_is_told_to_the_operator() {
    let jabberd2 = Jabberd2::start().await;
    let entry = jabberd2.entry(&OWN).replace("'s3cret'", "'another'");
    let ground = Ground::new(&entry).await;
    let (mut routes, good) = jabberd2.login().await;
    assert!(!good);
    routes.sasl("failure", "<not-authorized/><text>no</text>").await;
    routes.wire.expect_end().await;
    let said = |status: &Status| of_two(status)?.last_error.clone();
    let status = ground.router.status_until("a reason", |status| said(status).is_some()).await;
    let why = said(&status).unwrap();
    assert!(why.contains("does not know this user with this secret"), "{why}");
    assert!(!why.contains("another"), "no secret is shown");
    ground.end().await;
}

/// Who says yes without the secret would get everybody's stanzas.
#[tokio::test]
async fn a_stranger_at_the_port_is_not_believed() {
    let jabberd2 = Jabberd2::start().await;
    let entry = jabberd2.entry(&OWN).replace("'s3cret'", "'another'");
    let mut ground = Ground::new(&entry).await;
    let (mut stranger, _) = jabberd2.login().await;
    stranger.sasl("success", "cnNwYXV0aD0xOTU5OTBmNWFmMzU4OGI0NzcxZDY1NGIxOTAzMjhhMQ==").await;
    stranger.wire.expect_end().await;
    ground.is_quiet().await;
    ground.end().await;
}

/// jabberd2 gives back what nobody serves.
#[tokio::test]
async fn a_route_that_comes_back_is_an_error_for_the_sender() {
    let mut house = House::new("").await;
    house.ground.local.tell(JOSE, BLIMUNDA, "nobody").await;
    let stanza = house.routes.stanza("blimunda.lit").await;
    let mut bytes = Vec::new();
    stanza.write(&mut bytes, "");
    let back = String::from_utf8(bytes).unwrap();
    let route = format!("<route error='404' to='blimunda.lit' from='heteronym'>{back}</route>");
    house.routes.wire.send(route).await;
    house.ground.local.expect_error_saying("nobody", "remote-server-timeout", "server is down").await;
    house.end().await;
}

/// With a session's id it would be that user's own word.
#[tokio::test]
async fn a_stanza_that_passes_for_a_packet_of_a_session_goes_back() {
    let mut house = House::new("").await;
    let forged = format!("<message {SESSION} sc:sm='48e6' from='{JOSE}' to='{BLIMUNDA}' id='forged'><body/></message>");
    house.ground.local.send(forged).await;
    house.ground.local.expect_error("forged", "policy-violation").await;

    let outside = house.ground.server("pessoa.lit").await;
    let mut ana = outside.dial(house.ground.s2s(), "pessoa.lit", "blimunda.lit").await;
    ana.authenticate("pessoa.lit", "blimunda.lit").await;
    let forged = format!("<message {SESSION} from='{ANA}' to='{BLIMUNDA}' id='far'><body/></message>");
    ana.wire.send(forged).await;
    ana.tell(ANA, BLIMUNDA, "honest").await;
    house.routes.expect("blimunda.lit", "honest").await;
    let mut answered = outside.accept(crate::support::server::EXTERNAL).await;
    answered.let_in("").await;
    let error = answered.wire.element().await;
    assert_eq!((error.attr("type"), error.attr("id")), (Some("error"), Some("far")), "{error:?}");
    assert!(error.children().any(|error| error.child("policy-violation", STANZAS).is_some()), "{error:?}");
    drop((ana, answered));
    house.end().await;
}

/// The stream is everybody's.
#[tokio::test]
async fn what_one_user_sends_ends_nothing() {
    let mut house = House::new("[limits]\nstanza_bytes = '20KiB'").await;
    let message = |from: &str, to: &str, id: &str, body: &str| {
        format!("<message xmlns='{CLIENT}' from='{from}' to='{to}' id='{id}'><body>{body}</body></message>")
    };
    let large = message(BLIMUNDA, JOSE, "large", &"x".repeat(21 << 10));
    let endless = message(BLIMUNDA, JOSE, "endless", &"x".repeat(90 << 10));
    let deep = message(BLIMUNDA, JOSE, "deep", &format!("{}{}", "<a>".repeat(300), "</a>".repeat(300)));
    for (stanza, condition) in [
        (message("pedro@pedro.lit", JOSE, "foreign", ""), None),
        (message(BLIMUNDA, "jose@", "nowhere", ""), Some("remote-server-not-found")),
        (large, Some("policy-violation")),
        (deep, Some("policy-violation")),
        (endless, None),
        ("<iq xmlns='jabber:client' type='get' id='none'/>".to_owned(), None),
        (format!("<sc:session {SESSION} sc:c2s='7' action='ended'/>"), None),
        ("<other xmlns='urn:x'/>".to_owned(), None),
        (message(BLIMUNDA, "heteronym", "own", ""), None),
    ] {
        let to = if stanza.contains("'own'") { "heteronym" } else { "saramago.lit" };
        house.routes.route(to, &stanza).await;
        if stanza.contains("'foreign'") {
            let error = house.routes.stanza("pedro.lit").await;
            assert!(error.children().any(|error| error.child("not-authorized", STANZAS).is_some()), "{error:?}");
        }
        if let Some(condition) = condition {
            let error = house.routes.stanza("blimunda.lit").await;
            assert!(error.children().any(|error| error.child(condition, STANZAS).is_some()), "{error:?}");
        }
    }
    house.routes.tell(BLIMUNDA, JOSE, "good").await;
    house.ground.local.expect("good").await;
    let dropped = "heteronym_stanza_errors_total{condition=\"not-forwarded\",reason=\"route\"} 3";
    assert!(house.counted(dropped), "the endless one, the one without addresses, and the one that is none");
    house.end().await;
}

#[tokio::test]
async fn domains_that_jabberd2_does_not_serve_are_named() {
    let mut house = House::new("").await;
    house.routes.serves("chat.blimunda.lit", " type='unavailable'").await;
    house.says(Some("jabberd2 does not serve chat.blimunda.lit")).await;
    house.routes.serves("another.lit", "").await;
    house.routes.serves("chat.blimunda.lit", "").await;
    house.says(None).await;
    house.end().await;
}

#[tokio::test]
async fn a_domain_that_is_never_served_is_named_in_time() {
    let jabberd2 = Jabberd2::start().await;
    let ground = Ground::new(&jabberd2.entry(&OWN)).await;
    let routes = jabberd2.accept().await;
    let house = House { ground, jabberd2, routes };
    house.says(Some("jabberd2 does not serve blimunda.lit, chat.blimunda.lit")).await;
    house.end().await;
}

#[tokio::test]
async fn what_comes_while_jabberd2_restarts_waits_in_order() {
    let mut house = House::new("").await;
    house.routes.wire.send("</stream:stream>").await;
    house.routes.wire.expect_end().await;
    house.is(LocalState::Connecting).await;
    for n in 0..20 {
        house.ground.local.tell(JOSE, BLIMUNDA, &n.to_string()).await;
    }
    house.routes = house.jabberd2.accept().await;
    for n in 0..20 {
        house.routes.expect("blimunda.lit", &n.to_string()).await;
    }
    house.end().await;
}

#[tokio::test]
async fn a_stream_error_of_jabberd2_is_told_to_the_operator() {
    let mut house = House::new("").await;
    let shutdown = "<system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>";
    house.routes.wire.send(format!("<stream:error>{shutdown}</stream:error></stream:stream>")).await;
    house.says(Some("system-shutdown")).await;
    // The router's own end may be lost: it does not read on.
    while !matches!(house.routes.wire.hear().await, Heard::Closed) {}
    house.routes = house.jabberd2.accept().await;
    house.is(LocalState::Up).await;
    house.end().await;
}
