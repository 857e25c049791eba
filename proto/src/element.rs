//! A small owned tree for control elements, SASL and stream features; never for stanzas.

use bytes::Bytes;
use quick_xml::escape::{resolve_xml_entity, unescape};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, PrefixDeclaration, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

use crate::checker::{Malformed, Scope, XML_NAMESPACE, check};
use crate::escape::{push_attribute, push_text};
use crate::header::{DIALBACK_NAMESPACE, STREAM_NAMESPACE};

mod plain;

/// An element with its attributes, text and children.
///
/// Prefixes are resolved when it is read. Attributes are kept if they have none, and `xml:lang`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    name: String,
    namespace: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Checks and reads one element, on a stream that binds `scope`.
    ///
    /// # Errors
    /// [`Malformed`] with the first fault.
    pub fn parse(bytes: &[u8], scope: &Scope) -> Result<Self, Malformed> {
        Self::read_plain(bytes).map_or_else(|| Self::read_checked(bytes, scope), Ok)
    }

    /// Reads a control element or an acknowledgement that is written as our own are, on any stream; whether
    /// something else is an element, [`Self::parse`] says.
    pub(crate) fn read_plain(bytes: &[u8]) -> Option<Self> {
        plain::read(bytes)
    }

    /// Reads whatever element it is.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn read_checked(bytes: &[u8], scope: &Scope) -> Result<Self, Malformed> {
        let root = check(bytes, scope)?;
        // The checker left nothing to object to; should the two ever disagree, the element is refused.
        read_tree(&bytes[root.span.range()], scope).ok().flatten().ok_or(Malformed::Tag)
    }

    /// An element without attributes or content.
    #[must_use]
    pub fn new(name: &str, namespace: &str) -> Self {
        Self { name: name.to_owned(), namespace: namespace.to_owned(), ..Self::default() }
    }

    /// Adds an attribute: unprefixed, or `xml:lang`.
    #[must_use]
    pub fn with_attr(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a child behind the others.
    #[must_use]
    pub fn with_child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Adds text.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// The local name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether this is a `name` of `namespace`.
    #[must_use]
    pub fn is(&self, name: &str, namespace: &str) -> bool {
        self.name == name && self.namespace == namespace
    }

    /// The value of an unprefixed attribute or of `xml:lang`.
    #[must_use]
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Names and values of the attributes that were kept, in their order.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The children, in their order.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        self.children.iter()
    }

    /// The first child that is a `name` of `namespace`.
    #[must_use]
    pub fn child(&self, name: &str, namespace: &str) -> Option<&Self> {
        self.children().find(|child| child.is(name, namespace))
    }

    /// The element's own text, without that of its children.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The element as it stands in a stream or a parent whose default namespace is given.
    #[must_use]
    pub fn to_bytes(&self, default_namespace: &str) -> Bytes {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out, default_namespace);
        out.into()
    }

    /// Appends what [`Element::to_bytes`] returns: text before children, whatever their order was.
    pub fn write(&self, out: &mut Vec<u8>, default_namespace: &str) {
        let prefix = well_known_prefix(&self.namespace);
        out.push(b'<');
        self.write_name(out, prefix);
        let inner = if prefix.is_empty() { self.namespace.as_str() } else { default_namespace };
        if inner != default_namespace {
            push_attribute(out, "xmlns", inner);
        }
        for (name, value) in &self.attributes {
            push_attribute(out, name, value);
        }
        if self.text.is_empty() && self.children.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        push_text(out, &self.text);
        for child in &self.children {
            child.write(out, inner);
        }
        out.extend_from_slice(b"</");
        self.write_name(out, prefix);
        out.push(b'>');
    }

    fn write_name(&self, out: &mut Vec<u8>, prefix: &str) {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(self.name.as_bytes());
    }
}

/// Elements of these namespaces bear the prefix that the stream header binds, because peers may look for
/// it (RFC 6120 §4.8.5, XEP-0220), and those of XML's own can have no other (Namespaces §3).
fn well_known_prefix(namespace: &str) -> &'static str {
    match namespace {
        STREAM_NAMESPACE => "stream:",
        XML_NAMESPACE => "xml:",
        DIALBACK_NAMESPACE => "db:",
        _ => "",
    }
}

fn read_tree(bytes: &[u8], scope: &Scope) -> Result<Option<Element>, quick_xml::Error> {
    let mut reader = NsReader::from_reader(bytes);
    reader.config_mut().expand_empty_elements = true;
    let resolver = reader.resolver_mut();
    resolver.add(PrefixDeclaration::Default, Namespace(scope.default_namespace().as_bytes()))?;
    for (prefix, namespace) in scope.prefixes() {
        resolver.add(PrefixDeclaration::Named(prefix.as_bytes()), Namespace(namespace.as_bytes()))?;
    }
    let mut open: Vec<Element> = Vec::new();
    loop {
        let (namespace, event) = reader.read_resolved_event()?;
        let innermost = open.last_mut();
        match (event, innermost) {
            (Event::Start(tag), _) => open.push(read_start(namespace, &tag)?),
            (Event::Text(text), Some(element)) => element.text.push_str(&text.xml10_content()?),
            (Event::CData(text), Some(element)) => element.text.push_str(&text.xml10_content()?),
            (Event::GeneralRef(reference), Some(element)) => push_reference(&mut element.text, &reference)?,
            (Event::End(_), Some(_)) => {
                let ended = open.pop();
                match (open.last_mut(), ended) {
                    (Some(parent), Some(child)) => parent.children.push(child),
                    (None, root) => return Ok(root),
                    (Some(_), None) => {}
                }
            }
            (Event::Eof, _) => return Ok(None),
            _ => {}
        }
    }
}

fn read_start(namespace: ResolveResult<'_>, tag: &BytesStart<'_>) -> Result<Element, quick_xml::Error> {
    let namespace = match namespace {
        ResolveResult::Bound(Namespace(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        ResolveResult::Unbound | ResolveResult::Unknown(_) => String::new(),
    };
    let mut element = Element::new(&String::from_utf8_lossy(tag.local_name().as_ref()), &unescape(&namespace)?);
    for attribute in tag.attributes().with_checks(false) {
        let attribute = attribute?;
        let name = String::from_utf8_lossy(attribute.key.as_ref());
        let is_kept = name == "xml:lang" || (name != "xmlns" && !name.contains(':'));
        if is_kept {
            let value = attribute.normalized_value(XmlVersion::Explicit1_0)?;
            element.attributes.push((name.into_owned(), value.into_owned()));
        }
    }
    Ok(element)
}

fn push_reference(text: &mut String, reference: &BytesRef<'_>) -> Result<(), quick_xml::Error> {
    match reference.resolve_char_ref()? {
        Some(c) => text.push(c),
        None => text.push_str(resolve_xml_entity(&reference.decode()?).unwrap_or_default()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Element {
        Element::parse(text.as_bytes(), &Scope::SERVER).unwrap()
    }

    fn written(element: &Element) -> String {
        String::from_utf8(element.to_bytes("jabber:server").to_vec()).unwrap()
    }

    #[test]
    fn an_element_is_read_with_its_namespaces() {
        let text = " <stream:features><mechanisms xmlns='urn:s'><mechanism>EXTERNAL</mechanism></mechanisms>\
            <p:x xmlns:p='urn:x?a&amp;b'/><dialback/></stream:features>";
        let features = parse(text);
        assert!(features.is("features", STREAM_NAMESPACE));
        let mechanisms = features.child("mechanisms", "urn:s").unwrap();
        assert_eq!(mechanisms.child("mechanism", "urn:s").map(Element::text), Some("EXTERNAL"));
        assert!(features.child("x", "urn:x?a&b").is_some());
        assert!(features.child("dialback", "jabber:server").is_some());
        assert_eq!(features.child("mechanisms", "jabber:server"), None);
        assert_eq!(features.children().count(), 3);
    }

    #[test]
    fn attributes_and_text_are_decoded() {
        let text = "<a xmlns='urn:a' xmlns:p='urn:p' b='&lt;&#10;\n' p:b='x' xml:lang='pt'>1 &amp; <c>x</c><![CDATA[<2>\r\n]]>&#x33;</a>";
        let element = parse(text);
        assert_eq!(element.attr("b"), Some("<\n "));
        assert_eq!(element.attr("xml:lang"), Some("pt"));
        assert_eq!(element.text(), "1 & <2>\n3");
        for unkept in ["c", "p:b", "xmlns", "xmlns:p"] {
            assert_eq!(element.attr(unkept), None);
        }
    }

    #[test]
    fn what_the_checker_refuses_is_not_read() {
        assert_eq!(Element::parse(b"<a>", &Scope::SERVER), Err(Malformed::Incomplete));
        assert_eq!(Element::parse(b"<a>&nbsp;</a>", &Scope::SERVER), Err(Malformed::Entity));
        assert_eq!(Element::parse(b"<a/><b/>", &Scope::SERVER), Err(Malformed::Surroundings));
    }

    #[test]
    fn an_element_declares_no_more_than_it_must() {
        let element = Element::new("refused", "urn:f")
            .with_attr("id", "a'b")
            .with_child(Element::new("not-allowed", "urn:e"))
            .with_child(Element::new("policy", "urn:f").with_text("x<y"));
        let expected = "<refused xmlns='urn:f' id='a&apos;b'><not-allowed xmlns='urn:e'/>\
            <policy>x&lt;y</policy></refused>";
        assert_eq!(written(&element), expected);
        assert_eq!(element.to_bytes("urn:f"), expected.replacen(" xmlns='urn:f'", "", 1));
        assert_eq!(parse(expected), element);
    }

    #[test]
    fn stream_and_dialback_elements_bear_their_prefix() {
        let features = Element::new("features", STREAM_NAMESPACE).with_child(Element::new("x", "jabber:server"));
        assert_eq!(written(&features), "<stream:features><x/></stream:features>");
        assert_eq!(written(&Element::new("result", DIALBACK_NAMESPACE).with_text("k")), "<db:result>k</db:result>");
    }

    #[test]
    fn deep_elements_are_read_back() {
        let depth = crate::limits::DEPTH;
        let text = format!("{}{}", "<a>".repeat(depth - 1), "</a>".repeat(depth - 1));
        assert_eq!(written(&parse(&text)).len(), text.len() - 3);
        let deeper = format!("{}{}", "<a>".repeat(depth + 1), "</a>".repeat(depth + 1));
        assert_eq!(Element::parse(deeper.as_bytes(), &Scope::SERVER), Err(Malformed::Depth));
    }
}
