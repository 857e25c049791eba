//! Which namespaces are in scope: the stream header's, and what elements add.

use crate::header::{DIALBACK_NAMESPACE, STREAM_NAMESPACE};

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

    /// The default namespace and pairs of prefix and namespace.
    #[must_use]
    pub const fn new(default_namespace: &'static str, prefixes: &'static [(&'static str, &'static str)]) -> Self {
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
