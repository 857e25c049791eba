//! Stanzas that must not pass, and what their senders are told.

use std::time::Duration;

use heteronym_proto::control::{Control, UndeliveredReason};
use heteronym_proto::stream_error::Condition;

use crate::support::host::FEDERATION;
use crate::support::link::Link;
use crate::support::message;
use crate::support::stage::{Stage, World};

const JOSE: &str = "jose@saramago.lit/x";
const ANA: &str = "ana@pessoa.lit";

/// The stage with the pair of pessoa.lit and saramago.lit active.
async fn active(world: World) -> Stage {
    let mut stage = Stage::on(world).await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage
}

/// Sends a good stanza, the bad one and a good one again: the bad one is handed back by its number,
/// and the component sees the good ones.
async fn hands_back(stage: &mut Stage, bad: &str, reason: UndeliveredReason) {
    stage.link.tell(ANA, JOSE, "before").await;
    let n = stage.link.send(bad).await;
    stage.link.tell(ANA, JOSE, "after").await;
    stage.link.expect_undelivered(n, reason).await;
    stage.local.expect("before").await;
    stage.local.expect("after").await;
}

#[tokio::test]
async fn a_stanza_of_a_pair_that_is_not_active_is_handed_back() {
    let mut stage = active(World::new().await).await;
    let strangers = [
        ("ana@reis.lit", JOSE),
        (ANA, "rui@chat.saramago.lit"),
        (ANA, "sete@baltasar.lit"),
        (ANA, "nobody@ricardo.lit"),
        ("ana@chat.pessoa.lit", JOSE),
    ];
    for (from, to) in strangers {
        hands_back(&mut stage, &message(from, to, "bad"), UndeliveredReason::PairNotActive).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_stanza_from_one_of_the_routers_domains_is_handed_back() {
    let mut stage = active(World::new().await).await;
    for from in ["blimunda@blimunda.lit", "jose@saramago.lit", "Rui@CHAT.Saramago.LIT", "jose@&#115;aramago.lit"] {
        hands_back(&mut stage, &message(from, JOSE, "bad"), UndeliveredReason::Policy).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_malformed_stanza_is_handed_back() {
    let mut stage = active(World::new().await).await;
    let open = format!("<message from='{ANA}' to='{JOSE}' id='bad'>");
    let bad = [
        format!("{open}<body>&nbsp;</body></message>"),
        format!("{open}<body>]]></body></message>"),
        format!("{open}<body>\u{1}</body></message>"),
        format!("{open}<x:body>no such prefix</x:body></message>"),
        format!("<message from='{ANA}' to='{JOSE}' id='bad' id='worse'/>"),
        format!("<s:message xmlns:s='jabber:server' from='{ANA}' to='{JOSE}'/>"),
        format!("<message from='{ANA}' id='bad'/>"),
        format!("<message from='@@' to='{JOSE}' id='bad'/>"),
    ];
    for bad in &bad {
        hands_back(&mut stage, bad, UndeliveredReason::Policy).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_are_handed_back() {
    let mut stage = active(World::new().await).await;
    let open = format!("<message from='{ANA}' to='{JOSE}' id='bad'><body>");
    let n = stage.link.send([open.as_bytes(), b"\xc3\x28", b"</body></message>"].concat()).await;
    stage.link.expect_undelivered(n, UndeliveredReason::Policy).await;
    stage.end().await;
}

#[tokio::test]
async fn a_stanza_that_is_too_large_is_handed_back() {
    let limited = World::configured("[limits]\nstanza_bytes = '10000B'").await;
    let mut stage = active(limited).await;
    let body = |bytes| format!("<message from='{ANA}' to='{JOSE}' id='x'><body>{}</body></message>", "x".repeat(bytes));
    let frame = body(0).len();
    stage.link.send(body(10_000 - frame)).await;
    stage.local.wire.element().await;
    for bytes in [10_001 - frame, 200_000] {
        hands_back(&mut stage, &body(bytes), UndeliveredReason::TooLarge).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_deactivated_pair_passes_nothing_until_it_is_active_again() {
    let mut stage = Stage::new().await;
    let aid = stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.link.wire.send(format!("<deactivate xmlns='{FEDERATION}' aid='{}' reason='idle'/>", base64(&aid))).await;
    let n = stage.link.tell(ANA, JOSE, "bad").await;
    stage.link.expect_undelivered(n, UndeliveredReason::PairNotActive).await;
    stage.link.activate(&stage.pessoa, "saramago.lit").await;
    stage.link.tell(ANA, JOSE, "good").await;
    stage.local.expect("good").await;
    stage.end().await;
}

/// Base64 of an activation's id, as the router writes it.
fn base64(aid: &[u8; 16]) -> String {
    let bytes = Control::Active { aid: *aid, expires: 0 }.to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.split("aid='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
}

#[tokio::test]
async fn what_the_peer_could_not_deliver_is_told_to_the_user() {
    let reasons = [
        (UndeliveredReason::DomainUnavailable, "remote-server-timeout"),
        (UndeliveredReason::Overflow, "resource-constraint"),
        (UndeliveredReason::TooLarge, "policy-violation"),
        (UndeliveredReason::Policy, "policy-violation"),
    ];
    let mut stage = active(World::new().await).await;
    for (reason, condition) in reasons {
        stage.local.tell(JOSE, ANA, "kept").await;
        stage.local.tell(JOSE, ANA, "lost").await;
        stage.link.expect("kept").await;
        let n = stage.link.expect("lost").await;
        stage.link.control(&Control::Undelivered { n, reason }).await;
        stage.local.expect_error("lost", condition).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn what_may_not_be_answered_is_not_answered() {
    let mut stage = active(World::new().await).await;
    stage.local.send(format!("<message type='error' id='e' from='{JOSE}' to='{ANA}'/>")).await;
    let element = stage.link.stanza().await;
    assert_eq!(element.attr("type"), Some("error"));
    stage.local.tell(JOSE, ANA, "next").await;
    let n = stage.link.expect("next").await;
    stage.link.control(&Control::Undelivered { n: n - 1, reason: UndeliveredReason::Overflow }).await;
    stage.end().await;
}

/// Nobody makes the router invent errors by naming numbers at random.
#[tokio::test]
async fn a_number_is_handed_back_once_and_only_if_it_was_sent() {
    let mut stage = active(World::new().await).await;
    stage.local.tell(JOSE, ANA, "lost").await;
    let n = stage.link.expect("lost").await;
    for n in [0, n + 1, u64::MAX, n, n] {
        stage.link.control(&Control::Undelivered { n, reason: UndeliveredReason::Overflow }).await;
    }
    stage.local.expect_error("lost", "resource-constraint").await;
    stage.end().await;
}

#[tokio::test]
async fn a_stanza_whose_pair_the_peer_forgot_goes_through_a_fresh_run() {
    let mut stage = active(World::new().await).await;
    stage.local.tell(JOSE, ANA, "out").await;
    let n = stage.link.expect("out").await;
    stage.link.control(&Control::Undelivered { n, reason: UndeliveredReason::PairNotActive }).await;
    stage.link.serve(&stage.pessoa).await;
    let n = stage.link.expect("out").await;
    stage.link.control(&Control::Undelivered { n, reason: UndeliveredReason::PairNotActive }).await;
    stage.local.expect_error("out", "remote-server-timeout").await;
    stage.end().await;
}

/// Sends what has no place on a host stream: the link ends with this error, and the next stanza gets
/// a new one, on which everything is proved anew.
async fn ends_the_link(bad: &str, condition: Option<Condition>) {
    let mut stage = active(World::new().await).await;
    stage.link.wire.send(bad).await;
    match condition {
        Some(condition) => stage.link.wire.expect_error(condition).await,
        None => stage.link.wire.expect_end().await,
    }
    stage.local.tell(JOSE, ANA, "out").await;
    let mut link: Link = stage.world.host.accept().await;
    link.settle().await;
    link.serve(&stage.pessoa).await;
    link.expect("out").await;
    link.activate(&stage.world.domain("campos.lit"), "blimunda.lit").await;
    stage.link = link;
    stage.end().await;
}

#[tokio::test]
async fn a_stream_error_of_the_peer_ends_the_link() {
    let error = "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    ends_the_link(error, None).await;
}

#[tokio::test]
async fn stream_features_in_the_middle_end_the_link() {
    ends_the_link("<stream:features/>", Some(Condition::UnsupportedStanzaType)).await;
}

#[tokio::test]
async fn dialback_in_the_middle_ends_the_link() {
    let dialback = "<db:result xmlns:db='jabber:server:dialback' from='pessoa.lit' to='saramago.lit'>k</db:result>";
    ends_the_link(dialback, Some(Condition::UnsupportedStanzaType)).await;
}

#[tokio::test]
async fn a_second_header_ends_the_link() {
    let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
    ends_the_link(header, Some(Condition::NotWellFormed)).await;
}

#[tokio::test]
async fn a_comment_ends_the_link() {
    ends_the_link("<!-- -->", Some(Condition::RestrictedXml)).await;
}

#[tokio::test]
async fn the_end_of_the_stream_is_answered_with_its_end() {
    ends_the_link("</stream:stream>", None).await;
}

/// Stanzas flow while the link ends: each is on the old link or on the new one, once and in order.
#[tokio::test]
async fn no_stanza_is_lost_doubled_or_overtaken_while_a_link_ends() {
    let Stage { world, mut local, mut link, pessoa, .. } = active(World::new().await).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let sending = tokio::spawn(async move {
        let (mut sent, mut pace) = (0, tokio::time::interval(Duration::from_millis(1)));
        while stopped.try_recv().is_err() {
            local.tell(JOSE, ANA, &sent.to_string()).await;
            sent += 1;
            pace.tick().await;
        }
        (local, sent)
    });
    for n in 0..20 {
        link.expect(&n.to_string()).await;
    }
    link.wire.send("<stream:features/>").await;
    let mut next = 20;
    loop {
        let element = link.stanza().await;
        if element.name() == "error" {
            break;
        }
        assert_eq!(element.attr("id"), Some(next.to_string().as_str()));
        next += 1;
    }
    link.wire.expect_end().await;
    let dialled = world.host.accept_tcp().await;
    stop.send(()).unwrap();
    let (local, sent) = sending.await.unwrap();
    let mut link = world.host.let_in(dialled).await;
    link.settle().await;
    link.serve(&pessoa).await;
    for n in next..sent {
        link.expect(&n.to_string()).await;
    }
    world.router.drain().await;
    drop(local);
}
