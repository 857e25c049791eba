//! What waits: seen, and taken back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Mux, Parcel, Parcels, Slot};

impl<O: Clone> Mux<O> {
    /// Since when the oldest stanza in a pair's queue waits.
    #[must_use]
    pub fn oldest(&self, slot: Slot) -> Option<Instant> {
        Some(self.queues[slot as usize].as_ref()?.parcels.front()?.since)
    }

    /// Bytes in the queue of a pair.
    #[must_use]
    pub fn pair_bytes(&self, slot: Slot) -> usize {
        self.queues[slot as usize].as_ref().map_or(0, |queue| queue.bytes)
    }

    /// How many stanzas are in the queue of a pair.
    #[must_use]
    pub fn pair_count(&self, slot: Slot) -> usize {
        let queued = |queue: &super::Queue<O>| queue.parcels.iter().map(|parcels| parcels.train.count()).sum();
        self.queues[slot as usize].as_deref().map_or(0, queued)
    }

    /// Takes everything that waits for a pair.
    pub fn take(&mut self, slot: Slot) -> Vec<Parcel<O>> {
        self.take_where(slot, |_| true)
    }

    /// Takes what was never written of what waits for a pair.
    pub(crate) fn take_unwritten(&mut self, slot: Slot) -> Vec<Parcel<O>> {
        self.take_where(slot, |parcels| !parcels.written)
    }

    /// Takes what has waited for a pair for `wait` or longer.
    pub fn take_overdue(&mut self, slot: Slot, now: Instant, wait: Duration) -> Vec<Parcel<O>> {
        self.take_where(slot, |parcels| now >= parcels.since + wait)
    }

    /// Takes, each stanza by itself, what `is_due` holds for.
    fn take_where(&mut self, slot: Slot, is_due: impl Fn(&Parcels<O>) -> bool) -> Vec<Parcel<O>> {
        self.settle();
        let Some(queue) = &mut self.queues[slot as usize] else { return Vec::new() };
        let (taken, left): (VecDeque<_>, VecDeque<_>) = queue.parcels.drain(..).partition(is_due);
        queue.parcels = left;
        let bytes: usize = taken.iter().map(Parcels::cost).sum();
        queue.bytes -= bytes;
        self.bytes -= bytes;
        self.forget_if_unused(slot);
        taken.into_iter().flat_map(Parcels::each).collect()
    }
}
