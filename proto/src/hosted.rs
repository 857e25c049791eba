//! The domains that we host, and which of our local servers serves each.

use crate::keyed::HashMap;
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

    /// The same with the domain's name.
    pub(crate) fn find(&self, domain: &str) -> Option<(&Name, Entry)> {
        self.entries.get_key_value(domain).map(|(name, entry)| (name, *entry))
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

    /// The domains of an entry, in the order of the alphabet.
    #[must_use]
    pub fn of(&self, entry: Entry) -> Vec<&Name> {
        let mut domains: Vec<&Name> =
            self.entries.iter().filter(|(_, of)| **of == entry).map(|(name, _)| name).collect();
        domains.sort();
        domains
    }

    /// The first of them.
    #[must_use]
    pub fn first_of(&self, entry: Entry) -> Option<&Name> {
        self.of(entry).into_iter().next()
    }
}

impl FromIterator<(Name, Entry)> for Hosted {
    fn from_iter<T: IntoIterator<Item = (Name, Entry)>>(iter: T) -> Self {
        Self { entries: iter.into_iter().collect() }
    }
}
