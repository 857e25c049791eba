//! Which namespaces are in scope: the stream header's, and what elements add.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Malformed;
use super::chars::{is, is_low, run_length};
use crate::header::{DIALBACK_NAMESPACE, STREAM_NAMESPACE};
use crate::limits;

/// What `xml` is bound to, always (Namespaces §3).
pub(crate) const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
/// What `xmlns` is bound to, and nothing else may be (Namespaces §3).
const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";
/// What the headers of a stream bind, and every stanza on it inherits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    default_namespace: &'static str,
    prefixes: &'static [(&'static str, &'static str)],
}

impl Scope {
    /// A stream between servers.
    pub const SERVER: Self = Self::new("jabber:server", &[("stream", STREAM_NAMESPACE)]);
    /// A stream between servers whose header announced dialback (XEP-0220).
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

/// What is bound at one place of an element: by the scope, and by the open tags.
pub(super) struct Bindings<'a> {
    scope: Scope,
    declared: SmallVec<[Binding<'a>; 4]>,
    inherited: u8,
}

struct Binding<'a> {
    /// Empty for the default namespace.
    prefix: &'a str,
    namespace: Cow<'a, str>,
    id: NamespaceId,
}

/// Two are equal exactly if their namespaces are: attributes are compared by it, so that a tag of many
/// attributes costs no comparison of long strings. Neither count exceeds [`limits::NAMESPACES`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NamespaceId {
    /// What the prefix `xmlns` stands for; nothing else is ever bound to that namespace.
    Xmlns,
    /// What the prefix `xml` stands for.
    Xml,
    /// What the scope's default namespace is.
    Default,
    /// What this prefix of the scope, and none before it, is bound to.
    Prefix(u16),
    /// What this declaration, and none before it, binds.
    Declared(u16),
}

impl<'a> Bindings<'a> {
    pub(super) fn new(scope: &Scope) -> Self {
        Self { scope: *scope, declared: SmallVec::new(), inherited: 0 }
    }

    /// What to hand to [`Bindings::leave`] when the element that declares from here on ends.
    pub(super) fn mark(&self) -> usize {
        self.declared.len()
    }

    /// Forgets what was declared since `mark`.
    pub(super) fn leave(&mut self, mark: usize) {
        self.declared.truncate(mark);
    }

    /// Takes in `xmlns:prefix='namespace'`, or `xmlns='namespace'` where `prefix` is empty (Namespaces §3, §6).
    ///
    /// Two spellings of one namespace name that differ in white space would be different here and the
    /// same to a parser that collapses it; real names have none, so none is allowed.
    pub(super) fn declare(&mut self, prefix: &'a str, namespace: Cow<'a, str>) -> Result<(), Malformed> {
        if run_length(namespace.as_bytes(), |bytes| is(bytes, b' ') | is_low(bytes)) < namespace.len() {
            return Err(Malformed::Declaration);
        }
        match (prefix, namespace.as_ref()) {
            ("xml", XML_NAMESPACE) => return Ok(()),
            ("xml" | "xmlns", _) | (_, XML_NAMESPACE | XMLNS_NAMESPACE) => return Err(Malformed::Declaration),
            ("", "") => {}
            (_, "") => return Err(Malformed::Declaration),
            (_, _) => {}
        }
        if self.declared.len() == limits::NAMESPACES {
            return Err(Malformed::Namespaces);
        }
        let id = self.id_of(&namespace);
        self.declared.push(Binding { prefix, namespace, id });
        Ok(())
    }

    /// The namespace that a name with `prefix` is in; `xmlns` is never bound, as it is for declarations only.
    pub(super) fn resolve(&mut self, prefix: &str) -> Result<NamespaceId, Malformed> {
        if let Some(binding) = self.declared.iter().rfind(|binding| binding.prefix == prefix) {
            return Ok(binding.id);
        }
        match prefix {
            "" => Ok(NamespaceId::Default),
            "xml" => Ok(NamespaceId::Xml),
            _ => self.inherit(prefix),
        }
    }

    fn inherit(&mut self, prefix: &str) -> Result<NamespaceId, Malformed> {
        let mut bound = self.scope.prefixes.iter().enumerate();
        let (at, (_, namespace)) = bound.find(|(_, (name, _))| *name == prefix).ok_or(Malformed::UnboundPrefix)?;
        self.inherited |= 1 << at;
        Ok(self.id_of(namespace))
    }

    /// The id of a namespace that is bound, or else the one of the next declaration.
    fn id_of(&self, namespace: &str) -> NamespaceId {
        if namespace == self.scope.default_namespace {
            return NamespaceId::Default;
        }
        if let Some(at) = self.scope.prefixes.iter().position(|(_, bound)| *bound == namespace) {
            return NamespaceId::Prefix(at as u16);
        }
        let declared = self.declared.iter().find(|binding| binding.namespace == namespace);
        declared.map_or(NamespaceId::Declared(self.declared.len() as u16), |binding| binding.id)
    }

    /// The namespace that a name with `prefix` is in, as a text.
    pub(super) fn namespace(&mut self, prefix: &str) -> Result<Cow<'a, str>, Malformed> {
        if self.declared.is_empty() && prefix.is_empty() {
            return Ok(Cow::Borrowed(self.scope.default_namespace));
        }
        let id = self.resolve(prefix)?;
        Ok(self.text(id))
    }

    /// The text of a namespace, for the few that are compared with names that we know.
    fn text(&self, id: NamespaceId) -> Cow<'a, str> {
        match id {
            NamespaceId::Xmlns => Cow::Borrowed(XMLNS_NAMESPACE),
            NamespaceId::Xml => Cow::Borrowed(XML_NAMESPACE),
            NamespaceId::Default => Cow::Borrowed(self.scope.default_namespace),
            NamespaceId::Prefix(at) => Cow::Borrowed(self.scope.prefixes[usize::from(at)].1),
            NamespaceId::Declared(at) => self.declared[usize::from(at)].namespace.clone(),
        }
    }

    /// Bit n: the n-th prefix of the scope was resolved.
    pub(super) fn inherited(&self) -> u8 {
        self.inherited
    }

    /// The same, where another element follows.
    pub(super) fn take_inherited(&mut self) -> u8 {
        std::mem::take(&mut self.inherited)
    }
}
