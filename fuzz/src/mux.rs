//! The multiplexer: sequences of operations on it, beside a model that is too simple to be wrong.

mod model;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use heteronym_proto::batch::Batch;
use heteronym_proto::mux::{Again, Express, Mux, Parcel};
use heteronym_proto::train::trains;

use crate::choices::Choices;
use crate::clock::origin;
use model::{Model, Stanza};

/// Bounds of one pair's queue and of all: some inputs exceed them, and some do not.
const LIMITS: [(usize, usize); 4] = [(200, 600), (30_000, 60_000), (1 << 20, 200_000), (1 << 20, 8 << 20)];
const SLOTS: usize = 4;
/// Lengths of stanzas, the longest of which takes several turns.
const LENGTHS: [usize; 6] = [16, 100, 1000, 5000, 16 << 10, model::LONGEST];
const ROOMS: [usize; 7] = [0, 1, 100, 4000, 16 << 10, 100_000, usize::MAX];
const WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3)];

/// A multiplexer, its model, and the stanzas that have left it.
struct Run<'a> {
    choices: Choices<'a>,
    mux: Mux<u64>,
    model: Model,
    now: Instant,
    written: Vec<(u32, Parcel<u64>)>,
    /// Of what was made so far.
    count: u64,
}

/// Does what `data` says.
///
/// # Panics
/// If the multiplexer and its model do not agree.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limits = choices.of(&LIMITS);
    let (mux, model) = (Mux::new(limits.0, limits.1), Model::new(limits));
    let mut run = Run { choices, mux, model, now: origin(), written: Vec::new(), count: 0 };
    run.add();
    while let Some(byte) = run.choices.next() {
        run.step(byte);
        run.model.compare(&run.mux);
    }
    run.finish();
}

impl Run<'_> {
    fn step(&mut self, byte: u8) {
        let slot = u32::from(byte >> 4) % u32::try_from(self.model.slots.len()).expect("a few");
        match byte % 16 {
            0..=1 => self.push(slot),
            2 => self.push_express(),
            3 => self.push_together(slot),
            4..=6 => self.fill(),
            7 => self.open(slot),
            8 => {
                self.mux.close(slot);
                self.model.close(slot);
            }
            9 => self.push_again(),
            10 => {
                let taken = self.mux.take(slot);
                self.model.taken(slot, &taken, |_| true);
            }
            11 => self.take_overdue(slot),
            12 => self.control(slot),
            13 => self.now += self.choices.of(&WAITS),
            14 => {
                self.model.gated = !self.model.gated;
                self.mux.gate(self.model.gated);
            }
            _ => self.rarely(),
        }
    }

    fn rarely(&mut self) {
        match self.choices.below(4) {
            0 | 1 => self.add(),
            2 => {
                self.model.limits = self.choices.of(&LIMITS);
                self.mux.set_limits(self.model.limits.0, self.model.limits.1);
            }
            _ => {
                let (element, at_once) = (self.element('e', 0), self.choices.below(2) == 0);
                self.model.end(&element, at_once);
                self.mux.end(element, at_once);
            }
        }
    }

    fn add(&mut self) {
        if self.model.slots.len() < SLOTS {
            assert_eq!(self.mux.add() as usize, self.model.slots.len());
            self.model.slots.push(model::Slot::default());
            self.open(self.model.slots.len() as u32 - 1);
        }
    }

    fn open(&mut self, slot: u32) {
        self.mux.open(slot);
        self.model.open(slot);
    }

    /// Something that is written as it is, and is like nothing else; `length` at least.
    fn element(&mut self, kind: char, length: usize) -> Bytes {
        self.count += 1;
        let mut text = format!("{kind}{}", self.count).into_bytes();
        text.resize(text.len().max(length.saturating_sub(1)), b'.');
        text.push(b'>');
        text.into()
    }

    fn control(&mut self, slot: u32) {
        let element = self.element('c', 0);
        if self.choices.below(2) == 0 {
            self.model.control.push_back(element.clone());
            self.mux.control(element);
        } else {
            self.model.control_behind(slot, &element);
            self.mux.control_behind(slot, element);
        }
    }

    fn push(&mut self, slot: u32) {
        let length = self.choices.of(&LENGTHS);
        let bytes = self.element('s', length);
        self.push_stanza(slot, bytes);
    }

    fn push_stanza(&mut self, slot: u32, bytes: Bytes) {
        self.count += 1;
        let (origin, fits) = (self.count, self.model.fits(slot, &[bytes.len()]));
        match self.mux.push(slot, bytes.clone(), origin, self.now) {
            Ok(()) => self.model.push(slot, Stanza::new(bytes, origin, self.now)),
            Err(full) => assert_eq!((full.0.bytes, full.0.origin), (bytes, origin)),
        }
        assert_eq!(self.model.slots[slot as usize].has(origin), fits, "the bounds are exact");
    }

    /// Stanzas that came together, which make several trains where they are long; of a train that finds no room as
    /// a whole, each by itself.
    fn push_together(&mut self, slot: u32) {
        let count = self.choices.below(6);
        let lengths: Vec<usize> = (0..count).map(|_| self.choices.of(&LENGTHS)).collect();
        let stanzas: Batch<u32> = lengths.into_iter().map(|length| (slot, self.element('s', length))).collect();
        let mut all = Vec::new();
        trains(&stanzas, |of, train| all.push((of, train)));
        assert!(all.iter().flat_map(|(_, train)| train.iter()).eq(stanzas.iter().map(|(_, stanza)| stanza)));
        for (_, train) in all {
            self.count += 1;
            let (origin, now) = (self.count, self.now);
            let fits = self.model.fits(slot, &train.iter().map(<[u8]>::len).collect::<Vec<_>>());
            match self.mux.push_train(slot, train.clone(), origin, now) {
                Ok(()) => self.model.push_together(slot, train.into_stanzas(), origin, now),
                Err(full) => {
                    assert_eq!(full, train);
                    full.into_stanzas().for_each(|bytes| self.push_stanza(slot, bytes));
                }
            }
            assert_eq!(self.model.slots[slot as usize].has(origin), fits, "the bounds are exact");
        }
    }

    /// Stanzas of any slots that go out as they came, if nothing else waits; all of them or none.
    fn push_express(&mut self) {
        let (count, slots) = (self.choices.below(6), self.model.slots.len());
        let stanzas: Batch<u32> = (0..count)
            .map(|_| {
                let (slot, length) = (self.choices.below(slots), self.choices.of(&LENGTHS));
                (u32::try_from(slot).expect("a few"), self.element('s', length))
            })
            .collect();
        self.count += 1;
        let (origin, now) = (self.count, self.now);
        if self.mux.push_express(stanzas.clone(), origin, now).is_ok() {
            for (slot, bytes) in stanzas.copies() {
                assert!(self.model.fits(slot, &[bytes.len()]), "no bound is passed");
                assert!(self.model.slots[slot as usize].open, "a closed slot takes nothing");
                self.model.push(slot, Stanza { express: true, ..Stanza::new(bytes, origin, now) });
            }
        }
    }

    /// One of those that were written comes back.
    fn push_again(&mut self) {
        if self.written.is_empty() {
            return;
        }
        let at = self.choices.below(self.written.len());
        let (slot, parcel) = self.written.swap_remove(at);
        let Parcel { bytes, origin, seq, retried, .. } = parcel;
        let stanza = Stanza::new(bytes.clone(), origin, self.now);
        self.model.push_again(slot, Stanza { seq: Some(seq), written: true, ..stanza });
        self.mux.push_again(slot, Again { bytes, seq, retried: !retried }, origin, self.now);
    }

    fn take_overdue(&mut self, slot: u32) {
        let (wait, now) = (self.choices.of(&WAITS), self.now);
        let taken = self.mux.take_overdue(slot, now, wait);
        self.model.taken(slot, &taken, |stanza| now >= stanza.since + wait);
    }

    fn fill(&mut self) {
        let room = self.choices.of(&ROOMS);
        self.fill_by(room);
    }

    fn fill_by(&mut self, room: usize) {
        // What is there already stays, and does not count.
        let mut out = BytesMut::from(&b"before"[..]);
        let (mut sent, before) = (Vec::new(), out.len());
        let may_fill =
            self.choices.below(2) == 0 || self.mux.fill_express(&mut out, room, |express| add(express, &mut sent));
        let express = sent.len();
        if may_fill {
            let room = room.saturating_sub(out.len() - before);
            self.mux.fill(&mut out, room, |slot, parcels| sent.extend(parcels.each().map(|parcel| (slot, parcel))));
        }
        assert!(out.starts_with(b"before"));
        self.model.filled(&out[6..], &sent, express, room);
        self.written.append(&mut sent);
    }

    /// What still waits goes out, where it may; the rest can be taken.
    fn finish(&mut self) {
        self.fill_by(usize::MAX);
        assert!(!self.mux.is_ready(), "there is nothing more");
        for slot in 0..self.model.slots.len() as u32 {
            let taken = self.mux.take(slot);
            self.model.taken(slot, &taken, |_| true);
        }
        self.model.compare(&self.mux);
        assert_eq!(self.mux.bytes(), 0);
    }
}

fn add(express: Express<u64>, sent: &mut Vec<(u32, Parcel<u64>)>) {
    let Express { stanzas, origin, since, seq } = express;
    for (seq, (slot, bytes)) in (seq..).zip(stanzas.copies()) {
        sent.push((slot, Parcel { bytes, origin, since, retried: false, seq, written: false }));
    }
}
