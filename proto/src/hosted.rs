//! The domains that we host, and which of our local servers serves each.

use std::collections::HashMap;

use crate::name::Name;

/// Which entry of the configuration's `[[local]]` list serves a domain.
pub type Entry = usize;

/// Hosted domain → entry.
#[derive(Clone, Debug, Default)]
pub struct Hosted {
    entries: HashMap<Name, Entry>,
}

impl Hosted {
    /// Whose domain it is; `domain` is normalised.
    #[must_use]
    pub fn entry(&self, domain: &str) -> Option<Entry> {
        self.entries.get(domain).copied()
    }

    /// Whether we host it.
    #[must_use]
    pub fn contains(&self, domain: &str) -> bool {
        self.entries.contains_key(domain)
    }

    /// All hosted domains, in no order.
    pub fn domains(&self) -> impl Iterator<Item = &Name> {
        self.entries.keys()
    }
}

impl FromIterator<(Name, Entry)> for Hosted {
    fn from_iter<T: IntoIterator<Item = (Name, Entry)>>(iter: T) -> Self {
        Self { entries: iter.into_iter().collect() }
    }
}
