//! Stream headers (RFC 6120 §4.7, §4.8).

use bytes::Bytes;

use crate::checker::Malformed;
use crate::stream_error::StreamError;

/// The namespace of `<stream:stream/>`, `<stream:features/>` and `<stream:error/>`.
pub const STREAM_NAMESPACE: &str = "http://etherx.jabber.org/streams";
/// The namespace of server dialback (XEP-0220), which a header announces by binding `db` to it.
pub const DIALBACK_NAMESPACE: &str = "jabber:server:dialback";

/// What one side says when it opens a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The default namespace: `jabber:server` or `jabber:component:accept`.
    pub namespace: String,
    /// Who speaks.
    pub from: Option<String>,
    /// Who is spoken to.
    pub to: Option<String>,
    /// The stream's id, made by the receiving side.
    pub id: Option<String>,
    /// Major and minor version; `None` before XMPP 1.0.
    pub version: Option<(u8, u8)>,
    /// The language of what bears no `xml:lang` of its own.
    pub lang: Option<String>,
    /// The header binds `db`, so that dialback is spoken (XEP-0220 §2.3).
    pub dialback: bool,
}

/// Why a stream header is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes are no XML that may be sent.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl HeaderError {
    /// What the other side is told.
    #[must_use]
    pub fn stream_error(&self) -> StreamError {
        match self {
            Self::Malformed(malformed) => malformed.stream_error(),
        }
    }
}

impl Header {
    /// Reads an XML declaration, if there is one, and the start tag of a stream.
    ///
    /// # Errors
    /// [`HeaderError`] if it is none that XMPP allows.
    pub fn parse(_bytes: &[u8]) -> Result<Self, HeaderError> {
        Err(Malformed::Incomplete.into())
    }

    /// An XML declaration and the start tag.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        Bytes::new()
    }
}
