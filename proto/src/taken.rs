//! What was taken from a host stream: how far, what of it our servers have, and what the peer was told
//! (protocol §7 and §8).
//!
//! A stanza is acknowledged once our server has shown that it has read it, and at the latest when it has
//! waited for [`TAKE_OVER`], or [`TAKE_OVER_BYTES`] behind it do: from then on it is ours to deliver or to
//! bounce. A report about one that was not delivered is kept until the peer has certainly read it.

use std::collections::VecDeque;
use std::time::Instant;

use crate::control::UndeliveredReason;
use crate::hosted::Entry;
use crate::limits::{TAKE_OVER, TAKE_OVER_BYTES};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    received: u64,
    acknowledged: u64,
    /// With our servers, in order, by the server's number: there are few.
    pending: Vec<VecDeque<Batch>>,
    pending_bytes: usize,
    reports: VecDeque<(u64, UndeliveredReason)>,
    /// The peer waits for an acknowledgement of everything up to here.
    asked: u64,
}

/// Stanzas for one server that came at once.
#[derive(Debug)]
struct Batch {
    first: u64,
    last: u64,
    at: Instant,
    bytes: usize,
}

impl Taken {
    /// How many stanzas came.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// How many the peer was told that we have taken over.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// One more has come: its number.
    pub(crate) fn count(&mut self) -> u64 {
        self.received += 1;
        self.received
    }

    /// The last one goes to a server of ours.
    pub(crate) fn handed_over(&mut self, entry: Entry, bytes: usize, at: Instant) {
        if entry >= self.pending.len() {
            self.pending.resize_with(entry + 1, VecDeque::new);
        }
        let (n, batches) = (self.received, &mut self.pending[entry]);
        self.pending_bytes += bytes;
        match batches.back_mut().filter(|batch| batch.at == at) {
            Some(batch) => {
                batch.last = n;
                batch.bytes += bytes;
            }
            None => batches.push_back(Batch { first: n, last: n, at, bytes }),
        }
    }

    /// A server of ours has read everything for it up to stanza `n`.
    pub(crate) fn has_read(&mut self, entry: Entry, n: u64) {
        let Some(batches) = self.pending.get_mut(entry) else { return };
        while let Some(batch) = batches.pop_front_if(|batch| batch.last <= n) {
            self.pending_bytes -= batch.bytes;
        }
        if let Some(batch) = batches.front_mut() {
            batch.first = batch.first.max(n + 1);
        }
    }

    /// Takes over what has waited too long, or is too much.
    pub(crate) fn take_over(&mut self, now: Instant) {
        while let Some((entry, at)) = self.oldest()
            && (at + TAKE_OVER <= now || self.pending_bytes > TAKE_OVER_BYTES)
        {
            self.has_read(entry, self.pending[entry][0].last);
        }
    }

    /// Takes over everything: the stream ends.
    pub(crate) fn take_over_all(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
    }

    fn oldest(&self) -> Option<(Entry, Instant)> {
        let front = |(entry, batches): (Entry, &VecDeque<Batch>)| Some((entry, batches.front()?.at));
        self.pending.iter().enumerate().filter_map(front).min_by_key(|(entry, at)| (*at, *entry))
    }

    /// When [`Self::take_over`] has something to do that the peer waits for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waits = self.asked > self.acknowledged;
        self.oldest().filter(|_| waits).map(|(_, at)| at + TAKE_OVER)
    }

    /// Everything up to here is taken over.
    fn done(&self) -> u64 {
        let firsts = self.pending.iter().filter_map(VecDeque::front).map(|batch| batch.first);
        firsts.min().map_or(self.received, |first| first - 1)
    }

    /// The peer asks how far we are: the answer, modulo 2^32.
    pub(crate) fn answer(&mut self) -> u32 {
        self.asked = self.received;
        self.acknowledge()
    }

    /// What the peer waits to hear, if there is news.
    pub(crate) fn news(&mut self) -> Option<u32> {
        let news = self.asked > self.acknowledged && self.done() > self.acknowledged;
        news.then(|| self.acknowledge())
    }

    fn acknowledge(&mut self) -> u32 {
        self.acknowledged = self.done();
        modulo(self.acknowledged)
    }

    /// How many came, modulo 2^32: what a resumption begins with.
    pub(crate) fn h(&self) -> u32 {
        modulo(self.received)
    }

    /// The peer is to be told that stanza `n` was not delivered.
    pub(crate) fn report(&mut self, n: u64, reason: UndeliveredReason) {
        self.reports.push_back((n, reason));
    }

    /// The reports that the peer may not have read, the oldest first.
    pub(crate) fn reports(&self) -> impl Iterator<Item = (u64, UndeliveredReason)> + use<'_> {
        self.reports.iter().copied()
    }

    /// How many those are.
    pub(crate) fn unread_reports(&self) -> usize {
        self.reports.len()
    }

    /// The peer has read the first `count` of them.
    pub(crate) fn reports_read(&mut self, count: usize) {
        self.reports.drain(..count.min(self.reports.len()));
    }
}

fn modulo(n: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "counted modulo 2^32")]
    let h = n as u32;
    h
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::Now;

    /// Stanzas for these servers, in order.
    fn taken(entries: &[Entry]) -> (Taken, Instant) {
        let (mut taken, now) = (Taken::default(), Now::origin().instant);
        for entry in entries {
            taken.count();
            taken.handed_over(*entry, 100, now);
        }
        (taken, now)
    }

    #[test]
    fn what_a_server_has_read_is_acknowledged_as_far_as_all_before_it() {
        let (mut taken, _) = taken(&[0, 1, 0, 1, 0]);
        assert_eq!(taken.answer(), 0);
        taken.has_read(1, 4);
        assert_eq!(taken.news(), None, "the first waits");
        taken.has_read(0, 1);
        assert_eq!(taken.news(), Some(1), "of what came at once, only what is known");
        taken.has_read(0, 5);
        assert_eq!(taken.news(), Some(5));
        assert_eq!(taken.news(), None, "once");
        taken.count();
        assert_eq!((taken.news(), taken.answer()), (None, 6), "who asks is answered");
    }

    #[test]
    fn what_waits_too_long_or_is_too_much_is_taken_over() {
        let (mut taken, now) = taken(&[0, 0]);
        taken.answer();
        assert_eq!(taken.deadline(), Some(now + TAKE_OVER));
        taken.take_over(now);
        assert_eq!(taken.news(), None);
        taken.count();
        taken.handed_over(1, TAKE_OVER_BYTES, now);
        taken.take_over(now);
        assert_eq!((taken.answer(), taken.pending_bytes), (2, TAKE_OVER_BYTES), "only as much as is too much");
        taken.take_over(now + TAKE_OVER);
        assert_eq!(taken.news(), Some(3));
        assert_eq!((taken.deadline(), taken.pending_bytes, taken.done()), (None, 0, 3));
    }

    #[test]
    fn reports_are_kept_until_they_were_read() {
        let mut taken = Taken::default();
        taken.report(1, UndeliveredReason::Overflow);
        taken.report(2, UndeliveredReason::Policy);
        taken.reports_read(1);
        assert_eq!(taken.reports().collect::<Vec<_>>(), [(2, UndeliveredReason::Policy)]);
        taken.reports_read(5);
        assert_eq!(taken.unread_reports(), 0);
    }
}
