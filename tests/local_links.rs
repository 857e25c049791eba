//! The router's own servers, gateways and bots over XEP-0114: whom it lets in, what it takes from
//! them, and what it does while they are away.

use heteronym_proto::control::UndeliveredReason;
use heteronym_proto::status::LocalState;
use heteronym_proto::stream_error::Condition;

use crate::support::local::{ComponentPort, Local};
use crate::support::message;
use crate::support::stage::{ROUTER, SECRET, Stage, World};

const JOSE: &str = "jose@saramago.lit/x";
const ANA: &str = "ana@pessoa.lit";

/// The stage with the pair of pessoa.lit and saramago.lit active.
async fn active(world: World) -> Stage {
    let mut stage = Stage::on(world).await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage
}

#[tokio::test]
async fn a_wrong_secret_is_not_authorized() {
    let stage = Stage::new().await;
    for secret in ["", "S3cret", "s3cret "] {
        let mut local = Local::knock(stage.world.router.component, "baltasar.lit", secret).await;
        local.wire.expect_error(Condition::NotAuthorized).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_stanza_before_the_handshake_is_not_authorized() {
    let mut stage = active(World::new().await).await;
    let mut local = Local::greet(stage.world.router.component, "baltasar.lit").await;
    local.tell("sete@baltasar.lit", ANA, "out").await;
    local.wire.expect_error(Condition::NotAuthorized).await;
    stage.talk().await;
    stage.end().await;
}

#[tokio::test]
async fn a_domain_that_no_entry_has_is_unknown() {
    let stage = Stage::new().await;
    for domain in ["ricardo.lit", "pessoa.lit", ROUTER, "x.saramago.lit"] {
        let mut local = Local::open(stage.world.router.component, "jabber:component:accept", domain).await;
        local.wire.header().await;
        local.wire.expect_error(Condition::HostUnknown).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_stream_in_another_namespace_is_no_component() {
    let stage = Stage::new().await;
    for namespace in ["jabber:server", "jabber:client", "jabber:component:connect"] {
        let mut local = Local::open(stage.world.router.component, namespace, "baltasar.lit").await;
        local.wire.header().await;
        local.wire.expect_error(Condition::InvalidNamespace).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn one_link_serves_every_domain_of_its_entry() {
    let world = World::new().await;
    let mut local = Local::attach(world.router.component, "CHAT.saramago.lit", SECRET).await;
    let mut link = world.host.dial(&world.router).await;
    link.settle().await;
    let pessoa = world.domain("pessoa.lit");
    for domain in ["saramago.lit", "chat.saramago.lit", "blimunda.lit"] {
        link.activate(&pessoa, domain).await;
        link.tell(ANA, &format!("x@{domain}"), domain).await;
        local.expect(domain).await;
        local.tell(&format!("x@{domain}"), ANA, domain).await;
        link.expect(domain).await;
    }
    world.router.drain().await;
}

#[tokio::test]
async fn a_second_link_is_a_conflict_while_the_first_answers() {
    let mut stage = Stage::new().await;
    let mut second = Local::knock(stage.world.router.component, "blimunda.lit", SECRET).await;
    stage.local.answer_ping().await;
    second.wire.expect_error(Condition::Conflict).await;
    stage.end().await;
}

#[tokio::test]
async fn a_second_link_takes_the_place_of_a_silent_one() {
    let mut stage = active(World::new().await).await;
    let mut second = Local::attach(stage.world.router.component, "blimunda.lit", SECRET).await;
    std::mem::swap(&mut stage.local, &mut second);
    stage.link.tell(ANA, JOSE, "in").await;
    stage.local.expect("in").await;
    stage.local.tell(JOSE, ANA, "out").await;
    stage.link.expect("out").await;
    stage.end().await;
}

/// What the silent one sends afterwards goes nowhere.
#[tokio::test]
async fn a_link_that_was_replaced_is_closed() {
    let mut stage = Stage::new().await;
    let second = Local::attach(stage.world.router.component, "blimunda.lit", SECRET).await;
    let mut first = std::mem::replace(&mut stage.local, second);
    assert_eq!(first.wire.element().await.name(), "iq", "the ping that nobody answered");
    first.wire.expect_closed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_stanza_from_a_domain_of_somebody_else_goes_no_further() {
    let mut stage = active(World::new().await).await;
    let mut second = stage.world.attach_second().await;
    for from in ["sete@baltasar.lit", ANA, "ricardo@ricardo.lit", ROUTER] {
        for to in [ANA, "sete@baltasar.lit", "campos@campos.lit"] {
            stage.local.tell(from, to, "forged").await;
            stage.local.expect_error("forged", "not-authorized").await;
        }
    }
    stage.local.tell(JOSE, "sete@baltasar.lit", "own").await;
    second.expect("own").await;
    stage.end().await;
}

/// The forged sender must not be told either: the answer stays on the link that it came from.
#[tokio::test]
async fn whoever_was_forged_hears_nothing_of_it() {
    let mut stage = Stage::new().await;
    let mut second = stage.world.attach_second().await;
    stage.local.tell("sete@baltasar.lit", "nobody@ricardo.lit", "forged").await;
    stage.local.expect_error("forged", "not-authorized").await;
    stage.local.tell(JOSE, "sete@baltasar.lit", "own").await;
    second.expect("own").await;
    stage.end().await;
}

/// Sends what cannot be a stanza, between two good ones: the component's stream ends with this error,
/// and the host stream has seen the first stanza and nothing else.
async fn ends_the_stream(bad: &[u8], condition: Condition) {
    let mut stage = Stage::new().await;
    stage.link.activate(&stage.world.domain("reis.lit"), "baltasar.lit").await;
    let mut second = stage.world.attach_second().await;
    let (sete, reis) = ("sete@baltasar.lit", "x@reis.lit");
    let (before, after) = (message(sete, reis, "before"), message(sete, reis, "after"));
    second.send([before.as_bytes(), bad, after.as_bytes()].concat()).await;
    second.wire.expect_error(condition).await;
    stage.link.expect("before").await;
    stage.talk().await;
    let mut again = stage.world.attach_second().await;
    again.tell(sete, reis, "again").await;
    stage.link.expect("again").await;
    stage.end().await;
}

/// Sends a stanza that must not be forwarded, between two good ones: its sender gets this error, and the
/// host stream has seen the good ones and nothing else.
async fn comes_back(stage: &mut Stage, bad: impl AsRef<[u8]>, condition: &str) {
    let good = |id| message(JOSE, ANA, id).into_bytes();
    stage.local.send([good("before"), bad.as_ref().to_vec(), good("after")].concat()).await;
    stage.local.expect_error("bad", condition).await;
    stage.link.expect("before").await;
    stage.link.expect("after").await;
}

#[tokio::test]
async fn a_stanza_that_is_not_well_formed_ends_its_own_stream() {
    for (body, condition) in [
        ("&nbsp;", Condition::RestrictedXml),
        ("]]>", Condition::NotWellFormed),
        ("\u{1}", Condition::NotWellFormed),
        ("<x:y/>", Condition::BadNamespacePrefix),
        ("<y a='1' a='2'/>", Condition::NotWellFormed),
        ("<y a='<'/>", Condition::NotWellFormed),
    ] {
        let bad = format!("<message from='sete@baltasar.lit' to='x@reis.lit'><body>{body}</body></message>");
        ends_the_stream(bad.as_bytes(), condition).await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_end_their_own_stream() {
    let bad = b"<message from='sete@baltasar.lit' to='x@reis.lit'><body>\xc3\x28</body></message>";
    ends_the_stream(bad, Condition::UnsupportedEncoding).await;
}

/// All users of a server share its link: one that goes beyond our limits does not end it.
#[tokio::test]
async fn a_stanza_that_is_too_deep_comes_back_and_the_link_lives() {
    let mut stage = active(World::new().await).await;
    let deep = format!("{}{}", "<a>".repeat(200), "</a>".repeat(200));
    let bad = format!("<message from='{JOSE}' to='{ANA}' id='bad'>{deep}</message>");
    comes_back(&mut stage, bad, "policy-violation").await;
    stage.end().await;
}

#[tokio::test]
async fn a_stanza_to_nowhere_comes_back_and_the_link_lives() {
    let mut stage = active(World::new().await).await;
    let to = |to| format!("<message from='{JOSE}'{to} id='bad'/>");
    comes_back(&mut stage, to(""), "bad-request").await;
    comes_back(&mut stage, to(" to='@pessoa.lit'"), "jid-malformed").await;
    comes_back(&mut stage, to(" to='ana@192.0.2.7'"), "remote-server-not-found").await;
    stage.end().await;
}

#[tokio::test]
async fn text_between_stanzas_ends_its_own_stream() {
    ends_the_stream(b"text", Condition::NotWellFormed).await;
}

#[tokio::test]
async fn what_xmpp_forbids_ends_its_own_stream() {
    for bad in ["<!-- -->", "<?php?>", "<!DOCTYPE x>"] {
        ends_the_stream(bad.as_bytes(), Condition::RestrictedXml).await;
    }
}

#[tokio::test]
async fn a_stanza_from_nobody_ends_its_own_stream() {
    for bad in ["<message to='x@reis.lit'/>", "<message from='@baltasar.lit' to='x@reis.lit'/>"] {
        ends_the_stream(bad.as_bytes(), Condition::ImproperAddressing).await;
    }
}

#[tokio::test]
async fn what_is_no_stanza_ends_its_own_stream() {
    for bad in ["<body/>", "<message xmlns='jabber:client' from='sete@baltasar.lit' to='x@reis.lit'/>"] {
        ends_the_stream(bad.as_bytes(), Condition::UnsupportedStanzaType).await;
    }
}

#[tokio::test]
async fn a_control_element_of_a_component_ends_its_own_stream() {
    ends_the_stream(b"<chosen xmlns='urn:xmpp:federation:0'/>", Condition::UnsupportedStanzaType).await;
}

#[tokio::test]
async fn a_stanza_that_is_too_large_comes_back_and_the_link_lives() {
    let mut stage = active(World::configured("[limits]\nstanza_bytes = '10000B'").await).await;
    for bytes in [10_000, 400_000] {
        let body = "x".repeat(bytes);
        let stanza = format!("<message from='{JOSE}' to='{ANA}' id='large'><body>{body}</body></message>");
        stage.local.send(stanza).await;
        stage.local.expect_error("large", "policy-violation").await;
        stage.local.tell(JOSE, ANA, "out").await;
        stage.link.expect("out").await;
    }
    stage.end().await;
}

#[tokio::test]
async fn what_comes_while_the_link_is_down_waits_for_the_next_one() {
    let mut stage = active(World::new().await).await;
    let status = down(&mut stage, "one").await;
    assert!(status.is_some(), "why the link ended is shown");
    for n in 0..5 {
        stage.link.tell(ANA, JOSE, &format!("{n}")).await;
    }
    stage.local = stage.world.attach().await;
    for n in 0..5 {
        stage.local.expect(&format!("{n}")).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_server_that_counts_is_told_what_was_taken_and_once_more_at_the_end() {
    let mut stage = active(World::new().await).await;
    let sm = "urn:xmpp:sm:3";
    stage.local.send(format!("<enable xmlns='{sm}'/>")).await;
    assert!(stage.local.wire.element().await.is("enabled", sm));
    for id in ["1", "2"] {
        stage.local.tell(JOSE, ANA, id).await;
        stage.link.expect(id).await;
    }
    // Whatever becomes of it: it was taken.
    stage.local.tell("sete@baltasar.lit", ANA, "3").await;
    stage.local.expect_error("3", "not-authorized").await;
    stage.local.send(format!("<r xmlns='{sm}'/>")).await;
    let answer = stage.local.wire.element().await;
    assert!(answer.is("a", sm) && answer.attr("h") == Some("3"), "{answer:?}");
    let draining = stage.world.router.begin_drain();
    stage.link.wire.expect_end().await;
    let last = stage.local.wire.element().await;
    assert!(last.is("a", sm) && last.attr("h") == Some("3"), "{last:?}");
    stage.local.wire.expect_end().await;
    drop((stage.link, stage.local));
    draining.ended().await;
}

/// A component of the first entry that answers barriers, behind the one with which its link begins.
async fn answering(world: &World) -> Local {
    let mut local = Local::attach(world.router.component, "saramago.lit", SECRET).await;
    local.wire.hears_barriers = true;
    local.answer_ping().await;
    local
}

#[tokio::test]
async fn what_was_not_seen_to_be_read_goes_to_the_next_link_as_well() {
    let mut stage = active(World::new().await).await;
    stage.local.wire.hears_barriers = true;
    stage.local = answering(&stage.world).await;
    for id in ["1", "2"] {
        stage.link.tell(ANA, JOSE, id).await;
        stage.local.expect(id).await;
        stage.local.answer_ping().await;
    }
    // What is read behind the last barrier is not seen.
    stage.link.tell(ANA, JOSE, "3").await;
    stage.local.expect("3").await;
    let ping = stage.local.wire.element().await;
    assert_eq!(ping.attr("id"), Some("barrier-4"), "one for each time, and none for nothing");
    stage.local = Local::attach(stage.world.router.component, "saramago.lit", SECRET).await;
    stage.local.wire.hears_barriers = true;
    let first = stage.local.wire.element().await;
    assert_eq!(first.attr("id"), Some("3"), "{first:?}");
    stage.local.answer_ping().await;
    stage.link.tell(ANA, JOSE, "4").await;
    stage.local.expect("4").await;
    stage.end().await;
}

/// Cuts the component's connection and waits until the router knows; why it ended.
async fn down(stage: &mut Stage, entry: &str) -> Option<String> {
    let elsewhere = Local::connect(stage.world.router.component).await;
    drop(std::mem::replace(&mut stage.local, elsewhere));
    loop {
        let locals = stage.world.router.status().await.locals;
        let local = locals.into_iter().find(|local| local.name == entry).unwrap();
        if local.state == LocalState::Down {
            return local.last_error;
        }
    }
}

#[tokio::test]
async fn what_outlives_the_grace_is_handed_back() {
    let mut stage = active(World::configured("[limits]\nlocal_link_grace = '1s'").await).await;
    down(&mut stage, "one").await;
    let n = stage.link.tell(ANA, JOSE, "late").await;
    stage.link.expect_undelivered(n, UndeliveredReason::DomainUnavailable).await;
    stage.local = stage.world.attach().await;
    stage.link.tell(ANA, JOSE, "in-time").await;
    stage.local.expect("in-time").await;
    stage.end().await;
}

#[tokio::test]
async fn what_outlives_the_grace_inside_the_router_comes_back() {
    let mut stage = Stage::on(World::configured("[limits]\nlocal_link_grace = '1s'").await).await;
    stage.local.tell(JOSE, "sete@baltasar.lit", "out").await;
    stage.local.expect_error("out", "remote-server-timeout").await;
    stage.end().await;
}

/// The router as a component of somebody's component port.
async fn dialling(port: &ComponentPort, secret: &str) -> World {
    let address = port.address();
    let attach = format!(
        "{{ kind = 'dial-component', address = '{address}', name = 'heteronym.internal', secret = '{secret}' }}"
    );
    World::configured(&format!("[[local]]\nname = 'three'\ndomains = ['sintra.lit']\nattach = {attach}")).await
}

#[tokio::test]
async fn a_server_that_is_dialled_sends_and_gets_stanzas() {
    let port = ComponentPort::open("shared").await;
    let mut stage = Stage::on(dialling(&port, "shared").await).await;
    let mut third = port.accept("heteronym.internal").await.unwrap();
    third.tell("x@sintra.lit", JOSE, "there").await;
    stage.local.expect("there").await;
    stage.local.tell(JOSE, "x@sintra.lit", "back").await;
    third.expect("back").await;
    stage.end().await;
}

#[tokio::test]
async fn a_server_that_is_dialled_is_dialled_again_and_gets_what_waited() {
    let port = ComponentPort::open("shared").await;
    let mut stage = Stage::on(dialling(&port, "shared").await).await;
    let first = port.accept("heteronym.internal").await.unwrap();
    drop(first);
    stage.local.tell(JOSE, "x@sintra.lit", "waiting").await;
    let mut again = port.accept("heteronym.internal").await.unwrap();
    again.expect("waiting").await;
    stage.end().await;
}

#[tokio::test]
async fn a_server_that_refuses_the_secret_is_not_attached_and_its_error_shown() {
    let port = ComponentPort::open("shared").await;
    let stage = Stage::on(dialling(&port, "wrong").await).await;
    assert!(port.accept("heteronym.internal").await.is_err());
    // It tries again: by then it knows how the first attempt ended.
    assert!(port.accept("heteronym.internal").await.is_err());
    let locals = stage.world.router.status().await.locals;
    let third = locals.iter().find(|local| local.name == "three").unwrap();
    assert_eq!(third.state, LocalState::Connecting);
    assert!(third.last_error.as_ref().unwrap().contains("not-authorized"), "{third:?}");
    stage.end().await;
}
