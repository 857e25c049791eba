//! The pairs of one link: what is left of a pair when its actor is parked.

mod record;

use std::collections::BTreeMap;

use ahash::RandomState;
use hashbrown::HashTable;

use crate::control::Aid;
use crate::keyed::HashMap;
use crate::mux::Slot;
use crate::name::Name;
use crate::pair::{AsPair, Pair};
use crate::rows::Rows;

pub use record::{Active, PairRecord, PairState, Pause, Run};

/// All pairs of a link, by slot, by names, by the peer's domain and by the id of a run.
#[derive(Debug, Default)]
pub struct Pairs {
    records: Rows<PairRecord>,
    /// The slots of all pairs, by the hash of their names, which are in their records.
    by_name: HashTable<Slot>,
    /// The slots of pairs that are active, by the hash of the id.
    by_active: HashTable<Slot>,
    by_run: HashMap<Aid, Slot>,
    /// Strangers choose names and ids.
    hasher: RandomState,
    /// The slots of each domain of the peer's, in order. A peer may hold one domain after the other: that must not
    /// cost a look at every pair.
    by_remote: HashMap<Name, Vec<Slot>>,
    /// How many pairs each of our domains has. All of them share one copy of the name.
    locals: HashMap<Name, usize>,
}

/// Activations that can be resumed, by their resumption id.
pub(crate) type Asleep = BTreeMap<[u8; 16], (Slot, Active)>;

impl Pairs {
    /// The slot of a pair.
    #[must_use]
    pub fn find(&self, pair: &dyn AsPair) -> Option<Slot> {
        let is_it = |slot: &Slot| self.records[*slot].pair.is(pair);
        self.by_name.find(self.hasher.hash_one(pair), is_it).copied()
    }

    /// The pair of a run or an activation in force.
    #[must_use]
    pub fn find_aid(&self, aid: &Aid) -> Option<Slot> {
        let is_it = |slot: &Slot| aid_in(&self.records, *slot).as_ref() == Some(aid);
        self.by_run.get(aid).or_else(|| self.by_active.find(self.hasher.hash_one(aid), is_it)).copied()
    }

    /// Adds a pair in `slot`, which is the next.
    pub fn add(&mut self, slot: Slot, pair: Pair) {
        debug_assert_eq!(slot as usize, self.records.len(), "slots are given out in order");
        let pair = self.share(slot, &pair);
        self.records.push(PairRecord::new(pair));
        self.name(slot);
    }

    /// Counts a pair for its domains; the pair, with names that are shared.
    fn share(&mut self, slot: Slot, pair: &Pair) -> Pair {
        let local = self.locals.get_key_value(&pair.local).map_or(&pair.local, |(name, _)| name).clone();
        let remote = self.by_remote.get_key_value(&pair.remote).map_or(&pair.remote, |(name, _)| name).clone();
        *self.locals.entry(local.clone()).or_default() += 1;
        let slots = self.by_remote.entry(remote.clone()).or_default();
        slots.insert(slots.partition_point(|other| *other < slot), slot);
        Pair { local, remote }
    }

    /// Remembers where the pair is whose record is in `slot`.
    fn name(&mut self, slot: Slot) {
        let Self { records, by_name, hasher, .. } = self;
        let hash = |slot: &Slot| hasher.hash_one(&records[*slot].pair);
        by_name.insert_unique(hash(&slot), slot, hash);
    }

    fn leave(&mut self, slot: Slot) {
        let pair = &self.records[slot].pair;
        if let Ok(named) = self.by_name.find_entry(self.hasher.hash_one(pair), |other| *other == slot) {
            named.remove();
        }
        if let Some(count) = self.locals.get_mut(&pair.local) {
            *count -= 1;
            if *count == 0 {
                self.locals.remove(&pair.local);
            }
        }
        if let Some(slots) = self.by_remote.get_mut(&pair.remote) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.by_remote.remove(&pair.remote);
            }
        }
    }

    /// Gives the slot of a record that is not needed any more to another pair.
    pub(crate) fn replace(&mut self, slot: Slot, pair: &Pair) {
        self.set_active(slot, None);
        self.leave(slot);
        self.records[slot] = PairRecord::new(self.share(slot, pair));
        self.name(slot);
    }

    /// Remembers that run `aid` belongs to `slot`.
    pub fn name_run(&mut self, aid: Aid, slot: Slot) {
        self.by_run.insert(aid, slot);
    }

    /// Forgets the id of a run.
    pub fn forget_run(&mut self, aid: &Aid) {
        self.by_run.remove(aid);
    }

    /// Puts an activation into force, or none; the one that was.
    pub(crate) fn set_active(&mut self, slot: Slot, active: Option<Active>) -> Option<Active> {
        let Self { records, by_active, hasher, .. } = self;
        let before = std::mem::replace(&mut records[slot].active, active);
        if let Some(before) = &before
            && let Ok(named) = by_active.find_entry(hasher.hash_one(before.aid()), |other| *other == slot)
        {
            named.remove();
        }
        let hash = |slot: &Slot| aid_in(records, *slot).map_or(0, |aid| hasher.hash_one(aid));
        if records[slot].active.is_some() {
            by_active.insert_unique(hash(&slot), slot, hash);
        }
        before
    }

    /// The link has ended: no run goes on, and what was active can be resumed on the next one.
    pub(crate) fn put_to_sleep(&mut self, asleep: &mut Asleep) {
        self.by_run.clear();
        self.by_active.clear();
        asleep.retain(|_, (slot, _)| self.records[*slot].active.is_none());
        for (slot, record) in (0..).zip(self.records.iter_mut()) {
            if record.run().is_some() {
                record.change(|rare| rare.run = None);
            }
            if let Some(active) = record.active.take() {
                asleep.insert(active.resumable.id, (slot, active));
            }
        }
    }

    /// The stanzas of another session are counted anew.
    pub(crate) fn forget_numbers(&mut self) {
        self.records.iter_mut().for_each(|record| record.last_sent = 0);
    }

    /// The record in `slot`.
    #[must_use]
    pub fn get(&self, slot: Slot) -> &PairRecord {
        &self.records[slot]
    }

    /// The record in `slot`.
    pub fn get_mut(&mut self, slot: Slot) -> &mut PairRecord {
        &mut self.records[slot]
    }

    /// The records of all pairs with `domain`, the peer's, with their slots.
    pub(crate) fn with_remote<'a>(&'a self, domain: &Name) -> impl Iterator<Item = (Slot, &'a PairRecord)> + use<'a> {
        let slots = self.by_remote.get(domain).map(Vec::as_slice).unwrap_or_default();
        slots.iter().map(|slot| (*slot, self.get(*slot)))
    }

    /// All records with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &PairRecord)> {
        (0..).zip(self.records.iter())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The id of the activation that is in force in a slot.
fn aid_in(records: &Rows<PairRecord>, slot: Slot) -> Option<Aid> {
    records[slot].active.as_ref().map(Active::aid)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::activation::{Proven, Resumable};

    fn pair(local: &str, remote: &str) -> Pair {
        Pair { local: Name::parse(local).unwrap(), remote: Name::parse(remote).unwrap() }
    }

    #[test]
    fn pairs_are_found_by_the_peers_domain_also_where_a_slot_changes_hands() {
        let mut pairs = Pairs::default();
        for (slot, (local, remote)) in (0..).zip([("a.lit", "x.lit"), ("a.lit", "y.lit"), ("b.lit", "x.lit")]) {
            pairs.add(slot, pair(local, remote));
        }
        let slots = |pairs: &Pairs, remote| {
            pairs.with_remote(&Name::parse(remote).unwrap()).map(|(slot, _)| slot).collect::<Vec<_>>()
        };
        assert_eq!(slots(&pairs, "x.lit"), [0, 2]);
        pairs.replace(0, &pair("a.lit", "z.lit"));
        assert_eq!(slots(&pairs, "x.lit"), [2]);
        assert_eq!(slots(&pairs, "z.lit"), [0]);
        assert_eq!(slots(&pairs, "xx.lit"), [0; 0]);
        let names = [&pairs.get(0).pair.local, &pairs.get(1).pair.local].map(|name| name.as_str().as_ptr());
        assert_eq!(names[0], names[1], "one copy of a name");
    }

    fn active(aid: u8) -> Active {
        let resumable = Resumable { secret: Zeroizing::new([0; 32]), id: [aid; 16], aid: [aid; 16] };
        Active::new(Proven { resumable: Box::new(resumable), certificates_end: 9 }, 1, 5, true)
    }

    #[test]
    fn pairs_are_found_by_names_and_by_ids_of_runs_and_activations() {
        let mut pairs = Pairs::default();
        for n in 0..1000 {
            pairs.add(n, pair("a.lit", &format!("x{n}.lit")));
        }
        for n in 0..250 {
            pairs.set_active(n.into(), Some(active(n)));
        }
        pairs.name_run([255; 16], 7);
        assert_eq!(pairs.find(&("a.lit", "x999.lit")), Some(999));
        assert_eq!(pairs.find(&("x999.lit", "a.lit")), None);
        assert_eq!((pairs.find_aid(&[7; 16]), pairs.find_aid(&[255; 16])), (Some(7), Some(7)));
        let before = pairs.set_active(7, Some(active(254)));
        assert_eq!(before.map(|before| (before.aid(), before.since(), before.expires)), Some(([7; 16], 1, 5)));
        assert_eq!((pairs.find_aid(&[7; 16]), pairs.find_aid(&[254; 16])), (None, Some(7)));
        pairs.replace(7, &pair("b.lit", "y.lit"));
        assert_eq!((pairs.find_aid(&[254; 16]), pairs.find(&("a.lit", "x7.lit"))), (None, None));
        assert_eq!(pairs.find(&("b.lit", "y.lit")), Some(7));
        pairs.forget_run(&[255; 16]);
        assert_eq!(pairs.find_aid(&[255; 16]), None);
    }
}
