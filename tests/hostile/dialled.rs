//! A host that we dial, and that does not do what a host does: its users' stanzas come back, and the
//! next domain's do not wait for it.

use std::time::Duration;

use heteronym_net::wire::Stream;
use heteronym_proto::stream_error::Condition;
use tokio::io::AsyncWriteExt as _;

use super::{JOSE, host};
use crate::support::host::{Host, SASL};
use crate::support::stage::{ROUTER, Stage, World};
use crate::support::wire::{Heard, Wire};

/// The time for connecting is longer than a good handshake takes on a machine that is busy.
const CONFIG: &str = "[limits]\nstanza_wait = '1s'\nconnect_timeout = '4s'";

/// A host of its own for every case, so that none waits for the pause of another.
async fn dialled(stage: &mut Stage, n: usize) -> Host {
    let domain = format!("d{n}.lit");
    let host = host(&stage.world, &format!("xmpp.h{n}.isp"), &domain).await;
    stage.local.tell(JOSE, &format!("x@{domain}"), &domain).await;
    host
}

async fn comes_back(stage: &mut Stage, n: usize) {
    stage.local.expect_error(&format!("d{n}.lit"), "remote-server-timeout").await;
    stage.talk().await;
}

/// What a good host says, up to where the enemy begins.
async fn up_to(host: &Host, wire: &mut Wire<Stream>, steps: usize) {
    let header = host.header(ROUTER).replace(" from=", " id='1' from=");
    let mechanisms = format!("<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>");
    let said = [
        header.clone(),
        format!("<stream:features>{mechanisms}</stream:features>"),
        format!("<success xmlns='{SASL}'/>"),
        header,
    ];
    wire.header().await;
    for (step, text) in said.into_iter().take(steps).enumerate() {
        wire.send(text).await;
        match step {
            1 => assert_eq!(wire.element().await.name(), "auth"),
            2 => {
                wire.restart();
                wire.header().await;
            }
            _ => (),
        }
    }
}

#[tokio::test]
async fn a_host_that_speaks_out_of_order_is_told_so_and_left() {
    let mut stage = Stage::on(World::configured(CONFIG).await).await;
    let features = |inner: &str| format!("<stream:features>{inner}</stream:features>");
    let federation = features("<federation xmlns='urn:xmpp:federation:0'/>");
    let endless = features(&"<x xmlns='urn:x'/>".repeat(2000));
    let cases: Vec<(usize, String, Condition)> = vec![
        (0, "HTTP/1.1 400 Bad Request\r\n\r\n".into(), Condition::NotWellFormed),
        (0, "<!DOCTYPE x>".into(), Condition::RestrictedXml),
        (1, federation, Condition::UnsupportedFeature),
        (1, features(""), Condition::UnsupportedFeature),
        (1, endless, Condition::PolicyViolation),
        (1, format!("<success xmlns='{SASL}'/>"), Condition::NotAuthorized),
        (1, "<message from='x@d5.lit' to='jose@saramago.lit'/>".into(), Condition::NotAuthorized),
        (2, format!("<challenge xmlns='{SASL}'>=</challenge>"), Condition::NotAuthorized),
        (2, features(""), Condition::NotAuthorized),
        (4, features(""), Condition::UnsupportedFeature),
        (4, "<chosen xmlns='urn:xmpp:federation:0'/>".into(), Condition::NotAuthorized),
    ];
    for (n, (steps, hostile, condition)) in cases.into_iter().enumerate() {
        let host = dialled(&mut stage, n).await;
        let mut wire = host.accept_tls().await;
        up_to(&host, &mut wire, steps).await;
        wire.send(hostile).await;
        wire.expect_error(condition).await;
        comes_back(&mut stage, n).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_host_that_calls_itself_otherwise_is_left() {
    let mut stage = Stage::on(World::configured(CONFIG).await).await;
    for (n, (steps, from)) in [(0, "xmpp.third.isp"), (3, "xmpp.third.isp")].into_iter().enumerate() {
        let host = dialled(&mut stage, n).await;
        let mut wire = host.accept_tls().await;
        up_to(&host, &mut wire, steps).await;
        wire.send(host.header(ROUTER).replace(host.name.as_str(), from)).await;
        wire.expect_error(Condition::InvalidFrom).await;
        comes_back(&mut stage, n).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_host_that_ends_or_refuses_the_stream_is_left() {
    let mut stage = Stage::on(World::configured(CONFIG).await).await;
    let error = "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let failure = format!("<failure xmlns='{SASL}'><not-authorized/></failure>");
    for (n, (steps, end)) in [(1, error), (2, &failure), (1, "</stream:stream>"), (4, error)].into_iter().enumerate() {
        let host = dialled(&mut stage, n).await;
        let mut wire = host.accept_tls().await;
        up_to(&host, &mut wire, steps).await;
        wire.send(end).await;
        wire.expect_end().await;
        comes_back(&mut stage, n).await;
    }
    stage.end().await;
}

/// Before TLS, in it, and anywhere in the stream: it is left in the time for connecting.
#[tokio::test]
async fn a_host_that_falls_silent_is_left_in_time() {
    let mut stage = Stage::on(World::configured(CONFIG).await).await;
    let mut silent = Vec::new();
    for n in 0..4 {
        let host = dialled(&mut stage, n).await;
        let mut wire = host.accept_tls().await;
        up_to(&host, &mut wire, n).await;
        silent.push((host, wire));
    }
    let host = dialled(&mut stage, 4).await;
    let mut tcp = host.accept_tcp().await;
    tcp.write_all(b"\x16\x03\x03").await.unwrap();
    for (_, wire) in &mut silent {
        while !matches!(wire.hear().await, Heard::Closed) {}
    }
    let mut bounced = Vec::new();
    for _ in 0..5 {
        let error = stage.local.wire.element().await;
        assert_eq!(error.attr("type"), Some("error"), "{error:?}");
        bounced.push(error.attr("id").unwrap().to_owned());
    }
    bounced.sort();
    assert_eq!(bounced, ["d0.lit", "d1.lit", "d2.lit", "d3.lit", "d4.lit"]);
    stage.talk().await;
    drop((host, tcp));
    stage.end().await;
}

#[tokio::test]
async fn a_host_that_speaks_no_tls_is_left() {
    let mut stage = Stage::on(World::configured(CONFIG).await).await;
    for (n, first) in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "<stream:stream xmlns='jabber:server'>",
        "\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{28}",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let host = dialled(&mut stage, n).await;
        let mut tcp = host.accept_tcp().await;
        tcp.write_all(first.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
        comes_back(&mut stage, n).await;
    }
    stage.end().await;
}

/// A host that dies in every handshake is not dialled without a pause.
#[tokio::test]
async fn a_host_that_fails_is_not_dialled_at_once_again() {
    let mut stage = Stage::on(World::configured("[limits]\nstanza_wait = '2s'").await).await;
    let host = dialled(&mut stage, 0).await;
    let begin = tokio::time::Instant::now();
    let mut dials = 0;
    while tokio::time::timeout_at(begin + Duration::from_secs(2), host.accept_tcp()).await.is_ok() {
        dials += 1;
    }
    assert!((1..=4).contains(&dials), "{dials} dials in two seconds");
    comes_back(&mut stage, 0).await;
    stage.end().await;
}
