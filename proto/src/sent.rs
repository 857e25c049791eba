//! Copies of the stanzas that were written to a host stream, by their number (protocol §5 and §7).
//!
//! The peer hands back what it could not deliver by number; until then the copy is ours. Without
//! acknowledgements nobody says when a copy may go, so the oldest go when the bounds are reached.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::mux::Slot;

/// Copies kept at most: at 200 bytes a stanza the bytes below are reached first.
const COPIES: usize = 1 << 16;
/// Bytes of copies kept at most. What the peer hands back, it hands back within a round trip or
/// within its local grace; this is more than a second of a full gigabit link in 200-byte stanzas'
/// share of one busy pair, and small enough to stay in the cache's reach.
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
}

/// The copies, numbered from 1 as XEP-0198 counts.
#[derive(Debug)]
pub struct SentCopies {
    copies: VecDeque<Option<Sent>>,
    first: u64,
    bytes: usize,
    byte_limit: usize,
}

impl SentCopies {
    pub(crate) fn new(byte_limit: usize) -> Self {
        Self { copies: VecDeque::new(), first: 1, bytes: 0, byte_limit: byte_limit.min(COPY_BYTES) }
    }

    /// Keeps a copy; its number is one more than the last.
    pub(crate) fn push(&mut self, sent: Sent) {
        self.bytes += sent.bytes.len();
        self.copies.push_back(Some(sent));
        while self.copies.len() > COPIES || self.bytes > self.byte_limit {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.copies.pop_front() {
            self.bytes -= first.map_or(0, |sent| sent.bytes.len());
            self.first += 1;
        }
    }

    /// Takes the copy of stanza `n`: once.
    pub fn take(&mut self, n: u64) -> Option<Sent> {
        let index = usize::try_from(n.checked_sub(self.first)?).ok()?;
        let sent = self.copies.get_mut(index)?.take()?;
        self.bytes -= sent.bytes.len();
        Some(sent)
    }

    /// How many stanzas were written so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.first - 1 + self.copies.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &'static str) -> Sent {
        Sent { slot: Some(0), bytes: Bytes::from_static(text.as_bytes()), retried: false }
    }

    #[test]
    fn a_copy_is_found_by_its_number_once() {
        let mut copies = SentCopies::new(1 << 20);
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
        let mut copies = SentCopies::new(5);
        for text in ["one", "two", "six"] {
            copies.push(sent(text));
        }
        assert!(copies.take(1).is_none());
        assert!(copies.take(2).is_none());
        assert_eq!(copies.take(3).map(|sent| sent.bytes), Some(Bytes::from_static(b"six")));
    }
}
