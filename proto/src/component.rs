//! XEP-0114: Jabber Component Protocol, as acceptor and as dialler.

use std::sync::Arc;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::checker::Scope;
use crate::element::Element;
use crate::framer::Frame;
use crate::header::Header;
use crate::hosted::{Entry, Hosted};
use crate::name::Name;
use crate::stream_error::{Condition, STREAM_END, StreamError};

/// The namespace of component streams.
pub const NAMESPACE: &str = "jabber:component:accept";

/// The secret that a component and its server share.
pub type Secret = Zeroizing<String>;

/// Why there is no component stream.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The other side misbehaves or is not who it must be; it is told so.
    #[error("{0}")]
    Told(StreamError),
    /// The other side ended the stream: a wrong secret, a conflict.
    #[error("the server ended the stream: {0}")]
    PeerError(StreamError),
    /// The other side closed the connection.
    #[error("the connection was closed during the handshake")]
    Closed,
}

impl ComponentError {
    fn told(condition: Condition, text: impl Into<String>) -> Self {
        Self::Told(StreamError::new(condition, text))
    }

    /// What is sent before the connection closes.
    #[must_use]
    pub fn farewell(&self) -> Bytes {
        match self {
            Self::Told(error) => error.to_bytes(),
            Self::PeerError(_) | Self::Closed => Bytes::from_static(STREAM_END),
        }
    }
}

/// Accepting side: a local server dials us and proves the secret of its entry.
#[derive(Debug)]
pub struct Acceptor {
    hosted: Arc<Hosted>,
    secrets: Arc<Vec<Option<Secret>>>,
    stream_id: String,
    entry: Option<Entry>,
}

/// How far an [`Acceptor`] is.
#[derive(Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Send this and go on.
    Send(Bytes),
    /// Send this; the link of `entry` is up.
    Up(Entry, Bytes),
}

impl Acceptor {
    /// Waits for a header. `secrets` are by entry; an entry without one is not attached this way.
    #[must_use]
    pub fn new(hosted: Arc<Hosted>, secrets: Arc<Vec<Option<Secret>>>, stream_id: String) -> Self {
        Self { hosted, secrets, stream_id, entry: None }
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`ComponentError`]; the connection is to be closed with [`ComponentError::farewell`].
    pub fn frame(&mut self, frame: Frame) -> Result<Accepted, ComponentError> {
        match frame {
            Frame::Header(bytes) => self.header(&bytes).map(Accepted::Send),
            Frame::Element(bytes) => self.handshake(&bytes),
            Frame::TooLarge { .. } => Err(ComponentError::told(Condition::NotAuthorized, "a handshake is short")),
            Frame::End => Err(ComponentError::Closed),
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Bytes, ComponentError> {
        let header = Header::parse(bytes).map_err(|error| ComponentError::Told(error.stream_error()))?;
        if header.namespace != NAMESPACE {
            let text = "this port takes components (jabber:component:accept)";
            return Err(ComponentError::told(Condition::InvalidNamespace, text));
        }
        let to = header.to.as_deref().unwrap_or_default();
        let entry = Name::parse(to).ok().and_then(|domain| self.hosted.entry(domain.as_str()));
        let attached = |entry: &Entry| self.secrets.get(*entry).is_some_and(Option::is_some);
        let Some(entry) = entry.filter(attached) else {
            let text = "no [[local]] entry with kind = \"component\" has this domain";
            return Err(ComponentError::told(Condition::HostUnknown, text));
        };
        self.entry = Some(entry);
        Ok(self.own_header(to))
    }

    fn own_header(&self, from: &str) -> Bytes {
        let header = Header {
            namespace: NAMESPACE.to_owned(),
            from: Some(from.to_owned()),
            to: None,
            id: Some(self.stream_id.clone()),
            version: None,
            lang: None,
            dialback: false,
        };
        header.to_bytes()
    }

    /// What is sent before the connection closes: RFC 6120 §4.9.1.2 wants a header before an error.
    #[must_use]
    pub fn farewell(&self, error: &ComponentError) -> Bytes {
        match self.entry {
            Some(_) => error.farewell(),
            None => [self.own_header("").as_ref(), &error.farewell()].concat().into(),
        }
    }

    fn handshake(&self, bytes: &[u8]) -> Result<Accepted, ComponentError> {
        let element = Element::parse(bytes, &Scope::COMPONENT)
            .map_err(|malformed| ComponentError::Told(malformed.stream_error()))?;
        let secret = self.entry.and_then(|entry| Some((entry, self.secrets.get(entry)?.as_ref()?)));
        let (Some((entry, secret)), true) = (secret, element.is("handshake", NAMESPACE)) else {
            return Err(ComponentError::told(Condition::NotAuthorized, "a handshake is expected first"));
        };
        let given = element.text().trim().to_ascii_lowercase();
        if bool::from(given.as_bytes().ct_eq(digest(&self.stream_id, secret).as_bytes())) {
            Ok(Accepted::Up(entry, Element::new("handshake", NAMESPACE).to_bytes(NAMESPACE)))
        } else {
            Err(ComponentError::told(Condition::NotAuthorized, "the secret is wrong"))
        }
    }
}

/// XEP-0114 §3: lower-case hex of SHA-1 over stream id and secret.
fn digest(stream_id: &str, secret: &Secret) -> Zeroizing<String> {
    let hash = Sha1::new().chain_update(stream_id.as_bytes()).chain_update(secret.as_bytes()).finalize();
    Zeroizing::new(hex::encode(hash))
}

/// Dialling side: we attach to the component port of a local server.
#[derive(Debug)]
pub struct Dialler {
    secret: Secret,
    greeted: bool,
}

/// How far a [`Dialler`] is.
#[derive(Debug, PartialEq, Eq)]
pub enum Dialled {
    /// Send this and go on.
    Send(Bytes),
    /// The link is up.
    Up,
}

impl Dialler {
    /// Sends the header that names the component.
    #[must_use]
    pub fn new(name: &str, secret: Secret) -> (Self, Bytes) {
        let header = Header {
            namespace: NAMESPACE.to_owned(),
            from: None,
            to: Some(name.to_owned()),
            id: None,
            version: None,
            lang: None,
            dialback: false,
        };
        (Self { secret, greeted: false }, header.to_bytes())
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`ComponentError`]; the connection is to be closed with [`ComponentError::farewell`].
    pub fn frame(&mut self, frame: Frame) -> Result<Dialled, ComponentError> {
        match frame {
            Frame::Header(bytes) => self.header(&bytes),
            Frame::Element(bytes) => self.outcome(&bytes),
            Frame::TooLarge { .. } | Frame::End => Err(ComponentError::Closed),
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<Dialled, ComponentError> {
        let header = Header::parse(bytes).map_err(|error| ComponentError::Told(error.stream_error()))?;
        let Some(id) = header.id.filter(|_| header.namespace == NAMESPACE && !self.greeted) else {
            return Err(ComponentError::told(Condition::InvalidNamespace, "expected a component stream with an id"));
        };
        self.greeted = true;
        let handshake = Element::new("handshake", NAMESPACE).with_text(&digest(&id, &self.secret));
        Ok(Dialled::Send(handshake.to_bytes(NAMESPACE)))
    }

    fn outcome(&self, bytes: &[u8]) -> Result<Dialled, ComponentError> {
        let element = Element::parse(bytes, &Scope::COMPONENT)
            .map_err(|malformed| ComponentError::Told(malformed.stream_error()))?;
        if let Some(error) = StreamError::from_element(&element) {
            return Err(ComponentError::PeerError(error));
        }
        if self.greeted && element.is("handshake", NAMESPACE) {
            Ok(Dialled::Up)
        } else {
            Err(ComponentError::told(Condition::NotAuthorized, "a handshake is expected first"))
        }
    }
}
