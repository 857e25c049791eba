//! A router with a component, and with a server by hand that attaches by loopback S2S.

use std::net::SocketAddr;

use heteronym::demo::authority::{Authority, KeyKind, Request};
use heteronym_proto::status::{LocalState, Status};

use crate::classic::ground::{Ground, OWN, ROUTER};
use crate::support::link::SERVER;
use crate::support::server::{BY_DIALBACK, Classic, Server};

/// What the server's keys are made of.
pub(super) const SECRET: &str = "loopback";
/// A user of the server.
pub(super) const BLIMUNDA: &str = "blimunda@blimunda.lit";
/// A user of its other domain.
pub(super) const MARIA: &str = "maria@chat.blimunda.lit";
const ANY_PORT: &str = "['127.0.0.1:0']";
/// Where the conditions of stanza errors live.
const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// Everybody.
pub(super) struct House {
    /// The router, its component, and whoever is outside.
    pub(super) ground: Ground,
    /// The server.
    pub(super) server: Server,
    /// The stream that it gets its stanzas by.
    pub(super) stream: Classic,
    /// The router's key, by which that stream was opened.
    pub(super) key: String,
}

/// The same before the server has let the router in.
pub(super) struct Unattached {
    pub(super) ground: Ground,
    pub(super) server: Server,
}

/// The server's entry, where it knows this secret.
pub(super) fn entry(address: SocketAddr, secret: &str) -> String {
    let [one, two] = OWN;
    format!(
        "[[local]]\n\
         name = 'two'\n\
         domains = ['{one}', '{two}']\n\
         attach = {{ kind = 's2s', address = '{address}', dialback_secret = '{secret}' }}\n"
    )
}

impl House {
    /// With a secret that both know.
    pub(super) async fn new() -> Self {
        Self::with("").await
    }

    /// With a secret that the server tells nobody: it is asked back.
    pub(super) async fn asking_back() -> Self {
        let server = Server::new(&[]).await.with_secret(SECRET);
        let entry = entry(server.address(), SECRET).replace(&format!(", dialback_secret = '{SECRET}'"), "");
        let ground = Ground::listening(ANY_PORT, &entry).await;
        let stream = server.accept_plain(BY_DIALBACK, "one").await;
        Unattached { ground, server }.proved(stream).await
    }

    /// With more in the configuration.
    pub(super) async fn with(more: &str) -> Self {
        let house = Self::unattached(more).await;
        let stream = house.server.accept_plain(BY_DIALBACK, "one").await;
        house.proved(stream).await
    }

    /// With a server that wants TLS.
    pub(super) async fn insisting() -> Self {
        let issued = Authority::new("Its own").unwrap().issue(&Request::new([OWN[0]], KeyKind::P256)).unwrap();
        let server = Server::new(&[(OWN[0], &issued)]).await.with_secret(SECRET);
        let ground = Ground::listening(ANY_PORT, &entry(server.address(), SECRET)).await;
        let stream = server.accept(BY_DIALBACK).await;
        Unattached { ground, server }.proved(stream).await
    }

    /// Whose server does not say anything yet.
    pub(super) async fn unattached(more: &str) -> Unattached {
        let server = Server::new(&[]).await.with_secret(SECRET);
        let more = format!("{}{more}", entry(server.address(), SECRET));
        let ground = Ground::listening(ANY_PORT, &more).await;
        Unattached { ground, server }
    }

    /// Waits until the server's entry is in this state.
    pub(super) async fn is(&self, state: LocalState) {
        let router = &self.ground.router;
        router
            .status_until(&format!("the server to be {state:?}"), |status| {
                status.locals.iter().any(|local| local.name == "two" && local.state == state)
            })
            .await;
    }

    /// Where the server reaches the router.
    pub(super) fn loopback(&self) -> SocketAddr {
        self.ground.router.local_s2s.unwrap()
    }

    /// A stream of the server's, for this pair, which has proved it by the secret.
    pub(super) async fn let_in(&self, from: &str, to: &str) -> Classic {
        let mut stream = self.server.dial_plain(self.loopback(), from, to).await;
        self.prove(&mut stream, from, to).await;
        stream
    }

    /// Proves a pair on such a stream.
    pub(super) async fn prove(&self, stream: &mut Classic, from: &str, to: &str) {
        stream.send_key(from, to).await;
        stream.expect_verdict(from, to, "valid").await;
    }

    /// Expects the first stanza of a pair, and the key for it before.
    pub(super) async fn hear(&mut self, from: &str, to: &str, id: &str) {
        self.stream.take_key(from, to).await;
        self.stream.expect(id).await;
    }

    /// Expects nothing but the error about stanza `id` next, for one of the server's users; its text.
    pub(super) async fn hear_error(&mut self, id: &str, condition: &str) -> String {
        let stanza = self.stream.wire.element().await;
        assert_eq!((stanza.attr("type"), stanza.attr("id")), (Some("error"), Some(id)), "{stanza:?}");
        let error = stanza.child("error", SERVER).unwrap();
        assert!(error.child(condition, STANZAS).is_some(), "expected {condition}: {error:?}");
        error.child("text", STANZAS).map(|text| text.text().to_owned()).unwrap_or_default()
    }

    /// Everything ends in order.
    pub(super) async fn end(self) {
        let Self { ground, mut stream, .. } = self;
        let Ground { router, mut local, .. } = ground;
        let draining = router.begin_drain();
        local.wire.expect_end().await;
        stream.wire.expect_end().await;
        draining.ended().await;
    }
}

impl Unattached {
    /// Once the server has found the key right that comes on `stream`.
    pub(super) async fn proved(self, mut stream: Classic) -> House {
        let key = stream.expect_key(ROUTER, OWN[0]).await;
        stream.judge_key(ROUTER, OWN[0], "valid").await;
        let house = House { ground: self.ground, server: self.server, stream, key };
        house.is(LocalState::Up).await;
        house
    }

    /// What the status page says of the server, once it says anything.
    pub(super) async fn why(&self) -> String {
        let said = |status: &Status| status.locals.iter().find(|local| local.name == "two")?.last_error.clone();
        let status = self.ground.router.status_until("a reason", |status| said(status).is_some()).await;
        said(&status).unwrap()
    }
}
