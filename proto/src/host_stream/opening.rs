//! A pair that is activated afresh sends behind what is under way: docs/decisions/023.

use std::collections::VecDeque;

use super::{Action, HostStream, Out};
use crate::broken::{self, Fault};
use crate::mux::Slot;

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
    /// overtake them, and waits for a ping behind them to be answered. What is resumed was never interrupted.
    pub(super) fn opens_later(&mut self, slot: Slot, resumed: bool, out: &mut Out) -> bool {
        let record = self.pairs.get_mut(slot);
        if broken::has(Fault::NewOvertakes) {
            return false;
        }
        let interrupted = !resumed || record.opens_behind.take().is_some();
        let last = record.last_sent;
        let under_way = last > self.pings.read && self.sm.counts.copies.is_under_way(last);
        let waits = interrupted && under_way && !self.mux.is_open(slot);
        if waits && self.pings.written < self.sent() {
            self.probe(out);
        }
        let ping = waits.then_some(self.pings.count);
        self.pairs.get_mut(slot).opens_behind = ping;
        self.pings.opening.extend(ping.map(|ping| (ping, slot)));
        waits
    }

    /// The peer has read everything before ping `number`.
    pub(super) fn open_behind(&mut self, number: u64, out: &mut Out) {
        if number == self.pings.count {
            self.pings.read = self.pings.written;
        }
        while let Some((ping, slot)) = self.pings.opening.pop_front_if(|(ping, _)| *ping <= number) {
            let record = self.pairs.get_mut(slot);
            if record.opens_behind.take_if(|of| *of == ping).is_some()
                && record.may_send()
                && !self.held.contains(&record.pair.remote)
            {
                self.mux.open(slot);
                out.actions.push(Action::Write);
            }
        }
    }
}
