//! What nearly all control elements are, read in one go: as [`Element::write`] writes them.
//!
//! It takes less than XML allows and nothing else: one of a few namespaces, declared first of all; names of
//! lower-case letters; printable ASCII without a reference. Whatever else is there, or wrong, is the checker's.

use super::Element;
use crate::{acks, control};

const NAMESPACES: [&str; 2] = [control::NAMESPACE, acks::NAMESPACE];
/// The most attributes of an element, levels, and bytes of a name: all far below the checker's bounds.
const ATTRIBUTES: usize = 16;
const LEVELS: usize = 8;
const NAME_BYTES: usize = 32;

/// The element, where it is as the module says.
pub(super) fn read(bytes: &[u8]) -> Option<Element> {
    let mut rest = std::str::from_utf8(bytes).ok()?;
    let element = element(&mut rest, None, LEVELS)?;
    rest.is_empty().then_some(element)
}

/// One in a parent of this namespace, or the root; it may have so many levels.
fn element(rest: &mut &str, of_parent: Option<&str>, levels: usize) -> Option<Element> {
    skip(rest, "<")?;
    let name = name(rest)?;
    let namespace = match of_parent {
        Some(namespace) => namespace,
        None => {
            skip(rest, " xmlns=")?;
            let declared = value(rest)?;
            NAMESPACES.into_iter().find(|known| *known == declared)?
        }
    };
    let mut element = Element::new(name, namespace);
    while skip(rest, " ").is_some() {
        attribute(rest, &mut element)?;
    }
    if skip(rest, "/>").is_some() {
        return Some(element);
    }
    skip(rest, ">")?;
    element.text.push_str(until(rest, '<')?);
    while !rest.starts_with("</") {
        if levels == 1 || !element.text.is_empty() {
            return None;
        }
        element.children.push(self::element(rest, Some(namespace), levels - 1)?);
    }
    skip(rest, "</")?;
    skip(rest, name)?;
    skip(rest, ">")?;
    Some(element)
}

fn attribute(rest: &mut &str, element: &mut Element) -> Option<()> {
    let name = name(rest)?;
    skip(rest, "=")?;
    let value = value(rest)?;
    let is_new = element.attr(name).is_none() && element.attributes.len() < ATTRIBUTES;
    is_new.then(|| element.attributes.push((name.to_owned(), value.to_owned())))
}

/// Names that begin with `xml` are XML's own.
fn name<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-')?;
    let name = take(rest, end);
    let is_plain = name.starts_with(|c: char| c != '-') && !name.starts_with("xml") && name.len() <= NAME_BYTES;
    is_plain.then_some(name)
}

fn value<'a>(rest: &mut &'a str) -> Option<&'a str> {
    skip(rest, "'")?;
    let value = until(rest, '\'')?;
    skip(rest, "'").map(|()| value)
}

/// What stands before the next `end`, where it is plain.
fn until<'a>(rest: &mut &'a str, end: char) -> Option<&'a str> {
    let end = rest.find(end)?;
    let text = take(rest, end);
    // To the last byte, whatever is found: so it takes many bytes at a time.
    text.bytes().fold(true, |all, byte| all & is_plain(byte)).then_some(text)
}

/// Printable ASCII that is nothing else in XML: no markup, no quotes, no end of a CDATA section.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'&' | b'<' | b'>' | b'\'' | b'"' | b']')
}

fn take<'a>(rest: &mut &'a str, bytes: usize) -> &'a str {
    let (taken, behind) = rest.split_at(bytes);
    *rest = behind;
    taken
}

fn skip(rest: &mut &str, text: &str) -> Option<()> {
    *rest = rest.strip_prefix(text)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Scope;

    /// Of each kind of what the grammar has.
    const PLAIN: &[&str] = &[
        "<a xmlns='urn:xmpp:sm:3' h='12'/>",
        "<chosen xmlns='urn:xmpp:federation:0'/>",
        "<b xmlns='urn:xmpp:federation:0' c-d='e = [f' g=''><key>AB+/=</key><k/><i j='1'><l>m n</l></i></b>",
    ];

    #[test]
    fn plain_elements_are_read_as_the_checked_way_reads_them() {
        for text in PLAIN {
            let checked = Element::read_checked(text.as_bytes(), &Scope::SERVER).unwrap();
            assert_eq!(read(text.as_bytes()), Some(checked), "{text}");
        }
    }

    /// Whatever single byte is replaced, put in or left out: what is taken is what the checked way takes.
    #[test]
    fn nothing_else_is_taken() {
        let alphabet: Vec<u8> = (0..=u8::MAX).collect();
        for text in PLAIN.iter().map(|text| text.as_bytes()) {
            for at in 0..text.len() {
                let (before, behind) = (&text[..at], &text[at + 1..]);
                same(&[before, behind].concat());
                for byte in &alphabet {
                    same(&[before, &[*byte], behind].concat());
                    same(&[before, &[*byte], &text[at..]].concat());
                }
            }
        }
    }

    fn same(bytes: &[u8]) {
        if let Some(element) = read(bytes) {
            let checked = Element::read_checked(bytes, &Scope::SERVER);
            assert_eq!(checked, Ok(element), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        for text in [
            "<a/>",
            "<a xmlns='urn:xmpp:tls'/>",
            "<a xmlns='urn:xmpp:sm:3' b='1' b='2'/>",
            "<a xmlns='urn:xmpp:sm:3'><b xmlns='urn:b'/></a>",
            "<a xmlns='urn:xmpp:sm:3'>&amp;</a>",
            "<a xmlns='urn:xmpp:sm:3'>]]></a>",
            "<a xmlns='urn:xmpp:sm:3'></b>",
            "<a xmlns='urn:xmpp:sm:3'/><a/>",
            "<a xmlns='urn:xmpp:sm:3'",
            "<a xmlns='urn:xmpp:sm:3' xml:lang='pt'/>",
            "<message xmlns='jabber:server'/>",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        let deep = format!("<a xmlns='urn:xmpp:sm:3'>{}{}</a>", "<b>".repeat(LEVELS), "</b>".repeat(LEVELS));
        assert_eq!(read(deep.as_bytes()), None);
    }
}
