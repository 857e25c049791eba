//! A small owned tree for control elements, SASL and stream features; never for stanzas.

use bytes::Bytes;

use crate::checker::{Malformed, Scope};

/// An element with its attributes, text and children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    name: String,
    namespace: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads one element from a stream that binds `scope`.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one checked element.
    pub fn parse(_bytes: &[u8], _scope: &Scope) -> Result<Self, Malformed> {
        Err(Malformed::Incomplete)
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

    /// Appends what [`Element::to_bytes`] returns.
    pub fn write(&self, _out: &mut Vec<u8>, _default_namespace: &str) {}
}
