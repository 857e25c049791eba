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
use std::ops::Range;

use smallvec::SmallVec;

use crate::limits;

mod chars;
mod cursor;
mod malformed;
mod names;
mod opening;
mod reference;
mod scope;
#[cfg(test)]
mod tests;

pub(crate) use chars::is_white;
use cursor::{Attribute, Attributes, Content, Cursor, QName};
pub use malformed::Malformed;
pub(crate) use opening::{Opening, Values, check_opening};
pub use scope::Scope;
pub(crate) use scope::XML_NAMESPACE;
use scope::{Bindings, NamespaceId};

/// The root of a checked element: all that a router reads of a stanza.
///
/// Values are normalised and their references decoded. Only unprefixed attributes count, besides
/// `xml:lang`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root<'a> {
    /// The namespace that the root's name is in.
    pub namespace: Cow<'a, str>,
    /// The local name.
    pub name: &'a str,
    /// The root's name has a prefix.
    pub prefixed: bool,
    /// The `from` attribute.
    pub from: Option<Cow<'a, str>>,
    /// The `to` attribute.
    pub to: Option<Cow<'a, str>>,
    /// The `id` attribute.
    pub id: Option<Cow<'a, str>>,
    /// The `type` attribute.
    pub kind: Option<Cow<'a, str>>,
    /// The `xml:lang` attribute.
    pub lang: Option<Cow<'a, str>>,
    /// The element without the white space around it.
    pub(crate) span: Range<usize>,
    /// Where the root's name ends, and attributes may be added.
    pub(crate) name_end: usize,
    /// A declaration of the default namespace, with the white space before it.
    pub(crate) xmlns: Option<Range<usize>>,
    /// Bit n: the n-th prefix of the scope is used and not bound by the element itself.
    pub(crate) inherited: u8,
    /// How many attributes it has, declarations included.
    pub(crate) attributes: usize,
}

/// Checks that `bytes` are one element that may be forwarded, with white space around it at most.
///
/// # Errors
/// [`Malformed`] with the first fault.
pub fn check<'a>(bytes: &'a [u8], scope: &Scope) -> Result<Root<'a>, Malformed> {
    let mut checker = Checker::new(legal_text(bytes)?, scope);
    let mut root = checker.root()?;
    checker.content()?;
    root.span.end = checker.cursor.at();
    root.inherited = checker.bindings.inherited();
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
    let declared = checker.attributes.iter().filter(|attribute| attribute.declared_prefix().is_some());
    let mut values = declared.map(|attribute| reference::normalised(attribute.raw));
    values.any(|value| value.is_ok_and(|value| value == namespace))
}

struct Checker<'a> {
    cursor: Cursor<'a>,
    open: SmallVec<[Open<'a>; 16]>,
    bindings: Bindings<'a>,
    attributes: Attributes<'a>,
}

/// A start tag whose declarations hold.
struct Tag<'a> {
    name: QName<'a>,
    content: Content,
    /// How many bindings there were before its own.
    mark: usize,
}

/// An element whose end tag is still to come.
struct Open<'a> {
    name: &'a str,
    /// How many bindings there were before its own.
    mark: usize,
}

/// The first two passes: UTF-8, and no characters that XML does not allow.
fn legal_text(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Malformed::Encoding)?;
    if chars::are_legal(text) { Ok(text) } else { Err(Malformed::Character) }
}

impl<'a> Checker<'a> {
    fn new(text: &'a str, scope: &Scope) -> Self {
        Self {
            cursor: Cursor::new(text),
            open: SmallVec::new(),
            bindings: Bindings::new(scope),
            attributes: SmallVec::new(),
        }
    }

    /// Steps over white space and the root's start tag, and reads the latter.
    fn root(&mut self) -> Result<Root<'a>, Malformed> {
        self.cursor.skip_white();
        let start = self.cursor.at();
        self.refuse_restricted()?;
        if !self.cursor.eat("<") {
            return Err(if self.cursor.is_at_end() { Malformed::Incomplete } else { Malformed::Surroundings });
        }
        let tag = self.start_tag()?;
        let prefix = tag.name.prefix();
        let namespace = self.bindings.resolve(prefix)?;
        let mut root = Root {
            namespace: self.bindings.text(namespace),
            name: tag.name.local(),
            prefixed: !prefix.is_empty(),
            from: None,
            to: None,
            id: None,
            kind: None,
            lang: None,
            span: start..self.cursor.at(),
            name_end: start + 1 + tag.name.whole.len(),
            xmlns: None,
            inherited: self.bindings.inherited(),
            attributes: self.attributes.len(),
        };
        for attribute in &self.attributes {
            root.take(attribute)?;
        }
        self.enter(&tag)?;
        Ok(root)
    }

    /// Steps over everything from the root's start tag to its end.
    fn content(&mut self) -> Result<(), Malformed> {
        while let Some(innermost) = self.open.last() {
            self.cursor.skip_text()?;
            if self.cursor.eat("</") {
                self.cursor.end_tag(innermost.name)?;
                self.bindings.leave(innermost.mark);
                self.open.pop();
            } else if self.cursor.eat("<![CDATA[") {
                self.cursor.skip_cdata()?;
            } else {
                self.refuse_restricted()?;
                self.cursor.eat("<");
                let tag = self.start_tag()?;
                self.enter(&tag)?;
            }
        }
        Ok(())
    }

    /// Steps over a start tag, whose `<` is behind the cursor, and declares what it declares.
    fn start_tag(&mut self) -> Result<Tag<'a>, Malformed> {
        let name = self.cursor.qname()?;
        let content = self.cursor.attributes(&mut self.attributes)?;
        let mark = self.bindings.mark();
        for attribute in &self.attributes {
            if let Some(prefix) = attribute.declared_prefix() {
                self.bindings.declare(prefix, attribute.raw)?;
            }
        }
        if !name.prefix().is_empty() {
            self.bindings.resolve(name.prefix())?;
        }
        self.refuse_duplicates()?;
        Ok(Tag { name, content, mark })
    }

    /// No two attributes of a tag may have the same name, nor the same local name in one namespace
    /// (XML 1.0 §3.1, Namespaces §6.3).
    fn refuse_duplicates(&mut self) -> Result<(), Malformed> {
        let mut names: SmallVec<[(&str, Option<NamespaceId>); 8]> = SmallVec::new();
        for Attribute { name, .. } in &self.attributes {
            let namespace = match name.prefix() {
                "" => None,
                "xmlns" => Some(NamespaceId::Xmlns),
                prefix => Some(self.bindings.resolve(prefix)?),
            };
            let name = (name.local(), namespace);
            if names.contains(&name) {
                return Err(Malformed::DuplicateAttribute);
            }
            names.push(name);
        }
        Ok(())
    }

    /// Goes into the element that `tag` begins, if it has content.
    fn enter(&mut self, tag: &Tag<'a>) -> Result<(), Malformed> {
        if self.open.len() == limits::DEPTH {
            return Err(Malformed::Depth);
        }
        match tag.content {
            Content::Empty => self.bindings.leave(tag.mark),
            Content::Follows => self.open.push(Open { name: tag.name.whole, mark: tag.mark }),
        }
        Ok(())
    }

    /// What begins like markup and is none that a stream may carry (RFC 6120 §11.1).
    fn refuse_restricted(&self) -> Result<(), Malformed> {
        if self.cursor.starts_with("<?") {
            Err(Malformed::ProcessingInstruction)
        } else if self.cursor.starts_with("<!--") {
            Err(Malformed::Comment)
        } else if self.cursor.starts_with("<![CDATA[") {
            Err(Malformed::Surroundings)
        } else if self.cursor.starts_with("<!") {
            Err(Malformed::Doctype)
        } else {
            Ok(())
        }
    }

    /// Nothing but white space may be left.
    fn end(&mut self) -> Result<(), Malformed> {
        self.cursor.skip_white();
        if self.cursor.is_at_end() { Ok(()) } else { Err(Malformed::Surroundings) }
    }
}

impl<'a> Root<'a> {
    fn take(&mut self, attribute: &Attribute<'a>) -> Result<(), Malformed> {
        let target = match attribute.name.whole {
            "from" => &mut self.from,
            "to" => &mut self.to,
            "id" => &mut self.id,
            "type" => &mut self.kind,
            "xml:lang" => &mut self.lang,
            "xmlns" => {
                self.xmlns = Some(attribute.start..attribute.end);
                return Ok(());
            }
            _ => return Ok(()),
        };
        *target = Some(reference::normalised(attribute.raw)?);
        Ok(())
    }
}
