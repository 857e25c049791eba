//! What a parser makes of a case, written in one form whoever reads it.

use bytes::BytesMut;
use heteronym_proto::checker::{Malformed, Scope, check};
use heteronym_proto::element::Element;
use heteronym_proto::framer::{Frame, Framer};

/// What every case stands behind.
pub(crate) const HEADER: &[u8] = b"<stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' from='a.example' to='b.example' version='1.0'>";
/// What every case is followed by.
pub(crate) const END: &[u8] = b"</stream:stream>";
const MAX_BYTES: usize = 1 << 20;

/// The one element of a case as [`write()`] has it, or why there is none.
pub(crate) type Reading<Fault = String> = Result<String, Fault>;

/// A case as the only element of a stream.
pub(crate) fn on_stream(case: &[u8]) -> Vec<u8> {
    [HEADER, case, END].concat()
}

/// What heteronym reads.
///
/// # Panics
/// If framer, checker and tree do not agree with each other about what the checker has passed.
pub(crate) fn ours(case: &[u8]) -> Reading<Malformed> {
    let root = check(case, &Scope::SERVER)?;
    let element = Element::parse(case, &Scope::SERVER).expect("what the checker passes can be read");
    let seen = (root.namespace.as_ref(), root.name);
    assert_eq!(seen, (element.namespace(), element.name()));
    let seen = [root.from(), root.to(), root.id(), root.kind(), root.lang()];
    assert_eq!(
        seen.each_ref().map(Option::as_deref),
        ["from", "to", "id", "type", "xml:lang"].map(|name| element.attr(name))
    );
    assert_eq!(frames(case), [case.trim_ascii()], "the framer cuts what the checker passes");
    let mut out = String::new();
    write_element(&mut out, &element);
    Ok(out)
}

fn frames(case: &[u8]) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(MAX_BYTES);
    framer.push(BytesMut::from(&on_stream(case)[..]));
    let mut elements = Vec::new();
    while let Ok(Some(frame)) = framer.next_frame() {
        if let Frame::Element(bytes) = frame {
            elements.push(bytes.to_vec());
        }
    }
    elements
}

fn write_element(out: &mut String, element: &Element) {
    let attributes = element.attributes().collect();
    write(out, element.namespace(), element.name(), attributes, element.text());
    for child in element.children() {
        write_element(out, child);
    }
    out.push('>');
}

/// An element up to its children: each part behind its length, so that nothing has to be escaped.
pub(crate) fn write(out: &mut String, namespace: &str, name: &str, mut attributes: Vec<(&str, &str)>, text: &str) {
    attributes.sort_unstable();
    out.push('<');
    push_sized(out, "", namespace);
    push_sized(out, "", name);
    for (name, value) in attributes {
        push_sized(out, "@", name);
        push_sized(out, "", value);
    }
    push_sized(out, "", text);
}

fn push_sized(out: &mut String, mark: &str, text: &str) {
    out.push_str(&format!("{}:{mark}{text}", mark.len() + text.len()));
}
