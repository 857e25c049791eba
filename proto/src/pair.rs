//! The name of a domain pair, and a way to look one up without owning its names.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::name::Name;

/// A domain of ours and one of a peer's; activated as a unit, both directions.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The domain that we host.
    pub local: Name,
    /// The domain at the other side.
    pub remote: Name,
}

/// Whatever names a pair: owned, or borrowed from a stanza. Keys of maps are looked up by it.
pub trait AsPair {
    /// Our domain, normalised.
    fn local(&self) -> &str;
    /// Their domain, normalised.
    fn remote(&self) -> &str;
}

impl Pair {
    /// Whether it is the one that is named.
    pub(crate) fn is(&self, other: &(impl AsPair + ?Sized)) -> bool {
        self.local.as_str() == other.local() && self.remote.as_str() == other.remote()
    }
}

impl AsPair for Pair {
    fn local(&self) -> &str {
        self.local.as_str()
    }

    fn remote(&self) -> &str {
        self.remote.as_str()
    }
}

impl AsPair for (&str, &str) {
    fn local(&self) -> &str {
        self.0
    }

    fn remote(&self) -> &str {
        self.1
    }
}

impl<'a> Borrow<dyn AsPair + 'a> for Pair {
    fn borrow(&self) -> &(dyn AsPair + 'a) {
        self
    }
}

impl PartialEq for dyn AsPair + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.local() == other.local() && self.remote() == other.remote()
    }
}

impl Eq for dyn AsPair + '_ {}

impl Hash for dyn AsPair + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.local().hash(state);
        self.remote().hash(state);
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for Pair {}

impl Hash for Pair {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let pair: &dyn AsPair = self;
        pair.hash(state);
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local, self.remote)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_pair_is_found_by_borrowed_names() -> Result<(), crate::name::InvalidName> {
        let pair = Pair { local: Name::parse("saramago.lit")?, remote: Name::parse("pessoa.lit")? };
        let map = HashMap::from([(pair, 1)]);
        assert_eq!(map.get(&("saramago.lit", "pessoa.lit") as &dyn AsPair), Some(&1));
        assert_eq!(map.get(&("pessoa.lit", "saramago.lit") as &dyn AsPair), None, "the two sides differ");
        Ok(())
    }
}
