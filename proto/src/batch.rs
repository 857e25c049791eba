//! Stanzas that travel together: one behind the other in one block of memory, so that none of them costs an
//! allocation of its own.

use bytes::Bytes;

/// Bytes of a small stanza: there are seldom more than so many in a block.
const SMALL: usize = 128;

/// Stanzas in order, each with what whoever takes them has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<T> {
    bytes: Vec<u8>,
    /// What is known of each, and where it ends.
    marks: Vec<(T, usize)>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { bytes: Vec::new(), marks: Vec::new() }
    }
}

impl<T: Copy> Batch<T> {
    /// With room for so many bytes of stanzas.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), marks: Vec::with_capacity(bytes / SMALL) }
    }

    /// Adds a stanza.
    pub fn push(&mut self, mark: T, stanza: &[u8]) {
        self.bytes.extend_from_slice(stanza);
        self.marks.push((mark, self.bytes.len()));
    }

    /// All stanzas, as they are written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is known of each, and where it ends.
    #[must_use]
    pub fn marks(&self) -> &[(T, usize)] {
        &self.marks
    }

    /// Bytes of the first `count` stanzas: of all, where there are no more.
    #[must_use]
    pub fn length_of(&self, count: usize) -> usize {
        let last = count.min(self.len()).checked_sub(1);
        last.map_or(0, |last| self.marks[last].1)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// What is known of the last one.
    #[must_use]
    pub fn last(&self) -> Option<T> {
        self.marks.last().map(|(mark, _)| *mark)
    }

    /// Each by itself.
    pub fn iter(&self) -> impl Iterator<Item = (T, &[u8])> {
        let mut start = 0;
        self.marks.iter().map(move |&(mark, end)| {
            let stanza = &self.bytes[start..end];
            start = end;
            (mark, stanza)
        })
    }

    /// Each by itself, with memory of its own.
    pub fn copies(&self) -> impl Iterator<Item = (T, Bytes)> {
        self.iter().map(|(mark, stanza)| (mark, Bytes::copy_from_slice(stanza)))
    }

    /// Gives back the memory that it does not use, where that is much: it may have to wait.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() > 2 * self.bytes.len() {
            self.bytes.shrink_to_fit();
            self.marks.shrink_to_fit();
        }
    }
}

impl<T: Copy, B: AsRef<[u8]>> FromIterator<(T, B)> for Batch<T> {
    fn from_iter<I: IntoIterator<Item = (T, B)>>(stanzas: I) -> Self {
        let mut batch = Self::default();
        stanzas.into_iter().for_each(|(mark, stanza)| batch.push(mark, stanza.as_ref()));
        batch
    }
}

/// Adds a stanza to the batch for `key`, which is made, with room for so many bytes, where there is none.
pub fn push_for<K: Clone + PartialEq, T: Copy>(
    batches: &mut Vec<(K, Batch<T>)>,
    key: &K,
    (mark, stanza): (T, &[u8]),
    room: usize,
) {
    let known = batches.iter().position(|(other, _)| other == key);
    let at = known.unwrap_or_else(|| {
        batches.push((key.clone(), Batch::with_capacity(room.max(stanza.len()))));
        batches.len() - 1
    });
    batches[at].1.push(mark, stanza);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stanza_is_found_again() {
        let mut batch = Batch::with_capacity(64);
        assert!(batch.is_empty());
        batch.push(7, b"<iq/>");
        batch.push(9, b"<message/>");
        assert_eq!((batch.len(), batch.last(), batch.as_bytes()), (2, Some(9), &b"<iq/><message/>"[..]));
        assert_eq!(batch.iter().collect::<Vec<_>>(), [(7, &b"<iq/>"[..]), (9, b"<message/>")]);
        assert_eq!(batch.copies().collect::<Batch<_>>(), batch);
    }

    #[test]
    fn each_key_has_a_batch_in_order() {
        let mut batches = Vec::new();
        for (key, mark) in [('a', 1), ('b', 2), ('a', 3)] {
            push_for(&mut batches, &key, (mark, b"<iq/>"), 0);
        }
        let marks = |batch: &Batch<i32>| batch.iter().map(|(mark, _)| mark).collect::<Vec<_>>();
        assert_eq!(
            batches.iter().map(|(key, batch)| (*key, marks(batch))).collect::<Vec<_>>(),
            [('a', vec![1, 3]), ('b', vec![2])]
        );
    }

    /// Bounds count stanzas, not the room that a batch had for others.
    #[test]
    fn what_waits_takes_no_more_than_twice_its_bytes() {
        let mut batch = Batch::with_capacity(64 << 10);
        batch.push(7, b"<iq/>");
        batch.shrink();
        assert!(batch.bytes.capacity() <= 10 && batch.marks.capacity() <= 2);
        assert_eq!(batch.iter().next(), Some((7, &b"<iq/>"[..])));
    }
}
