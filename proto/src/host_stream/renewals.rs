//! When each pair is to be renewed: the one time-out of a pair that rests, of which there may be a million.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::mux::Slot;

/// Units of [`TICK`] since the origin, rounded up: 17 years at most.
type Ticks = NonZeroU32;

/// So exact is a renewal.
const TICK: Duration = Duration::from_millis(125);
/// Entries that are kept of what was cleared, beyond as many as count.
const SLACK: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Renewals {
    origin: Instant,
    /// Whatever `of` does not have was cleared, and is never the first.
    due: BinaryHeap<Reverse<(Ticks, Slot)>>,
    /// The one of each slot.
    of: Vec<Option<Ticks>>,
    count: usize,
}

impl Renewals {
    /// None; all that come are after `origin`.
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, due: BinaryHeap::new(), of: Vec::new(), count: 0 }
    }

    /// Sets the renewal of a pair that has none.
    pub(super) fn set(&mut self, at: Instant, slot: Slot) {
        let ticks = at.saturating_duration_since(self.origin).as_nanos().div_ceil(TICK.as_nanos());
        let ticks = u32::try_from(ticks).ok().map_or(Ticks::MAX, |ticks| Ticks::new(ticks).unwrap_or(Ticks::MIN));
        let place = slot as usize;
        if place >= self.of.len() {
            self.of.resize(place + 1, None);
        }
        self.of[place] = Some(ticks);
        self.count += 1;
        self.due.push(Reverse((ticks, slot)));
    }

    /// Forgets the renewal of a pair, if there is one.
    pub(super) fn clear(&mut self, slot: Slot) {
        if self.of.get_mut(slot as usize).and_then(Option::take).is_none() {
            return;
        }
        self.count -= 1;
        let Self { due, of, .. } = self;
        let counts = |Reverse((ticks, slot)): &Reverse<(Ticks, Slot)>| of[*slot as usize] == Some(*ticks);
        if due.len() > 2 * self.count + SLACK {
            let mut all = std::mem::take(due).into_vec();
            all.retain(counts);
            all.sort_unstable();
            // What was cleared and set again for the same time.
            all.dedup();
            *due = all.into();
        }
        while due.peek().is_some_and(|first| !counts(first)) {
            due.pop();
        }
    }

    /// The next one.
    pub(super) fn first(&self) -> Option<(Instant, Slot)> {
        let Reverse((ticks, slot)) = self.due.peek()?;
        Some((self.origin.checked_add(TICK * ticks.get())?, *slot))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::Now;

    #[test]
    fn no_renewal_comes_early_or_more_than_a_tick_late() {
        let origin = Now::origin().instant;
        let mut renewals = Renewals::new(origin);
        for milliseconds in [0, 1, 124, 125, 126, 30 * 24 * 3600 * 1000] {
            let at = origin + Duration::from_millis(milliseconds);
            renewals.set(at, 7);
            let first = renewals.first().map(|(at, _)| at).unwrap();
            assert!(at <= first && first <= at + TICK, "{milliseconds}");
            renewals.clear(7);
        }
        assert_eq!((renewals.first(), renewals.len()), (None, 0));
    }

    #[test]
    fn the_first_comes_first_and_what_was_cleared_does_not_come() {
        let origin = Now::origin().instant;
        let mut renewals = Renewals::new(origin);
        for (slot, seconds) in [(0, 3), (1, 1), (2, 2)] {
            renewals.set(origin + Duration::from_secs(seconds), slot);
        }
        renewals.clear(1);
        renewals.clear(9);
        assert_eq!(renewals.first(), Some((origin + Duration::from_secs(2), 2)));
        assert_eq!(renewals.len(), 2);
    }

    #[test]
    fn what_was_cleared_does_not_pile_up() {
        let origin = Now::origin().instant;
        let mut renewals = Renewals::new(origin);
        for second in 1..10_000 {
            renewals.clear(0);
            renewals.set(origin + Duration::from_secs(second), 0);
        }
        renewals.set(origin + Duration::from_secs(1), 1);
        assert!(renewals.due.len() <= 2 * renewals.len() + SLACK + 1, "{}", renewals.due.len());
        assert_eq!(renewals.first(), Some((origin + Duration::from_secs(1), 1)));
    }
}
