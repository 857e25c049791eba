//! Stanzas: what a router reads of them, and how they go on unchanged (RFC 6120 §8).

use std::borrow::Cow;

use bytes::Bytes;

use crate::checker::{Malformed, Root, Scope, check};
use crate::jid::{InvalidJid, domain_of};

/// The three kinds of stanzas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `<message/>`
    Message,
    /// `<presence/>`
    Presence,
    /// `<iq/>`
    Iq,
}

/// One of the two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Who sends.
    From,
    /// Who is meant.
    To,
}

/// Why an address does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Between servers every stanza needs both (RFC 6120 §8.1.1.2, §8.1.2.2).
    #[error("the address is missing")]
    Missing,
    /// It is there and no JID.
    #[error("{0}")]
    Invalid(#[from] InvalidJid),
}

/// Why an element is not forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAStanza<'a> {
    /// It must not be on a stream at all.
    Malformed(Malformed),
    /// A checked element that is no stanza of this stream: control elements, stream features and
    /// errors, stanzas in another stream's namespace.
    OtherElement(Box<Root<'a>>),
    /// A stanza whose root has a prefix, which other servers do not expect (RFC 6120 §4.8.5).
    Prefixed(Box<Root<'a>>),
    /// A stanza that cannot be routed. Its sender may be told with [`crate::stanza_error::bounce_root`].
    Address {
        /// What was read of it.
        root: Box<Root<'a>>,
        /// Which kind of stanza it is.
        kind: Kind,
        /// The address that is wrong.
        which: Address,
        /// What is wrong with it.
        why: BadAddress,
    },
}

/// A checked stanza with the two domains that it is routed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza<'a> {
    /// What was read of the root.
    pub root: Root<'a>,
    /// Which kind of stanza it is.
    pub kind: Kind,
    from_domain: Cow<'a, str>,
    to_domain: Cow<'a, str>,
}

impl Kind {
    /// The kind whose element is called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "message" => Some(Self::Message),
            "presence" => Some(Self::Presence),
            "iq" => Some(Self::Iq),
            _ => None,
        }
    }

    /// The name of its element.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Presence => "presence",
            Self::Iq => "iq",
        }
    }

    /// Whether a stanza of this kind and `type` may be answered with an error (RFC 6120 §8.3.1).
    ///
    /// Neither errors nor results of an IQ are: two servers could answer each other for ever. Nor is
    /// presence that says goodbye, since nobody is there to read the answer, nor an IQ that asks nothing.
    #[must_use]
    pub fn may_be_answered(self, type_: Option<&str>) -> bool {
        match self {
            Self::Message => type_ != Some("error"),
            Self::Presence => !matches!(type_, Some("error" | "unavailable")),
            Self::Iq => matches!(type_, Some("get" | "set")),
        }
    }
}

impl Stanza<'_> {
    /// The sender's domain, normalised.
    #[must_use]
    pub fn from_domain(&self) -> &str {
        &self.from_domain
    }

    /// The recipient's domain, normalised.
    #[must_use]
    pub fn to_domain(&self) -> &str {
        &self.to_domain
    }

    /// The sender's address as it stands in the stanza, references decoded.
    #[must_use]
    pub fn from(&self) -> &str {
        self.root.from.as_deref().unwrap_or_default()
    }

    /// The recipient's address as it stands in the stanza, references decoded.
    #[must_use]
    pub fn to(&self) -> &str {
        self.root.to.as_deref().unwrap_or_default()
    }

    /// The `id` attribute.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.root.id.as_deref()
    }

    /// The `type` attribute.
    #[must_use]
    pub fn type_(&self) -> Option<&str> {
        self.root.kind.as_deref()
    }

    /// The `xml:lang` of the root itself.
    #[must_use]
    pub fn lang(&self) -> Option<&str> {
        self.root.lang.as_deref()
    }

    /// Whether the stanza may be answered with an error (RFC 6120 §8.3.1).
    #[must_use]
    pub fn may_be_answered(&self) -> bool {
        self.kind.may_be_answered(self.type_())
    }
}

/// Checks `bytes` and reads the stanza in them, on a stream that binds `scope`.
///
/// # Errors
/// [`NotAStanza`] says what it is instead.
pub fn read<'a>(bytes: &'a [u8], scope: &Scope) -> Result<Stanza<'a>, NotAStanza<'a>> {
    let root = check(bytes, scope).map_err(NotAStanza::Malformed)?;
    let kind = match Kind::parse(root.name) {
        Some(kind) if root.namespace == scope.default_namespace() => kind,
        Some(_) | None => return Err(NotAStanza::OtherElement(Box::new(root))),
    };
    if root.prefixed {
        return Err(NotAStanza::Prefixed(Box::new(root)));
    }
    let refuse = |root, which, why| NotAStanza::Address { root: Box::new(root), kind, which, why };
    let from_domain = match domain(root.from.as_ref()) {
        Ok(domain) => domain,
        Err(why) => return Err(refuse(root, Address::From, why)),
    };
    let to_domain = match domain(root.to.as_ref()) {
        Ok(domain) => domain,
        Err(why) => return Err(refuse(root, Address::To, why)),
    };
    Ok(Stanza { root, kind, from_domain, to_domain })
}

fn domain<'a>(address: Option<&Cow<'a, str>>) -> Result<Cow<'a, str>, BadAddress> {
    match address {
        None => Err(BadAddress::Missing),
        Some(Cow::Borrowed(jid)) => Ok(domain_of(jid)?),
        Some(Cow::Owned(jid)) => Ok(Cow::Owned(domain_of(jid)?.into_owned())),
    }
}

/// The bytes of `stanza` as they go to a stream that binds `to`.
///
/// They stay as they are wherever that is right; `bytes` must be what the stanza was read from.
#[must_use]
pub fn forward(bytes: &Bytes, _stanza: &Stanza<'_>, _to: &Scope, _inherited_lang: Option<&str>) -> Bytes {
    bytes.clone()
}
