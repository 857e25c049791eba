//! The express: messages of stanzas of many pairs that go out as they came, while nothing else waits. There is
//! nobody then to be fair to, and a queue for each pair would be filled and emptied for nothing.

use std::time::Instant;

use bytes::BytesMut;

use super::{Mux, PARCEL_OVERHEAD, Parcel, Slot};
use crate::batch::Batch;

/// Bytes of stanzas that may be on their way like this: as many as make those pause who bring them, and less than the
/// system keeps for a connection behind us.
const EXPRESS_BYTES: usize = 512 << 10;

/// The stanzas of one message.
#[derive(Clone, Debug)]
pub struct Express<O = ()> {
    /// In order, each with its pair.
    pub stanzas: Batch<Slot>,
    /// As [`Parcel::origin`].
    pub origin: O,
    /// As [`Parcel::since`].
    pub since: Instant,
    /// Of the first one; the others' follow.
    pub seq: u64,
}

impl<O> Express<O> {
    fn cost(&self) -> usize {
        cost(&self.stanzas)
    }
}

fn cost(stanzas: &Batch<Slot>) -> usize {
    stanzas.as_bytes().len() + stanzas.len() * PARCEL_OVERHEAD
}

impl<O: Clone> Mux<O> {
    /// Queues stanzas that go out as they came.
    ///
    /// # Errors
    /// The stanzas, where something else waits, not all of their pairs may send, or they are too many.
    pub fn push_express(&mut self, stanzas: Batch<Slot>, origin: O, since: Instant) -> Result<(), Batch<Slot>> {
        if stanzas.is_empty() {
            return Ok(());
        }
        let cost = cost(&stanzas);
        let is_free = self.ring.is_empty() && !self.gated && matches!(self.end, super::End::Open);
        let has_room =
            self.express_bytes + cost <= EXPRESS_BYTES.min(self.pair_limit) && self.bytes + cost <= self.total_limit;
        if !is_free || !has_room || stanzas.marks().iter().any(|(slot, _)| !self.is_open(*slot)) {
            return Err(stanzas);
        }
        let express = Express { stanzas, origin, since, seq: self.next_seq };
        self.next_seq += express.stanzas.len() as u64;
        self.bytes += cost;
        self.express_bytes += cost;
        self.express.push_back(express);
        Ok(())
    }

    /// Appends control elements and what goes out as it came, until `out` has grown by about `room` bytes, and gives
    /// `each` the stanzas that did. What is in queues comes behind them: whether it is [`Self::fill`]'s turn.
    pub fn fill_express(&mut self, out: &mut BytesMut, room: usize, mut each: impl FnMut(Express<O>)) -> bool {
        if self.express.is_empty() || self.gated {
            return true;
        }
        let end = out.len().saturating_add(room);
        self.write_control(out);
        while out.len() < end {
            let Some(express) = self.express.pop_front() else { break };
            out.extend_from_slice(express.stanzas.as_bytes());
            let cost = express.cost();
            self.bytes -= cost;
            self.express_bytes -= cost;
            each(express);
        }
        self.express.is_empty()
    }

    /// Of a pair, since when each stanza waits and what it costs.
    pub(super) fn in_express(&self, slot: Slot) -> impl Iterator<Item = (Instant, usize)> {
        self.express.iter().flat_map(move |express| {
            let of_pair = express.stanzas.iter().filter(move |(of, _)| *of == slot);
            of_pair.map(|(_, stanza)| (express.since, stanza.len() + PARCEL_OVERHEAD))
        })
    }

    /// Puts what would go out as it came into the queues of its pairs: something has happened to one of them.
    pub(super) fn settle(&mut self) {
        for express in std::mem::take(&mut self.express) {
            let cost = express.cost();
            self.bytes -= cost;
            self.express_bytes -= cost;
            let Express { stanzas, origin, since, seq } = express;
            for (seq, (slot, bytes)) in (seq..).zip(stanzas.copies()) {
                let parcel = Parcel { bytes, origin: origin.clone(), since, retried: false, seq, written: false };
                self.put(slot, parcel);
            }
        }
    }
}
