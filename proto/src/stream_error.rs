//! Stream errors: what ends a stream, and the words for it (RFC 6120 §4.9).

use std::fmt;

use bytes::Bytes;

use crate::acks::{self, TooHigh};
use crate::conditions::conditions;
use crate::element::Element;
use crate::escape::push_text;
use crate::header::STREAM_NAMESPACE;
use crate::limits::ERROR_TEXT_CHARS;

/// The namespace of the conditions and of the text.
const NAMESPACE: &str = "urn:ietf:params:xml:ns:xmpp-streams";

conditions! {
    /// The defined conditions of a stream error (RFC 6120 §4.9.3).
    pub enum Condition {
        /// XML that cannot be processed, where no narrower condition fits.
        BadFormat = "bad-format",
        /// A prefix that is not bound, or none where one is needed.
        BadNamespacePrefix = "bad-namespace-prefix",
        /// Another stream takes this one's place.
        Conflict = "conflict",
        /// The other side has been silent for too long.
        ConnectionTimeout = "connection-timeout",
        /// The `to` is a name that was hosted here once.
        HostGone = "host-gone",
        /// The `to` is a name that is not hosted here.
        HostUnknown = "host-unknown",
        /// A stanza without a valid `from` or `to`.
        ImproperAddressing = "improper-addressing",
        /// A fault of our own.
        InternalServerError = "internal-server-error",
        /// A `from` that the stream was not authorised for.
        InvalidFrom = "invalid-from",
        /// The stream's or the stanzas' namespace is not the one to use here.
        InvalidNamespace = "invalid-namespace",
        /// XML that does not conform to its schema.
        InvalidXml = "invalid-xml",
        /// Data before the stream was authenticated, or authentication that failed.
        NotAuthorized = "not-authorized",
        /// XML that is not well-formed or not namespace-well-formed.
        NotWellFormed = "not-well-formed",
        /// A local rule was broken, such as a limit.
        PolicyViolation = "policy-violation",
        /// A remote entity that is needed for authentication cannot be reached.
        RemoteConnectionFailed = "remote-connection-failed",
        /// The stream must be negotiated anew.
        Reset = "reset",
        /// Too little of something is left to serve the stream.
        ResourceConstraint = "resource-constraint",
        /// Comments, processing instructions, DTDs or foreign entities (RFC 6120 §11.1).
        RestrictedXml = "restricted-xml",
        /// The service is to be had elsewhere.
        SeeOtherHost = "see-other-host",
        /// The server is being shut down.
        SystemShutdown = "system-shutdown",
        /// None of the others.
        UndefinedCondition = "undefined-condition",
        /// Not UTF-8, or said not to be.
        UnsupportedEncoding = "unsupported-encoding",
        /// A mandatory feature that is not supported.
        UnsupportedFeature = "unsupported-feature",
        /// A top-level element that is neither a stanza nor known here.
        UnsupportedStanzaType = "unsupported-stanza-type",
        /// A version of XMPP that is not supported.
        UnsupportedVersion = "unsupported-version",
    }
}

/// The condition of XEP-0198 for a count that is too high (§4).
const TOO_HIGH: &str = "handled-count-too-high";
/// The end of a stream.
pub(crate) const STREAM_END: &[u8] = b"</stream:stream>";

/// How a stream ends from our side: with an error where there is one (RFC 6120 §4.4, §4.9).
#[must_use]
pub fn farewell(error: Option<&StreamError>) -> Bytes {
    error.map_or_else(|| Bytes::from_static(STREAM_END), StreamError::to_bytes)
}

/// A stream error, sent or received. It always ends the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// What kind of error it is.
    pub condition: Condition,
    /// What it says to people, if anything.
    pub text: Option<String>,
    /// It acknowledged what was never sent (XEP-0198 §4).
    pub too_high: Option<TooHigh>,
}

impl StreamError {
    /// An error with a text for the people who read the other side's log.
    #[must_use]
    pub fn new(condition: Condition, text: impl Into<String>) -> Self {
        Self { condition, text: Some(text.into()), too_high: None }
    }

    /// What a side is told that acknowledges what was never sent (XEP-0198 §4).
    #[must_use]
    pub fn handled_count_too_high(found: TooHigh) -> Self {
        let (condition, text) = (Condition::UndefinedCondition, Some(found.to_string()));
        Self { condition, text, too_high: Some(found) }
    }

    /// Reads a `<stream:error/>` that came in; `None` if `element` is something else.
    ///
    /// A condition that we do not know counts as `undefined-condition`: the stream is at its end
    /// either way.
    #[must_use]
    pub fn from_element(element: &Element) -> Option<Self> {
        if !element.is("error", STREAM_NAMESPACE) {
            return None;
        }
        let defined = || element.children().filter(|child| child.namespace() == NAMESPACE);
        let condition = defined().find_map(|child| Condition::parse(child.name()));
        let text = defined().find(|child| child.name() == "text").map(|child| in_one_line(child.text()));
        let too_high = element.child(TOO_HIGH, acks::NAMESPACE).and_then(|found| {
            let number = |name| found.attr(name)?.parse().ok();
            Some(TooHigh { h: number("h")?, sent: number("send-count")? })
        });
        Some(Self { condition: condition.unwrap_or(Condition::UndefinedCondition), text, too_high })
    }

    /// The error and the end of the stream, which follows it at once (RFC 6120 §4.9.1.1).
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = format!("<stream:error><{} xmlns='{NAMESPACE}'/>", self.condition).into_bytes();
        if let Some(text) = &self.text {
            out.extend_from_slice(format!("<text xmlns='{NAMESPACE}' xml:lang='en'>").as_bytes());
            push_text(&mut out, text);
            out.extend_from_slice(b"</text>");
        }
        if let Some(TooHigh { h, sent }) = self.too_high {
            let (name, namespace) = (TOO_HIGH, acks::NAMESPACE);
            let element = format!("<{name} xmlns='{namespace}' h='{h}' send-count='{sent}'/>");
            out.extend_from_slice(element.as_bytes());
        }
        out.extend_from_slice(b"</stream:error>");
        out.extend_from_slice(STREAM_END);
        out.into()
    }
}

/// What a stranger says goes to the log and the status page: short, and without a line of its own.
fn in_one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(ERROR_TEXT_CHARS).map(visible).collect()
}

impl From<Condition> for StreamError {
    fn from(condition: Condition) -> Self {
        Self { condition, text: None, too_high: None }
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{}: {text}", self.condition),
            None => self.condition.fmt(f),
        }
    }
}

impl std::error::Error for StreamError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Scope;

    fn read(bytes: &[u8]) -> Option<StreamError> {
        StreamError::from_element(&Element::parse(bytes, &Scope::SERVER).unwrap())
    }

    #[test]
    fn an_error_is_read_back_as_it_was_written() {
        for &condition in Condition::ALL {
            let error = StreamError::new(condition, "a <text> & more");
            let bytes = error.to_bytes();
            let element = bytes.strip_suffix(b"</stream:stream>").unwrap();
            assert_eq!(read(element), Some(error));
        }
    }

    #[test]
    fn a_count_that_is_too_high_is_named() {
        let error = StreamError::handled_count_too_high(TooHigh { h: 10, sent: 8 });
        let bytes = error.to_bytes();
        assert_eq!(read(bytes.strip_suffix(STREAM_END).unwrap()), Some(error));
        let named = "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='10' send-count='8'/>";
        assert!(String::from_utf8_lossy(&bytes).contains(named));
    }

    #[test]
    fn an_error_without_text_has_no_text_element() {
        let bytes = StreamError::from(Condition::Reset).to_bytes();
        let expected =
            "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_text_of_the_peers_is_one_short_line() {
        let end = |text: &str| {
            let error = StreamError::new(Condition::PolicyViolation, text).to_bytes();
            read(error.strip_suffix(STREAM_END).unwrap()).unwrap()
        };
        let forged = end("bye\n2026-01-01 ERROR heteronym: \u{9b}31mforged\r");
        assert_eq!(forged.text.as_deref(), Some("bye 2026-01-01 ERROR heteronym:  31mforged "));
        assert_eq!(end(&"é".repeat(100_000)).text, Some("é".repeat(ERROR_TEXT_CHARS)));
    }

    #[test]
    fn an_unknown_condition_is_undefined() {
        let bytes = b"<stream:error><fancy xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
        assert_eq!(read(bytes), Some(Condition::UndefinedCondition.into()));
        let foreign = b"<stream:error><reset xmlns='urn:x'/></stream:error>";
        assert_eq!(read(foreign), Some(Condition::UndefinedCondition.into()));
    }

    #[test]
    fn what_is_no_stream_error_is_not_read_as_one() {
        assert_eq!(read(b"<error/>"), None);
        assert_eq!(read(b"<stream:features/>"), None);
    }

    #[test]
    fn the_text_stands_behind_the_condition() {
        assert_eq!(StreamError::new(Condition::Conflict, "newer link").to_string(), "conflict: newer link");
        assert_eq!(StreamError::from(Condition::Conflict).to_string(), "conflict");
    }
}
