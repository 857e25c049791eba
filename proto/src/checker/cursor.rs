//! Steps through a text, from one piece of markup to the next.

use memchr::{memchr_iter, memchr3};
use smallvec::SmallVec;

use super::chars::{is_white, name_length};
use super::{Malformed, reference};
use crate::limits;

/// A place in a text of legal characters.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A name that may have a prefix (Namespaces §4).
#[derive(Clone, Copy)]
pub(super) struct QName<'a> {
    pub(super) whole: &'a str,
    /// Where the colon stands; 0, where none can stand, if there is none.
    colon: usize,
}

/// An attribute as it was written, with every reference in its value known to be right.
pub(super) struct Attribute<'a> {
    pub(super) name: QName<'a>,
    pub(super) raw: &'a str,
    /// Where the white space before it begins.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The attributes of one tag.
pub(super) type Attributes<'a> = SmallVec<[Attribute<'a>; 8]>;

/// How a start tag ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// `>`: content and an end tag follow.
    Follows,
    /// `/>`: there is none.
    Empty,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        self.rest().as_bytes().starts_with(prefix.as_bytes())
    }

    /// Steps over `prefix` if it is next.
    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        let found = self.starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// Steps over white space; false if there is none.
    pub(super) fn skip_white(&mut self) -> bool {
        let start = self.at;
        while self.peek().is_ok_and(is_white) {
            self.at += 1;
        }
        self.at > start
    }

    /// Steps over character data and stops at the next `<` (XML 1.0 §2.4).
    pub(super) fn skip_text(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        loop {
            let rest = self.rest();
            let next = memchr3(b'<', b'&', b'>', rest.as_bytes()).ok_or(Malformed::Incomplete)?;
            self.at += next;
            match self.peek()? {
                b'<' => return Ok(()),
                b'&' => self.at += reference::read(self.rest())?.1,
                _ if self.slice(start, self.at).ends_with("]]") => return Err(Malformed::CdataEnd),
                _ => self.at += 1,
            }
        }
    }

    /// Steps over a CDATA section, whose `<![CDATA[` is behind the cursor.
    pub(super) fn skip_cdata(&mut self) -> Result<(), Malformed> {
        let rest = self.rest();
        let end = memchr_iter(b'>', rest.as_bytes())
            .find(|&at| rest.as_bytes()[..at].ends_with(b"]]"))
            .ok_or(Malformed::Incomplete)?;
        self.at += end + 1;
        Ok(())
    }

    /// Reads a name with at most one colon (Namespaces §4).
    pub(super) fn qname(&mut self) -> Result<QName<'a>, Malformed> {
        let start = self.at;
        self.at += self.part_length()?;
        let mut colon = 0;
        if self.peek()? == b':' {
            colon = self.at - start;
            self.at += 1;
            self.at += self.part_length()?;
        }
        if self.at - start > limits::NAME_BYTES {
            return Err(Malformed::NameLength);
        }
        Ok(QName { whole: self.slice(start, self.at), colon })
    }

    fn part_length(&self) -> Result<usize, Malformed> {
        match name_length(self.text, self.at) {
            0 if self.is_at_end() => Err(Malformed::Incomplete),
            0 => Err(Malformed::Name),
            length => Ok(length),
        }
    }

    /// Reads attributes up to the end of a start tag, whose name is behind the cursor (XML 1.0 §3.1).
    pub(super) fn attributes(&mut self, attributes: &mut Attributes<'a>) -> Result<Content, Malformed> {
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
    pub(super) fn declaration(&mut self, attributes: &mut Attributes<'a>) -> Result<(), Malformed> {
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

    fn attribute(&mut self, start: usize) -> Result<Attribute<'a>, Malformed> {
        let name = self.qname()?;
        self.skip_white();
        self.expect(b'=')?;
        self.skip_white();
        let quote = self.peek()?;
        if quote != b'\'' && quote != b'"' {
            return Err(Malformed::Tag);
        }
        self.at += 1;
        let raw = self.value(quote)?;
        Ok(Attribute { name, raw, start, end: self.at })
    }

    fn value(&mut self, quote: u8) -> Result<&'a str, Malformed> {
        let start = self.at;
        loop {
            let next = memchr3(quote, b'<', b'&', self.rest().as_bytes()).ok_or(Malformed::Incomplete)?;
            self.at += next;
            match self.peek()? {
                b'<' => return Err(Malformed::LessThan),
                b'&' => self.at += reference::read(self.rest())?.1,
                _ => {
                    self.at += 1;
                    return Ok(self.slice(start, self.at - 1));
                }
            }
        }
    }

    /// Steps over the name and the `>` of an end tag for `name`, whose `</` is behind the cursor.
    pub(super) fn end_tag(&mut self, name: &str) -> Result<(), Malformed> {
        if !self.eat(name) {
            return Err(Malformed::EndTag);
        }
        self.skip_white();
        self.expect(b'>').map_err(|fault| if fault == Malformed::Tag { Malformed::EndTag } else { fault })
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek()? != byte {
            return Err(Malformed::Tag);
        }
        self.at += 1;
        Ok(())
    }

    /// The next byte; every caller is inside an element, which must not end here.
    fn peek(&self) -> Result<u8, Malformed> {
        self.text.as_bytes().get(self.at).copied().ok_or(Malformed::Incomplete)
    }

    fn rest(&self) -> &'a str {
        self.slice(self.at, self.text.len())
    }

    /// The text between two places. Both stand next to ASCII characters, where a text may be cut.
    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }
}

impl<'a> QName<'a> {
    /// Empty if there is none.
    pub(super) fn prefix(&self) -> &'a str {
        self.whole.get(..self.colon).unwrap_or_default()
    }

    pub(super) fn local(&self) -> &'a str {
        if self.colon == 0 { self.whole } else { self.whole.get(self.colon + 1..).unwrap_or_default() }
    }
}

impl<'a> Attribute<'a> {
    /// The prefix that this attribute declares, empty for the default namespace; `None` if it is no
    /// declaration (Namespaces §3).
    pub(super) fn declared_prefix(&self) -> Option<&'a str> {
        match self.name.whole.strip_prefix("xmlns")? {
            "" => Some(""),
            prefix => prefix.strip_prefix(':'),
        }
    }
}
