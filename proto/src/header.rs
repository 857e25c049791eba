//! Stream headers (RFC 6120 §4.7, §4.8).

use std::borrow::Cow;

use bytes::Bytes;

use crate::checker::{Malformed, Opening, Values, check_opening};
use crate::escape::push_attribute;
use crate::limits::LANGUAGE_BYTES;
use crate::stream_error::{Condition, StreamError};

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
    /// Major and minor version; `None` before XMPP 1.0 (RFC 6120 §4.7.5).
    pub version: Option<(u8, u8)>,
    /// The language of what bears no `xml:lang` of its own.
    pub lang: Option<String>,
    /// The header binds `db`, so that dialback is spoken (XEP-0220).
    pub dialback: bool,
}

/// Why a stream header is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes are no XML that may be sent.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The XML declaration is not one of XML 1.0 (XML 1.0 §2.8).
    #[error("not a declaration of XML 1.0")]
    Declaration,
    /// The XML declaration states another encoding than UTF-8 (RFC 6120 §11.6).
    #[error("an encoding other than UTF-8")]
    Encoding,
    /// The root is not called `stream`.
    #[error("the root element is not a stream")]
    NotAStream,
    /// The stream, or what it carries, is in no namespace or in a wrong one (RFC 6120 §4.8.1, §4.8.2).
    #[error("the stream's namespace is missing or wrong")]
    Namespace,
    /// The root's prefix is not `stream` (RFC 6120 §4.8.5).
    #[error("the stream's prefix is not 'stream'")]
    Prefix,
    /// The language is longer than any (RFC 6120 §4.7.4); every stanza that states none would carry it.
    #[error("the language is longer than any")]
    Language,
    /// The version is not two numbers and a dot (RFC 6120 §4.7.5).
    #[error("not a version of XMPP")]
    Version,
}

impl HeaderError {
    /// What the other side is told.
    #[must_use]
    pub fn stream_error(&self) -> StreamError {
        let condition = match self {
            Self::Malformed(malformed) => return malformed.stream_error(),
            Self::Declaration => Condition::NotWellFormed,
            Self::Encoding => Condition::UnsupportedEncoding,
            Self::NotAStream => Condition::BadFormat,
            Self::Namespace => Condition::InvalidNamespace,
            Self::Prefix => Condition::BadNamespacePrefix,
            Self::Language => Condition::PolicyViolation,
            Self::Version => Condition::UnsupportedVersion,
        };
        StreamError::new(condition, self.to_string())
    }
}

impl Header {
    /// Reads an XML declaration, if there is one, and the start tag of a stream.
    ///
    /// # Errors
    /// [`HeaderError`] if it is none that XMPP allows.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let opening = check_opening(bytes)?;
        if let Some(declaration) = &opening.declaration {
            check_declaration(declaration)?;
        }
        check_root(bytes, &opening)?;
        let attribute = |name| opening.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_ref());
        let namespace = attribute("xmlns").filter(|namespace| !namespace.is_empty()).ok_or(HeaderError::Namespace)?;
        if opening.root.lang().is_some_and(|lang| lang.len() > LANGUAGE_BYTES) {
            return Err(HeaderError::Language);
        }
        let owned = |value: Option<Cow<'_, str>>| value.map(Cow::into_owned);
        Ok(Self {
            namespace: namespace.to_owned(),
            from: owned(opening.root.from()),
            to: owned(opening.root.to()),
            id: owned(opening.root.id()),
            version: attribute("version").map(parse_version).transpose()?,
            lang: owned(opening.root.lang()),
            dialback: attribute("xmlns:db") == Some(DIALBACK_NAMESPACE),
        })
    }

    /// An XML declaration and the start tag.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let version = self.version.map(|(major, minor)| format!("{major}.{minor}"));
        let attributes = [
            ("xmlns", Some(self.namespace.as_str())),
            ("xmlns:stream", Some(STREAM_NAMESPACE)),
            ("xmlns:db", self.dialback.then_some(DIALBACK_NAMESPACE)),
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
            ("id", self.id.as_deref()),
            ("version", version.as_deref()),
            ("xml:lang", self.lang.as_deref()),
        ];
        let mut out = b"<?xml version='1.0'?><stream:stream".to_vec();
        for (name, value) in attributes {
            if let Some(value) = value {
                push_attribute(&mut out, name, value);
            }
        }
        out.push(b'>');
        out.into()
    }
}

/// XML 1.0 §2.8: the version, then the encoding, then whether it stands alone.
fn check_declaration(stated: &Values<'_>) -> Result<(), HeaderError> {
    let mut stated = stated.iter().map(|(name, value)| (*name, value.as_ref())).peekable();
    if stated.next() != Some(("version", "1.0")) {
        return Err(HeaderError::Declaration);
    }
    if let Some((_, encoding)) = stated.next_if(|(name, _)| *name == "encoding")
        && !encoding.eq_ignore_ascii_case("UTF-8")
    {
        return Err(HeaderError::Encoding);
    }
    stated.next_if(|stated| matches!(stated, ("standalone", "yes" | "no")));
    if stated.next().is_some() { Err(HeaderError::Declaration) } else { Ok(()) }
}

fn check_root(bytes: &[u8], opening: &Opening<'_>) -> Result<(), HeaderError> {
    let root = &opening.root;
    if root.name != "stream" {
        Err(HeaderError::NotAStream)
    } else if root.namespace != STREAM_NAMESPACE {
        Err(HeaderError::Namespace)
    } else if bytes[root.span.range().start..root.name_end] != *b"<stream:stream" {
        Err(HeaderError::Prefix)
    } else {
        Ok(())
    }
}

/// Leading zeros count for nothing (RFC 6120 §4.7.5).
fn parse_version(version: &str) -> Result<(u8, u8), HeaderError> {
    let (major, minor) = version.split_once('.').ok_or(HeaderError::Version)?;
    Ok((parse_number(major)?, parse_number(minor)?))
}

/// What is larger than 255 is no version that we could tell from 255.
fn parse_number(digits: &str) -> Result<u8, HeaderError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HeaderError::Version);
    }
    Ok(digits.bytes().fold(0, |number: u8, digit| number.saturating_mul(10).saturating_add(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>";

    fn refusal(text: &str) -> HeaderError {
        Header::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_header_is_read_back_as_it_was_written() {
        let full = Header {
            namespace: "jabber:server".to_owned(),
            from: Some("xmpp.other.isp".to_owned()),
            to: Some("xmpp.my.isp".to_owned()),
            id: Some("a'b".to_owned()),
            version: Some((1, 0)),
            lang: Some("pt".to_owned()),
            dialback: true,
        };
        let bare = Header { namespace: "jabber:component:accept".to_owned(), ..Header::default() };
        for header in [full, bare] {
            assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
        }
    }

    #[test]
    fn a_declaration_is_optional() {
        for declaration in [
            "",
            "<?xml version='1.0'?>",
            "<?xml version=\"1.0\" encoding='utf-8' ?>\n",
            "<?xml version='1.0' standalone='yes'?>",
            "<?xml version='1.0' encoding='UTF-8' standalone='no'?>",
        ] {
            let header = Header::parse(format!("{declaration}{ROOT}").as_bytes()).unwrap();
            assert_eq!((header.namespace.as_str(), header.version), ("jabber:server", None), "{declaration}");
        }
    }

    #[test]
    fn another_declaration_is_refused() {
        for declaration in [
            "<?xml version='1.1'?>",
            "<?xml encoding='UTF-8'?>",
            "<?xml version='1.0' standalone='maybe'?>",
            "<?xml version='1.0' standalone='yes' encoding='UTF-8'?>",
            "<?xml version='1.0' version='1.0'?>",
        ] {
            assert_eq!(refusal(&format!("{declaration}{ROOT}")), HeaderError::Declaration, "{declaration}");
        }
        assert_eq!(refusal(&format!("<?xml version='1.0' encoding='UTF-16'?>{ROOT}")), HeaderError::Encoding);
        assert!(matches!(refusal(&format!("<?xml version='1.0'encoding='UTF-8'?>{ROOT}")), HeaderError::Malformed(_)));
    }

    #[test]
    fn another_root_is_refused() {
        let namespaces = "xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'";
        assert_eq!(refusal(&format!("<stream:features {namespaces}>")), HeaderError::NotAStream);
        assert_eq!(refusal("<stream:stream xmlns='jabber:server' xmlns:stream='urn:x'>"), HeaderError::Namespace);
        let unnamed = "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>";
        assert_eq!(refusal(unnamed), HeaderError::Namespace);
        assert_eq!(refusal("<stream xmlns='http://etherx.jabber.org/streams'>"), HeaderError::Prefix);
        let prefixed = "<s:stream xmlns='jabber:server' xmlns:s='http://etherx.jabber.org/streams'>";
        assert_eq!(refusal(prefixed), HeaderError::Prefix);
        let unbound = HeaderError::Malformed(Malformed::UnboundPrefix);
        assert_eq!(refusal("<stream:stream xmlns='jabber:server'>"), unbound);
        assert_eq!(unbound.stream_error().condition, Condition::BadNamespacePrefix);
    }

    #[test]
    fn a_header_is_one_start_tag() {
        for text in [ROOT.replace('>', "/>"), format!("{ROOT}x"), format!("{ROOT}<a>"), String::new()] {
            assert!(matches!(refusal(&text), HeaderError::Malformed(_)), "{text}");
        }
    }

    #[test]
    fn a_language_that_is_none_is_refused() {
        let parse = |lang: &str| Header::parse(ROOT.replace('>', &format!(" xml:lang='{lang}'>")).as_bytes());
        let longest = "x".repeat(LANGUAGE_BYTES);
        assert_eq!(parse(&longest).map(|header| header.lang), Ok(Some(longest.clone())));
        assert_eq!(parse(&(longest + "x")), Err(HeaderError::Language));
    }

    #[test]
    fn versions_are_pairs_of_numbers() {
        let parse = |version: &str| Header::parse(ROOT.replace('>', &format!(" version='{version}'>")).as_bytes());
        for (version, parsed) in
            [("1.0", (1, 0)), ("01.000", (1, 0)), ("0.9", (0, 9)), ("1.10", (1, 10)), ("1.999", (1, 255))]
        {
            assert_eq!(parse(version).map(|header| header.version), Ok(Some(parsed)), "{version}");
        }
        for version in ["", "1", "1.", ".0", "1.0.0", "+1.0", "1.x", "1 .0"] {
            assert_eq!(parse(version), Err(HeaderError::Version), "{version}");
        }
    }
}
