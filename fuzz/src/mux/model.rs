//! What the multiplexer has to do: queues as they are, and no rings.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use heteronym_proto::mux::{Mux, Parcel};

/// As in the multiplexer: bytes of a turn, and what a stanza costs beyond its bytes.
const QUANTUM: usize = 16 << 10;
const OVERHEAD: usize = 64;
/// Bytes of the longest stanza.
pub(super) const LONGEST: usize = 40_000;
/// How far another pair may get ahead of one that waits: the two turns that may be under way at the begin and
/// at the end, and the stanzas that either of them takes beyond its turn.
const AHEAD: usize = 2 * QUANTUM + 2 * LONGEST;

#[derive(Clone, Debug)]
pub(super) struct Stanza {
    pub(super) bytes: Bytes,
    pub(super) origin: u64,
    /// Known once it was written.
    pub(super) seq: Option<u64>,
    pub(super) since: Instant,
    pub(super) written: bool,
    /// It goes out with the one before it.
    pub(super) joined: bool,
    /// It came while nothing waited, and may go out as it came.
    pub(super) express: bool,
}

impl Stanza {
    /// One that was never written, by itself.
    pub(super) fn new(bytes: Bytes, origin: u64, since: Instant) -> Self {
        Self { bytes, origin, seq: None, since, written: false, joined: false, express: false }
    }
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    queue: VecDeque<Stanza>,
    pub(super) open: bool,
    last: Option<Bytes>,
    /// Of the other slots, bytes that they wrote since this one waits, less its own.
    ahead: Vec<isize>,
}

#[derive(Debug)]
enum End {
    Open,
    Behind(Bytes),
    AtOnce(Bytes),
    Written,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) slots: Vec<Slot>,
    pub(super) control: VecDeque<Bytes>,
    pub(super) gated: bool,
    pub(super) limits: (usize, usize),
    end: End,
}

impl Slot {
    fn bytes(&self) -> usize {
        self.queue.iter().map(|stanza| stanza.bytes.len() + OVERHEAD).sum()
    }

    pub(super) fn has(&self, origin: u64) -> bool {
        self.queue.iter().any(|stanza| stanza.origin == origin)
    }

    /// Its next stanza was to go out with the one before it.
    fn is_cut(&self) -> bool {
        self.queue.front().is_some_and(|stanza| stanza.joined)
    }

    /// It has something that may go out.
    fn waits(&self) -> bool {
        self.open && !self.queue.is_empty()
    }
}

impl Model {
    pub(super) fn new(limits: (usize, usize)) -> Self {
        Self { slots: Vec::new(), control: VecDeque::new(), gated: false, limits, end: End::Open }
    }

    fn bytes(&self) -> usize {
        self.slots.iter().map(Slot::bytes).sum()
    }

    /// Everything that can be asked.
    pub(super) fn compare(&self, mux: &Mux<u64>) {
        assert_eq!(mux.bytes(), self.bytes());
        assert_eq!(mux.control_bytes(), self.control.iter().map(Bytes::len).sum::<usize>());
        assert_eq!(mux.has_ended(), matches!(self.end, End::Written));
        assert!(mux.is_ready() || !self.can_write(), "{self:?}");
        for (n, slot) in (0..).zip(&self.slots) {
            assert_eq!(mux.is_open(n), slot.open);
            if !mux.has_express() {
                assert_eq!((mux.pair_bytes(n), mux.pair_count(n)), (slot.bytes(), slot.queue.len()));
                assert_eq!(mux.oldest(n), slot.queue.iter().map(|stanza| stanza.since).min());
            }
            assert!(!mux.is_unused(n) || (!slot.open && slot.queue.is_empty() && slot.last.is_none()));
        }
    }

    fn can_write(&self) -> bool {
        match self.end {
            End::Open => !self.control.is_empty() || (!self.gated && self.slots.iter().any(Slot::waits)),
            End::Behind(_) | End::AtOnce(_) => true,
            End::Written => false,
        }
    }

    pub(super) fn end(&mut self, last: &Bytes, at_once: bool) {
        if !matches!(self.end, End::Written) {
            self.end = if at_once { End::AtOnce(last.clone()) } else { End::Behind(last.clone()) };
        }
    }

    pub(super) fn open(&mut self, slot: u32) {
        self.release(slot);
        self.slots[slot as usize].open = true;
    }

    pub(super) fn close(&mut self, slot: u32) {
        self.release(slot);
        self.slots[slot as usize].open = false;
        self.forget_turns();
    }

    fn release(&mut self, slot: u32) {
        self.control.extend(self.slots[slot as usize].last.take());
    }

    pub(super) fn control_behind(&mut self, slot: u32, element: &Bytes) {
        if self.slots[slot as usize].waits() {
            self.release(slot);
            self.slots[slot as usize].last = Some(element.clone());
        } else {
            self.close(slot);
            self.control.push_back(element.clone());
        }
    }

    /// Whether there is room for stanzas of these lengths.
    pub(super) fn fits(&self, slot: u32, lengths: &[usize]) -> bool {
        let cost: usize = lengths.iter().map(|length| length + OVERHEAD).sum();
        self.slots[slot as usize].bytes() + cost <= self.limits.0 && self.bytes() + cost <= self.limits.1
    }

    pub(super) fn push(&mut self, slot: u32, stanza: Stanza) {
        self.slots[slot as usize].queue.push_back(stanza);
    }

    pub(super) fn push_together(&mut self, slot: u32, all: impl Iterator<Item = Bytes>, origin: u64, since: Instant) {
        for (n, bytes) in all.enumerate() {
            self.push(slot, Stanza { joined: n > 0, ..Stanza::new(bytes, origin, since) });
        }
    }

    /// Behind those that were written before it, and before those that never were.
    pub(super) fn push_again(&mut self, slot: u32, mut stanza: Stanza) {
        let queue = &mut self.slots[slot as usize].queue;
        let oldest = queue.iter().map(|other| other.since).min();
        stanza.since = oldest.map_or(stanza.since, |oldest| oldest.min(stanza.since));
        let place = queue.iter().filter(|other| other.written && other.seq < stanza.seq).count();
        queue.insert(place, stanza);
    }

    /// `taken` are those for which `due` holds, in order.
    pub(super) fn taken(&mut self, slot: u32, taken: &[Parcel<u64>], due: impl Fn(&Stanza) -> bool) {
        let queue = std::mem::take(&mut self.slots[slot as usize].queue);
        let (gone, stays): (VecDeque<_>, VecDeque<_>) = queue.into_iter().partition(due);
        self.slots[slot as usize].queue = stays;
        assert_eq!(gone.len(), taken.len());
        gone.iter().zip(taken).for_each(|(stanza, parcel)| same(stanza, parcel));
        self.forget_turns();
    }

    /// Takes what was written into `room`, the first so many stanzas of it as they came.
    pub(super) fn filled(&mut self, out: &[u8], sent: &[(u32, Parcel<u64>)], express: usize, room: usize) {
        if matches!(self.end, End::Written) {
            assert!(out.is_empty() && sent.is_empty(), "nothing is written behind the end");
            return;
        }
        let (mut sent, mut controls) = (sent.iter(), std::mem::take(&mut self.control).into_iter());
        let (mut spent, mut rest, mut before) = (0, out, None);
        let of_queues = sent.len() - express;
        while !rest.is_empty() {
            let token = take_token(&mut rest, sent.as_slice().first());
            if let Some(control) = controls.next() {
                assert_eq!(token, control, "control elements go first");
            } else if token[0] == b's' {
                let as_it_came = sent.len() > of_queues;
                let (slot, parcel) = sent.next().expect("a stanza that was told of");
                let stanza = self.sent(*slot, parcel, token, as_it_came);
                let may = if stanza.joined { before == Some(slot) } else { spent < room || as_it_came };
                assert!(may, "there is no more room");
                before = Some(slot);
            } else {
                self.wrote_last(token);
                before = None;
            }
            spent += token.len();
        }
        assert!(controls.next().is_none() && sent.next().is_none(), "all of them are written");
        assert!(!self.slots.iter().any(Slot::is_cut), "what came together goes out together");
        assert!(spent >= room || !self.can_write(), "there was room for more: {self:?}");
    }

    fn sent(&mut self, slot: u32, parcel: &Parcel<u64>, token: &[u8], as_it_came: bool) -> Stanza {
        assert!(!self.gated && matches!(self.end, End::Open | End::Behind(_)), "no stanza may go out");
        let waiting: Vec<usize> = (0..self.slots.len()).filter(|slot| self.slots[*slot].waits()).collect();
        let of = &mut self.slots[slot as usize];
        assert!(of.open, "a closed slot lets nothing out");
        let stanza = of.queue.pop_front().expect("a stanza that waits");
        same(&stanza, parcel);
        assert_eq!(token, stanza.bytes);
        if as_it_came {
            assert!(stanza.express, "only what came like this goes out like this");
        } else {
            self.count_turns(slot as usize, token.len(), &waiting);
        }
        stanza
    }

    /// An element behind the stanzas of a slot, or of all.
    fn wrote_last(&mut self, token: &[u8]) {
        let of = |slot: &&mut Slot| slot.last.as_ref().is_some_and(|last| last == token);
        if let Some(slot) = self.slots.iter_mut().find(of) {
            assert!(slot.open && slot.queue.is_empty() && !self.gated, "it overtakes nothing");
            (slot.open, slot.last) = (false, None);
            return;
        }
        let expected = match &self.end {
            End::AtOnce(last) => last,
            End::Behind(last) => {
                assert!(self.gated || !self.slots.iter().any(Slot::waits), "the end overtakes nothing");
                last
            }
            End::Open | End::Written => panic!("{} was not asked for", token.escape_ascii()),
        };
        assert_eq!(token, expected);
        self.end = End::Written;
    }

    /// `slot` wrote so many bytes while others, or itself, waited.
    fn count_turns(&mut self, slot: usize, bytes: usize, waiting: &[usize]) {
        let (count, bytes) = (self.slots.len(), isize::try_from(bytes).expect("a few"));
        for (n, of) in self.slots.iter_mut().enumerate() {
            if !waiting.contains(&n) || of.queue.is_empty() {
                of.ahead.clear();
                continue;
            }
            of.ahead.resize(count, 0);
            if n == slot {
                // What it wrote itself does not count twice: the others begin anew where they were behind.
                of.ahead.iter_mut().for_each(|ahead| *ahead = (*ahead - bytes).max(0));
                continue;
            }
            of.ahead[slot] += bytes;
            assert!(of.ahead[slot] <= AHEAD.cast_signed(), "{slot} is {} bytes ahead of {n}", of.ahead[slot]);
        }
    }

    /// Who may not send, or has nothing, loses its turn.
    fn forget_turns(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.waits()) {
            slot.ahead.clear();
        }
    }
}

/// What was written next: a stanza is as long as its parcel, and what is short ends with its last byte.
fn take_token<'a>(rest: &mut &'a [u8], next: Option<&(u32, Parcel<u64>)>) -> &'a [u8] {
    let length = match next {
        Some((_, parcel)) if rest[0] == b's' => parcel.bytes.len(),
        _ => rest.iter().position(|byte| *byte == b'>').map_or(0, |at| at + 1),
    };
    rest.split_off(..length).expect("a whole element")
}

fn same(stanza: &Stanza, parcel: &Parcel<u64>) {
    let there = (&parcel.bytes, parcel.origin, parcel.since, parcel.written);
    assert_eq!(there, (&stanza.bytes, stanza.origin, stanza.since, stanza.written));
    assert!(stanza.seq.is_none_or(|seq| seq == parcel.seq), "it keeps its place");
}
