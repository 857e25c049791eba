//! Copies of the stanzas that were written to a host stream, by their number (protocol §5, §7 and §8).
//!
//! The peer hands back what it could not deliver by number; until then the copy is ours. Where the peer
//! acknowledges, a copy stays until it does, and is sent again on the next link where it has not arrived.
//! Without acknowledgements nobody says when a copy may go, so the oldest go when the bounds are reached.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::acks::{TooHigh, news};
use crate::broken::{self, Fault};
use crate::mux::Slot;

/// Copies kept at most where nobody acknowledges: at 200 bytes a stanza the bytes below are reached first.
const COPIES: usize = 1 << 16;
/// Bytes of copies kept at most where nobody acknowledges. What the peer hands back, it hands back within
/// a round trip or within its local grace; this is more than a second of a full gigabit link in 200-byte
/// stanzas' share of one busy pair, and small enough to stay in the cache's reach.
const COPY_BYTES: usize = 8 << 20;

/// A stanza that was written.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its pair; `None` for the host's own pings.
    pub slot: Option<Slot>,
    /// The whole stanza.
    pub bytes: Bytes,
    /// It came back once before.
    pub retried: bool,
    /// Its place in its pair's queue, as [`crate::mux::Parcel::seq`].
    pub seq: u64,
}

/// The copies, numbered from 1 as XEP-0198 counts.
#[derive(Debug)]
pub struct SentCopies {
    copies: VecDeque<Place>,
    first: u64,
    bytes: usize,
    /// Copies beyond this are forgotten; `None`: the peer acknowledges.
    byte_limit: Option<usize>,
}

/// A copy's place. Its bytes count until it goes, also where the copy was taken: a peer that hands back and never
/// acknowledges is bounded as well.
#[derive(Debug)]
struct Place {
    sent: Option<Sent>,
    bytes: usize,
}

impl SentCopies {
    /// Copies of which the oldest go at some bound.
    pub(crate) fn bounded(byte_limit: usize) -> Self {
        Self { copies: VecDeque::new(), first: 1, bytes: 0, byte_limit: Some(byte_limit.min(COPY_BYTES)) }
    }

    /// Copies that stay until they are acknowledged.
    pub(crate) fn acknowledged() -> Self {
        Self { copies: VecDeque::new(), first: 1, bytes: 0, byte_limit: None }
    }

    /// Keeps a copy; its number is one more than the last.
    pub(crate) fn push(&mut self, sent: Sent) {
        let bytes = sent.bytes.len();
        self.bytes += bytes;
        self.copies.push_back(Place { sent: Some(sent), bytes });
        while self.byte_limit.is_some_and(|limit| self.copies.len() > COPIES || self.bytes > limit) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.copies.pop_front() {
            self.bytes -= first.bytes;
            self.first += 1;
        }
    }

    /// Takes the copy of stanza `n`: once.
    pub fn take(&mut self, n: u64) -> Option<Sent> {
        let index = usize::try_from(n.checked_sub(self.first)?).ok()?;
        self.copies.get_mut(index)?.sent.take()
    }

    /// The peer has taken over everything up to `h`, counted modulo 2^32; how many are new.
    ///
    /// # Errors
    /// [`TooHigh`] where so much was never sent, or more was acknowledged before; nothing changes.
    pub(crate) fn acknowledge(&mut self, h: u32) -> Result<usize, TooHigh> {
        let new = self.up_to(h)?;
        (0..new).for_each(|_| self.drop_first());
        Ok(new)
    }

    /// Everything up to `h` has arrived: takes the copies of what has not, in order, and counts on from `h`.
    /// Those of the others stay until they are acknowledged.
    ///
    /// # Errors
    /// As [`Self::acknowledge`].
    pub(crate) fn rewind(&mut self, h: u32) -> Result<Vec<Sent>, TooHigh> {
        let arrived = self.up_to(h)?;
        let arrived = if broken::has(Fault::ArrivedGoesAgain) { 0 } else { arrived };
        self.bytes -= self.copies.range(arrived..).map(|place| place.bytes).sum::<usize>();
        Ok(self.copies.drain(arrived..).filter_map(|place| place.sent).collect())
    }

    /// Nobody will acknowledge after all, and `before` stanzas were written before these: the oldest copies go at
    /// some bound from now on.
    pub(crate) fn uncounted(&mut self, before: u64, byte_limit: usize) {
        self.first += before;
        self.byte_limit = Some(byte_limit.min(COPY_BYTES));
    }

    /// Takes all copies, in order.
    pub(crate) fn take_all(&mut self) -> Vec<Sent> {
        self.bytes = 0;
        self.copies.drain(..).filter_map(|place| place.sent).collect()
    }

    /// How many of the copies a count of the peer's stands for.
    fn up_to(&self, h: u32) -> Result<usize, TooHigh> {
        #[expect(clippy::cast_possible_truncation, reason = "counted modulo 2^32")]
        let acknowledged = (self.first - 1) as u32;
        news(h, acknowledged, self.copies.len())
    }

    /// How many stanzas were written so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.first - 1 + self.copies.len() as u64
    }

    /// Whether stanza `n` is neither acknowledged, nor handed back, nor forgotten.
    pub(crate) fn is_under_way(&self, n: u64) -> bool {
        let index = n.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.copies.get(index)).is_some_and(|place| place.sent.is_some())
    }

    /// How many wait to be acknowledged, or for the bound.
    #[must_use]
    pub fn len(&self) -> usize {
        self.copies.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// The bytes of the copies, with those of the ones that were taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &'static str) -> Sent {
        Sent { slot: Some(0), bytes: Bytes::from_static(text.as_bytes()), retried: false, seq: 0 }
    }

    fn copies(texts: &[&'static str]) -> SentCopies {
        let mut copies = SentCopies::acknowledged();
        texts.iter().for_each(|text| copies.push(sent(text)));
        copies
    }

    fn texts(sent: Vec<Sent>) -> Vec<Bytes> {
        sent.into_iter().map(|sent| sent.bytes).collect()
    }

    #[test]
    fn a_copy_is_found_by_its_number_once() {
        let mut copies = SentCopies::bounded(1 << 20);
        copies.push(sent("one"));
        copies.push(sent("two"));
        assert_eq!(copies.take(2).map(|sent| sent.bytes), Some(Bytes::from_static(b"two")));
        assert!(copies.take(2).is_none(), "handed back twice");
        assert!(copies.take(0).is_none());
        assert!(copies.take(3).is_none(), "never sent");
        assert_eq!(copies.count(), 2);
    }

    #[test]
    fn the_oldest_copies_go_when_the_bound_is_reached() {
        let mut copies = SentCopies::bounded(5);
        for text in ["one", "two", "six"] {
            copies.push(sent(text));
        }
        assert!(copies.take(1).is_none());
        assert!(copies.take(2).is_none());
        assert_eq!(copies.take(3).map(|sent| sent.bytes), Some(Bytes::from_static(b"six")));
    }

    #[test]
    fn what_is_acknowledged_is_forgotten() {
        let mut copies = copies(&["one", "two", "six"]);
        assert_eq!(copies.acknowledge(2), Ok(2));
        assert_eq!((copies.len(), copies.bytes(), copies.count()), (1, 3, 3));
        assert!(copies.take(2).is_none());
        assert_eq!(copies.acknowledge(2), Ok(0));
        assert_eq!(copies.acknowledge(4), Err(TooHigh { h: 4, sent: 3 }));
        assert_eq!(copies.acknowledge(1), Err(TooHigh { h: 1, sent: 3 }), "a count never goes back");
    }

    #[test]
    fn what_has_not_arrived_is_taken_and_what_has_can_still_come_back() {
        let mut copies = copies(&["one", "two", "six", "ten"]);
        copies.take(4);
        assert_eq!(texts(copies.rewind(2).unwrap()), ["six"], "and what came back already is nobody's");
        assert_eq!((copies.count(), copies.bytes()), (2, 6));
        copies.push(sent("six again"));
        assert_eq!(copies.take(2).map(|sent| sent.bytes), Some(Bytes::from_static(b"two")));
        assert_eq!(copies.take(3).map(|sent| sent.bytes), Some(Bytes::from_static(b"six again")));
        assert_eq!(copies.acknowledge(3), Ok(3));
        assert!(copies.rewind(9).is_err());
    }

    /// XEP-0198 §4: the count begins anew after 2^32 - 1.
    #[test]
    fn the_count_goes_round() {
        let mut copies = copies(&["one", "two"]);
        copies.first = u64::from(u32::MAX);
        assert_eq!(copies.acknowledge(0), Ok(2));
        assert_eq!(copies.count(), 1 << 32);
    }

    /// A peer that hands back and never acknowledges makes us keep no more places than are counted.
    #[test]
    fn what_was_taken_counts_until_it_is_acknowledged() {
        let mut copies = copies(&["one", "three"]);
        assert!(copies.take(2).is_some());
        assert_eq!(copies.bytes(), 8);
        assert_eq!((copies.acknowledge(2), copies.bytes()), (Ok(2), 0));
    }
}
