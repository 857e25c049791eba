//! Names of XMPP domains and hosts, normalised so that equal names are equal bytes.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::net::IpAddr;

use arcstr::ArcStr;
use wide::u8x16;

use crate::checker::{is, is_within, padded};

/// The longest name that DNS can carry, in bytes without the final dot (RFC 1035 §2.3.4).
const NAME_BYTES: usize = 253;
/// The longest label, in bytes (RFC 1035 §2.3.4).
const LABEL_BYTES: usize = 63;

/// A DNS name as lower-case A-labels without a final dot (UTS 46, non-transitional).
///
/// This is the only form in which names are compared and enter transcripts; stanzas keep their own
/// spelling. IP literals are not names. Cloning is cheap, and it is one pointer: a million pairs have two each, in
/// several places.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(ArcStr);

/// Why a string is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing is left once the final dot is gone.
    #[error("the name is empty")]
    Empty,
    /// More than 253 bytes, or a label of more than 63 or of none.
    #[error("a name has labels of 1 to 63 bytes and at most 253 bytes in all")]
    Length,
    /// IPv4 and IPv6 literals are no XMPP domains here.
    #[error("an IP address is not a domain name")]
    Address,
    /// UTS 46 does not allow it.
    #[error("the name has characters that IDNA does not allow")]
    Characters,
}

impl Name {
    /// Reads `text` in any spelling: capitals, a final dot, U-labels.
    ///
    /// # Errors
    /// [`InvalidName`] if it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        normalise(text).map(|name| Self(ArcStr::from(name.as_ref())))
    }

    /// The normalised spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The normalised spelling of `text`, borrowed where it has that spelling already.
///
/// # Errors
/// [`InvalidName`] if `text` is no name.
pub fn normalise(text: &str) -> Result<Cow<'_, str>, InvalidName> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if is_normal(text) {
        return Ok(Cow::Borrowed(text));
    }
    let name = if text.bytes().all(is_plain) && !text.contains("xn--") {
        Cow::Borrowed(text)
    } else {
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::STD3)
            .map_err(|_| InvalidName::Characters)?;
        Cow::Owned(ascii.strip_suffix('.').unwrap_or(&ascii).to_owned())
    };
    check_shape(&name)?;
    Ok(name)
}

/// Whether one look finds a normal name: what nearly every stanza has. It may say no to one that is
/// normal (with `--`, of more than 63 bytes, or with digits at its end); then the long way decides.
fn is_normal(text: &str) -> bool {
    normal_length(text.as_bytes()) == text.len() && !text.is_empty()
}

/// How many bytes one look finds to be a normal name, up to the first that is of no such name; 0 if none.
#[inline]
pub(crate) fn normal_length(bytes: &[u8]) -> usize {
    let (mut start, mut after_separator) = (0, 1);
    let end = loop {
        let rest = &bytes[start..];
        let sixteen = u8x16::new(rest.first_chunk().copied().unwrap_or_else(|| padded(rest)));
        let separators = (is(sixteen, b'.') | is(sixteen, b'-')).to_bitmask();
        let others = (is_within(sixteen, b'a', b'z') | is_within(sixteen, b'0', b'9')).to_bitmask();
        // One bit more than there are bytes stays, and ends the name at the latest.
        let length = (!(separators | others)).trailing_zeros();
        let within = separators & ((1 << length) - 1);
        // A label has at least one byte.
        if within & (within << 1 | after_separator) != 0 {
            return 0;
        }
        if length < 16 {
            break start + length as usize;
        }
        (start, after_separator) = (start + 16, separators >> 15);
    };
    let ends_well = end > 0 && bytes[end - 1].is_ascii_lowercase();
    // No label of a name of that length is too long.
    if ends_well && end <= LABEL_BYTES { end } else { 0 }
}

/// What needs no table to be normalised: lower-case letters, digits, dots and dashes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')
}

fn check_shape(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.len() > NAME_BYTES || name.split('.').any(|label| label.is_empty() || label.len() > LABEL_BYTES) {
        return Err(InvalidName::Length);
    }
    if name.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err(InvalidName::Characters);
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) && name.parse::<IpAddr>().is_ok() {
        return Err(InvalidName::Address);
    }
    Ok(())
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl std::str::FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_equal() {
        let name = Name::parse("chat.saramago.lit");
        assert_eq!(Name::parse("Chat.Saramago.LIT."), name);
        assert_eq!(name.map(|n| n.to_string()), Ok("chat.saramago.lit".to_owned()));
        assert_eq!(Name::parse("BÜCHER.example"), Name::parse("xn--bcher-kva.example"));
        assert_ne!(Name::parse("faß.example"), Name::parse("fass.example"), "non-transitional");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert_eq!(Name::parse(""), Err(InvalidName::Empty));
        assert_eq!(Name::parse("."), Err(InvalidName::Empty));
        assert_eq!(Name::parse("a..b"), Err(InvalidName::Length));
        assert_eq!(Name::parse(&"a".repeat(64)), Err(InvalidName::Length));
        assert_eq!(Name::parse("127.0.0.1"), Err(InvalidName::Address));
        assert!(Name::parse("::1").is_err());
        assert!(Name::parse("[::1]").is_err());
        assert_eq!(Name::parse("a b"), Err(InvalidName::Characters));
        assert_eq!(Name::parse("xn--a"), Err(InvalidName::Characters));
        assert_eq!(Name::parse("-a.lit"), Err(InvalidName::Characters));
        assert_eq!(Name::parse("a-.lit"), Err(InvalidName::Characters));
        assert_eq!(Name::parse(&"a".repeat(300)), Err(InvalidName::Length));
    }
}
