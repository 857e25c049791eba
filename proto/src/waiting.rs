//! Stanzas that wait for a host to be found and reached, by pair, bounded in bytes and age.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::name::Name;
use crate::pair::Pair;

/// What a waiting stanza costs beyond its bytes.
const OVERHEAD: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct WaitingRoom {
    pairs: HashMap<Pair, Queue>,
    bytes: usize,
    pair_limit: usize,
    total_limit: usize,
}

#[derive(Debug, Default)]
struct Queue {
    stanzas: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// How many of the first had left already and came back.
    again: usize,
}

impl WaitingRoom {
    /// Bounds in bytes: of one pair, and of all together.
    #[must_use]
    pub fn new(pair_limit: usize, total_limit: usize) -> Self {
        Self { pairs: HashMap::new(), bytes: 0, pair_limit, total_limit }
    }

    /// Lets a stanza wait; gives it back where there is no room.
    pub fn push(&mut self, pair: &Pair, stanza: Bytes, now: Instant) -> Option<Bytes> {
        let Some(queue) = self.make_room(pair, &stanza) else { return Some(stanza) };
        queue.stanzas.push_back((now, stanza));
        None
    }

    /// Lets a stanza wait that had left already: before those that never did, behind those that came
    /// back before it. Gives it back where there is no room.
    pub fn push_again(&mut self, pair: &Pair, stanza: Bytes, now: Instant) -> Option<Bytes> {
        let Some(queue) = self.make_room(pair, &stanza) else { return Some(stanza) };
        let since = queue.stanzas.front().map_or(now, |(oldest, _)| now.min(*oldest));
        queue.stanzas.insert(queue.again, (since, stanza));
        queue.again += 1;
        None
    }

    fn make_room(&mut self, pair: &Pair, stanza: &[u8]) -> Option<&mut Queue> {
        let cost = stanza.len() + OVERHEAD;
        let waits = self.pairs.get(pair).map_or(0, |queue| queue.bytes);
        if waits + cost > self.pair_limit || self.bytes + cost > self.total_limit {
            return None;
        }
        let queue = self.pairs.entry(pair.clone()).or_default();
        queue.bytes += cost;
        self.bytes += cost;
        Some(queue)
    }

    /// Takes everything that waits for a pair, in order.
    pub fn take(&mut self, pair: &Pair) -> Vec<Bytes> {
        let Some(queue) = self.pairs.remove(pair) else { return Vec::new() };
        self.bytes -= queue.bytes;
        queue.stanzas.into_iter().map(|(_, stanza)| stanza).collect()
    }

    /// Takes what has waited for `wait` or longer, and the names of the pairs that are empty now.
    pub fn take_overdue(&mut self, now: Instant, wait: Duration) -> Vec<(Pair, Vec<Bytes>)> {
        let mut overdue = Vec::new();
        self.pairs.retain(|pair, queue| {
            let mut stanzas = Vec::new();
            while let Some((_, stanza)) = queue.stanzas.pop_front_if(|(since, _)| now >= *since + wait) {
                queue.bytes -= stanza.len() + OVERHEAD;
                self.bytes -= stanza.len() + OVERHEAD;
                queue.again = queue.again.saturating_sub(1);
                stanzas.push(stanza);
            }
            if !stanzas.is_empty() {
                overdue.push((pair.clone(), stanzas));
            }
            !queue.stanzas.is_empty()
        });
        overdue
    }

    /// Other bounds in bytes from now on: of one pair, and of all together.
    pub fn set_limits(&mut self, pair_limit: usize, total_limit: usize) {
        (self.pair_limit, self.total_limit) = (pair_limit, total_limit);
    }

    /// Bytes that wait for all pairs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether stanzas for a remote domain have left already and came back.
    #[must_use]
    pub fn came_back(&self, remote: &Name) -> bool {
        self.pairs.iter().any(|(pair, queue)| pair.remote == *remote && queue.again > 0)
    }

    /// Every pair that stanzas wait for: how many, their bytes, and since when the oldest waits.
    pub fn queues(&self) -> impl Iterator<Item = (&Pair, usize, usize, Instant)> {
        let queue = |(pair, queue): (_, &Queue)| {
            let (since, _) = queue.stanzas.front()?;
            Some((pair, queue.stanzas.len(), queue.bytes, *since))
        };
        self.pairs.iter().filter_map(queue)
    }

    /// The pairs that stanzas wait for.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.keys()
    }

    /// Whether anything waits for the pair.
    #[must_use]
    pub fn contains(&self, pair: &Pair) -> bool {
        self.pairs.contains_key(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::now::Now;

    fn pair() -> Pair {
        Pair { local: Name::parse("a.lit").unwrap(), remote: Name::parse("b.lit").unwrap() }
    }

    #[test]
    fn stanzas_are_taken_in_order_and_once() {
        let (now, mut room) = (Now::origin().instant, WaitingRoom::new(1000, 1000));
        for text in ["1", "2"] {
            assert_eq!(room.push(&pair(), Bytes::from_static(text.as_bytes()), now), None);
        }
        assert_eq!(room.take(&pair()), ["1", "2"]);
        assert_eq!(room.take(&pair()), [""; 0]);
    }

    #[test]
    fn what_comes_back_goes_before_what_never_left() {
        let (now, mut room) = (Now::origin().instant, WaitingRoom::new(1000, 1000));
        let stanza = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(room.push(&pair(), stanza("3"), now), None);
        for text in ["1", "2"] {
            assert_eq!(room.push_again(&pair(), stanza(text), now + Duration::from_secs(9)), None);
        }
        assert_eq!(room.push(&pair(), stanza("4"), now), None);
        let wait = Duration::from_secs(30);
        let all = ["1", "2", "3", "4"].map(stanza).to_vec();
        assert_eq!(room.take_overdue(now + wait, wait), [(pair(), all)], "as old as what it goes before");
    }

    #[test]
    fn a_full_room_gives_back_and_an_overdue_stanza_leaves() {
        let (now, mut room) = (Now::origin().instant, WaitingRoom::new(100, 1000));
        assert_eq!(room.push(&pair(), Bytes::from_static(b"1"), now), None);
        assert_eq!(room.push(&pair(), Bytes::from_static(b"2"), now), Some(Bytes::from_static(b"2")));
        let other = Pair { local: pair().remote, remote: pair().local };
        assert_eq!(room.push(&other, Bytes::from(vec![0; 101]), now), Some(Bytes::from(vec![0; 101])));
        assert!(!room.contains(&other), "nothing is kept of what was given back");
        let wait = Duration::from_secs(30);
        assert_eq!(room.take_overdue(now, wait), []);
        assert_eq!(room.take_overdue(now + wait, wait), [(pair(), vec![Bytes::from_static(b"1")])]);
        assert!(!room.contains(&pair()));
    }
}
