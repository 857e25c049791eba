//! A domain that was activated lately does not fall back to classic S2S, in either direction (protocol §2): who
//! can suppress a record must not choose the weaker protocol.

use heteronym_proto::status::{HostState, Status};

use super::ground::{ANA, Ground, JOSE};
use crate::support::domain::Domain;
use crate::support::host::Host;
use crate::support::server::{EXTERNAL, Server};

const PEER: &str = "xmpp.other.isp";
const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
const RECORD: &str = "_xmpp-federation._tcp.pessoa.lit";

/// pessoa.lit was activated, and its host is gone. Its classic server is there.
struct Scene {
    ground: Ground,
    server: Server,
    _pessoa: Domain,
}

impl Scene {
    async fn new(more: &str) -> Self {
        let mut ground = Ground::new(more).await;
        let (host, server) = (ground.host(PEER).await, ground.server("pessoa.lit").await);
        ground.federate("pessoa.lit", &host);
        let pessoa = ground.domain_of("pessoa.lit", &host);
        activate(&mut ground, &host, &pessoa).await;
        Self { ground, server, _pessoa: pessoa }
    }

    /// What the record says is gone, too, and what was remembered of it.
    fn forget(&self, how: impl Fn(&Ground)) {
        how(&self.ground);
        assert_eq!(self.ground.reload(&self.ground.text).0, 200);
    }

    async fn nobody_is_dialled(self) {
        assert!(!self.server.has_been_dialled().await);
        self.ground.end().await;
    }
}

/// Over a link, which ends behind it.
async fn activate(ground: &mut Ground, host: &Host, pessoa: &Domain) {
    ground.local.tell(JOSE, ANA, "activating").await;
    let mut link = host.accept().await;
    link.settle().await;
    link.serve(pessoa).await;
    link.expect("activating").await;
    drop(link);
    let is_gone = |status: &Status| status.hosts.iter().all(|host| host.state != HostState::Active);
    ground.router.status_until("the link's end", is_gone).await;
}

fn without_record(ground: &Ground) {
    ground.names.set_srv("pessoa.lit", Vec::new());
}

fn failing(ground: &Ground) {
    ground.names.fail(RECORD);
}

#[tokio::test]
async fn a_pinned_domain_whose_record_is_gone_or_fails_does_not_fall_back() {
    for (how, says) in [(without_record as fn(&Ground), "pinned"), (failing, "SERVFAIL")] {
        let mut scene = Scene::new("").await;
        scene.forget(how);
        let text = scene.ground.bounced("out", "remote-server-timeout").await;
        assert!(text.contains(says), "{text}");
        scene.nobody_is_dialled().await;
    }
}

#[tokio::test]
async fn stanzas_for_a_pinned_domain_wait_for_its_host_and_go_back() {
    let mut scene = Scene::new("[limits]\nstanza_wait = '2s'").await;
    let text = scene.ground.bounced("out", "remote-server-timeout").await;
    assert!(text.contains(PEER), "{text}");
    scene.nobody_is_dialled().await;
}

/// Without a pin, or where an operator knows better, it does.
#[tokio::test]
async fn a_domain_that_is_not_pinned_falls_back() {
    let off = "[federation.domains.\"pessoa.lit\"]\npolicy = 'off'";
    let unpinned = "[federation]\npin = '0s'";
    for (before, after) in [(unpinned, ""), ("", unpinned), ("", off)] {
        let mut scene = Scene::new(before).await;
        without_record(&scene.ground);
        let text = format!("{}{after}", scene.ground.text);
        assert_eq!(scene.ground.reload(&text).0, 200);
        scene.ground.local.tell(JOSE, ANA, "out").await;
        let mut stream = scene.server.accept(EXTERNAL).await;
        stream.let_in("").await;
        stream.expect("out").await;
        drop(stream);
        scene.ground.end().await;
    }
}

#[tokio::test]
async fn a_pinned_domain_comes_in_by_certificate_and_not_by_dialback() {
    let mut scene = Scene::new("").await;
    let stranger = scene.ground.stranger("pessoa.lit").await;
    let mut stream = stranger.dial(scene.ground.s2s(), "pessoa.lit", "saramago.lit").await;
    assert!(!stream.offers("mechanisms", "urn:ietf:params:xml:ns:xmpp-sasl"), "its certificate is nobody's");
    stream.send_key("pessoa.lit", "saramago.lit").await;
    let verdict = stream.expect_verdict("pessoa.lit", "saramago.lit", "error").await;
    let error = verdict.children().next().unwrap();
    assert!(error.child("policy-violation", STANZAS).is_some(), "{verdict:?}");
    assert!(!stranger.has_been_dialled().await, "nobody is asked about its key");
    let mut stream = scene.server.dial(scene.ground.s2s(), "pessoa.lit", "saramago.lit").await;
    stream.authenticate("pessoa.lit", "saramago.lit").await;
    stream.tell(ANA, JOSE, "in").await;
    scene.ground.local.expect("in").await;
    drop(stream);
    scene.ground.end().await;
}

#[tokio::test]
async fn pins_outlive_a_restart() {
    let ground = Ground::new("").await;
    let text = ground.text.replace("host = { ", "host = { state = 'state', ");
    let mut ground = ground.restarted(text.clone()).await;
    let (host, server) = (ground.host(PEER).await, ground.server("pessoa.lit").await);
    ground.federate("pessoa.lit", &host);
    let pessoa = ground.domain_of("pessoa.lit", &host);
    activate(&mut ground, &host, &pessoa).await;
    without_record(&ground);
    let mut ground = ground.restarted(text).await;
    let told = ground.bounced("out", "remote-server-timeout").await;
    assert!(told.contains("pinned"), "{told}");
    assert!(!server.has_been_dialled().await);
    ground.end().await;
}
