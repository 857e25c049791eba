//! Copies of the stanzas that were written to a host stream, by their number (protocol §5, §7 and §8).
//!
//! The peer hands back what it could not deliver by number; until then the copy is ours. Where the peer
//! acknowledges, a copy stays until it does, and is sent again on the next link where it has not arrived.
//! Without acknowledgements nobody says when a copy may go, so the oldest go when the bounds are reached.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::acks::{TooHigh, news};
use crate::batch::Batch;
use crate::broken::{self, Fault};
use crate::mux::Slot;
use crate::train::Train;

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
    /// The number of the last stanza that was acknowledged, or forgotten.
    gone: u64,
    /// The number of the last stanza that was written.
    count: u64,
    /// Those that were taken, of the ones that are not gone.
    taken: BTreeSet<u64>,
    bytes: usize,
    /// Copies beyond this are forgotten; `None`: the peer acknowledges.
    byte_limit: Option<usize>,
}

/// Stanzas that were written together, kept until all of them are gone. The bytes of each count until it goes, also
/// where it was taken: a peer that hands back and never acknowledges is bounded as well.
#[derive(Debug)]
struct Place {
    /// The number of the first one.
    first: u64,
    stanzas: Written,
    /// As [`Sent::retried`].
    retried: bool,
    /// Of the first one; the others' follow.
    seq: u64,
}

#[derive(Debug)]
enum Written {
    /// Of one pair; `None` as in [`Sent::slot`].
    Train(Option<Slot>, Train),
    /// Of any.
    Batch(Batch<Slot>),
}

impl Written {
    fn count(&self) -> usize {
        match self {
            Self::Train(_, train) => train.count(),
            Self::Batch(batch) => batch.len(),
        }
    }

    /// Bytes of the first `count` stanzas: of all, where there are no more.
    fn length_of(&self, count: usize) -> usize {
        match self {
            Self::Train(_, train) => train.length_of(count),
            Self::Batch(batch) => batch.length_of(count),
        }
    }

    /// The stanza behind so many others, with memory of its own, and its pair.
    fn stanza(&self, at: usize) -> (Option<Slot>, Bytes) {
        match self {
            Self::Train(slot, train) => (*slot, train.stanza(at)),
            Self::Batch(batch) => {
                let stanza = &batch.as_bytes()[batch.length_of(at)..batch.length_of(at + 1)];
                (Some(batch.marks()[at].0), Bytes::copy_from_slice(stanza))
            }
        }
    }

    /// The first `count` stanzas: one at least.
    fn first(&self, count: usize) -> Self {
        match self {
            Self::Train(slot, train) => Self::Train(*slot, train.first(count)),
            Self::Batch(batch) => Self::Batch(batch.iter().take(count).collect()),
        }
    }
}

impl Place {
    /// The number of the last stanza.
    fn last(&self) -> u64 {
        self.first - 1 + self.stanzas.count() as u64
    }

    /// How many stanzas have a number up to `n`.
    fn up_to(&self, n: u64) -> usize {
        usize::try_from((n + 1).saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.stanzas.count())
    }

    /// The bytes of those behind stanza `n`.
    fn bytes_behind(&self, n: u64) -> usize {
        self.stanzas.length_of(self.stanzas.count()) - self.stanzas.length_of(self.up_to(n))
    }

    /// Stanza `n`, which is one of them.
    fn sent(&self, n: u64) -> Sent {
        let ((slot, bytes), seq) = (self.stanzas.stanza(self.up_to(n) - 1), self.seq + (n - self.first));
        Sent { slot, bytes, retried: self.retried, seq }
    }
}

impl SentCopies {
    /// Copies of which the oldest go at some bound.
    pub(crate) fn bounded(byte_limit: usize) -> Self {
        Self { byte_limit: Some(byte_limit.min(COPY_BYTES)), ..Self::acknowledged() }
    }

    /// Copies that stay until they are acknowledged.
    pub(crate) fn acknowledged() -> Self {
        Self { copies: VecDeque::new(), gone: 0, count: 0, taken: BTreeSet::new(), bytes: 0, byte_limit: None }
    }

    /// Keeps a copy; its number is one more than the last.
    pub(crate) fn push(&mut self, sent: Sent) {
        let Sent { slot, bytes, retried, seq } = sent;
        self.push_train(slot, bytes.into(), retried, seq);
    }

    /// Keeps copies of stanzas that were written together, the first of which has this `seq`.
    pub(crate) fn push_train(&mut self, slot: Option<Slot>, train: Train, retried: bool, seq: u64) {
        self.push_written(Written::Train(slot, train), retried, seq);
    }

    /// The same of any pairs.
    pub(crate) fn push_batch(&mut self, batch: Batch<Slot>, seq: u64) {
        self.push_written(Written::Batch(batch), false, seq);
    }

    fn push_written(&mut self, stanzas: Written, retried: bool, seq: u64) {
        let (first, count) = (self.count + 1, stanzas.count());
        self.count += count as u64;
        self.bytes += stanzas.length_of(count);
        self.copies.push_back(Place { first, stanzas, retried, seq });
        while self.byte_limit.is_some_and(|limit| self.len() > COPIES || self.bytes > limit) {
            self.forget(self.gone + 1);
        }
    }

    /// Everything up to stanza `n` goes.
    fn forget(&mut self, n: u64) {
        while let Some(place) = self.copies.front().filter(|place| place.first <= n) {
            self.bytes -= place.bytes_behind(self.gone) - place.bytes_behind(n);
            if place.last() > n {
                break;
            }
            self.copies.pop_front();
        }
        while self.taken.first().is_some_and(|first| *first <= n) {
            self.taken.pop_first();
        }
        self.gone = n;
    }

    /// Takes the copy of stanza `n`: once.
    pub fn take(&mut self, n: u64) -> Option<Sent> {
        if !self.is_under_way(n) {
            return None;
        }
        self.taken.insert(n);
        let behind = self.copies.partition_point(|place| place.first <= n);
        Some(self.copies.get(behind.checked_sub(1)?)?.sent(n))
    }

    /// The peer has taken over everything up to `h`, counted modulo 2^32; how many are new.
    ///
    /// # Errors
    /// [`TooHigh`] where so much was never sent, or more was acknowledged before; nothing changes.
    pub(crate) fn acknowledge(&mut self, h: u32) -> Result<usize, TooHigh> {
        let new = self.up_to(h)?;
        self.forget(self.gone + new as u64);
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
        Ok(self.take_behind(self.gone + arrived as u64))
    }

    /// Takes the copies of everything behind stanza `n`, in order, and counts on from there.
    fn take_behind(&mut self, n: u64) -> Vec<Sent> {
        let whole = self.copies.partition_point(|place| place.last() <= n);
        let behind = self.copies.split_off(whole);
        self.bytes -= behind.iter().map(|place| place.bytes_behind(n)).sum::<usize>();
        if let Some(cut) = behind.front().filter(|place| place.first <= n) {
            self.copies.push_back(Place { stanzas: cut.stanzas.first(cut.up_to(n)), ..*cut });
        }
        self.count = n;
        let taken = self.taken.split_off(&(n + 1));
        let left = behind.iter().flat_map(|place| {
            let numbers = place.first.max(n + 1)..=place.last();
            numbers.filter(|n| !taken.contains(n)).map(|n| place.sent(n))
        });
        left.collect()
    }

    /// Nobody will acknowledge after all, and `before` stanzas were written before these: the oldest copies go at
    /// some bound from now on.
    pub(crate) fn uncounted(&mut self, before: u64, byte_limit: usize) {
        self.count_from(before);
        self.byte_limit = Some(byte_limit.min(COPY_BYTES));
    }

    /// So many stanzas were written before these.
    fn count_from(&mut self, before: u64) {
        (self.gone, self.count) = (self.gone + before, self.count + before);
        self.copies.iter_mut().for_each(|place| place.first += before);
        self.taken = std::mem::take(&mut self.taken).into_iter().map(|n| n + before).collect();
    }

    /// Takes all copies, in order.
    pub(crate) fn take_all(&mut self) -> Vec<Sent> {
        self.take_behind(self.gone)
    }

    /// How many of the copies a count of the peer's stands for.
    fn up_to(&self, h: u32) -> Result<usize, TooHigh> {
        #[expect(clippy::cast_possible_truncation, reason = "counted modulo 2^32")]
        let acknowledged = self.gone as u32;
        news(h, acknowledged, self.len())
    }

    /// How many stanzas were written so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether stanza `n` is neither acknowledged, nor handed back, nor forgotten.
    pub(crate) fn is_under_way(&self, n: u64) -> bool {
        (self.gone + 1..=self.count).contains(&n) && !self.taken.contains(&n)
    }

    /// How many wait to be acknowledged, or for the bound.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.count - self.gone).unwrap_or(usize::MAX)
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == self.gone
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
    use crate::train::train;

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

    /// What of a message was acknowledged, taken and rewound, whichever pairs its stanzas have.
    #[test]
    fn stanzas_of_several_pairs_are_kept_as_one() {
        let mut copies = SentCopies::acknowledged();
        copies.push(sent("one"));
        copies.push_batch([(4, "two"), (5, "three"), (4, "four"), (6, "five")].into_iter().collect(), 7);
        assert_eq!((copies.count(), copies.len(), copies.bytes()), (5, 5, 19));
        let three = copies.take(3).unwrap();
        assert_eq!((three.slot, three.seq, &three.bytes[..]), (Some(5), 8, &b"three"[..]));
        assert!(copies.take(3).is_none() && !copies.is_under_way(3));
        assert_eq!((copies.acknowledge(2), copies.len(), copies.bytes()), (Ok(2), 3, 13));
        let again = copies.rewind(3).unwrap();
        let seen = |sent: &Sent| (sent.slot, sent.seq);
        assert_eq!(again.iter().map(seen).collect::<Vec<_>>(), [(Some(4), 9), (Some(6), 10)]);
        assert_eq!(texts(again), ["four", "five"]);
        assert_eq!((copies.count(), copies.len(), copies.acknowledge(3), copies.bytes()), (3, 1, Ok(1), 0));
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

    /// Numbers 1, 2 to 4, 5 and 6 to 7.
    fn with_trains() -> SentCopies {
        let mut copies = copies(&["one"]);
        copies.push_train(Some(7), train(&["two", "three", "four"]), true, 40);
        copies.push(sent("five"));
        copies.push_train(Some(8), train(&["six", "seven"]), false, 50);
        assert_eq!((copies.len(), copies.count(), copies.bytes()), (7, 7, 27));
        copies
    }

    #[test]
    fn each_copy_of_a_train_is_taken_by_its_number_once() {
        let mut copies = with_trains();
        let mut take = |n| copies.take(n).map(|sent| (sent.bytes, sent.slot, sent.seq, sent.retried));
        assert_eq!(take(3), Some(("three".into(), Some(7), 41, true)));
        assert_eq!(take(3), None, "handed back twice");
        assert_eq!(take(2), Some(("two".into(), Some(7), 40, true)));
        assert_eq!(take(7), Some(("seven".into(), Some(8), 51, false)));
        assert_eq!(take(8), None, "never sent");
        let under_way = (0..9).filter(|n| copies.is_under_way(*n)).collect::<Vec<_>>();
        assert_eq!((under_way, copies.len(), copies.bytes()), (vec![1, 4, 5, 6], 7, 27));
    }

    #[test]
    fn an_acknowledgement_may_fall_inside_a_train() {
        let mut copies = with_trains();
        copies.take(2);
        assert_eq!(copies.acknowledge(3), Ok(3));
        assert_eq!((copies.len(), copies.bytes(), copies.count()), (4, 16, 7));
        assert_eq!((copies.take(2).is_none(), copies.take(3).is_none()), (true, true), "they have arrived");
        assert_eq!(copies.take(4).map(|sent| sent.bytes), Some("four".into()));
        assert_eq!((copies.acknowledge(5), copies.bytes()), (Ok(2), 8));
        assert_eq!((copies.acknowledge(7), copies.bytes(), copies.is_empty()), (Ok(2), 0, true));
        assert!(copies.copies.is_empty() && copies.taken.is_empty(), "nothing is left of them");
    }

    #[test]
    fn the_first_of_a_train_may_have_arrived_and_the_others_go_again() {
        for h in 0..=7 {
            let mut copies = with_trains();
            copies.acknowledge(2.min(h)).unwrap();
            for n in [4, 6] {
                copies.take(n);
            }
            let again: Vec<_> = copies.rewind(h).unwrap().into_iter().map(|sent| (sent.bytes, sent.seq)).collect();
            let all = [("one", 0), ("two", 40), ("three", 41), ("four", 42), ("five", 0), ("six", 50), ("seven", 51)];
            let (arrived, lost) = all.split_at(h as usize);
            let lost = lost.iter().filter(|(text, _)| !["four", "six"].contains(text));
            assert_eq!(again, lost.map(|(text, seq)| (Bytes::from(*text), *seq)).collect::<Vec<_>>(), "{h}");
            let bytes = arrived.iter().skip(2).map(|(text, _)| text.len()).sum();
            assert_eq!((copies.count(), copies.bytes()), (u64::from(h), bytes), "{h}");
            copies.push_train(Some(9), train(&["again", "and again"]), false, 60);
            let next = u64::from(h) + 2;
            assert_eq!(copies.take(next).map(|sent| (sent.bytes, sent.seq)), Some(("and again".into(), 61)));
            assert_eq!(copies.take(3).is_some(), h >= 2, "what has arrived can still come back");
            assert_eq!(copies.take(4).is_some(), h == 3, "not twice");
            assert_eq!(copies.acknowledge(h + 2).unwrap(), (h + 2 - 2.min(h)) as usize);
            assert_eq!((copies.bytes(), copies.copies.len()), (0, 0));
        }
    }

    #[test]
    fn the_oldest_of_a_train_go_one_by_one_when_the_bound_is_reached() {
        let mut copies = SentCopies::bounded(12);
        copies.push_train(Some(7), train(&["one", "two", "three"]), false, 0);
        assert_eq!((copies.len(), copies.bytes()), (3, 11));
        copies.push(sent("four"));
        assert_eq!((copies.len(), copies.bytes()), (3, 12));
        assert_eq!((copies.take(1).is_none(), copies.take(2).map(|sent| sent.bytes)), (true, Some("two".into())));
        copies.push_train(None, train(&["twelve", "bytes of"]), false, 0);
        assert_eq!((copies.len(), copies.bytes()), (1, 8));
        assert_eq!(copies.take_all().into_iter().map(|sent| sent.bytes).collect::<Vec<_>>(), ["bytes of"]);
    }

    #[test]
    fn trains_keep_their_numbers_when_nobody_counts() {
        let mut copies = with_trains();
        copies.take(3);
        copies.uncounted(100, 1 << 20);
        assert_eq!((copies.count(), copies.take(103).is_none()), (107, true));
        assert_eq!(copies.take(104).map(|sent| (sent.bytes, sent.seq)), Some(("four".into(), 42)));
    }

    /// XEP-0198 §4: the count begins anew after 2^32 - 1.
    #[test]
    fn the_count_goes_round() {
        let mut copies = copies(&["one", "two"]);
        copies.count_from(u64::from(u32::MAX) - 1);
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
