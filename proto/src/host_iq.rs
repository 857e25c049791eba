//! IQs of a host stream's own: XEP-0199 pings and XEP-0030 disco for the host's name.

use bytes::Bytes;

use crate::element::Element;
use crate::name::Name;
use crate::stanza::{Kind, Stanza};
use crate::stanza_error::{Condition, bounce};

const SERVER: &str = "jabber:server";
const PING: &str = "urn:xmpp:ping";
const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";

/// A ping (XEP-0199 §4.1), whose answer is told by [`is_answer`].
#[must_use]
pub fn ping(from: &Name, to: &Name, number: u64) -> Bytes {
    ping_with_id(from, to, &format!("{PROBE}{number}"))
}

/// A ping that shows what was read before it; [`barrier_of`] has the number of its answer.
#[must_use]
pub fn barrier(from: &Name, to: &Name, number: u64) -> Bytes {
    ping_with_id(from, to, &format!("{BARRIER}{number}"))
}

/// Which ping a stanza answers, if it answers one.
#[must_use]
pub fn ping_of(answer: &Stanza<'_>) -> Option<u64> {
    number_of(answer, PROBE)
}

/// Which barrier a stanza answers, if it answers one.
#[must_use]
pub fn barrier_of(answer: &Stanza<'_>) -> Option<u64> {
    number_of(answer, BARRIER)
}

/// What the ids of pings begin with, before their number.
const PROBE: &str = "p";
const BARRIER: &str = "barrier-";

fn number_of(answer: &Stanza<'_>, prefix: &str) -> Option<u64> {
    answer.id()?.strip_prefix(prefix)?.parse().ok()
}

fn ping_with_id(from: &Name, to: &Name, id: &str) -> Bytes {
    Element::new("iq", SERVER)
        .with_attr("from", from.as_str())
        .with_attr("to", to.as_str())
        .with_attr("type", "get")
        .with_attr("id", id)
        .with_child(Element::new("ping", PING))
        .to_bytes(SERVER)
}

/// Whether a stanza answers an IQ; an error is an answer too.
#[must_use]
pub fn is_answer(stanza: &Stanza<'_>) -> bool {
    stanza.kind == Kind::Iq && matches!(stanza.type_().as_deref(), Some("result" | "error"))
}

/// The answer to a stanza for a host's own name, unless it asks for none.
#[must_use]
pub fn answer(stanza: &Stanza<'_>) -> Option<Bytes> {
    let asks = stanza.kind == Kind::Iq && stanza.type_().as_deref() == Some("get");
    match asked(stanza).filter(|_| asks) {
        Some(Asked::Ping) => Some(result(stanza).to_bytes(SERVER)),
        Some(Asked::DiscoInfo) => Some(result(stanza).with_child(disco_info()).to_bytes(SERVER)),
        None => bounce(stanza, Condition::ServiceUnavailable, "this host answers pings and disco#info"),
    }
}

enum Asked {
    Ping,
    DiscoInfo,
}

fn asked(stanza: &Stanza<'_>) -> Option<Asked> {
    let element = Element::parse(stanza.bytes(), stanza.scope()).ok()?;
    if element.child("ping", PING).is_some() {
        return Some(Asked::Ping);
    }
    element.child("query", DISCO_INFO).map(|_| Asked::DiscoInfo)
}

fn result(stanza: &Stanza<'_>) -> Element {
    let iq = Element::new("iq", SERVER)
        .with_attr("from", &stanza.to())
        .with_attr("to", &stanza.from())
        .with_attr("type", "result");
    match stanza.id() {
        Some(id) => iq.with_attr("id", &id),
        None => iq,
    }
}

fn disco_info() -> Element {
    let feature = |name: &str| Element::new("feature", DISCO_INFO).with_attr("var", name);
    Element::new("query", DISCO_INFO)
        .with_child(
            Element::new("identity", DISCO_INFO)
                .with_attr("category", "component")
                .with_attr("type", "router")
                .with_attr("name", "heteronym"),
        )
        .with_child(feature(DISCO_INFO))
        .with_child(feature(PING))
        .with_child(feature(crate::control::NAMESPACE))
}
