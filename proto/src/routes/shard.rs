//! A part of the route table: entries in rows, and an index that has their numbers alone.

use ahash::RandomState;
use hashbrown::HashTable;

use crate::pair::{AsPair, Pair};
use crate::rows::Rows;

/// See the module. `hash` is the pair's, by `hasher`, which hashes the others where they move.
#[derive(Debug)]
pub(super) struct Shard<V> {
    index: HashTable<u32>,
    entries: Rows<(Pair, V)>,
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self { index: HashTable::new(), entries: Rows::default() }
    }
}

impl<V> Shard<V> {
    fn place(&self, hash: u64, pair: &dyn AsPair) -> Option<u32> {
        self.index.find(hash, |place| self.entries[*place].0.is(pair)).copied()
    }

    pub(super) fn get(&self, hash: u64, pair: &dyn AsPair) -> Option<&(Pair, V)> {
        self.place(hash, pair).map(|place| &self.entries[place])
    }

    /// Writes a value unless there is one that `keeps` its place; whether it was written.
    pub(super) fn insert_unless(
        &mut self,
        hasher: &RandomState,
        hash: u64,
        (pair, value): (Pair, V),
        keeps: impl FnOnce(&V) -> bool,
    ) -> bool {
        if let Some(place) = self.place(hash, &pair) {
            let before = &mut self.entries[place].1;
            let keeps = keeps(before);
            if !keeps {
                *before = value;
            }
            return !keeps;
        }
        let place = u32::try_from(self.entries.len()).expect("a shard has fewer than 2^32 routes");
        self.entries.push((pair, value));
        let entries = &self.entries;
        self.index.insert_unique(hash, place, |place| hasher.hash_one(&entries[*place].0));
        true
    }

    /// Removes a pair's value if `obsolete` says that it is the one meant.
    pub(super) fn remove_if(&mut self, hasher: &RandomState, hash: u64, pair: &Pair, obsolete: impl Fn(&V) -> bool) {
        let place = self.place(hash, pair);
        if let Some(place) = place.filter(|place| obsolete(&self.entries[*place].1)) {
            self.remove(hasher, hash, place);
        }
    }

    /// Removes every value that `obsolete` names.
    pub(super) fn remove_all(&mut self, hasher: &RandomState, obsolete: impl Fn(&Pair, &V) -> bool) {
        let mut place = 0;
        while (place as usize) < self.entries.len() {
            let (pair, value) = &self.entries[place];
            if obsolete(pair, value) {
                self.remove(hasher, hasher.hash_one(pair), place);
            } else {
                place += 1;
            }
        }
    }

    /// The last entry takes the place of the one that goes.
    fn remove(&mut self, hasher: &RandomState, hash: u64, place: u32) {
        let Self { index, entries } = self;
        if let Ok(indexed) = index.find_entry(hash, |other| *other == place) {
            indexed.remove();
        }
        let Some(last) = u32::try_from(entries.len()).ok().and_then(|count| count.checked_sub(1)) else { return };
        if last != place
            && let Some(indexed) = index.find_mut(hasher.hash_one(&entries[last].0), |other| *other == last)
        {
            *indexed = place;
        }
        entries.swap_remove(place);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Pair, V)> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::name::Name;

    #[test]
    fn a_shard_has_what_a_map_has() {
        let pair = |n: u32| {
            let remote = Name::parse(&format!("d{n}.lit")).unwrap();
            Pair { local: Name::parse("a.lit").unwrap(), remote }
        };
        let (hasher, mut shard, mut map) = (RandomState::new(), Shard::default(), HashMap::new());
        let mut random = fastrand::Rng::with_seed(7);
        for step in 0..20_000 {
            let pair = pair(random.u32(0..700));
            if random.u32(0..5) < 3 {
                let keeps = random.bool();
                let written = shard.insert_unless(&hasher, hasher.hash_one(&pair), (pair.clone(), step), |_| keeps);
                assert_eq!(written, !(keeps && map.contains_key(&pair)));
                if written {
                    map.insert(pair, step);
                }
            } else {
                shard.remove_if(&hasher, hasher.hash_one(&pair), &pair, |value| value % 3 > 0);
                map.retain(|other, value| *other != pair || *value % 3 == 0);
            }
        }
        shard.remove_all(&hasher, |_, value| value % 2 == 0);
        map.retain(|_, value| *value % 2 != 0);
        assert_eq!(shard.iter().count(), map.len());
        for (pair, value) in &map {
            assert_eq!(shard.get(hasher.hash_one(pair), pair), Some(&(pair.clone(), *value)));
        }
        shard.remove_all(&hasher, |_, _| true);
        assert!(shard.iter().next().is_none() && shard.index.is_empty());
    }
}
