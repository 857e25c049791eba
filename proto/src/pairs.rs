//! The pairs of one link: what is left of a pair when its actor is parked.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::activation::Proven;
use crate::control::Aid;
use crate::domain_pair::Failure;
use crate::keyed::HashMap;
use crate::mux::Slot;
use crate::name::Name;
use crate::pair::{AsPair, Pair};
use crate::transcript::Confirmation;

/// A pair's record on one link.
#[derive(Debug)]
pub struct PairRecord {
    /// Its names.
    pub pair: Pair,
    /// The activation that is in force.
    pub active: Option<Active>,
    /// The activation that is under way.
    pub run: Option<Run>,
    /// Nothing is asked for before this.
    pub pause: Option<Pause>,
    /// Runs in a row that ended with a stale identity.
    pub stale_runs: u8,
    /// Stanzas that came from the peer and were taken.
    pub stanzas_in: u64,
    /// Stanzas that were written to the link.
    pub stanzas_out: u64,
    /// For the operator.
    pub last_error: Option<Box<str>>,
    /// Another link has it now: stanzas that are still under way to its slot go there.
    pub(crate) moved: bool,
    /// Stanzas may be under way to its slot: it was open once.
    pub(crate) was_open: bool,
    /// The number of the last stanza that was written for it in this session.
    pub(crate) last_sent: u64,
    /// It may send once this ping is answered: then the peer has handed back what was under way.
    pub(crate) opens_behind: Option<u64>,
}

/// An activation in force.
#[derive(Debug)]
pub struct Active {
    /// Its id.
    pub aid: Aid,
    /// Since when, Unix seconds.
    pub since: u64,
    /// Its end, Unix seconds: the earlier of both sides'.
    pub expires: u64,
    /// Whether we asked for it.
    pub initiated: bool,
    /// What it can be resumed with (protocol §6).
    pub proven: Box<Proven>,
}

/// An activation under way.
#[derive(Debug)]
pub enum Run {
    /// Waits for its turn among our runs.
    Queued,
    /// We asked; the pair's actor works or waits for the response.
    Asking(Aid),
    /// We sent `<activate/>` and wait for `<active/>`.
    Activating(Aid, Box<Proven>),
    /// The peer asked; the pair's actor works.
    Serving(Aid),
    /// We responded and expect `<activate/>` with this confirmation.
    Responded(Aid, Confirmation, Box<Proven>),
}

/// Why nothing is asked for now.
#[derive(Clone, Debug)]
pub struct Pause {
    /// Until when.
    pub until: Instant,
    /// A refusal that bounces stanzas meanwhile; `None`: they wait.
    pub refusal: Option<Failure>,
}

/// What the status page says of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PairState {
    /// Its host is being looked up or reached.
    Resolving,
    /// An activation is under way.
    Requested,
    /// Usable both ways.
    Active,
    /// The activation was refused.
    Refused,
    /// It ends.
    Draining,
}

impl Active {
    /// For the operator, once it has ended by itself.
    pub(crate) fn why_ended(&self) -> Box<str> {
        let by_certificate = self.expires >= self.proven.certificates_end;
        let what = if by_certificate { "a certificate of the pair" } else { "the activation" };
        format!("{what} has ended, and no other was proved").into()
    }
}

impl Run {
    /// The id, once there is one.
    #[must_use]
    pub fn aid(&self) -> Option<Aid> {
        match self {
            Self::Queued => None,
            Self::Asking(aid) | Self::Activating(aid, _) | Self::Serving(aid) | Self::Responded(aid, ..) => Some(*aid),
        }
    }

    /// Whether we asked for it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Queued | Self::Asking(_) | Self::Activating(..) => true,
            Self::Serving(_) | Self::Responded(..) => false,
        }
    }
}

impl PairRecord {
    fn new(pair: Pair) -> Self {
        Self {
            pair,
            active: None,
            run: None,
            pause: None,
            stale_runs: 0,
            stanzas_in: 0,
            stanzas_out: 0,
            last_error: None,
            moved: false,
            was_open: false,
            last_sent: 0,
            opens_behind: None,
        }
    }

    /// Whether stanzas of the pair may be sent: we know that it is active, or that the peer will before it reads them.
    pub(crate) fn may_send(&self) -> bool {
        self.active.is_some() || matches!(self.run, Some(Run::Activating(..)))
    }

    /// Whether the record is only a question of the peer's that came to nothing.
    pub(crate) fn is_forgettable(&self) -> bool {
        !self.was_open && self.active.is_none() && self.run.is_none() && self.pause.is_none()
    }

    /// For the status page.
    #[must_use]
    pub fn state(&self) -> PairState {
        match (&self.active, &self.pause) {
            (Some(_), _) => PairState::Active,
            (None, Some(Pause { refusal: Some(_), .. })) => PairState::Refused,
            (None, _) => PairState::Requested,
        }
    }
}

/// All pairs of a link, by slot, by names, by the peer's domain and by the id of a run.
#[derive(Debug, Default)]
pub struct Pairs {
    records: Vec<PairRecord>,
    by_name: HashMap<Pair, Slot>,
    by_aid: HashMap<Aid, Slot>,
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
        self.by_name.get(pair).copied()
    }

    /// The pair of a run or an activation in force.
    #[must_use]
    pub fn find_aid(&self, aid: &Aid) -> Option<Slot> {
        self.by_aid.get(aid).copied()
    }

    /// Adds a pair in `slot`, which is the next.
    pub fn add(&mut self, slot: Slot, pair: Pair) {
        debug_assert_eq!(slot as usize, self.records.len(), "slots are given out in order");
        let pair = self.enter(slot, &pair);
        self.records.push(PairRecord::new(pair));
    }

    /// Remembers where the pair is; the pair, with names that are shared.
    fn enter(&mut self, slot: Slot, pair: &Pair) -> Pair {
        let local = self.locals.get_key_value(&pair.local).map_or(&pair.local, |(name, _)| name).clone();
        let remote = self.by_remote.get_key_value(&pair.remote).map_or(&pair.remote, |(name, _)| name).clone();
        *self.locals.entry(local.clone()).or_default() += 1;
        let slots = self.by_remote.entry(remote.clone()).or_default();
        slots.insert(slots.partition_point(|other| *other < slot), slot);
        let pair = Pair { local, remote };
        self.by_name.insert(pair.clone(), slot);
        pair
    }

    fn leave(&mut self, slot: Slot, pair: &Pair) {
        self.by_name.remove(pair);
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
    pub(crate) fn replace(&mut self, slot: Slot, pair: Pair) {
        let before = self.records[slot as usize].pair.clone();
        self.leave(slot, &before);
        let pair = self.enter(slot, &pair);
        self.records[slot as usize] = PairRecord::new(pair);
    }

    /// Remembers that `aid` belongs to `slot`.
    pub fn name_run(&mut self, aid: Aid, slot: Slot) {
        self.by_aid.insert(aid, slot);
    }

    /// Forgets an id.
    pub fn forget_aid(&mut self, aid: &Aid) {
        self.by_aid.remove(aid);
    }

    /// The link has ended: no run goes on, and what was active can be resumed on the next one.
    pub(crate) fn put_to_sleep(&mut self, asleep: &mut Asleep) {
        self.by_aid.clear();
        asleep.retain(|_, (slot, _)| self.records[*slot as usize].active.is_none());
        for (slot, record) in (0..).zip(&mut self.records) {
            record.run = None;
            if let Some(active) = record.active.take() {
                asleep.insert(active.proven.resume_id, (slot, active));
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
        &self.records[slot as usize]
    }

    /// The record in `slot`.
    pub fn get_mut(&mut self, slot: Slot) -> &mut PairRecord {
        &mut self.records[slot as usize]
    }

    /// The records of all pairs with `domain`, the peer's, with their slots.
    pub(crate) fn with_remote<'a>(&'a self, domain: &Name) -> impl Iterator<Item = (Slot, &'a PairRecord)> + use<'a> {
        let slots = self.by_remote.get(domain).map(Vec::as_slice).unwrap_or_default();
        slots.iter().map(|slot| (*slot, self.get(*slot)))
    }

    /// All records with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &PairRecord)> {
        (0..).zip(&self.records)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        pairs.replace(0, pair("a.lit", "z.lit"));
        assert_eq!(slots(&pairs, "x.lit"), [2]);
        assert_eq!(slots(&pairs, "z.lit"), [0]);
        assert_eq!(slots(&pairs, "xx.lit"), [0; 0]);
        let names = [&pairs.get(0).pair.local, &pairs.get(1).pair.local].map(|name| name.as_str().as_ptr());
        assert_eq!(names[0], names[1], "one copy of a name");
    }
}
