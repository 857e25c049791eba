//! An operator wants a pair at once (`POST /api/pairs/activate`), whatever has failed before.

use heteronym_proto::pairs::PairState;
use heteronym_proto::status::{HostState, HostStatus, Status};

use super::ground::{ANA, Ground, JOSE};
use crate::support::http::post;
use crate::support::server::BY_DIALBACK;

const PEER: &str = "xmpp.other.isp";

/// An operator wants the pair.
fn wants(ground: &Ground) {
    let pair = "{\"local\": \"saramago.lit\", \"remote\": \"pessoa.lit\"}";
    assert_eq!(post(ground.router.admin, "/api/pairs/activate", pair).0, 202);
}

/// A server's refusal counts for a minute.
#[tokio::test]
async fn a_refusal_by_a_server_is_forgotten() {
    let mut ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "refused").await;
    let mut stream = server.accept(BY_DIALBACK).await;
    stream.expect_key("saramago.lit", "pessoa.lit").await;
    stream.judge_key("saramago.lit", "pessoa.lit", "invalid").await;
    ground.local.expect_error("refused", "remote-server-timeout").await;
    ground.bounced("remembered", "remote-server-timeout").await;
    wants(&ground);
    stream.take_key("saramago.lit", "pessoa.lit").await;
    ground.local.tell(JOSE, ANA, "out").await;
    stream.expect("out").await;
    drop(stream);
    ground.end().await;
}

/// As long as the pause after a dial that fails.
#[tokio::test]
async fn a_server_is_dialled_without_a_pause() {
    let ground = Ground::new("").await;
    let server = ground.server("pessoa.lit").await;
    let failed = |status: &Status| status.pairs.iter().any(|pair| pair.state == PairState::Refused);
    for _ in 0..10 {
        wants(&ground);
        drop(server.accept_tcp().await);
        ground.router.status_until("the dial's end", failed).await;
    }
    ground.end().await;
}

/// A look-up that failed counts for a minute, and a host that could not be reached has a pause, longer each time.
#[tokio::test]
async fn a_host_is_looked_up_and_dialled_without_a_pause() {
    let mut ground = Ground::new("[federation]\npolicy = 'require'").await;
    let host = ground.host(PEER).await;
    ground.federate("pessoa.lit", &host);
    ground.names.fail("pessoa.lit");
    ground.bounced("unknown", "remote-server-timeout").await;
    ground.names.recover("pessoa.lit");
    for _ in 0..9 {
        wants(&ground);
        drop(host.accept_tcp().await);
        is_given_up(&ground).await;
    }
    wants(&ground);
    let mut link = host.accept().await;
    link.settle().await;
    ground.local.tell(JOSE, ANA, "out").await;
    link.serve(&ground.domain_of("pessoa.lit", &host)).await;
    link.expect("out").await;
    drop(link);
    ground.end().await;
}

/// The dial has failed, and the next one comes after a pause.
async fn is_given_up(ground: &Ground) {
    let paused = |host: &HostStatus| host.state == HostState::Waiting && host.last_error.is_some();
    ground.router.status_until("the dial's end", |status| status.hosts.iter().any(paused)).await;
}
