//! The multiplexer: what waits to be written on a stream that several pairs share, fairly over pairs.
//!
//! Control elements go first; stanzas wait in one queue per pair, served by deficit round robin over
//! bytes, so that no pair can starve another: what a large stanza took beyond its pair's turn is
//! taken off the next ones. A queue is *open* while its pair may send.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

/// Bytes that a pair may send before the next one's turn: a TLS record, so that turns do not cut
/// records and a batch of one pair stays together.
const QUANTUM: usize = 16 << 10;
/// What a waiting stanza costs beyond its bytes.
const PARCEL_OVERHEAD: usize = 64;

/// A pair's place on one link.
pub type Slot = u32;

/// A stanza that waits, with what its owner knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel<O = ()> {
    /// The whole stanza, right for a `jabber:server` stream.
    pub bytes: Bytes,
    /// Where it comes from, for who gets it back.
    pub origin: O,
    /// Since when.
    pub since: Instant,
    /// It came back once as undelivered because the pair was not active.
    pub retried: bool,
}

#[derive(Debug)]
struct Queue<O> {
    parcels: VecDeque<Parcel<O>>,
    bytes: usize,
    /// Bytes left of this turn; 0 between turns.
    credit: usize,
    /// Bytes taken beyond the turns there were.
    debt: usize,
    retried: usize,
    open: bool,
    in_ring: bool,
    /// A control element that must not overtake the stanzas before it.
    last: Option<Bytes>,
}

/// See the module.
#[derive(Debug)]
pub struct Mux<O = ()> {
    control: VecDeque<Bytes>,
    control_bytes: usize,
    queues: Vec<Queue<O>>,
    ring: VecDeque<Slot>,
    bytes: usize,
    pair_limit: usize,
    total_limit: usize,
    end: End,
}

/// How far the end of the stream is.
#[derive(Debug)]
enum End {
    Open,
    Behind(Bytes),
    AtOnce(Bytes),
    Written,
}

/// A stanza that found its queue full.
#[derive(Debug, PartialEq, Eq)]
pub struct QueueFull<O>(pub Parcel<O>);

impl<O> Mux<O> {
    /// Bounds in bytes: of one pair's queue, and of all together.
    #[must_use]
    pub fn new(pair_limit: usize, total_limit: usize) -> Self {
        Self {
            control: VecDeque::new(),
            control_bytes: 0,
            queues: Vec::new(),
            ring: VecDeque::new(),
            bytes: 0,
            pair_limit,
            total_limit,
            end: End::Open,
        }
    }

    /// A place for one more pair, closed.
    pub fn add(&mut self) -> Slot {
        self.queues.push(Queue::default());
        Slot::try_from(self.queues.len() - 1).expect("a link has fewer than 2^32 pairs")
    }

    /// Queues a control element; it goes out before any stanza.
    pub fn control(&mut self, element: Bytes) {
        self.control_bytes += element.len();
        self.control.push_back(element);
    }

    /// Bytes of control elements that wait.
    #[must_use]
    pub fn control_bytes(&self) -> usize {
        self.control_bytes
    }

    /// Ends the stream with `last`: behind the stanzas of open queues, or before them. Nothing is
    /// written behind it; what still waits then can be taken.
    pub fn end(&mut self, last: Bytes, at_once: bool) {
        self.end = match (std::mem::replace(&mut self.end, End::Written), at_once) {
            (End::Written, _) => End::Written,
            (End::Open | End::Behind(_) | End::AtOnce(_), true) => End::AtOnce(last),
            (End::Open | End::Behind(_) | End::AtOnce(_), false) => End::Behind(last),
        };
    }

    /// Whether the end of the stream was written.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.end, End::Written)
    }

    /// Queues a control element behind the last stanza that waits for `slot`, and closes the queue after it.
    pub fn control_behind(&mut self, slot: Slot, element: Bytes) {
        let queue = &mut self.queues[slot as usize];
        if queue.parcels.is_empty() || !queue.open {
            self.close(slot);
            self.control(element);
        } else if let Some(before) = queue.last.replace(element) {
            self.control(before);
        }
    }

    /// Queues a stanza.
    ///
    /// # Errors
    /// [`QueueFull`] where the pair's bytes or all bytes would pass their bound.
    pub fn push(&mut self, slot: Slot, bytes: Bytes, origin: O, since: Instant) -> Result<(), QueueFull<O>> {
        let parcel = Parcel { bytes, origin, since, retried: false };
        let cost = parcel.cost();
        let queue = &mut self.queues[slot as usize];
        if queue.bytes + cost > self.pair_limit || self.bytes + cost > self.total_limit {
            return Err(QueueFull(parcel));
        }
        queue.parcels.push_back(parcel);
        self.grown(slot, cost);
        Ok(())
    }

    /// Puts a stanza that came back before those that were never sent, behind those that came back before it.
    ///
    /// It is older than they are, so it has waited for as long as the first of them.
    pub fn push_again(&mut self, slot: Slot, bytes: Bytes, origin: O, now: Instant) {
        let since = self.oldest(slot).map_or(now, |oldest| oldest.min(now));
        let parcel = Parcel { bytes, origin, since, retried: true };
        let cost = parcel.cost();
        let queue = &mut self.queues[slot as usize];
        queue.parcels.insert(queue.retried, parcel);
        queue.retried += 1;
        self.grown(slot, cost);
    }

    fn grown(&mut self, slot: Slot, cost: usize) {
        self.bytes += cost;
        self.queues[slot as usize].bytes += cost;
        self.enter_ring(slot);
    }

    fn enter_ring(&mut self, slot: Slot) {
        let queue = &mut self.queues[slot as usize];
        if queue.open && !queue.in_ring && !queue.parcels.is_empty() {
            queue.in_ring = true;
            self.ring.push_back(slot);
        }
    }

    /// The pair may send from now on.
    pub fn open(&mut self, slot: Slot) {
        self.release_last(slot);
        self.queues[slot as usize].open = true;
        self.enter_ring(slot);
    }

    /// The pair may not send any more; what waits goes on waiting.
    pub fn close(&mut self, slot: Slot) {
        self.release_last(slot);
        self.queues[slot as usize].open = false;
    }

    /// What waits will not go out before the last control element after all.
    fn release_last(&mut self, slot: Slot) {
        if let Some(last) = self.queues[slot as usize].last.take() {
            self.control(last);
        }
    }

    /// Whether nothing of the pair is left here, so that its slot can be another's.
    #[must_use]
    pub fn is_unused(&self, slot: Slot) -> bool {
        let queue = &self.queues[slot as usize];
        !queue.open && !queue.in_ring && queue.parcels.is_empty() && queue.last.is_none()
    }

    /// Whether the pair may send.
    #[must_use]
    pub fn is_open(&self, slot: Slot) -> bool {
        self.queues[slot as usize].open
    }

    /// Takes everything that waits for a pair.
    pub fn take(&mut self, slot: Slot) -> Vec<Parcel<O>> {
        let queue = &mut self.queues[slot as usize];
        self.bytes -= queue.bytes;
        queue.bytes = 0;
        queue.retried = 0;
        queue.parcels.drain(..).collect()
    }

    /// Takes what has waited for a pair for `wait` or longer.
    pub fn take_overdue(&mut self, slot: Slot, now: Instant, wait: Duration) -> Vec<Parcel<O>> {
        let queue = &mut self.queues[slot as usize];
        let overdue = queue.parcels.iter().take_while(|parcel| now >= parcel.since + wait).count();
        let taken: Vec<Parcel<O>> = queue.parcels.drain(..overdue).collect();
        let bytes: usize = taken.iter().map(Parcel::cost).sum();
        queue.bytes -= bytes;
        queue.retried = queue.retried.saturating_sub(overdue);
        self.bytes -= bytes;
        taken
    }

    /// Since when the oldest stanza of a pair waits.
    #[must_use]
    pub fn oldest(&self, slot: Slot) -> Option<Instant> {
        self.queues[slot as usize].parcels.front().map(|parcel| parcel.since)
    }

    /// Bytes that wait for one pair.
    #[must_use]
    pub fn pair_bytes(&self, slot: Slot) -> usize {
        self.queues[slot as usize].bytes
    }

    /// Bytes of stanzas that wait for all pairs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many stanzas wait for one pair.
    #[must_use]
    pub fn pair_count(&self, slot: Slot) -> usize {
        self.queues[slot as usize].parcels.len()
    }

    /// Other bounds in bytes from now on: of one pair's queue, and of all together.
    pub fn set_limits(&mut self, pair_limit: usize, total_limit: usize) {
        (self.pair_limit, self.total_limit) = (pair_limit, total_limit);
    }

    /// Whether anything can be written now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self.end {
            End::Open => !self.control.is_empty() || !self.ring.is_empty(),
            End::Behind(_) | End::AtOnce(_) => true,
            End::Written => false,
        }
    }

    /// Appends what goes out next, until `out` has grown by about `room` bytes, and gives `each` every
    /// stanza that did, with its slot.
    pub fn fill(&mut self, out: &mut BytesMut, room: usize, mut each: impl FnMut(Slot, Parcel<O>)) {
        if self.has_ended() {
            return;
        }
        let end = out.len().saturating_add(room);
        for element in self.control.drain(..) {
            out.extend_from_slice(&element);
        }
        self.control_bytes = 0;
        while !matches!(self.end, End::AtOnce(_)) && out.len() < end {
            let Some(slot) = self.ring.pop_front() else { break };
            self.serve(slot, out, end, &mut each);
        }
        self.write_end(out);
    }

    fn write_end(&mut self, out: &mut BytesMut) {
        let is_due = match self.end {
            End::Open | End::Written => false,
            End::Behind(_) => self.ring.is_empty(),
            End::AtOnce(_) => true,
        };
        if let (true, End::Behind(last) | End::AtOnce(last)) = (is_due, &self.end) {
            out.extend_from_slice(last);
            self.end = End::Written;
        }
    }

    fn serve(&mut self, slot: Slot, out: &mut BytesMut, end: usize, each: &mut impl FnMut(Slot, Parcel<O>)) {
        let queue = &mut self.queues[slot as usize];
        queue.in_ring = false;
        if !queue.open {
            return;
        }
        queue.begin_turn();
        while queue.credit > 0 && out.len() < end {
            let Some(parcel) = queue.parcels.pop_front() else { break };
            out.extend_from_slice(&parcel.bytes);
            queue.bytes -= parcel.cost();
            self.bytes -= parcel.cost();
            queue.retried = queue.retried.saturating_sub(1);
            queue.charge(parcel.bytes.len());
            each(slot, parcel);
        }
        if queue.parcels.is_empty() {
            queue.credit = 0;
            if let Some(last) = queue.last.take() {
                out.extend_from_slice(&last);
                queue.open = false;
            }
            return;
        }
        queue.in_ring = true;
        if queue.credit > 0 {
            self.ring.push_front(slot);
        } else {
            self.ring.push_back(slot);
        }
    }
}

impl<O> Parcel<O> {
    fn cost(&self) -> usize {
        self.bytes.len() + PARCEL_OVERHEAD
    }
}

impl<O> Default for Queue<O> {
    fn default() -> Self {
        Self {
            parcels: VecDeque::new(),
            bytes: 0,
            credit: 0,
            debt: 0,
            retried: 0,
            open: false,
            in_ring: false,
            last: None,
        }
    }
}

impl<O> Queue<O> {
    /// A turn that is not over goes on; a new one pays debts first, and may be over at once.
    fn begin_turn(&mut self) {
        if self.credit == 0 {
            self.credit = QUANTUM.saturating_sub(self.debt);
            self.debt = self.debt.saturating_sub(QUANTUM);
        }
    }

    fn charge(&mut self, bytes: usize) {
        self.debt += bytes.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::Now;

    fn mux(pairs: u32) -> Mux {
        let mut mux = Mux::new(1 << 20, 8 << 20);
        for _ in 0..pairs {
            let slot = mux.add();
            mux.open(slot);
        }
        mux
    }

    fn fill(mux: &mut Mux, room: usize) -> String {
        let mut out = BytesMut::new();
        mux.fill(&mut out, room, |_, _| ());
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn push(mux: &mut Mux, slot: Slot, text: &str) -> Result<(), QueueFull<()>> {
        mux.push(slot, Bytes::copy_from_slice(text.as_bytes()), (), Now::origin().instant)
    }

    #[test]
    fn a_flood_of_one_pair_does_not_hold_up_another() {
        let mut mux = mux(2);
        for _ in 0..1000 {
            push(&mut mux, 0, &"a".repeat(100)).unwrap();
        }
        push(&mut mux, 1, "b").unwrap();
        let first = fill(&mut mux, 2 * QUANTUM);
        assert!(first.contains('b'), "the other pair's turn comes after one quantum");
        assert_eq!(first.find('b'), Some(QUANTUM.div_ceil(100) * 100));
    }

    #[test]
    fn large_stanzas_do_not_get_a_larger_share() {
        let mut mux = mux(2);
        for _ in 0..8 {
            push(&mut mux, 0, &"a".repeat(100 << 10)).unwrap();
        }
        for _ in 0..5000 {
            push(&mut mux, 1, &"b".repeat(100)).unwrap();
        }
        let written = fill(&mut mux, 400 << 10);
        let small = written.bytes().filter(|byte| *byte == b'b').count();
        assert!(small > 150 << 10, "{small} of {}", written.len());
        assert_eq!(fill(&mut mux, 8 << 20).len() + written.len(), 8 * (100 << 10) + 500_000, "and none is lost");
    }

    #[test]
    fn a_queue_that_was_opened_again_stays_open() {
        let mut mux = mux(1);
        push(&mut mux, 0, "1").unwrap();
        mux.control_behind(0, Bytes::from_static(b"<deactivate/>"));
        mux.open(0);
        assert_eq!(fill(&mut mux, 100), "<deactivate/>1");
        push(&mut mux, 0, "2").unwrap();
        assert_eq!(fill(&mut mux, 100), "2");
    }

    #[test]
    fn a_turn_goes_on_where_the_room_ended() {
        let mut mux = mux(2);
        for slot in [0, 1] {
            for _ in 0..4 {
                push(&mut mux, slot, if slot == 0 { "a" } else { "b" }).unwrap();
            }
        }
        assert_eq!(fill(&mut mux, 2) + &fill(&mut mux, 100), "aaaabbbb", "order within a pair, one turn each");
    }

    #[test]
    fn control_elements_go_first_and_a_last_one_last() {
        let mut mux = mux(1);
        push(&mut mux, 0, "1").unwrap();
        mux.control_behind(0, Bytes::from_static(b"<deactivate/>"));
        mux.control(Bytes::from_static(b"<active/>"));
        assert_eq!(fill(&mut mux, 100), "<active/>1<deactivate/>");
        push(&mut mux, 0, "2").unwrap();
        assert_eq!(fill(&mut mux, 100), "", "closed behind its last element");
    }

    #[test]
    fn a_closed_queue_waits_and_a_full_one_refuses() {
        let mut mux = Mux::new(200, 8 << 20);
        let slot = mux.add();
        push(&mut mux, slot, "waiting").unwrap();
        assert!(!mux.is_ready());
        let refused = push(&mut mux, slot, &"x".repeat(200)).unwrap_err();
        assert_eq!(refused.0.bytes, "x".repeat(200));
        mux.open(slot);
        assert_eq!(fill(&mut mux, 100), "waiting");
        assert_eq!((mux.bytes(), mux.pair_bytes(slot)), (0, 0));
    }

    #[test]
    fn what_came_back_goes_before_what_was_never_sent() {
        let mut mux = mux(1);
        push(&mut mux, 0, "3").unwrap();
        mux.push_again(0, Bytes::from_static(b"1"), (), Now::origin().instant);
        mux.push_again(0, Bytes::from_static(b"2"), (), Now::origin().instant);
        assert_eq!(fill(&mut mux, 100), "123");
    }
}
