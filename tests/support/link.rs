//! A host stream by hand, once it is authenticated.

use heteronym_net::wire::Stream;
use heteronym_proto::activation::Setting;
use heteronym_proto::control::{About, Control, UndeliveredReason};
use heteronym_proto::element::Element;

use super::host::FEDERATION;
use super::local::pong;
use super::message;
use super::wire::Wire;

/// The namespace of host streams.
pub(crate) const SERVER: &str = "jabber:server";
/// Where the conditions of stanza errors live.
const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// A host stream.
pub(crate) struct Link {
    /// Its elements.
    pub(crate) wire: Wire<Stream>,
    /// Its ends and its TLS channel.
    pub(crate) setting: Setting,
    sent: u64,
    heard: u64,
}

impl Link {
    /// A stream whose first stanza is still to come.
    pub(crate) fn new(wire: Wire<Stream>, setting: Setting) -> Self {
        Self { wire, setting, sent: 0, heard: 0 }
    }

    /// Chooses the link, or waits until the router has: the smaller name decides.
    pub(crate) async fn settle(&mut self) {
        if self.setting.our_host < self.setting.peer_host {
            self.control(&Control::Chosen).await;
        } else {
            let chosen = self.hear_control().await;
            assert_eq!(chosen, Control::Chosen);
        }
    }

    /// Sends a control element.
    pub(crate) async fn control(&mut self, control: &Control) {
        self.wire.send(control.to_bytes()).await;
    }

    /// The control element that comes next.
    pub(crate) async fn hear_control(&mut self) -> Control {
        let element = self.wire.element().await;
        assert_eq!(element.namespace(), FEDERATION, "expected a control element: {element:?}");
        Control::read(&element).unwrap_or_else(|error| panic!("{error:?}: {element:?}"))
    }

    /// Sends what counts as one stanza; its number.
    pub(crate) async fn send(&mut self, stanza: impl AsRef<[u8]>) -> u64 {
        self.sent += 1;
        self.wire.send(stanza).await;
        self.sent
    }

    /// Sends a message; its number.
    pub(crate) async fn tell(&mut self, from: &str, to: &str, id: &str) -> u64 {
        self.send(message(from, to, id)).await
    }

    /// The stanza that comes next; the router counts it, and so it is counted here.
    pub(crate) async fn stanza(&mut self) -> Element {
        self.heard += 1;
        self.wire.element().await
    }

    /// Expects nothing but the message with this id next; its number.
    pub(crate) async fn expect(&mut self, id: &str) -> u64 {
        let stanza = self.stanza().await;
        assert!(stanza.is("message", SERVER) && stanza.attr("id") == Some(id), "expected {id}: {stanza:?}");
        assert_eq!(stanza.child("body", SERVER).map(Element::text), Some(id));
        self.heard
    }

    /// Expects nothing but `<undelivered/>` next.
    pub(crate) async fn expect_undelivered(&mut self, n: u64, reason: UndeliveredReason) {
        assert_eq!(self.hear_control().await, Control::Undelivered { n, reason });
    }

    /// Expects nothing but a refusal of `about` next, in these words; the reason's element.
    pub(crate) async fn expect_refused(&mut self, about: &About, condition: &str, reason: &str) -> Element {
        let element = self.wire.element().await;
        let Ok(Control::Refused { about: refused, .. }) = Control::read(&element) else {
            panic!("expected a refusal: {element:?}");
        };
        assert_eq!(refused, *about);
        let words: Vec<_> = element.children().map(|child| (child.namespace(), child.name())).collect();
        assert_eq!(words, [(STANZAS, condition), (FEDERATION, reason)]);
        element.child(reason, FEDERATION).unwrap().clone()
    }

    /// Answers the ping that comes next.
    pub(crate) async fn answer_ping(&mut self) {
        let ping = self.stanza().await;
        self.send(pong(&ping)).await;
    }
}
