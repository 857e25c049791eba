//! A pair that is activated afresh sends behind what is under way: docs/decisions/023.

use std::collections::VecDeque;

use super::{Action, HostStream, Out};
use crate::mux::Slot;
use crate::pairs::Run;

/// The pings of a stream, and what their answers show.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// How many there were.
    pub(super) count: u64,
    /// How many stanzas were written when the last one was.
    pub(super) written: u64,
    /// So many of them were read, as the answer to a ping has shown.
    pub(super) read: u64,
    /// Pairs that may send once a ping is answered.
    opening: VecDeque<(u64, Slot)>,
}

impl Pings {
    /// Stanzas are counted anew.
    pub(super) fn forget_numbers(&mut self) {
        (self.written, self.read) = (0, 0);
    }
}

impl HostStream {
    /// Whether stanzas of an earlier activation are under way, which the peer may hand back: what is newer must not
    /// overtake them, and waits for a ping behind them to be answered. What is resumed was never interrupted, and where
    /// nothing is acknowledged nobody knows what is under way.
    pub(super) fn opens_later(&mut self, slot: Slot, resumed: bool, out: &mut Out) -> bool {
        if !self.is_counted() {
            return false;
        }
        let record = self.pairs.get_mut(slot);
        if record.opens_behind().is_some_and(|ping| self.pings.opening.contains(&(ping, slot))) {
            return true;
        }
        let interrupted = !resumed || record.change(|rare| rare.opens_behind.take()).is_some();
        // Where we activate, the peer may have ended what was active and we have not heard it yet.
        let asks = matches!(record.run(), Some(Run::Activating(_)));
        let waits = interrupted && self.is_under_way(slot) && (asks || !self.mux.is_open(slot));
        if waits {
            self.mux.close(slot);
            self.watch_queue(slot);
            if self.pings.written < self.sent() {
                self.probe(out);
            }
        }
        let ping = waits.then_some(self.pings.count);
        self.pairs.get_mut(slot).change(|rare| rare.opens_behind = ping);
        self.pings.opening.extend(ping.map(|ping| (ping, slot)));
        waits
    }

    /// Whether the last stanza of a pair is neither acknowledged nor handed back, nor known to be read.
    fn is_under_way(&self, slot: Slot) -> bool {
        let last = self.pairs.get(slot).last_sent;
        last > self.pings.read && self.sm.counts.copies.is_under_way(last)
    }

    /// The peer has read everything before ping `number`.
    pub(super) fn open_behind(&mut self, number: u64, out: &mut Out) {
        if number == self.pings.count {
            self.pings.read = self.pings.written;
        }
        while let Some((ping, slot)) = self.pings.opening.pop_front_if(|(ping, _)| *ping <= number) {
            self.open_now(ping, slot, out);
        }
    }

    /// An acknowledgement shows the same, and later, as a rule.
    pub(super) fn open_acknowledged(&mut self, out: &mut Out) {
        for (ping, slot) in std::mem::take(&mut self.pings.opening) {
            if self.is_under_way(slot) {
                self.pings.opening.push_back((ping, slot));
            } else {
                self.open_now(ping, slot, out);
            }
        }
    }

    fn open_now(&mut self, ping: u64, slot: Slot, out: &mut Out) {
        let record = self.pairs.get_mut(slot);
        if record.change(|rare| rare.opens_behind.take_if(|of| *of == ping)).is_some()
            && record.may_send()
            && !self.held.contains(&record.pair.remote)
        {
            self.open_queue(slot);
            out.actions.push(Action::Write);
        }
    }
}
