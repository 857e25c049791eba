//! Which namespaces are in scope: the stream header's, and what elements add.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Malformed;
use super::chars::is_white;
use super::reference::normalised;
use crate::header::{DIALBACK_NAMESPACE, STREAM_NAMESPACE};
use crate::limits;

/// What `xml` is bound to, always (Namespaces §3).
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
/// What `xmlns` is bound to, and nothing else may be (Namespaces §3).
const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";
/// `xml` and the default namespace stand before the scope's prefixes in every list of bindings.
const BUILT_IN: usize = 2;

/// What the headers of a stream bind, and every stanza on it inherits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    default_namespace: &'static str,
    prefixes: &'static [(&'static str, &'static str)],
}

impl Scope {
    /// A stream between servers.
    pub const SERVER: Self = Self::new("jabber:server", &[("stream", STREAM_NAMESPACE)]);
    /// A stream between servers whose header announced dialback (XEP-0220 §2.3).
    pub const DIALBACK: Self = Self::new("jabber:server", &[("stream", STREAM_NAMESPACE), ("db", DIALBACK_NAMESPACE)]);
    /// A stream with an external component (XEP-0114).
    pub const COMPONENT: Self = Self::new("jabber:component:accept", &[("stream", STREAM_NAMESPACE)]);

    /// The default namespace, and up to eight pairs of prefix and namespace.
    ///
    /// # Panics
    /// If there are more than eight prefixes.
    #[must_use]
    pub const fn new(default_namespace: &'static str, prefixes: &'static [(&'static str, &'static str)]) -> Self {
        assert!(prefixes.len() <= u8::BITS as usize, "a bit for each prefix");
        Self { default_namespace, prefixes }
    }

    /// The namespace of stanzas.
    #[must_use]
    pub const fn default_namespace(&self) -> &'static str {
        self.default_namespace
    }

    /// The prefixes and what they are bound to.
    #[must_use]
    pub const fn prefixes(&self) -> &'static [(&'static str, &'static str)] {
        self.prefixes
    }
}

/// What is bound at one place of an element: the scope's bindings, then those of the open tags.
pub(super) struct Bindings<'a> {
    list: SmallVec<[Binding<'a>; 12]>,
    in_scope: usize,
    inherited: u8,
}

struct Binding<'a> {
    /// Empty for the default namespace.
    prefix: &'a str,
    namespace: Cow<'a, str>,
    id: NamespaceId,
}

/// Two are equal exactly if their namespaces are: the place of the first binding to that namespace.
/// Attributes are compared by it, so that a tag of many attributes costs no comparison of long strings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct NamespaceId(usize);

impl NamespaceId {
    /// What the prefix `xmlns` stands for; nothing else is ever bound to that namespace.
    pub(super) const XMLNS: Self = Self(usize::MAX);
}

impl<'a> Bindings<'a> {
    pub(super) fn new(scope: &Scope) -> Self {
        let mut bindings = Self { list: SmallVec::new(), in_scope: 0, inherited: 0 };
        bindings.bind("xml", Cow::Borrowed(XML_NAMESPACE));
        bindings.bind("", Cow::Borrowed(scope.default_namespace));
        for &(prefix, namespace) in scope.prefixes {
            bindings.bind(prefix, Cow::Borrowed(namespace));
        }
        bindings.in_scope = bindings.list.len();
        bindings
    }

    /// What to hand to [`Bindings::leave`] when the element that declares from here on ends.
    pub(super) fn mark(&self) -> usize {
        self.list.len()
    }

    /// Forgets what was declared since `mark`.
    pub(super) fn leave(&mut self, mark: usize) {
        self.list.truncate(mark);
    }

    /// Takes in `xmlns:prefix='raw'`, or `xmlns='raw'` where `prefix` is empty (Namespaces §3, §6).
    ///
    /// Two spellings of one namespace name that differ in white space would be different here and the
    /// same to a parser that collapses it; real names have none, so none is allowed.
    pub(super) fn declare(&mut self, prefix: &'a str, raw: &'a str) -> Result<(), Malformed> {
        let namespace = normalised(raw)?;
        if namespace.bytes().any(is_white) {
            return Err(Malformed::Declaration);
        }
        match (prefix, namespace.as_ref()) {
            ("xml", XML_NAMESPACE) => return Ok(()),
            ("xml" | "xmlns", _) | (_, XML_NAMESPACE | XMLNS_NAMESPACE) => return Err(Malformed::Declaration),
            ("", "") => {}
            (_, "") => return Err(Malformed::Declaration),
            (_, _) => {}
        }
        if self.list.len() >= limits::NAMESPACES {
            return Err(Malformed::Namespaces);
        }
        self.bind(prefix, namespace);
        Ok(())
    }

    fn bind(&mut self, prefix: &'a str, namespace: Cow<'a, str>) {
        let same = self.list.iter().find(|binding| binding.namespace == namespace);
        let id = same.map_or(NamespaceId(self.list.len()), |binding| binding.id);
        self.list.push(Binding { prefix, namespace, id });
    }

    /// The namespace that a name with `prefix` is in; `xmlns` is never bound, as it is for declarations only.
    pub(super) fn resolve(&mut self, prefix: &str) -> Result<NamespaceId, Malformed> {
        let at = self.list.iter().rposition(|binding| binding.prefix == prefix).ok_or(Malformed::UnboundPrefix)?;
        if (BUILT_IN..self.in_scope).contains(&at) {
            self.inherited |= 1 << (at - BUILT_IN);
        }
        Ok(self.list[at].id)
    }

    /// The text of a namespace, for the few that are compared with names that we know.
    pub(super) fn text(&self, id: NamespaceId) -> Cow<'a, str> {
        self.list.get(id.0).map_or(Cow::Borrowed(""), |binding| binding.namespace.clone())
    }

    /// Bit n: the n-th prefix of the scope was resolved.
    pub(super) fn inherited(&self) -> u8 {
        self.inherited
    }
}
