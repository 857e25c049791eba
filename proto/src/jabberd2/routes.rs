//! Stanzas in routes, one in each; and the domains that jabberd2 advertises.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{NAMESPACE, SCOPE};
use crate::checker::{Malformed, Scope, declares};
use crate::element::Element;
use crate::escape::push_attribute;
use crate::framer::Frame;
use crate::header::STREAM_NAMESPACE;
use crate::jid::domain_of;
use crate::name::Name;
use crate::stanza;
use crate::stanza_error::{Condition, bounce};
use crate::stream_error::{Condition as StreamCondition, StreamError};

/// The namespace of stanzas in routes.
const CLIENT: &str = "jabber:client";
/// Namespace and name of what brings a stanza.
const ROUTE: (&str, &str) = (NAMESPACE, "route");
/// What a stanza in a route may make use of; it declares its namespace itself.
pub(crate) const IN_ROUTE: Scope = Scope::new(CLIENT, &[("stream", STREAM_NAMESPACE)]);
/// Whatever has this declared on its root is taken by jabberd2's session manager for a packet of one of its
/// own users' connections, whoever sent it.
const SESSION: &str = "http://jabberd.jabberstudio.org/ns/session/1.0";

/// What an element of jabberd2's router brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    /// What one of its users has sent, in the namespace of clients, which it declares itself.
    Stanza(Bytes),
    /// A stanza of ours came back: an error for its sender, right for a host stream.
    Error(Bytes),
    /// A stanza of ours came back that may not be answered, or something that is not for us.
    Nothing,
    /// It serves a domain from now on, or does not any more.
    Advertised(Name, bool),
    /// It ends the stream.
    Ended(StreamError),
    /// Something that cannot be read.
    Malformed(Malformed),
    /// A route of so many bytes, which was skipped.
    TooLarge(usize),
    /// It ends the stream, without a word.
    Closed,
}

/// What a link with it brings.
#[derive(Clone, Debug)]
pub struct Routes {
    /// The name that we have bound.
    name: String,
    /// The domains that it serves, as it says.
    advertised: BTreeSet<Name>,
}

impl Routes {
    /// On a link that has bound `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), advertised: BTreeSet::new() }
    }

    /// The name that we have bound.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it serves a domain, as it says.
    #[must_use]
    pub fn serves(&self, domain: &Name) -> bool {
        self.advertised.contains(domain)
    }

    /// Takes the next frame.
    pub fn frame(&mut self, frame: &Frame) -> Arrived {
        match frame {
            Frame::Element(bytes) => self.read(bytes),
            Frame::TooLarge { bytes, .. } => Arrived::TooLarge(*bytes),
            Frame::End => Arrived::Closed,
            Frame::Header(_) => Arrived::Ended(StreamError::new(StreamCondition::InvalidXml, "a second stream header")),
        }
    }

    fn read(&mut self, bytes: &Bytes) -> Arrived {
        // What is in a route is looked at once, as what it is.
        if stanza::root_only(bytes, &SCOPE).is_some_and(|root| (root.namespace.as_ref(), root.name) == ROUTE) {
            return self.route(bytes);
        }
        match Element::parse(bytes, &SCOPE) {
            Ok(element) if element.is("presence", NAMESPACE) => self.advertisement(&element),
            Ok(element) => StreamError::from_element(&element).map_or(Arrived::Nothing, Arrived::Ended),
            Err(malformed) => Arrived::Malformed(malformed),
        }
    }

    fn advertisement(&mut self, element: &Element) -> Arrived {
        // Its own parts advertise themselves as well: `sm`, `c2s`.
        let domain = element.attr("from").filter(|from| from.contains('.')).and_then(|from| Name::parse(from).ok());
        let Some(name) = domain else { return Arrived::Nothing };
        let available = element.attr("type") != Some("unavailable");
        if available {
            self.advertised.insert(name.clone());
        } else {
            self.advertised.remove(&name);
        }
        Arrived::Advertised(name, available)
    }

    fn route(&self, bytes: &Bytes) -> Arrived {
        let Some((route, inner)) = split(bytes) else { return Arrived::Nothing };
        match route.attr("error") {
            Some(code) => returned(code, &inner),
            // What its session manager has to say to whoever binds a name.
            None if route.attr("to") == Some(self.name.as_str()) => Arrived::Nothing,
            // What is for another part of its own that is not there.
            None if Element::parse(&inner, &IN_ROUTE).is_ok_and(|inner| inner.namespace() == SESSION) => {
                Arrived::Nothing
            }
            None => Arrived::Stanza(inner),
        }
    }
}

/// A checked stanza for one of jabberd2's domains as it goes out, on a link that has bound `name`; `None` where
/// it may not be delivered to jabberd2.
#[must_use]
pub fn in_route(name: &str, bytes: &[u8]) -> Option<Bytes> {
    let root = stanza::root_only(bytes, &Scope::SERVER)?;
    // An error of ours may come from an address that is none: that is what it is about.
    let to = root.to()?;
    let domain = domain_of(&to).ok()?;
    if declares(bytes, &Scope::SERVER, SESSION) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() + 192);
    out.extend_from_slice(b"<route");
    push_attribute(&mut out, "from", name);
    push_attribute(&mut out, "to", &shown(&domain));
    out.push(b'>');
    let xmlns = root.xmlns().unwrap_or(root.name_end..root.name_end);
    out.extend_from_slice(&bytes[root.span.range().start..root.name_end]);
    push_attribute(&mut out, "xmlns", CLIENT);
    out.extend_from_slice(&bytes[root.name_end..xmlns.start]);
    out.extend_from_slice(&bytes[xmlns.end..]);
    out.extend_from_slice(b"</route>");
    Some(out.into())
}

/// jabberd2 has its domains as people write them.
fn shown(domain: &str) -> String {
    idna::domain_to_unicode(domain).0
}

/// A stanza that nobody there has taken (404), or that we should not have sent.
fn returned(code: &str, inner: &[u8]) -> Arrived {
    let (condition, text) = match code {
        "404" => (Condition::RemoteServerTimeout, "the domain's server is down"),
        _ => (Condition::InternalServerError, "the domain's server did not take the stanza"),
    };
    let error = stanza::read(inner, &IN_ROUTE).ok().and_then(|stanza| bounce(&stanza, condition, text));
    error.map_or(Arrived::Nothing, Arrived::Error)
}

/// A route's start tag, as an element, and what is in it.
fn split(bytes: &Bytes) -> Option<(Element, Bytes)> {
    let tag = stanza::start_tag(bytes)?;
    let end = bytes.len() - bytes.iter().rev().position(|byte| *byte == b'<')?;
    let inner = bytes.get(tag.len()..end - 1)?;
    let alone = [tag.strip_suffix(b">")?, b"/>"].concat();
    Some((Element::parse(&alone, &SCOPE).ok()?, bytes.slice_ref(inner)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Arrived {
        Routes::new("heteronym").read(&Bytes::from(text.to_owned()))
    }

    fn route(attributes: &str, stanza: &str) -> String {
        format!("<route xmlns='{NAMESPACE}' {attributes}>{stanza}</route>")
    }

    fn text(arrived: &Arrived) -> &str {
        match arrived {
            Arrived::Stanza(bytes) | Arrived::Error(bytes) => std::str::from_utf8(bytes).unwrap(),
            Arrived::Nothing
            | Arrived::Advertised(..)
            | Arrived::Ended(_)
            | Arrived::Malformed(_)
            | Arrived::TooLarge(_)
            | Arrived::Closed => panic!("{arrived:?}"),
        }
    }

    /// As jabberd2 2.7.0 sent it.
    #[test]
    fn a_stanza_is_taken_out_of_its_route() {
        let stanza = "<message xmlns='jabber:client' to='fernando@pessoa.lit/r' type='chat' id='m2' xml:lang='en' \
            from='jose@saramago.lit/t'><body xml:lang='fr'>a</body><x:active \
            xmlns:x='http://jabber.org/protocol/chatstates'><x:y xmlns:x='http://jabber.org/protocol/chatstates' \
            z='1' x:w='2'/></x:active><empty></empty></message>";
        let arrived = read(&route("to='pessoa.lit' from='sm'", stanza));
        assert_eq!(text(&arrived), stanza);
        let read_again = stanza::read(text(&arrived).as_bytes(), &IN_ROUTE).unwrap();
        assert_eq!((read_again.from_domain(), read_again.to_domain()), ("saramago.lit", "pessoa.lit"));
    }

    #[test]
    fn what_is_no_stanza_for_outside_is_left() {
        let iq = "<iq xmlns='jabber:client' type='get' to='heteronym' from='sm' id='5'><query \
            xmlns='http://jabber.org/protocol/disco#info'></query></iq>";
        let session =
            "<sc:session xmlns:sc='http://jabberd.jabberstudio.org/ns/session/1.0' sc:c2s='7' action='ended'/>";
        for nothing in [
            route("to='heteronym' from='sm'", iq),
            route("to='c2s' from='sm'", session),
            route("from='sm'", session),
            format!("<route xmlns='{NAMESPACE}' to='a.lit' from='sm'/>"),
            format!("<throttle xmlns='{NAMESPACE}'/>"),
        ] {
            assert_eq!(read(&nothing), Arrived::Nothing, "{nothing}");
        }
        assert!(matches!(read("<presence>&nbsp;</presence>"), Arrived::Malformed(_)));
    }

    #[test]
    fn its_stream_may_end_with_an_error() {
        let error = "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
        let Arrived::Ended(error) = read(error) else { panic!() };
        assert_eq!(error.condition.as_str(), "system-shutdown");
    }

    #[test]
    fn a_stanza_that_comes_back_is_answered() {
        let stanza = "<message xmlns='jabber:client' from='ana@pessoa.lit' to='jose@saramago.lit' id='n'/>";
        for (code, condition) in [("404", "remote-server-timeout"), ("401", "internal-server-error")] {
            let arrived = read(&route(&format!("error='{code}' to='saramago.lit' from='heteronym'"), stanza));
            let error = stanza::read(text(&arrived).as_bytes(), &Scope::SERVER).unwrap();
            assert_eq!(
                (error.from_domain(), &*error.to(), error.type_().as_deref()),
                ("saramago.lit", "ana@pessoa.lit", Some("error"))
            );
            assert!(text(&arrived).contains(condition), "{arrived:?}");
        }
        let error = stanza.replace(" id=", " type='error' id=");
        let arrived = read(&route("error='404' to='saramago.lit' from='heteronym'", &error));
        assert_eq!(arrived, Arrived::Nothing, "an error is not answered");
    }

    #[test]
    fn a_stanza_is_put_into_a_route() {
        let write =
            |text: &str| in_route("heteronym", text.as_bytes()).map(|out| String::from_utf8(out.to_vec()).unwrap());
        assert_eq!(
            write("<message from='ana@pessoa.lit' to='Jose@Saramago.lit/t'><body>a</body></message>").unwrap(),
            "<route from='heteronym' to='saramago.lit'><message xmlns='jabber:client' from='ana@pessoa.lit' \
             to='Jose@Saramago.lit/t'><body>a</body></message></route>"
        );
        assert!(write("<presence from='a.lit' to='xn--bcher-kva.lit'/>").unwrap().contains("to='bücher.lit'"));
        assert!(
            write("<message type='error' from='a@' to='b.lit'/>").is_some(),
            "about the address that it comes from"
        );
        let forwarded = write("<iq xmlns='jabber:server' from='a.lit' to='b.lit' type='get'/>").unwrap();
        assert!(forwarded.contains("<iq xmlns='jabber:client' from='a.lit'") && !forwarded.contains("jabber:server"));
    }

    /// With the id of a session it would be that user's own packet; without one it is answered to us.
    #[test]
    fn a_stanza_that_looks_like_a_packet_of_a_session_is_not_delivered() {
        let write = |text: &str| in_route("heteronym", text.as_bytes());
        let stanza = |declaration: &str| {
            format!("<message{declaration} from='lobo@lobo.lit/x' to='fernando@pessoa.lit'><body/></message>")
        };
        let uri = "http://jabberd.jabberstudio.org/ns/session/1.0";
        for declaration in [
            format!(" xmlns:sc='{uri}' sc:sm='48e6'"),
            format!(" xmlns:a=\"{}\"", uri.replace("session", "sess&#105;on")),
            format!(" xmlns:a='urn:a' xmlns:b='{}'", uri.replace("http", "&#x68;ttp")),
        ] {
            assert_eq!(write(&stanza(&declaration)), None, "{declaration}");
        }
        let empty = format!("<message xmlns:sc='{uri}' from='lobo@lobo.lit/x' to='fernando@pessoa.lit'/>");
        assert_eq!(write(&empty), None);
        assert!(write(&stanza(" xmlns:a='urn:a'")).is_some());
        let inside = format!("<message from='a.lit' to='b.lit'><a xmlns='{uri}'/></message>");
        assert!(write(&inside).is_some(), "harmless there");
    }

    #[test]
    fn domains_are_advertised() {
        let mut routes = Routes::new("heteronym");
        let mut told = |text: &str| routes.read(&Bytes::from(text.to_owned()));
        let name = |text| Name::parse(text).unwrap();
        let presence = |from| format!("<presence xmlns='{NAMESPACE}' from='{from}'></presence>");
        assert_eq!(told(&presence("saramago.lit")), Arrived::Advertised(name("saramago.lit"), true));
        assert_eq!(told(&presence("blimunda.lit")), Arrived::Advertised(name("blimunda.lit"), true));
        assert_eq!(told(&presence("sm")), Arrived::Nothing);
        let gone = format!("<presence xmlns='{NAMESPACE}' type='unavailable' from='blimunda.lit'></presence>");
        assert_eq!(told(&gone), Arrived::Advertised(name("blimunda.lit"), false));
        assert!(routes.serves(&name("saramago.lit")) && !routes.serves(&name("blimunda.lit")));
    }
}
