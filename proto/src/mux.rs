//! The multiplexer: what waits to be written on a stream that several pairs share, fairly over pairs.
//!
//! Control elements go first; stanzas wait in one queue per pair, served by deficit round robin over
//! bytes, so that no pair can starve another: what a large stanza took beyond its pair's turn is
//! taken off the next ones. A queue is *open* while its pair may send. While nothing waits, stanzas pass by
//! the queues ([`Express`]), as many as the system would keep behind us as well.

mod express;
mod parcel;
mod waiting;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::broken::{self, Fault};
use crate::train::Train;

pub use express::Express;
use parcel::PARCEL_OVERHEAD;
pub use parcel::{Parcel, Parcels};

/// Bytes that a pair may send before the next one's turn: a TLS record, so that turns do not cut
/// records and a batch of one pair stays together.
const QUANTUM: usize = 16 << 10;
/// Emptied queues that are kept for the next pairs that send, each with the memory that it has.
const SPARE: usize = 1 << 10;
/// Trains that these have room for, all together: a megabyte.
const SPARE_ROOM: usize = 1 << 14;

/// A pair's place on one link.
pub type Slot = u32;

#[derive(Debug)]
struct Queue<O> {
    parcels: VecDeque<Parcels<O>>,
    bytes: usize,
    /// Bytes left of this turn; 0 between turns.
    credit: usize,
    /// Bytes taken beyond the turns there were.
    debt: usize,
    in_ring: bool,
    /// A control element that must not overtake the stanzas before it.
    last: Option<Bytes>,
}

/// See the module.
#[derive(Debug)]
pub struct Mux<O = ()> {
    control: VecDeque<Bytes>,
    control_bytes: usize,
    /// Whether each pair may send.
    open: Vec<bool>,
    /// What waits for each pair, and what it owes; a pair that rests has none.
    queues: Vec<Option<Box<Queue<O>>>>,
    /// The memory of queues that were emptied, for the next ones that fill.
    #[expect(clippy::vec_box, reason = "boxes go from here to the pairs and back")]
    spare: Vec<Box<Queue<O>>>,
    /// How many trains that memory is for.
    spare_room: usize,
    ring: VecDeque<Slot>,
    /// What goes out before anything in the queues. Of a pair, nothing in its queue is older.
    express: VecDeque<Express<O>>,
    express_bytes: usize,
    bytes: usize,
    pair_limit: usize,
    total_limit: usize,
    /// No stanza goes out: the peer must first say how far it is.
    gated: bool,
    next_seq: u64,
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

/// A stanza that came back.
#[derive(Clone, Debug)]
pub struct Again {
    /// The whole stanza.
    pub bytes: Bytes,
    /// Its place, as [`Parcel::seq`].
    pub seq: u64,
    /// It came back as undelivered.
    pub retried: bool,
}

/// A stanza that found its queue full.
#[derive(Debug, PartialEq, Eq)]
pub struct QueueFull<O>(pub Parcel<O>);

impl<O: Clone> Mux<O> {
    /// Bounds in bytes: of one pair's queue, and of all together.
    #[must_use]
    pub fn new(pair_limit: usize, total_limit: usize) -> Self {
        Self {
            control: VecDeque::new(),
            control_bytes: 0,
            open: Vec::new(),
            queues: Vec::new(),
            spare: Vec::new(),
            spare_room: 0,
            ring: VecDeque::new(),
            express: VecDeque::new(),
            express_bytes: 0,
            bytes: 0,
            pair_limit,
            total_limit,
            gated: false,
            next_seq: 0,
            end: End::Open,
        }
    }

    /// A place for one more pair, closed.
    pub fn add(&mut self) -> Slot {
        self.open.push(false);
        self.queues.push(None);
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

    /// Whether stanzas wait, whatever their queues are; control elements go out all the same.
    pub fn gate(&mut self, gated: bool) {
        self.gated = gated;
    }

    /// Another stream follows: its control elements are none of the old one's, and no pair may send yet.
    pub(crate) fn restart(&mut self) {
        self.settle();
        self.control.clear();
        (self.control_bytes, self.gated, self.end) = (0, false, End::Open);
        self.ring.clear();
        self.open.fill(false);
        for place in &mut self.queues {
            if let Some(queue) = place {
                (queue.in_ring, queue.last, queue.credit, queue.debt) = (false, None, 0, 0);
            }
            place.take_if(|queue| queue.parcels.is_empty());
        }
    }

    /// Goes on where another one was: its control elements, and its end.
    pub(crate) fn continue_for(&mut self, other: &mut Self) {
        self.control = std::mem::take(&mut other.control);
        self.control_bytes = other.control_bytes;
        self.end = std::mem::replace(&mut other.end, End::Written);
    }

    /// Ends the stream with `last`: behind the stanzas of open queues, or before them. Nothing is
    /// written behind it; what still waits then can be taken.
    pub fn end(&mut self, last: Bytes, at_once: bool) {
        self.settle();
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
        self.settle();
        let open = self.is_open(slot);
        let waiting = self.queues[slot as usize].as_mut().filter(|queue| open && !queue.parcels.is_empty());
        let Some(queue) = waiting else {
            self.close(slot);
            return self.control(element);
        };
        if let Some(before) = queue.last.replace(element) {
            self.control(before);
        }
    }

    /// Queues a stanza.
    ///
    /// # Errors
    /// [`QueueFull`] where the pair's bytes or all bytes would pass their bound.
    pub fn push(&mut self, slot: Slot, bytes: Bytes, origin: O, since: Instant) -> Result<(), QueueFull<O>> {
        let parcel = Parcel { bytes, origin, since, retried: false, seq: self.next_seq, written: false };
        if !self.has_room(slot, parcel.cost()) {
            return Err(QueueFull(parcel));
        }
        self.push_last(slot, parcel.into());
        Ok(())
    }

    /// Queues stanzas that stay together.
    ///
    /// # Errors
    /// The stanzas, where not all of them find room: those find it that do when each is pushed by itself.
    pub fn push_train(&mut self, slot: Slot, train: Train, origin: O, since: Instant) -> Result<(), Train> {
        let parcels = Parcels { train, origin, since, retried: false, seq: self.next_seq, written: false };
        if !self.has_room(slot, parcels.cost()) {
            return Err(parcels.train);
        }
        self.push_last(slot, parcels);
        Ok(())
    }

    fn has_room(&mut self, slot: Slot, cost: usize) -> bool {
        if self.pair_bytes(slot) + self.express_bytes + cost > self.pair_limit {
            // Which of it is the pair's has to be seen.
            self.settle();
        }
        let is_full = self.pair_bytes(slot) + cost > self.pair_limit || self.bytes + cost > self.total_limit;
        !is_full || broken::has(Fault::NoBound)
    }

    fn push_last(&mut self, slot: Slot, parcels: Parcels<O>) {
        let cost = parcels.cost();
        self.next_seq += parcels.train.count() as u64;
        self.queue(slot).parcels.push_back(parcels);
        self.grown(slot, cost);
    }

    /// Puts a stanza that was written and came back where it was: behind what was queued before it. `retried`: it
    /// came back as undelivered.
    ///
    /// It is older than what was never written, so it has waited for as long as the first of them.
    pub fn push_again(&mut self, slot: Slot, stanza: Again, origin: O, now: Instant) {
        self.settle();
        let Again { bytes, seq, retried } = stanza;
        let since = self.oldest(slot).map_or(now, |oldest| oldest.min(now));
        let parcel = Parcel { bytes, origin, since, retried, seq, written: true };
        self.put(slot, parcel);
    }

    /// Puts a stanza where its `seq` says.
    fn put(&mut self, slot: Slot, parcel: Parcel<O>) {
        let cost = parcel.cost();
        let parcels = &mut self.queue(slot).parcels;
        let place = parcels.partition_point(|before| before.seq < parcel.seq);
        let place = if broken::has(Fault::AgainGoesLast) { parcels.len() } else { place };
        parcels.insert(place, parcel.into());
        self.grown(slot, cost);
    }

    /// The queue of a pair for which something is to wait.
    fn queue(&mut self, slot: Slot) -> &mut Queue<O> {
        self.queues[slot as usize].get_or_insert_with(|| {
            let spare = self.spare.pop().unwrap_or_default();
            self.spare_room -= spare.parcels.capacity();
            spare
        })
    }

    /// Keeps nothing of a queue in which nothing is left, but memory for the next one.
    fn forget_if_unused(&mut self, slot: Slot) {
        let place = &mut self.queues[slot as usize];
        let Some(queue) = place.as_mut().filter(|queue| queue.parcels.is_empty()) else { return };
        if !queue.is_unused() {
            queue.parcels = VecDeque::new();
            return;
        }
        queue.credit = 0;
        let room = self.spare_room + queue.parcels.capacity();
        let unused = place.take().filter(|_| self.spare.len() < SPARE && room <= SPARE_ROOM);
        if let Some(unused) = unused {
            self.spare_room = room;
            self.spare.push(unused);
        }
    }

    fn grown(&mut self, slot: Slot, cost: usize) {
        self.bytes += cost;
        self.queue(slot).bytes += cost;
        self.enter_ring(slot);
    }

    fn enter_ring(&mut self, slot: Slot) {
        let Some(queue) = &mut self.queues[slot as usize] else { return };
        if self.open[slot as usize] && !queue.in_ring && !queue.parcels.is_empty() {
            queue.in_ring = true;
            self.ring.push_back(slot);
        }
    }

    /// The pair may send from now on.
    pub fn open(&mut self, slot: Slot) {
        self.release_last(slot);
        self.open[slot as usize] = true;
        self.enter_ring(slot);
    }

    /// The pair may not send any more; what waits goes on waiting.
    pub fn close(&mut self, slot: Slot) {
        self.settle();
        self.release_last(slot);
        self.open[slot as usize] = false;
    }

    /// What waits will not go out before the last control element after all.
    fn release_last(&mut self, slot: Slot) {
        if let Some(last) = self.queues[slot as usize].as_mut().and_then(|queue| queue.last.take()) {
            self.control(last);
        }
    }

    /// Whether nothing of the pair is left here, so that its slot can be another's.
    #[must_use]
    pub fn is_unused(&self, slot: Slot) -> bool {
        let rests = |queue: &Queue<O>| !queue.in_ring && queue.parcels.is_empty() && queue.last.is_none();
        !self.is_open(slot) && self.queues[slot as usize].as_deref().is_none_or(rests)
    }

    /// Whether the pair may send.
    #[must_use]
    pub fn is_open(&self, slot: Slot) -> bool {
        self.open[slot as usize]
    }

    /// Bytes of stanzas that wait for all pairs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Other bounds in bytes from now on: of one pair's queue, and of all together.
    pub fn set_limits(&mut self, pair_limit: usize, total_limit: usize) {
        (self.pair_limit, self.total_limit) = (pair_limit, total_limit);
    }

    /// Whether anything can be written now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self.end {
            End::Open => !self.control.is_empty() || !(self.gated || self.ring.is_empty() && self.express.is_empty()),
            End::Behind(_) | End::AtOnce(_) => true,
            End::Written => false,
        }
    }

    /// Appends what goes out next, until `out` has grown by about `room` bytes, and gives `each` the
    /// stanzas that did, with their slot. Stanzas that came together go out together.
    pub fn fill(&mut self, out: &mut BytesMut, room: usize, mut each: impl FnMut(Slot, Parcels<O>)) {
        if self.has_ended() {
            return;
        }
        self.settle();
        let end = out.len().saturating_add(room);
        self.write_control(out);
        while !matches!(self.end, End::AtOnce(_)) && !self.gated && out.len() < end {
            let Some(slot) = self.ring.pop_front() else { break };
            self.serve(slot, out, end, &mut each);
        }
        self.write_end(out);
    }

    fn write_control(&mut self, out: &mut BytesMut) {
        for element in self.control.drain(..) {
            out.extend_from_slice(&element);
        }
        self.control_bytes = 0;
    }

    fn write_end(&mut self, out: &mut BytesMut) {
        let is_due = match self.end {
            End::Open | End::Written => false,
            End::Behind(_) => self.gated || self.ring.is_empty(),
            End::AtOnce(_) => true,
        };
        if let (true, End::Behind(last) | End::AtOnce(last)) = (is_due, &self.end) {
            out.extend_from_slice(last);
            self.end = End::Written;
        }
    }

    fn serve(&mut self, slot: Slot, out: &mut BytesMut, end: usize, each: &mut impl FnMut(Slot, Parcels<O>)) {
        let Some(queue) = &mut self.queues[slot as usize] else { return };
        queue.in_ring = false;
        if !self.open[slot as usize] {
            return self.forget_if_unused(slot);
        }
        queue.begin_turn();
        while queue.credit > 0 && out.len() < end {
            let Some(parcels) = queue.parcels.pop_front() else { break };
            out.extend_from_slice(parcels.train.as_bytes());
            queue.bytes -= parcels.cost();
            self.bytes -= parcels.cost();
            queue.charge(parcels.train.length());
            each(slot, parcels);
        }
        if queue.parcels.is_empty() {
            queue.credit = 0;
            if let Some(last) = queue.last.take() {
                out.extend_from_slice(&last);
                self.open[slot as usize] = false;
            }
            return self.forget_if_unused(slot);
        }
        queue.in_ring = true;
        if queue.credit > 0 {
            self.ring.push_front(slot);
        } else {
            self.ring.push_back(slot);
        }
    }
}

impl<O> Default for Queue<O> {
    fn default() -> Self {
        Self { parcels: VecDeque::new(), bytes: 0, credit: 0, debt: 0, in_ring: false, last: None }
    }
}

impl<O> Queue<O> {
    /// Whether it says no more than that the pair rests.
    fn is_unused(&self) -> bool {
        self.parcels.is_empty() && self.debt == 0 && !self.in_ring && self.last.is_none()
    }

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
mod tests;
