//! Checks one complete element before anything of it is believed or forwarded.
//!
//! What passes is well-formed (XML 1.0, with the names of its fourth edition), namespace-well-formed
//! (Namespaces in XML 1.0), free of what RFC 6120 §11.1 forbids, and within [`limits`]. So any
//! conforming parser on the way reads the same element in it, which is what makes it safe to forward
//! the bytes as they are on a stream that many domains share.
//!
//! Three passes over the slice, each simple enough to be believed: UTF-8, legal characters, grammar.
//! The last one steps from one `<` to the next with a `Cursor`, and keeps the open elements
//! and the namespaces in scope.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::ops::Range;

use smallvec::SmallVec;

use crate::limits;
use crate::stanza::Address;

mod chars;
mod cursor;
mod elements;
mod malformed;
mod names;
mod opening;
mod quick;
mod reference;
mod scope;
mod shape;
#[cfg(test)]
mod tests;

pub(crate) use chars::{is, is_white, is_within, padded, run_length};
use cursor::{Attribute, Attributes, Content, Cursor, Declares, Key, Markup, QName, bit_of, key, place};
pub(crate) use elements::Elements;
pub use malformed::Malformed;
pub(crate) use opening::{Opening, Values, check_opening};
pub use scope::Scope;
pub(crate) use scope::XML_NAMESPACE;
use scope::{Bindings, NamespaceId};
pub use shape::Shapes;

/// The root of a checked element: all that a router reads of a stanza.
///
/// Values are normalised and their references decoded. Only unprefixed attributes count, besides
/// `xml:lang`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root<'a> {
    /// What the element was read from.
    pub(crate) text: &'a str,
    /// The namespace that the root's name is in.
    pub namespace: Cow<'a, str>,
    /// The local name.
    pub name: &'a str,
    /// The root's name has a prefix.
    pub prefixed: bool,
    /// The element without the white space around it.
    pub(crate) span: Span,
    /// Where the root's name ends, and attributes may be added.
    pub(crate) name_end: usize,
    /// Where attributes stand, by their [`Place`].
    places: [Option<Span>; 6],
    /// Bit n: the n-th prefix of the scope is used and not bound by the element itself.
    pub(crate) inherited: u8,
    /// How many attributes it has, declarations included.
    pub(crate) attributes: usize,
}

/// The attributes that are looked for.
#[derive(Clone, Copy, Debug)]
enum Place {
    From,
    To,
    Id,
    Type,
    Lang,
    /// A declaration of the default namespace.
    Xmlns,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// One more than where it begins: nothing that has a place of its own in a tag stands at its beginning.
    start: NonZeroU32,
    end: u32,
}

impl Span {
    fn new(start: u32, end: u32) -> Self {
        Self { start: NonZeroU32::MIN.saturating_add(start), end }
    }

    /// As the places of the text.
    pub(crate) fn range(self) -> Range<usize> {
        self.start.get() as usize - 1..self.end as usize
    }
}

/// Checks that `bytes` are one element that may be forwarded, with white space around it at most.
///
/// # Errors
/// [`Malformed`] with the first fault.
pub fn check<'a>(bytes: &'a [u8], scope: &Scope) -> Result<Root<'a>, Malformed> {
    let mut checker = Checker::new(legal_text(bytes)?, scope);
    let root = checker.element()?;
    checker.end()?;
    Ok(root)
}

/// Checks a start tag alone, of an element that was too large to keep.
///
/// # Errors
/// [`Malformed`] with the first fault.
pub fn check_head<'a>(head: &'a [u8], scope: &Scope) -> Result<Root<'a>, Malformed> {
    let mut checker = Checker::new(legal_text(head)?, scope);
    let root = checker.root()?;
    checker.end()?;
    Ok(root)
}

/// Whether the start tag of an element declares a prefix for `namespace`, or is none that can be read.
pub(crate) fn declares(bytes: &[u8], scope: &Scope, namespace: &str) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return true };
    let mut checker = Checker::new(text, scope);
    if checker.root().is_err() {
        return true;
    }
    let declared = checker.attributes.iter().filter(|attribute| attribute.name.declares() != Declares::Nothing);
    let mut values = declared.map(|attribute| checker.cursor.value(attribute));
    values.any(|value| value.is_ok_and(|value| value == namespace))
}

/// Checks the elements of a text, one after the other.
struct Checker<'a> {
    cursor: Cursor<'a>,
    open: SmallVec<[Open; 16]>,
    bindings: Bindings<'a>,
    attributes: Attributes,
}

/// A start tag whose declarations hold.
struct Tag {
    name: QName,
    content: Content,
    /// How many bindings there were before its own.
    mark: usize,
}

/// An element whose end tag is still to come.
struct Open {
    name: QName,
    /// How many bindings there were before its own.
    mark: usize,
}

/// The first two passes: UTF-8, and no characters that XML does not allow.
fn legal_text(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Malformed::Encoding)?;
    if chars::are_printable(bytes) || chars::are_legal(text) { Ok(text) } else { Err(Malformed::Character) }
}

impl<'a> Checker<'a> {
    /// Stands at the beginning of a text that was found legal.
    fn new(text: &'a str, scope: &Scope) -> Self {
        Self {
            cursor: Cursor::new(text),
            open: SmallVec::new(),
            bindings: Bindings::new(scope),
            attributes: SmallVec::new(),
        }
    }

    /// Steps over white space and the next element, and reads its root.
    ///
    /// # Errors
    /// [`Malformed`] with the first fault; then there is no next one.
    #[inline]
    fn element(&mut self) -> Result<Root<'a>, Malformed> {
        let mut root = self.root()?;
        self.content()?;
        root.span = Span { end: place(self.cursor.at()), ..root.span };
        root.inherited = self.bindings.take_inherited();
        Ok(root)
    }

    /// Steps over white space and the root's start tag, and reads the latter.
    #[inline]
    fn root(&mut self) -> Result<Root<'a>, Malformed> {
        self.cursor.skip_white();
        let start = self.cursor.at();
        if !self.cursor.starts_with("<") {
            return Err(if self.cursor.is_at_end() { Malformed::Incomplete } else { Malformed::Surroundings });
        }
        match self.cursor.markup() {
            Markup::StartTag => {}
            Markup::EndTag => return Err(Malformed::Name),
            Markup::Cdata => return Err(Malformed::Surroundings),
            Markup::Restricted => return Err(restricted(self.cursor)),
        }
        let tag = self.start_tag()?;
        let namespace = self.bindings.namespace(self.cursor.prefix(tag.name))?;
        let mut root = Root {
            name: self.cursor.local(tag.name),
            prefixed: tag.name.has_prefix(),
            span: Span::new(place(start), place(self.cursor.at())),
            name_end: (tag.name.start + tag.name.length) as usize,
            inherited: self.bindings.inherited(),
            attributes: self.attributes.len(),
            ..Root::new(self.cursor.text(), namespace)
        };
        for attribute in &self.attributes {
            root.take(attribute);
        }
        self.enter(&tag)?;
        Ok(root)
    }

    /// Steps over everything from the root's start tag to its end.
    fn content(&mut self) -> Result<(), Malformed> {
        let mut cursor = self.cursor;
        while let Some(innermost) = self.open.last() {
            cursor.skip_text()?;
            match cursor.markup() {
                Markup::EndTag => {
                    cursor.end_tag(innermost.name)?;
                    self.bindings.leave(innermost.mark);
                    self.open.pop();
                }
                Markup::Cdata => cursor.skip_cdata()?,
                Markup::Restricted => return Err(restricted(cursor)),
                Markup::StartTag => {
                    self.cursor = cursor;
                    let tag = self.start_tag()?;
                    self.enter(&tag)?;
                    cursor = self.cursor;
                }
            }
        }
        self.cursor = cursor;
        Ok(())
    }

    /// Steps over a start tag, whose `<` is behind the cursor, and declares what it declares.
    fn start_tag(&mut self) -> Result<Tag, Malformed> {
        let mut cursor = self.cursor;
        let name = cursor.qname()?;
        let content = cursor.attributes(&mut self.attributes)?;
        self.cursor = cursor;
        let (mark, mut prefixed) = (self.bindings.mark(), false);
        for attribute in &self.attributes {
            let prefix = match attribute.name.declares() {
                Declares::Nothing => {
                    prefixed |= attribute.name.has_prefix();
                    continue;
                }
                Declares::Default => "",
                Declares::Prefix => self.cursor.local(attribute.name),
            };
            self.bindings.declare(prefix, self.cursor.value(attribute)?)?;
        }
        if name.has_prefix() {
            self.bindings.resolve(self.cursor.prefix(name))?;
        }
        if prefixed {
            self.refuse_same_expanded_names()?
        } else {
            self.refuse_same_names()?
        }
        Ok(Tag { name, content, mark })
    }

    /// No two attributes of a tag may have the same name (XML 1.0 §3.1).
    #[inline]
    fn refuse_same_names(&self) -> Result<(), Malformed> {
        let mut seen = 0_u64;
        for (at, one) in self.attributes.iter().enumerate() {
            let bit = bit_of(one.name.key);
            if seen & bit != 0 && self.attributes[..at].iter().any(|other| self.cursor.are_same(one.name, other.name)) {
                return Err(Malformed::DuplicateAttribute);
            }
            seen |= bit;
        }
        Ok(())
    }

    /// No two may have the same local name in one namespace either (Namespaces §6.3).
    fn refuse_same_expanded_names(&mut self) -> Result<(), Malformed> {
        let mut names: SmallVec<[(&str, Option<NamespaceId>); 8]> = SmallVec::new();
        for Attribute { name, .. } in &self.attributes {
            let namespace = match self.cursor.prefix(*name) {
                "" => None,
                "xmlns" => Some(NamespaceId::Xmlns),
                prefix => Some(self.bindings.resolve(prefix)?),
            };
            let name = (self.cursor.local(*name), namespace);
            if names.contains(&name) {
                return Err(Malformed::DuplicateAttribute);
            }
            names.push(name);
        }
        Ok(())
    }

    /// Goes into the element that `tag` begins, if it has content.
    fn enter(&mut self, tag: &Tag) -> Result<(), Malformed> {
        if self.open.len() == limits::DEPTH {
            return Err(Malformed::Depth);
        }
        match tag.content {
            Content::Empty => self.bindings.leave(tag.mark),
            Content::Follows => self.open.push(Open { name: tag.name, mark: tag.mark }),
        }
        Ok(())
    }

    /// Nothing but white space may be left.
    fn end(&mut self) -> Result<(), Malformed> {
        self.cursor.skip_white();
        if self.cursor.is_at_end() { Ok(()) } else { Err(Malformed::Surroundings) }
    }
}

/// What begins like markup and is none that a stream may carry (RFC 6120 §11.1).
#[cold]
fn restricted(cursor: Cursor<'_>) -> Malformed {
    if cursor.starts_with("<?") {
        Malformed::ProcessingInstruction
    } else if cursor.starts_with("<!--") {
        Malformed::Comment
    } else {
        Malformed::Doctype
    }
}

const FROM: Key = key(b"from");
const TO: Key = key(b"to");
const ID: Key = key(b"id");
const TYPE: Key = key(b"type");
const XMLNS: Key = key(b"xmlns");
const LANG: Key = key(b"xml:lang");

impl Place {
    /// That of the attribute with such a name, if it has one.
    #[inline(always)]
    fn of(key: Key, length: usize) -> Option<Self> {
        match key {
            FROM => Some(Self::From),
            TO => Some(Self::To),
            ID => Some(Self::Id),
            TYPE => Some(Self::Type),
            LANG if length == size_of::<Key>() => Some(Self::Lang),
            XMLNS => Some(Self::Xmlns),
            _ => None,
        }
    }
}

impl<'a> Root<'a> {
    /// One of which nothing is known yet.
    #[inline]
    fn new(text: &'a str, namespace: Cow<'a, str>) -> Self {
        let (name, prefixed, span, name_end, inherited, attributes) = ("", false, Span::new(0, 0), 0, 0, 0);
        Self { text, namespace, name, prefixed, span, name_end, places: [None; 6], inherited, attributes }
    }

    fn take(&mut self, attribute: &Attribute) {
        let (name, value) = (attribute.name, attribute.value);
        match Place::of(name.key, name.length as usize) {
            Some(Place::Xmlns) => self.put(Place::Xmlns, Span::new(attribute.start, value.1 + 1)),
            Some(place) => self.put(place, Span::new(value.0, value.1)),
            None => {}
        }
    }

    /// Where an attribute stands, or its value.
    #[inline(always)]
    fn put(&mut self, place: Place, span: Span) {
        self.places[place as usize] = Some(span);
    }

    /// The `from` attribute.
    #[must_use]
    pub fn from(&self) -> Option<Cow<'a, str>> {
        self.value(Place::From)
    }

    /// The `to` attribute.
    #[must_use]
    pub fn to(&self) -> Option<Cow<'a, str>> {
        self.value(Place::To)
    }

    /// The `id` attribute.
    #[must_use]
    pub fn id(&self) -> Option<Cow<'a, str>> {
        self.value(Place::Id)
    }

    /// The `type` attribute.
    #[must_use]
    pub fn kind(&self) -> Option<Cow<'a, str>> {
        self.value(Place::Type)
    }

    /// The `xml:lang` attribute.
    #[must_use]
    pub fn lang(&self) -> Option<Cow<'a, str>> {
        self.value(Place::Lang)
    }

    /// Whether it is in the default namespace of `scope`.
    #[inline(always)]
    pub(crate) fn is_of(&self, scope: &Scope) -> bool {
        // Nearly always it has inherited it.
        let default = scope.default_namespace();
        std::ptr::eq(&*self.namespace, default) || self.namespace == default
    }

    /// Where a declaration of the default namespace stands, with the white space before it.
    pub(crate) fn xmlns(&self) -> Option<Range<usize>> {
        self.places[Place::Xmlns as usize].map(Span::range)
    }

    /// Where an address was written.
    pub(crate) fn place(&self, address: Address) -> Option<Range<usize>> {
        let place = match address {
            Address::From => Place::From,
            Address::To => Place::To,
        };
        self.places[place as usize].map(Span::range)
    }

    fn value(&self, place: Place) -> Option<Cow<'a, str>> {
        let raw = self.text.get(self.places[place as usize]?.range())?;
        // Its references are known to be right.
        Some(reference::normalised(raw).unwrap_or(Cow::Borrowed(raw)))
    }
}
