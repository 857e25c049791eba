//! Whoever does not read, on either side: what waits is bounded, the rest comes back, and nobody else waits.

use heteronym_proto::control::{Control, UndeliveredReason};
use heteronym_proto::limits::{DEPTH, HOLD_BYTES, LOCAL_QUEUE_BYTES};

use crate::hostile::{ENEMY, JOSE, active, third};
use crate::support::link::Link;
use crate::support::message;
use crate::support::metrics::metric;
use crate::support::name;
use crate::support::stage::{Stage, World};

const FOR_HOSTS: &str = "heteronym_queue_bytes{queue=\"host\"}";
const FOR_SERVERS: &str = "heteronym_queue_bytes{queue=\"local\"}";
const BOUNCED: &str = "heteronym_stanza_errors_total{condition=\"resource-constraint\",reason=\"queue-full\"}";
const OVERFLOW: &str = "heteronym_stanza_errors_total{condition=\"undelivered\",reason=\"overflow\"}";
/// On the entry of the router that a test leaves unread.
const SETE: &str = "sete@baltasar.lit";

/// A message of about so many bytes.
fn long(from: &str, to: &str, id: &str, bytes: usize) -> String {
    message(from, to, id).replace("</body>", &format!("{}</body>", "x".repeat(bytes)))
}

/// The peer host takes nothing off its connection: what may wait waits, the senders of the rest are told so, and
/// other hosts get their stanzas.
#[tokio::test]
async fn a_peer_that_does_not_read_costs_no_more_than_its_queues() {
    // Less than what makes the router read its own server more slowly.
    let (pair, all) = (256 << 10, 1 << 20);
    let limits = format!("[limits]\npair_queue_bytes = '{}KiB'\nhost_queue_bytes = '{}KiB'", pair >> 10, all >> 10);
    let mut stage = Stage::on(World::configured(&limits).await).await;
    let host = third(&stage).await;
    let mut link = active(&stage, &host).await;
    let mut sent: u32 = 0;
    // What the system's buffers take is not known; that they end is.
    while metric(&stage.world.router, BOUNCED) < 20.0 {
        assert!(sent < 4000, "nothing comes back");
        // Whoever is silent would be given up.
        link.control(&Control::Go(name("third.lit"))).await;
        for _ in 0..10 {
            stage.local.send(long(JOSE, ENEMY, &format!("m{sent}"), 60_000)).await;
            sent += 1;
        }
        let waiting = metric(&stage.world.router, FOR_HOSTS);
        assert!(waiting <= f64::from(all), "{waiting} bytes wait");
    }
    let (mut arrived, mut bounced) = (0, 0);
    while arrived + bounced < sent {
        tokio::select! {
            element = link.wire.element() => arrived += u32::from(element.name() == "message"),
            error = stage.local.wire.element() => {
                assert_eq!(error.attr("type"), Some("error"), "{error:?}");
                bounced += 1;
            }
        }
    }
    assert_eq!(metric(&stage.world.router, BOUNCED), f64::from(bounced), "each of the rest was told so, and once");
    stage.end().await;
}

/// Floods the second entry, whose component does not read, with `count` stanzas; the numbers of those that were
/// handed back as too much, and how often the peer was asked to hold.
async fn flood(link: &mut Link, count: usize, stanza: impl Fn(usize) -> String) -> (Vec<u64>, usize) {
    let mut all = String::new();
    for n in 0..count {
        all.push_str(&stanza(n));
        if all.len() > 1 << 20 || n + 1 == count {
            link.wire.send(std::mem::take(&mut all)).await;
        }
    }
    // One of a pair that is not active comes back at once, before those that were read with it.
    let (mut handed_back, mut holds, mut last) = (Vec::new(), 0, 0);
    link.wire.send(message("x@fourth.lit", JOSE, "last")).await;
    loop {
        match link.hear_control().await {
            Control::Undelivered { reason: UndeliveredReason::PairNotActive, .. } if last == 1 => {
                return (handed_back, holds);
            }
            Control::Undelivered { reason: UndeliveredReason::PairNotActive, .. } => {
                last += 1;
                link.wire.send(message("x@fourth.lit", JOSE, "last")).await;
            }
            Control::Undelivered { n, reason } => {
                assert_eq!(reason, UndeliveredReason::Overflow);
                handed_back.push(n);
            }
            Control::Hold(domain) => {
                assert_eq!(domain.as_str(), "baltasar.lit");
                holds += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The third host with a pair active whose local domain's server does not read.
async fn stuck(stage: &Stage) -> (Link, crate::support::local::Local) {
    let host = third(stage).await;
    let mut link = active(stage, &host).await;
    link.activate(&stage.world.domain_of("third.lit", &host), "baltasar.lit").await;
    (link, stage.world.attach_second().await)
}

/// The largest stanzas there may be. The peer does not hold what it is asked to.
#[tokio::test]
async fn a_server_that_does_not_read_blocks_its_own_domain_only() {
    let mut stage = Stage::new().await;
    let (mut link, mut unread) = stuck(&stage).await;
    let count = 2 * LOCAL_QUEUE_BYTES / 250_000;
    let (handed_back, holds) = flood(&mut link, count, |n| long(ENEMY, SETE, &format!("m{n}"), 250_000)).await;
    assert!(!handed_back.is_empty() && holds == 1, "{} handed back, {holds} holds", handed_back.len());
    let waiting = metric(&stage.world.router, FOR_SERVERS);
    assert!((HOLD_BYTES as f64..=LOCAL_QUEUE_BYTES as f64).contains(&waiting), "{waiting} bytes wait");
    let numbers = [OVERFLOW, "heteronym_holds_total"].map(|sample| metric(&stage.world.router, sample));
    assert_eq!(numbers, [handed_back.len() as f64, 1.0]);
    // On the same host stream, and on another.
    link.tell(ENEMY, JOSE, "in").await;
    stage.local.expect("in").await;
    stage.talk().await;
    for _ in 0..count - handed_back.len() {
        unread.wire.element().await;
    }
    assert_eq!(link.hear_control().await, Control::Go(name("baltasar.lit")));
    stage.end().await;
}

/// Each counts for what it costs, not for its bytes: those would be half of what may wait.
#[tokio::test]
async fn a_flood_of_tiny_stanzas_is_bounded_by_what_each_costs() {
    let mut stage = Stage::new().await;
    let (mut link, _unread) = stuck(&stage).await;
    let tiny = format!("<message from='{ENEMY}' to='{SETE}'/>");
    let count = 350_000;
    assert!(count * tiny.len() < LOCAL_QUEUE_BYTES / 3 * 2);
    let (handed_back, _) = flood(&mut link, count, |_| tiny.clone()).await;
    assert!(!handed_back.is_empty(), "all of them wait");
    // To a million: whatever follows changes nothing.
    flood(&mut link, 1_000_000 - count, |_| tiny.clone()).await;
    assert!(metric(&stage.world.router, FOR_SERVERS) <= LOCAL_QUEUE_BYTES as f64);
    stage.talk().await;
    stage.end().await;
}

#[tokio::test]
async fn what_is_too_deep_or_too_large_is_handed_back_and_counted() {
    let mut stage = Stage::new().await;
    let host = third(&stage).await;
    let mut link = active(&stage, &host).await;
    let nested = |depth: usize| {
        let (open, close) = ("<a>".repeat(depth - 1), "</a>".repeat(depth - 1));
        message(ENEMY, JOSE, "deep").replace("</message>", &format!("{open}{close}</message>"))
    };
    link.send(nested(DEPTH)).await;
    stage.local.wire.element().await;
    for (stanza, reason) in [
        (nested(DEPTH + 1), UndeliveredReason::Policy),
        (long(ENEMY, JOSE, "large", 300_000), UndeliveredReason::TooLarge),
    ] {
        let n = link.send(stanza).await;
        link.expect_undelivered(n, reason).await;
        let sample =
            format!("heteronym_stanza_errors_total{{condition=\"undelivered\",reason=\"{}\"}}", reason.as_str());
        assert_eq!(metric(&stage.world.router, &sample), 1.0);
    }
    stage.end().await;
}
