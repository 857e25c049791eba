//! Where the stanzas of pairs went: what a stream remembers of those that it carries, so that most of them are found
//! without a look at a table of all pairs.
//!
//! There are far fewer domains than pairs: a domain is found by its name, and then a pair by two numbers.

use ahash::RandomState;
use hashbrown::HashTable;

use crate::name::Name;
use crate::pair::Pair;

/// So many pairs are remembered at most, and so many domains: what a table of 2^15 places holds before it grows.
const PAIRS: usize = 7 << 12;

/// See the module. Whoever has one forgets it where anything of it may have changed.
#[derive(Debug)]
pub struct Remembered<T> {
    /// Of each domain that was seen, by its number.
    names: Vec<Name>,
    /// The numbers, by the hash of the name.
    numbers: HashTable<u32>,
    /// By the hash of both numbers.
    places: HashTable<Place<T>>,
    /// The last one: many stanzas come one behind the other, or have one of their domains in common.
    last: Option<Place<T>>,
    /// Strangers choose names.
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Place<T> {
    local: u32,
    remote: u32,
    to: T,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        let (numbers, places) = (HashTable::new(), HashTable::new());
        Self { names: Vec::new(), numbers, places, last: None, hasher: RandomState::new() }
    }
}

impl<T: Copy> Remembered<T> {
    /// Where the stanzas of a pair went, if that is known; both names are normalised.
    pub fn find(&mut self, (local, remote): (&str, &str)) -> Option<T> {
        let last = self.last.as_ref()?;
        let is_last = |number: u32, name| self.names[number as usize].as_str() == name;
        let (local, remote) = match (is_last(last.local, local), is_last(last.remote, remote)) {
            (true, true) => return Some(last.to),
            (true, false) => (last.local, self.number(remote)?),
            (false, true) => (self.number(local)?, last.remote),
            (false, false) => (self.number(local)?, self.number(remote)?),
        };
        let is_it = |place: &Place<T>| (place.local, place.remote) == (local, remote);
        let place = *self.places.find(self.hasher.hash_one((local, remote)), is_it)?;
        self.last = Some(place);
        Some(place.to)
    }

    /// Remembers where the stanzas of a pair go that was not found.
    pub fn remember(&mut self, pair: &Pair, to: T) {
        if self.places.len() == PAIRS || self.names.len() + 2 > PAIRS {
            self.forget();
            self.names.clear();
            self.numbers.clear();
        }
        let place = Place { local: self.number_for(&pair.local), remote: self.number_for(&pair.remote), to };
        let hash = |place: &Place<T>| self.hasher.hash_one((place.local, place.remote));
        self.places.insert_unique(hash(&place), place, hash);
        self.last = Some(place);
    }

    /// Forgets where stanzas went.
    pub fn forget(&mut self) {
        self.places.clear();
        self.last = None;
    }

    fn number(&self, name: &str) -> Option<u32> {
        let is_it = |number: &u32| self.names[*number as usize].as_str() == name;
        self.numbers.find(self.hasher.hash_one(name), is_it).copied()
    }

    fn number_for(&mut self, name: &Name) -> u32 {
        if let Some(number) = self.number(name.as_str()) {
            return number;
        }
        let Self { names, numbers, hasher, .. } = self;
        let number = u32::try_from(names.len()).expect("fewer than 2^32 names are remembered");
        names.push(name.clone());
        let hash = |number: &u32| hasher.hash_one(names[*number as usize].as_str());
        numbers.insert_unique(hash(&number), number, hash);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(local: u32, remote: u32) -> Pair {
        let name = |n, of| Name::parse(&format!("{of}{n}.lit")).unwrap();
        Pair { local: name(local, "l"), remote: name(remote, "r") }
    }

    fn find(remembered: &mut Remembered<u32>, pair: &Pair) -> Option<u32> {
        remembered.find((pair.local.as_str(), pair.remote.as_str()))
    }

    #[test]
    fn each_pair_is_found_and_no_other() {
        let mut remembered = Remembered::default();
        let pairs = |n: u32| (0..n).flat_map(move |local| (0..n).map(move |remote| (local, remote)));
        assert_eq!(find(&mut remembered, &pair(0, 0)), None);
        for (local, remote) in pairs(30) {
            assert_eq!(find(&mut remembered, &pair(local, remote)), None);
            remembered.remember(&pair(local, remote), local * 100 + remote);
        }
        for (local, remote) in pairs(31) {
            let expected = (local < 30 && remote < 30).then_some(local * 100 + remote);
            assert_eq!(find(&mut remembered, &pair(local, remote)), expected);
            assert_eq!(find(&mut remembered, &pair(local, remote)), expected, "also as the last one");
        }
        let turned = Pair { local: pair(1, 1).remote, remote: pair(1, 1).local };
        assert_eq!(find(&mut remembered, &turned), None);
    }

    #[test]
    fn what_is_forgotten_is_not_found_and_may_be_another() {
        let mut remembered = Remembered::default();
        remembered.remember(&pair(1, 2), 7);
        remembered.remember(&pair(1, 3), 8);
        remembered.forget();
        assert_eq!([pair(1, 2), pair(1, 3)].map(|pair| find(&mut remembered, &pair)), [None, None]);
        remembered.remember(&pair(1, 2), 9);
        assert_eq!([pair(1, 2), pair(1, 3)].map(|pair| find(&mut remembered, &pair)), [Some(9), None]);
    }

    #[test]
    fn there_is_a_bound_of_pairs_and_of_names() {
        let mut remembered = Remembered::default();
        for n in 0..2 * PAIRS as u32 {
            remembered.remember(&pair(n, n / 7), n);
            assert!(remembered.places.len() <= PAIRS && remembered.names.len() <= PAIRS);
            assert_eq!(find(&mut remembered, &pair(n, n / 7)), Some(n));
        }
        remembered.forget();
        assert_eq!(size_of::<Place<(u32, u32)>>(), 16);
        (0..PAIRS as u32).for_each(|n| remembered.remember(&pair(n % 256, n / 256), n));
        assert_eq!((remembered.places.len(), remembered.places.capacity()), (PAIRS, PAIRS));
        remembered.remember(&pair(0, 256), 1);
        assert_eq!((remembered.places.len(), find(&mut remembered, &pair(0, 256))), (1, Some(1)));
    }
}
