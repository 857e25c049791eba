//! Stanzas from one of our own servers over a component link: what may pass, and what is answered.
//!
//! All users of a server share its link, so nothing that one of them can have written into a stanza
//! ends it: such a stanza is refused, and its sender told where the root can be read.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::acks::{self, Ack};
use crate::broken::{self, Fault};
use crate::checker::{Malformed, Root, Scope, check_head};
use crate::framer::Frame;
use crate::host_iq;
use crate::hosted::{Entry, Hosted};
use crate::jabberd2::IN_ROUTE;
use crate::jid::InvalidJid;
use crate::name::Name;
use crate::stanza::{self, Address, BadAddress, Kind, NotAStanza, Stanza};
use crate::stanza_error::{Condition, bounce, bounce_root};
use crate::stream_error::{Condition as StreamCondition, StreamError};

/// The core of an established component stream.
#[derive(Debug)]
pub struct LocalStream {
    host: Name,
    hosted: Arc<Hosted>,
    entry: Entry,
    stanza_bytes: usize,
    loops: bool,
    /// The last domain that was seen to be its own: many stanzas come one behind the other.
    owned: Option<Name>,
}

/// Why a question to the router itself goes no further: the one that is no error.
pub const TO_HOST: &str = "to-host";

/// What becomes of a frame.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// Route it by its domains; the bytes are right for a host stream.
    Route(Stanza<'a>, Cow<'a, [u8]>),
    /// It goes no further; the sender, on this very link, gets this answer.
    Answer(&'static str, Option<Bytes>),
    /// The server answered a ping of ours; the number of the barrier, if it was one.
    Alive(Option<u64>),
    /// The server wants its stanzas counted and acknowledged (XEP-0198, without resumption).
    Count,
    /// The server wants to know how many were taken.
    TellCount,
    /// The server ended the stream; with an error of its own, or without.
    End(Option<StreamError>),
    /// The stream is to end with this error: what came is not a stanza that can be told apart.
    Error(StreamError),
}

impl LocalStream {
    /// The stream of `entry`, which may use all domains of that entry as `from`.
    #[must_use]
    pub fn new(host: Name, hosted: Arc<Hosted>, entry: Entry, stanza_bytes: usize) -> Self {
        Self { host, hosted, entry, stanza_bytes, loops: false, owned: None }
    }

    /// Of a server to which every domain that it does not serve is remote: a stanza for a domain of its own
    /// entry, which it should have delivered itself, would come back from it for ever.
    #[must_use]
    pub fn that_loops(self) -> Self {
        Self { loops: true, ..self }
    }

    /// Judges a stanza that the server has sent by loopback S2S, right for a host stream.
    #[must_use]
    pub fn by_loopback<'a>(&mut self, bytes: &'a Bytes) -> Option<Verdict<'a>> {
        Some(self.stanza(stanza::read(bytes, &Scope::SERVER).ok()?))
    }

    /// Judges the next frame.
    #[must_use]
    pub fn frame<'a>(&mut self, frame: &'a Frame) -> Verdict<'a> {
        match frame {
            Frame::Element(bytes) => self.element(bytes, &Scope::COMPONENT),
            Frame::TooLarge { head, .. } => self.too_large(head),
            Frame::End => Verdict::End(None),
            Frame::Header(_) => Verdict::Error(StreamError::new(StreamCondition::InvalidXml, "a second stream header")),
        }
    }

    /// Judges what one of jabberd2's users has sent, in its route.
    #[must_use]
    pub fn in_route<'a>(&mut self, bytes: &'a Bytes) -> Verdict<'a> {
        self.element(bytes, &IN_ROUTE)
    }

    fn element<'a>(&mut self, bytes: &'a Bytes, scope: &Scope) -> Verdict<'a> {
        match stanza::read(bytes, scope) {
            Ok(stanza) => self.stanza(stanza),
            Err(NotAStanza::Malformed(malformed)) => beyond_limits_or_malformed(bytes, malformed, scope),
            Err(NotAStanza::OtherElement(root)) => other_element(bytes, &root, scope),
            Err(NotAStanza::Prefixed(root)) => {
                let text = format!("<{}/> must not have a prefix", root.name);
                Verdict::Error(StreamError::new(StreamCondition::BadNamespacePrefix, text))
            }
            Err(NotAStanza::Address { root, kind, which: Address::To, why }) => {
                let condition = match why {
                    BadAddress::Missing => Condition::BadRequest,
                    // A JID may have an address for its domain, or a name that no DNS knows.
                    BadAddress::Invalid(InvalidJid::Domain(_)) => Condition::RemoteServerNotFound,
                    BadAddress::Invalid(InvalidJid::Localpart | InvalidJid::Resourcepart) => Condition::JidMalformed,
                };
                Verdict::Answer("bad-address", bounce_root(&root, kind, condition, &why.to_string()))
            }
            Err(NotAStanza::Address { which: Address::From, .. }) => {
                let text = "a stanza needs a valid address in 'from'";
                Verdict::Error(StreamError::new(StreamCondition::ImproperAddressing, text))
            }
        }
    }

    fn stanza<'a>(&mut self, stanza: Stanza<'a>) -> Verdict<'a> {
        self.refusal(&stanza).unwrap_or_else(|| {
            let forwarded = stanza::forward(&stanza, &Scope::SERVER, None);
            Verdict::Route(stanza, forwarded)
        })
    }

    /// Judges a stanza of a component link; `None`: it is to be routed.
    #[must_use]
    pub fn refusal<'a>(&mut self, stanza: &Stanza<'a>) -> Option<Verdict<'a>> {
        broken::panic_once(Fault::LocalPanics);
        if !self.owns(stanza.from_domain()) {
            let text = "this server does not own the domain in 'from'";
            return Some(Verdict::Answer("foreign-from", bounce(stanza, Condition::NotAuthorized, text)));
        }
        if stanza.bytes().len() > self.stanza_bytes {
            let text = format!("a stanza has at most {} bytes", self.stanza_bytes);
            return Some(Verdict::Answer("too-large", bounce(stanza, Condition::PolicyViolation, &text)));
        }
        if stanza.to_domain() == self.host.as_str() {
            if host_iq::is_answer(stanza) && stanza.to() == self.host.as_str() {
                return Some(Verdict::Alive(host_iq::barrier_of(stanza)));
            }
            if !self.hosted.contains(self.host.as_str()) {
                return Some(Verdict::Answer(TO_HOST, host_iq::answer(stanza)));
            }
        }
        if self.loops && self.hosted.entry(stanza.to_domain()) == Some(self.entry) {
            let text = "the domain is one of this server's entry, and this server does not serve it";
            return Some(Verdict::Answer("own-domain", bounce(stanza, Condition::ItemNotFound, text)));
        }
        None
    }

    fn owns(&mut self, domain: &str) -> bool {
        if self.owned.as_ref().is_some_and(|owned| owned.as_str() == domain) {
            return true;
        }
        self.owned = self.hosted.find(domain).filter(|(_, entry)| *entry == self.entry).map(|(name, _)| name.clone());
        self.owned.is_some()
    }

    fn too_large<'a>(&self, head: &[u8]) -> Verdict<'a> {
        let text = format!("a stanza has at most {} bytes", self.stanza_bytes);
        let root = match check_head(head, &Scope::COMPONENT) {
            Ok(root) => root,
            Err(malformed) => return Verdict::Error(malformed.stream_error()),
        };
        let answer = |kind| bounce_root(&root, kind, Condition::PolicyViolation, &text);
        Verdict::Answer("too-large", Kind::parse(root.name).and_then(answer))
    }
}

/// RFC 6120 §4.9.3.13: a server that sends what is not well-formed has its stream ended. What only
/// goes beyond our limits is one user's doing, and that user is told.
fn beyond_limits_or_malformed<'a>(bytes: &[u8], malformed: Malformed, scope: &Scope) -> Verdict<'a> {
    let error = malformed.stream_error();
    if error.condition != StreamCondition::PolicyViolation {
        return Verdict::Error(error);
    }
    let root = stanza::root_only(bytes, scope);
    let answer = root.as_ref().and_then(|root| {
        bounce_root(root, Kind::parse(root.name)?, Condition::PolicyViolation, &malformed.to_string())
    });
    Verdict::Answer("beyond-limits", answer)
}

fn other_element<'a>(bytes: &[u8], root: &Root<'_>, scope: &Scope) -> Verdict<'a> {
    let element = crate::element::Element::parse(bytes, scope).ok();
    if let Some(error) = element.as_ref().and_then(StreamError::from_element) {
        return Verdict::End(Some(error));
    }
    let acks = element.filter(|element| element.namespace() == acks::NAMESPACE);
    match acks.as_ref().and_then(Ack::read) {
        Some(Ack::Enable { .. }) => return Verdict::Count,
        Some(Ack::Request) => return Verdict::TellCount,
        Some(Ack::Answer(_) | Ack::Enabled { .. } | Ack::Resume { .. } | Ack::Resumed { .. } | Ack::Failed(_))
        | None => (),
    }
    let text = format!("<{}/> is not a stanza", root.name);
    Verdict::Error(StreamError::new(StreamCondition::UnsupportedStanzaType, text))
}
