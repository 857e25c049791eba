//! The stanzas of the demonstration: how they are written, and how they are recognised.

use std::fmt::Write as _;

use bytes::Bytes;
use heteronym_proto::checker::Scope;
use heteronym_proto::component::NAMESPACE as COMPONENT;
use heteronym_proto::element::Element;
use heteronym_proto::stanza::{self, Kind, NotAStanza, Stanza};
use heteronym_proto::stanza_error::NAMESPACE as CONDITIONS;

use super::cast::{Cast, Flow};

/// What a component received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A numbered message.
    Message {
        /// Its direction.
        flow: Flow,
        /// Its number.
        number: u32,
    },
    /// A numbered message of its own that came back.
    Bounce {
        /// The direction in which it was sent.
        flow: Flow,
        /// Its number.
        number: u32,
        /// Why.
        reason: String,
    },
    /// A question, from the other component or from the router, with its answer.
    Question {
        /// What to send back.
        answer: Bytes,
    },
    /// The echo, or an error in its place.
    Pong {
        /// Its number.
        number: u32,
        /// Whether it is the echo.
        echoed: bool,
    },
    /// The stream ends with this, or is not understood.
    Unexpected(String),
    /// The connection has ended.
    End,
}

/// Appends message `number` of `total` of `flow`.
pub(super) fn write_message(out: &mut String, cast: &Cast, flow: Flow, number: u32, total: u32) {
    let (from, to) = cast.names(flow);
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<message from='demo@{from}/heteronym' to='demo@{to}' type='chat' id='{number}'>\
         <body>Message {} of {total} from {from} to {to}</body></message>",
        number + 1
    );
}

/// An XEP-0199 ping.
pub(super) fn ping(cast: &Cast, flow: Flow, number: u32) -> String {
    let (from, to) = cast.names(flow);
    format!("<iq from='demo@{from}' to='demo@{to}' type='get' id='{number}'><ping xmlns='urn:xmpp:ping'/></iq>")
}

/// What `bytes` are.
pub(super) fn recognise(cast: &Cast, bytes: &[u8]) -> Arrival {
    let unexpected = || Arrival::Unexpected(String::from_utf8_lossy(bytes).into_owned());
    match stanza::read(bytes, &Scope::COMPONENT) {
        Ok(stanza) => of_stanza(cast, &stanza, bytes).unwrap_or_else(unexpected),
        Err(NotAStanza::OtherElement(_)) => Arrival::Unexpected(reason(bytes).unwrap_or_else(|| "an element".into())),
        Err(NotAStanza::Malformed(_) | NotAStanza::Prefixed(_) | NotAStanza::Address { .. }) => unexpected(),
    }
}

fn of_stanza(cast: &Cast, stanza: &Stanza<'_>, bytes: &[u8]) -> Option<Arrival> {
    if stanza.kind == Kind::Iq && stanza.may_be_answered() {
        return Some(Arrival::Question { answer: answer(stanza) });
    }
    let number = stanza.id()?.parse().ok()?;
    let flow = cast.flow(stanza.from_domain(), stanza.to_domain())?;
    match (stanza.kind, stanza.type_().as_deref()) {
        (Kind::Message, Some("error")) => {
            let flow = flow.pair.from(flow.from.opposite());
            Some(Arrival::Bounce { flow, number, reason: reason(bytes).unwrap_or_default() })
        }
        (Kind::Message, _) => Some(Arrival::Message { flow, number }),
        (Kind::Iq, type_) => Some(Arrival::Pong { number, echoed: type_ == Some("result") }),
        (Kind::Presence, _) => None,
    }
}

/// Any answer will do: a ping wants nothing else.
fn answer(question: &Stanza<'_>) -> Bytes {
    let addresses = Element::new("iq", COMPONENT).with_attr("from", &question.to()).with_attr("to", &question.from());
    let id = question.id().unwrap_or_default();
    addresses.with_attr("type", "result").with_attr("id", &id).to_bytes(COMPONENT)
}

/// The condition and the text of a stanza error or a stream error.
fn reason(bytes: &[u8]) -> Option<String> {
    let element = Element::parse(bytes, &Scope::COMPONENT).ok()?;
    let error = element.child("error", COMPONENT).unwrap_or(&element);
    let condition = error.children().find(|child| child.name() != "text")?;
    let text = error.child("text", CONDITIONS).map(|text| format!(": {}", text.text()));
    Some(format!("{}{}", condition.name(), text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::super::cast::Side;
    use super::*;

    fn flow(cast: &Cast) -> Flow {
        cast.pairs().last().unwrap().from(Side::Mine)
    }

    #[test]
    fn a_message_is_recognised_with_its_number() {
        let cast = Cast::new(2);
        let flow = flow(&cast);
        let mut out = String::new();
        write_message(&mut out, &cast, flow, 41, 100);
        assert!(out.contains("<body>Message 42 of 100 from chat.saramago.lit to chat.pessoa.lit</body>"), "{out}");
        assert_eq!(recognise(&cast, out.as_bytes()), Arrival::Message { flow, number: 41 });
    }

    #[test]
    fn a_ping_and_its_echo_are_recognised() {
        let cast = Cast::new(2);
        let flow = flow(&cast);
        let Arrival::Question { answer } = recognise(&cast, ping(&cast, flow, 7).as_bytes()) else { panic!("no ping") };
        assert_eq!(recognise(&cast, &answer), Arrival::Pong { number: 7, echoed: true });
    }

    #[test]
    fn what_came_back_says_why() {
        let cast = Cast::new(1);
        let bounce = "<message from='demo@pessoa.lit' to='demo@saramago.lit/x' type='error' id='3'><body/>\
                      <error type='wait'><remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                      <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>too late</text></error></message>";
        let reason = "remote-server-timeout: too late".to_owned();
        assert_eq!(recognise(&cast, bounce.as_bytes()), Arrival::Bounce { flow: flow(&cast), number: 3, reason });
    }

    #[test]
    fn the_router_may_ask_whether_we_are_alive() {
        let ping =
            "<iq from='xmpp.my.isp' to='saramago.lit' type='get' id='a&amp;b'><ping xmlns='urn:xmpp:ping'/></iq>";
        let Arrival::Question { answer } = recognise(&Cast::new(1), ping.as_bytes()) else { panic!("no question") };
        assert_eq!(answer, "<iq from='saramago.lit' to='xmpp.my.isp' type='result' id='a&amp;b'/>");
    }

    #[test]
    fn anything_else_is_unexpected() {
        let cast = Cast::new(1);
        let error = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
        assert_eq!(recognise(&cast, error.as_bytes()), Arrival::Unexpected("conflict".into()));
        let stranger = "<message from='x@reis.lit' to='demo@saramago.lit' id='1'/>";
        assert_eq!(recognise(&cast, stranger.as_bytes()), Arrival::Unexpected(stranger.into()));
    }
}
