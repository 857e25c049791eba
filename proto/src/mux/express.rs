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

    /// Whether anything of it has not gone out yet.
    #[must_use]
    pub fn has_express(&self) -> bool {
        !self.express.is_empty()
    }

    /// Puts what would go out as it came into the queues of its pairs: something has happened to one of them, or
    /// somebody looks.
    pub fn settle(&mut self) {
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::now::Now;

    fn mux(pairs: u32) -> Mux {
        let mut mux = Mux::new(1 << 20, 8 << 20);
        (0..pairs).map(|_| mux.add()).collect::<Vec<_>>().into_iter().for_each(|slot| mux.open(slot));
        mux
    }

    fn push(mux: &mut Mux, stanzas: &[(Slot, &str)]) -> bool {
        mux.push_express(stanzas.iter().copied().collect(), (), Now::origin().instant).is_ok()
    }

    fn queue(mux: &mut Mux, slot: Slot, text: &'static str) {
        mux.push(slot, Bytes::from_static(text.as_bytes()), (), Now::origin().instant).unwrap();
    }

    /// What is written, and how many messages of it as they came.
    fn written(mux: &mut Mux) -> (String, usize) {
        let (mut out, mut whole) = (BytesMut::new(), 0);
        if mux.fill_express(&mut out, 1 << 20, |_| whole += 1) {
            mux.fill(&mut out, 1 << 20, |_, _| ());
        }
        (String::from_utf8(out.to_vec()).unwrap(), whole)
    }

    #[test]
    fn it_goes_out_as_it_came_behind_control_elements_and_before_queues() {
        let mut mux = mux(2);
        assert!(push(&mut mux, &[(1, "a"), (0, "b"), (1, "c")]) && push(&mut mux, &[(0, "d")]));
        queue(&mut mux, 1, "e");
        mux.control(Bytes::from_static(b"<r/>"));
        assert!(mux.bytes() == 5 * 65 && mux.is_ready() && mux.has_express());
        assert_eq!(written(&mut mux), ("<r/>abcde".to_owned(), 2));
        assert_eq!((mux.bytes(), mux.is_ready(), mux.has_express()), (0, false, false));
    }

    #[test]
    fn it_is_for_when_nothing_else_waits() {
        let mut mux = mux(2);
        mux.gate(true);
        assert!(!push(&mut mux, &[(0, "a")]), "no stanza may go out");
        mux.gate(false);
        queue(&mut mux, 0, "a");
        assert!(!push(&mut mux, &[(1, "b")]), "another pair waits for its turn");
        written(&mut mux);
        mux.close(1);
        assert!(!push(&mut mux, &[(0, "a"), (1, "b")]), "one of them may not send");
        let large = "x".repeat(EXPRESS_BYTES / 2);
        assert!(push(&mut mux, &[(0, &large)]) && !push(&mut mux, &[(0, &large)]), "that is too much");
        mux.end(Bytes::from_static(b"</stream>"), false);
        assert!(!push(&mut mux, &[(0, "a")]), "the stream ends");
        assert_eq!(written(&mut mux).0, large + "</stream>");
    }

    /// A pair that may not send any more keeps its order, and the others go on.
    #[test]
    fn what_happens_to_a_pair_finds_it_in_its_queue() {
        let mut mux = mux(2);
        assert!(push(&mut mux, &[(0, "a"), (1, "b"), (0, "c")]));
        queue(&mut mux, 0, "d");
        mux.close(0);
        assert_eq!((mux.pair_count(0), mux.pair_bytes(1), mux.bytes()), (3, 65, 4 * 65));
        assert_eq!(written(&mut mux), ("b".to_owned(), 0));
        mux.open(0);
        assert_eq!(written(&mut mux), ("acd".to_owned(), 0));
        assert!(push(&mut mux, &[(0, "a"), (1, "b")]));
        mux.control_behind(0, Bytes::from_static(b"<deactivate/>"));
        assert_eq!((written(&mut mux).0.as_str(), mux.is_open(0)), ("a<deactivate/>b", false));
        mux.open(0);
        assert!(push(&mut mux, &[(0, "a"), (1, "b")]));
        assert_eq!(mux.take(0).iter().map(|parcel| &parcel.bytes[..]).collect::<Vec<_>>(), [b"a"]);
        assert_eq!(written(&mut mux).0, "b");
    }

    #[test]
    fn a_bound_of_a_pair_is_as_exact_as_in_its_queue() {
        let mut mux: Mux = Mux::new(3 * 65, 1 << 20);
        let slot = mux.add();
        mux.open(slot);
        assert!(push(&mut mux, &[(slot, "a"), (slot, "b")]));
        queue(&mut mux, slot, "c");
        assert!(mux.push(slot, Bytes::from_static(b"d"), (), Now::origin().instant).is_err());
        assert_eq!(written(&mut mux), ("abc".to_owned(), 0));
    }
}
