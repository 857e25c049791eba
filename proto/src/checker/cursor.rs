//! Steps through a text, from one piece of markup to the next.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr3};
use smallvec::SmallVec;

use super::chars::{is, is_low, is_white, name_length, run_length};
use super::{Malformed, reference};
use crate::limits;

/// A place in a text of legal characters.
///
/// What it finds are places as well: a text can only be cut after a look at both ends, and most of what is
/// found is never read. It is copied where many steps follow, so that it lives in registers meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A name that may have a prefix (Namespaces §4).
#[derive(Clone, Copy)]
pub(super) struct QName {
    /// What it begins with.
    pub(super) key: Key,
    pub(super) start: u32,
    pub(super) length: u32,
    /// Where the colon stands; 0, where none can stand, if there is none.
    colon: u32,
}

/// The first eight bytes of a name, with zeros behind a shorter one: no two names of up to eight bytes have the
/// same.
pub(super) type Key = u64;

/// An attribute as it was written, with every reference in its value known to be right.
pub(super) struct Attribute {
    pub(super) name: QName,
    /// Where the white space before it begins.
    pub(super) start: u32,
    /// Where the value begins, and where it ends with a quote.
    pub(super) value: (u32, u32),
    /// The value is what was written: it has no references, and no white space but blanks.
    plain: bool,
}

/// The attributes of one tag.
pub(super) type Attributes = SmallVec<[Attribute; 8]>;

/// How a start tag ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// `>`: content and an end tag follow.
    Follows,
    /// `/>`: there is none.
    Empty,
}

/// What stands at a `<` within an element.
pub(super) enum Markup {
    StartTag,
    EndTag,
    Cdata,
    /// What no stream may carry.
    Restricted,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    #[inline]
    pub(super) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    #[inline(always)]
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    #[inline(always)]
    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        self.rest().starts_with(prefix.as_bytes())
    }

    /// Steps over `prefix` if it is next.
    #[inline(always)]
    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        let found = self.starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// Steps over white space; false if there is none.
    #[inline(always)]
    pub(super) fn skip_white(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_ok_and(is_white) {
            self.at += 1;
        }
        self.at > start
    }

    /// Steps over character data and stops at the next `<` (XML 1.0 §2.4).
    #[inline(always)]
    pub(super) fn skip_text(&mut self) -> Result<(), Malformed> {
        if self.peek()? == b'<' {
            return Ok(());
        }
        let start = self.at;
        loop {
            self.at += memchr3(b'<', b'&', b'>', self.rest()).ok_or(Malformed::Incomplete)?;
            match self.peek()? {
                b'<' => return Ok(()),
                b'&' => self.skip_reference()?,
                _ if self.slice(start, self.at).ends_with("]]") => return Err(Malformed::CdataEnd),
                _ => self.at += 1,
            }
        }
    }

    /// Steps over what tells the kind of markup, at a `<`; a restricted piece is left whole.
    #[inline(always)]
    pub(super) fn markup(&mut self) -> Markup {
        let (markup, length) = match self.text.as_bytes().get(self.at + 1) {
            Some(b'/') => (Markup::EndTag, 2),
            Some(b'!' | b'?') if self.starts_with(CDATA) => (Markup::Cdata, CDATA.len()),
            Some(b'!' | b'?') => (Markup::Restricted, 0),
            Some(_) | None => (Markup::StartTag, 1),
        };
        self.at += length;
        markup
    }

    /// Steps over a CDATA section, whose `<![CDATA[` is behind the cursor.
    pub(super) fn skip_cdata(&mut self) -> Result<(), Malformed> {
        let rest = self.rest();
        let end = memchr_iter(b'>', rest).find(|&at| rest[..at].ends_with(b"]]")).ok_or(Malformed::Incomplete)?;
        self.at += end + 1;
        Ok(())
    }

    /// Reads a name with at most one colon (Namespaces §4).
    #[inline(always)]
    pub(super) fn qname(&mut self) -> Result<QName, Malformed> {
        let start = self.at;
        self.at += self.part_length()?;
        let mut colon = 0;
        if self.peek()? == b':' {
            colon = self.at - start;
            self.at += 1;
            self.at += self.part_length()?;
        }
        let length = self.at - start;
        if length > limits::NAME_BYTES {
            return Err(Malformed::NameLength);
        }
        let key = key_at(self.text.as_bytes(), start, length);
        Ok(QName { key, start: place(start), length: place(length), colon: place(colon) })
    }

    #[inline(always)]
    fn part_length(&self) -> Result<usize, Malformed> {
        match name_length(self.text, self.at) {
            0 if self.is_at_end() => Err(Malformed::Incomplete),
            0 => Err(Malformed::Name),
            length => Ok(length),
        }
    }

    /// Reads attributes up to the end of a start tag, whose name is behind the cursor (XML 1.0 §3.1).
    #[inline(always)]
    pub(super) fn attributes(&mut self, attributes: &mut Attributes) -> Result<Content, Malformed> {
        attributes.clear();
        loop {
            let start = self.at;
            let has_white = self.skip_white();
            match self.peek()? {
                b'>' => {
                    self.at += 1;
                    return Ok(Content::Follows);
                }
                b'/' if self.eat("/>") => return Ok(Content::Empty),
                _ if !has_white => return Err(Malformed::Tag),
                _ if attributes.len() == limits::ATTRIBUTES => return Err(Malformed::Attributes),
                _ => attributes.push(self.attribute(start)?),
            }
        }
    }

    /// Reads what an XML declaration states, whose `<?xml` is behind the cursor (XML 1.0 §2.8).
    pub(super) fn declaration(&mut self, attributes: &mut Attributes) -> Result<(), Malformed> {
        loop {
            let start = self.at;
            let has_white = self.skip_white();
            if self.eat("?>") {
                return Ok(());
            }
            if !has_white || attributes.len() == limits::ATTRIBUTES {
                return Err(Malformed::Tag);
            }
            attributes.push(self.attribute(start)?);
        }
    }

    #[inline(always)]
    fn attribute(&mut self, start: usize) -> Result<Attribute, Malformed> {
        let name = self.qname()?;
        if self.peek()? != b'=' {
            self.skip_white();
        }
        self.expect(b'=')?;
        let mut quote = self.peek()?;
        if is_white(quote) {
            self.skip_white();
            quote = self.peek()?;
        }
        if quote != b'\'' && quote != b'"' {
            return Err(Malformed::Tag);
        }
        self.at += 1;
        let from = self.at;
        let plain = self.skip_value(quote)?;
        Ok(Attribute { name, start: place(start), value: (place(from), place(self.at - 1)), plain })
    }

    /// Steps over a value and its quote; whether it is plain.
    #[inline(always)]
    fn skip_value(&mut self, quote: u8) -> Result<bool, Malformed> {
        let mut plain = true;
        loop {
            let ends = |bytes| is(bytes, quote) | is(bytes, b'<') | is(bytes, b'&') | is_low(bytes);
            self.at += run_length(self.rest(), ends);
            match self.peek()? {
                b'<' => return Err(Malformed::LessThan),
                b'&' => {
                    plain = false;
                    self.skip_reference()?;
                }
                byte => {
                    self.at += 1;
                    if byte == quote {
                        return Ok(plain);
                    }
                    plain = false;
                }
            }
        }
    }

    fn skip_reference(&mut self) -> Result<(), Malformed> {
        self.at += self.reference_length()?;
        Ok(())
    }

    #[cold]
    fn reference_length(self) -> Result<usize, Malformed> {
        Ok(reference::read(self.slice(self.at, self.text.len()))?.1)
    }

    /// Steps over the name and the `>` of an end tag for `name`, whose `</` is behind the cursor.
    #[inline(always)]
    pub(super) fn end_tag(&mut self, name: QName) -> Result<(), Malformed> {
        let length = name.length as usize;
        if !self.is_name(name, self.at) {
            return Err(Malformed::EndTag);
        }
        self.at += length;
        if self.peek()? != b'>' {
            self.skip_white();
        }
        self.expect(b'>').map_err(|fault| if fault == Malformed::Tag { Malformed::EndTag } else { fault })
    }

    /// Whether `name` stands at a place.
    #[inline(always)]
    fn is_name(&self, name: QName, at: usize) -> bool {
        is_name_at(self.text.as_bytes(), (name.key, name.start as usize, name.length as usize), at)
    }

    /// Whether two names are the same.
    #[inline(always)]
    pub(super) fn are_same(&self, one: QName, other: QName) -> bool {
        one.key == other.key && one.length == other.length && self.is_name(one, other.start as usize)
    }

    /// A name with its prefix.
    pub(super) fn whole(&self, name: QName) -> &'a str {
        self.slice(name.start as usize, (name.start + name.length) as usize)
    }

    /// A name's prefix; empty if there is none.
    pub(super) fn prefix(&self, name: QName) -> &'a str {
        self.slice(name.start as usize, (name.start + name.colon) as usize)
    }

    /// A name without its prefix.
    pub(super) fn local(&self, name: QName) -> &'a str {
        let skipped = if name.has_prefix() { name.colon + 1 } else { 0 };
        self.slice((name.start + skipped) as usize, (name.start + name.length) as usize)
    }

    /// An attribute's value as an application sees it.
    pub(super) fn value(&self, attribute: &Attribute) -> Result<Cow<'a, str>, Malformed> {
        let raw = self.slice(attribute.value.0 as usize, attribute.value.1 as usize);
        if attribute.plain { Ok(Cow::Borrowed(raw)) } else { reference::normalised(raw) }
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek()? != byte {
            return Err(Malformed::Tag);
        }
        self.at += 1;
        Ok(())
    }

    /// The next byte; every caller is inside an element, which must not end here.
    #[inline(always)]
    fn peek(&self) -> Result<u8, Malformed> {
        self.text.as_bytes().get(self.at).copied().ok_or(Malformed::Incomplete)
    }

    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The text between two places. Both stand next to ASCII characters, where a text may be cut.
    #[inline(always)]
    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }
}

const CDATA: &str = "<![CDATA[";

#[expect(clippy::cast_possible_truncation, reason = "a text that is checked has far less than 4 GiB")]
pub(super) const fn place(at: usize) -> u32 {
    at as u32
}

/// The key of a name of `length` bytes that begins at a place; what is behind the end counts as zeros.
#[inline(always)]
pub(super) fn key_at(bytes: &[u8], at: usize, length: usize) -> Key {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(eight) if length < size_of::<Key>() => Key::from_le_bytes(*eight) & ((1 << (8 * length)) - 1),
        Some(eight) => Key::from_le_bytes(*eight),
        None => key(rest.get(..length).unwrap_or(rest)),
    }
}

/// Whether the name with this key, place and length stands at another place as well.
#[inline(always)]
pub(super) fn is_name_at(bytes: &[u8], (key, start, length): (Key, usize, usize), at: usize) -> bool {
    key_at(bytes, at, length) == key
        && (length <= size_of::<Key>() || bytes.get(at..at + length) == bytes.get(start..start + length))
}

/// One of 64 bits for a name: two that are the same have the same, so that nearly all need no comparison.
#[inline(always)]
pub(super) fn bit_of(key: Key) -> u64 {
    // Any odd number without a pattern: 2^64 by the golden ratio.
    1 << (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

/// The key of a name.
pub(super) const fn key(name: &[u8]) -> Key {
    let (mut eight, mut at) = ([0; size_of::<Key>()], 0);
    while at < name.len() && at < eight.len() {
        eight[at] = name[at];
        at += 1;
    }
    Key::from_le_bytes(eight)
}

const XMLNS: Key = key(b"xmlns");
const XMLNS_COLON: Key = key(b"xmlns:");
const SIX_BYTES: Key = (1 << 48) - 1;

/// What a name declares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Declares {
    /// It is an attribute's.
    Nothing,
    /// The default namespace.
    Default,
    /// The prefix that is its local name.
    Prefix,
}

impl QName {
    pub(super) fn has_prefix(self) -> bool {
        self.colon != 0
    }

    /// See Namespaces §3.
    pub(super) fn declares(self) -> Declares {
        if self.key == XMLNS {
            Declares::Default
        } else if self.key & SIX_BYTES == XMLNS_COLON {
            Declares::Prefix
        } else {
            Declares::Nothing
        }
    }
}
