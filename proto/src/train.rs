//! Trains: stanzas of one pair that came in one message, joined in one piece of memory, so that a queue, the copies
//! of what was written, and whoever counts see to them once. Each is still found by itself, where it has to be.

use bytes::Bytes;

use crate::batch::Batch;
use crate::mux::Slot;

/// Bytes of a train that has several stanzas, at most: half a turn of the multiplexer, little enough to be kept for
/// the last stanza of it, and enough that what is done for a train is nothing for a stanza.
const TRAIN_BYTES: usize = 8 << 10;
/// So often the pair may change in a batch before its stanzas are gathered by pair.
const FEW: usize = 3;
/// Into so many buckets, by slot.
const BUCKETS: usize = 256;

/// One stanza, or several of one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Train {
    /// The stanzas, one behind the other; behind them, where each ends but the last: two bytes each.
    bytes: Bytes,
    count: u16,
}

impl From<Bytes> for Train {
    fn from(stanza: Bytes) -> Self {
        Self { bytes: stanza, count: 1 }
    }
}

impl Train {
    /// Stanzas that stand one behind the other, and where each ends but the last.
    fn new(stanzas: &[u8], ends: impl ExactSizeIterator<Item = usize>) -> Self {
        let count = u16::try_from(ends.len() + 1).expect("fewer stanzas than bytes");
        let mut bytes = Vec::with_capacity(stanzas.len() + ends.len() * size_of::<u16>());
        bytes.extend_from_slice(stanzas);
        for end in ends {
            let end = u16::try_from(end).expect("a train of several stanzas has fewer than 2^16 bytes");
            bytes.extend_from_slice(&end.to_ne_bytes());
        }
        Self { bytes: bytes.into(), count }
    }

    /// How many stanzas there are.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// All stanzas, as they are written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length()]
    }

    /// Bytes of all stanzas.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes.len() - (self.count() - 1) * size_of::<u16>()
    }

    /// Bytes of the first `count` stanzas: of all, where there are no more.
    #[must_use]
    pub fn length_of(&self, count: usize) -> usize {
        if count == 0 {
            return 0;
        }
        if count >= self.count() {
            return self.length();
        }
        let at = self.length() + (count - 1) * size_of::<u16>();
        usize::from(u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    /// Each stanza where it stands.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let (stanzas, ends) = self.bytes.split_at(self.length());
        let ends = ends.as_chunks().0.iter().map(|end| usize::from(u16::from_ne_bytes(*end)));
        let mut start = 0;
        ends.chain([stanzas.len()]).map(move |end| &stanzas[std::mem::replace(&mut start, end)..end])
    }

    /// The stanza behind so many others, with memory of its own: what waits must not keep all that it came with.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn stanza(&self, at: usize) -> Bytes {
        match self.count {
            1 => self.bytes.clone(),
            _ => Bytes::copy_from_slice(&self.bytes[self.length_of(at)..self.length_of(at + 1)]),
        }
    }

    /// Each stanza, as [`Self::stanza`].
    pub fn into_stanzas(self) -> impl Iterator<Item = Bytes> {
        (0..self.count()).map(move |at| self.stanza(at))
    }

    /// A train of the first `count` stanzas: one at least.
    #[must_use]
    pub(crate) fn first(&self, count: usize) -> Self {
        Self::new(&self.bytes[..self.length_of(count)], (1..count).map(|count| self.length_of(count)))
    }
}

/// Gives `each` the stanzas of a batch as trains, those of a pair in order.
pub fn trains(batch: &Batch<Slot>, mut each: impl FnMut(Slot, Train)) {
    let gathered = gathered(batch);
    let batch = gathered.as_ref().unwrap_or(batch);
    let (bytes, mut marks, mut start) = (batch.as_bytes(), batch.marks(), 0);
    while let [(slot, first), later @ ..] = marks {
        let joins = |(other, end): &&(Slot, usize)| other == slot && end - start <= TRAIN_BYTES;
        let more = later.iter().take_while(joins).count();
        let end = if more == 0 { *first } else { later[more - 1].1 };
        each(*slot, Train::new(&bytes[start..end], marks[..more].iter().map(|(_, end)| end - start)));
        (marks, start) = (&later[more..], end);
    }
}

/// The stanzas with those of a pair together, where there is much to be joined by that. Those of another pair may
/// still be between them, whose slot falls into the same bucket: they are not joined then.
fn gathered(batch: &Batch<Slot>) -> Option<Batch<Slot>> {
    let (marks, bucket) = (batch.marks(), |slot: Slot| slot as usize % BUCKETS);
    let mut seen = [false; BUCKETS];
    marks.iter().for_each(|(slot, _)| seen[bucket(*slot)] = true);
    let changes = marks.windows(2).filter(|two| two[0].0 != two[1].0).count();
    if changes < FEW * seen.iter().filter(|seen| **seen).count() {
        return None;
    }
    let mut places = [0; BUCKETS];
    marks.iter().for_each(|(slot, _)| places[bucket(*slot)] += 1);
    let mut next = 0;
    for place in &mut places {
        next += std::mem::replace(place, next);
    }
    let mut stanzas = vec![(0, &[][..]); marks.len()];
    for (slot, stanza) in batch.iter() {
        let place = &mut places[bucket(slot)];
        stanzas[*place] = (slot, stanza);
        *place += 1;
    }
    let mut gathered = Batch::with_capacity(batch.as_bytes().len());
    stanzas.iter().for_each(|(slot, stanza)| gathered.push(*slot, stanza));
    Some(gathered)
}

/// A train of these, for tests.
#[cfg(test)]
pub(crate) fn train(stanzas: &[&str]) -> Train {
    let mut all = Vec::new();
    trains(&stanzas.iter().map(|stanza| (0, stanza)).collect(), |_, train| all.push(train));
    assert_eq!(all.len(), 1, "they fit into one");
    all.remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(batch: &Batch<Slot>) -> Vec<(Slot, Train)> {
        let mut all = Vec::new();
        trains(batch, |slot, train| all.push((slot, train)));
        all
    }

    fn batch(stanzas: &[(Slot, &str)]) -> Batch<Slot> {
        stanzas.iter().copied().collect()
    }

    fn texts(batch: &Batch<Slot>) -> Vec<(Slot, Vec<Bytes>)> {
        all(batch).into_iter().map(|(slot, train)| (slot, train.into_stanzas().collect())).collect()
    }

    #[test]
    fn each_stanza_of_a_train_is_found_by_itself() {
        let train = train(&["<iq/>", "<message/>", "<presence/>"]);
        assert_eq!((train.count(), train.length(), train.as_bytes()), (3, 26, &b"<iq/><message/><presence/>"[..]));
        assert_eq!([0, 1, 2, 3, 4].map(|count| train.length_of(count)), [0, 5, 15, 26, 26]);
        assert_eq!(train.stanza(1), "<message/>");
        assert!(train.iter().eq([&b"<iq/>"[..], b"<message/>", b"<presence/>"]));
        assert_eq!(train.first(2), super::train(&["<iq/>", "<message/>"]));
        assert_eq!(train.first(1), Bytes::from_static(b"<iq/>").into());
        assert_eq!(train.into_stanzas().collect::<Vec<_>>(), ["<iq/>", "<message/>", "<presence/>"]);
    }

    #[test]
    fn one_stanza_is_a_train_and_keeps_its_memory() {
        let stanza = Bytes::from("<message/>".repeat(10_000));
        let train = Train::from(stanza.clone());
        assert_eq!((train.count(), train.length()), (1, stanza.len()));
        assert_eq!(train.stanza(0).as_ptr(), stanza.as_ptr());
        assert_eq!(Train::from(Bytes::new()).into_stanzas().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn stanzas_of_a_pair_are_joined_in_order() {
        let plain = [(7, "a"), (7, "b"), (2, "c"), (7, "d")];
        let expected = [(7, vec!["a".into(), "b".into()]), (2, vec!["c".into()]), (7, vec!["d".into()])];
        assert_eq!(texts(&batch(&plain)), expected, "there is little to be gathered");
        let mixed = [(7, "a"), (2, "b"), (7, "c"), (2, "d"), (7, "e"), (2, "f"), (7, "g"), (2, "h")];
        let of = |stanzas: [&'static str; 4]| stanzas.map(Bytes::from).to_vec();
        assert_eq!(texts(&batch(&mixed)), [(2, of(["b", "d", "f", "h"])), (7, of(["a", "c", "e", "g"]))]);
        assert_eq!(texts(&batch(&[])), []);
    }

    /// Whichever slots there are, and however often they change: nothing is lost, and each pair's order is kept.
    #[test]
    fn whatever_is_gathered_keeps_its_order() {
        for slots in [1, 2, 5, 64, 300, 1000] {
            let stanzas: Vec<(Slot, String)> =
                (0..1000).map(|n| (n * 7 % slots * 64, format!("<iq id='{n:0200}'/>"))).collect();
            let mut found: Vec<(Slot, Bytes)> = Vec::new();
            trains(&stanzas.iter().map(|(slot, stanza)| (*slot, stanza)).collect(), |slot, train| {
                found.extend(train.into_stanzas().map(|stanza| (slot, stanza)));
            });
            for slot in (0..slots).map(|slot| slot * 64) {
                let of_sent = stanzas.iter().filter(|(of, _)| *of == slot).map(|(_, stanza)| stanza.as_bytes());
                assert!(of_sent.eq(found.iter().filter(|(of, _)| *of == slot).map(|(_, stanza)| &stanza[..])));
            }
            assert_eq!(found.len(), stanzas.len());
        }
    }

    #[test]
    fn a_train_has_no_more_bytes_than_it_may_unless_one_stanza_has() {
        let (short, long) = ("s".repeat(TRAIN_BYTES / 2), "l".repeat(100_000));
        let stanzas = [&short, &short, &short, &long, &long, &short].map(|stanza| (3, stanza.as_str()));
        let lengths: Vec<_> = all(&batch(&stanzas)).iter().map(|(_, train)| (train.count(), train.length())).collect();
        assert_eq!(lengths, [(2, 8 << 10), (1, 4 << 10), (1, 100_000), (1, 100_000), (1, 4 << 10)]);
    }

    /// Whatever is shorter than a stanza can be does not overflow what counts them.
    #[test]
    fn the_smallest_stanzas_fit_into_a_train() {
        let many: Batch<Slot> = (0..100_000).map(|_| (1, "<a/>")).collect();
        let counts: Vec<_> = all(&many).iter().map(|(_, train)| train.count()).collect();
        assert_eq!((counts[0], counts.iter().sum()), (2048, 100_000));
    }
}
