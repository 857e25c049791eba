//! Classic S2S: streams between servers as RFC 6120 has them, for domains without a federation record,
//! and over loopback for servers of our own.
//!
//! A stream is opened ([`opening`]) or answered ([`answering`]), and then both ends are alike
//! ([`stream`]): each pair of domains is let in by a certificate or by dialback (XEP-0220), in the
//! direction that was proved, or in both (XEP-0288).

pub mod answering;
pub mod candidates;
pub mod opening;
pub mod remotes;
pub mod stream;

use bytes::Bytes;

use crate::acks::NAMESPACE as SM;
use crate::dialback;
use crate::element::Element;
use crate::header::{Header, STREAM_NAMESPACE};
use crate::name::Name;
use crate::stream_error::{Condition, StreamError, farewell};

/// The namespace of stanzas between servers.
const SERVER: &str = "jabber:server";
/// RFC 6120 §5.
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// RFC 6120 §6.
const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// The mechanism that certificates prove (XEP-0178).
const EXTERNAL: &str = "EXTERNAL";
/// The feature of XEP-0288.
const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// The request of XEP-0288.
const BIDI: &str = "urn:xmpp:bidi";
/// XEP-0478.
const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";

/// What the other side offers in its stream features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// STARTTLS (RFC 6120 §5).
    pub starttls: bool,
    /// Nothing goes on without it.
    pub starttls_required: bool,
    /// SASL EXTERNAL: it has looked at our certificate, and would take it.
    pub external: bool,
    /// Dialback (XEP-0220 §2.3).
    pub dialback: bool,
    /// It answers a dialback that failed without ending the stream (XEP-0220 §2.4.2).
    pub dialback_errors: bool,
    /// Both directions on one stream (XEP-0288).
    pub bidi: bool,
    /// Acknowledgements (XEP-0198).
    pub sm: bool,
    /// The largest element that it takes, in bytes (XEP-0478).
    pub max_bytes: Option<usize>,
    /// A stream that carries nothing for so long may be closed, in seconds (XEP-0478).
    pub idle_seconds: Option<u32>,
}

impl Features {
    /// Reads `<stream:features/>`; `None` if `element` is something else.
    #[must_use]
    pub fn read(element: &Element) -> Option<Self> {
        if !element.is("features", STREAM_NAMESPACE) {
            return None;
        }
        let mechanisms = element.child("mechanisms", SASL).into_iter().flat_map(Element::children);
        let dialback = element.child("dialback", dialback::FEATURE);
        let limits = element.child("limits", STREAM_LIMITS);
        let limit = |name| limits.and_then(|limits| limits.child(name, STREAM_LIMITS)).map(|limit| limit.text().trim());
        let starttls = element.child("starttls", TLS);
        Some(Self {
            starttls: starttls.is_some(),
            starttls_required: starttls.is_some_and(|starttls| starttls.child("required", TLS).is_some()),
            external: mechanisms.filter(|one| one.name() == "mechanism").any(|one| one.text() == EXTERNAL),
            dialback: dialback.is_some(),
            dialback_errors: dialback.is_some_and(|dialback| dialback.child("errors", dialback::FEATURE).is_some()),
            bidi: element.child("bidi", BIDI_FEATURE).is_some(),
            sm: element.child("sm", SM).is_some(),
            max_bytes: limit("max-bytes").and_then(|bytes| bytes.parse().ok()),
            idle_seconds: limit("idle-seconds").and_then(|seconds| seconds.parse().ok()),
        })
    }

    /// `<stream:features/>` as it follows our header.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut features = Element::new("features", STREAM_NAMESPACE);
        let mut offer = |offered: bool, feature: &dyn Fn() -> Element| {
            if offered {
                features = std::mem::take(&mut features).with_child(feature());
            }
        };
        offer(self.starttls, &|| {
            let starttls = Element::new("starttls", TLS);
            if self.starttls_required { starttls.with_child(Element::new("required", TLS)) } else { starttls }
        });
        let external = || Element::new("mechanism", SASL).with_text(EXTERNAL);
        offer(self.external, &|| Element::new("mechanisms", SASL).with_child(external()));
        let errors = || Element::new("errors", dialback::FEATURE);
        offer(self.dialback, &|| {
            let dialback = Element::new("dialback", dialback::FEATURE);
            if self.dialback_errors { dialback.with_child(errors()) } else { dialback }
        });
        offer(self.bidi, &|| Element::new("bidi", BIDI_FEATURE));
        offer(self.sm, &|| Element::new("sm", SM));
        let limits = [
            ("max-bytes", self.max_bytes.map(|bytes| bytes.to_string())),
            ("idle-seconds", self.idle_seconds.map(|seconds| seconds.to_string())),
        ];
        let limits = limits.into_iter().filter_map(|(name, limit)| Some((name, limit?)));
        let limits = limits.fold(Element::new("limits", STREAM_LIMITS), |limits, (name, limit)| {
            limits.with_child(Element::new(name, STREAM_LIMITS).with_text(&limit))
        });
        offer(limits.children().next().is_some(), &|| limits.clone());
        features.to_bytes(SERVER)
    }
}

/// Why there is no stream, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassicError {
    /// The other side misbehaves, or asks for what we do not serve; it is told so.
    #[error("{0}")]
    Told(StreamError),
    /// The other side ended the stream with an error.
    #[error("the server ended the stream: {0}")]
    PeerError(StreamError),
    /// The other side closed the stream.
    #[error("the server closed the stream")]
    Closed,
    /// It offers no TLS that may be used.
    #[error("{0}")]
    NoTls(&'static str),
    /// It offers no way of authentication that may be used, or refuses the one that is left.
    #[error("{0}")]
    NoWay(&'static str),
}

impl ClassicError {
    fn told(condition: Condition, text: impl Into<String>) -> Self {
        Self::Told(StreamError::new(condition, text))
    }

    /// What the other side is sent before the connection closes, on a stream whose header is out.
    #[must_use]
    pub fn farewell(&self) -> Bytes {
        match self {
            Self::Told(error) => farewell(Some(error)),
            Self::PeerError(_) | Self::Closed | Self::NoTls(_) | Self::NoWay(_) => farewell(None),
        }
    }

    /// Whether it is our domain that the other side does not want, and not the stream: another domain of ours
    /// may fare better.
    #[must_use]
    pub fn is_about_our_domain(&self) -> bool {
        use Condition::{InvalidFrom, NotAuthorized, PolicyViolation};
        match self {
            Self::NoWay(_) => true,
            Self::PeerError(error) => matches!(error.condition, InvalidFrom | NotAuthorized | PolicyViolation),
            Self::Told(_) | Self::Closed | Self::NoTls(_) => false,
        }
    }
}

/// A stream header of ours; dialback is always announced (XEP-0220 §2.3: some look at nothing else).
fn header(from: Option<&Name>, to: Option<&Name>, id: Option<&str>) -> Bytes {
    let header = Header {
        namespace: SERVER.to_owned(),
        from: from.map(Name::to_string),
        to: to.map(Name::to_string),
        id: id.map(str::to_owned),
        version: Some((1, 0)),
        lang: None,
        dialback: true,
    };
    header.to_bytes()
}

fn unexpected(element: &Element) -> ClassicError {
    ClassicError::told(Condition::NotAuthorized, format!("<{}/> is not expected now", element.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Scope;

    fn read(text: &str) -> Option<Features> {
        Features::read(&Element::parse(text.as_bytes(), &Scope::DIALBACK).unwrap())
    }

    #[test]
    fn features_are_read_back_as_they_were_written() {
        let all = Features {
            starttls: true,
            starttls_required: true,
            external: true,
            dialback: true,
            dialback_errors: true,
            bidi: true,
            sm: true,
            max_bytes: Some(262_144),
            idle_seconds: Some(3600),
        };
        let others = [
            Features { dialback_errors: false, ..all },
            Features { starttls_required: false, ..all },
            Features { max_bytes: None, ..all },
            Features::default(),
        ];
        for features in [all].into_iter().chain(others) {
            let text = String::from_utf8(features.to_bytes().to_vec()).unwrap();
            assert_eq!(read(&text), Some(features), "{text}");
        }
    }

    /// Prosody, ejabberd (with an empty list of mechanisms) and jabberd2.
    #[test]
    fn what_servers_offer_is_understood() {
        let prosody = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
            <dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
        let expected = Features { starttls: true, dialback: true, ..Features::default() };
        assert_eq!(read(prosody), Some(expected));
        let ejabberd = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>\
            <dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>";
        let expected = Features { dialback: true, dialback_errors: true, ..Features::default() };
        assert_eq!(read(ejabberd), Some(expected));
        assert_eq!(read("<features/>"), None);
    }
}
