//! A queue that takes turns over those who ask: who asks for much waits behind who asks for little.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996) with every question counted as one. An asker
//! for whom nothing waited goes before those who have had their turn in this round.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

/// See the module. `K` is an asker, `T` what is asked.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    askers: HashMap<K, Asker<T>>,
    /// Those for whom something waits, by round, and in the order in which they came to it.
    turns: BTreeMap<(u64, u64), K>,
    /// The round of what began last.
    round: u64,
    entered: u64,
    waiting: usize,
    bounds: Bounds,
}

/// What may wait for one asker.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Questions.
    pub count: usize,
    /// Bytes of them.
    pub bytes: usize,
}

#[derive(Debug)]
struct Asker<T> {
    waiting: VecDeque<(usize, T)>,
    bytes: usize,
    /// The round in which its next question begins.
    next: u64,
}

/// Too much waits for this asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much waits for this asker")]
pub struct Full;

impl<K: Clone + Eq + Hash, T> FairQueue<K, T> {
    /// Nothing waits.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { askers: HashMap::new(), turns: BTreeMap::new(), round: 0, entered: 0, waiting: 0, bounds }
    }

    /// Lets a question of `asker`, of so many bytes, wait for its turn.
    ///
    /// # Errors
    /// [`Full`] where a bound would be passed.
    pub fn push(&mut self, asker: &K, bytes: usize, question: T) -> Result<(), Full> {
        let new = || Asker { waiting: VecDeque::new(), bytes: 0, next: self.round };
        let of_asker = self.askers.entry(asker.clone()).or_insert_with(new);
        if of_asker.waiting.len() >= self.bounds.count || of_asker.bytes + bytes > self.bounds.bytes {
            if of_asker.waiting.is_empty() && of_asker.next <= self.round {
                self.askers.remove(asker);
            }
            return Err(Full);
        }
        of_asker.waiting.push_back((bytes, question));
        of_asker.bytes += bytes;
        self.waiting += 1;
        if of_asker.waiting.len() == 1 {
            of_asker.next = of_asker.next.max(self.round);
            let round = of_asker.next;
            self.enter(round, asker.clone());
        }
        Ok(())
    }

    /// The question whose turn it is, and whether more of its asker's wait.
    pub fn pop(&mut self) -> Option<(T, bool)> {
        let ((round, _), asker) = self.turns.pop_first()?;
        if round > self.round {
            self.round = round;
            // Who was served before this round, and asks no more, has no turn to wait for.
            self.askers.retain(|_, of| !of.waiting.is_empty() || of.next > round);
        }
        let of_asker = self.askers.get_mut(&asker)?;
        let (bytes, question) = of_asker.waiting.pop_front()?;
        of_asker.bytes -= bytes;
        of_asker.next = round + 1;
        self.waiting -= 1;
        let more = !of_asker.waiting.is_empty();
        if more {
            self.enter(round + 1, asker);
        }
        Some((question, more))
    }

    fn enter(&mut self, round: u64, asker: K) {
        self.entered += 1;
        self.turns.insert((round, self.entered), asker);
    }

    /// Questions that wait, of all askers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> FairQueue<&'static str, &'static str> {
        FairQueue::new(Bounds { count: 1000, bytes: 5000 })
    }

    fn push(queue: &mut FairQueue<&'static str, &'static str>, asker: &'static str, count: usize) -> usize {
        (0..count).filter(|_| queue.push(&asker, 1, asker).is_ok()).count()
    }

    fn drain(queue: &mut FairQueue<&'static str, &'static str>) -> String {
        std::iter::from_fn(|| queue.pop()).map(|(asker, _)| asker).collect()
    }

    #[test]
    fn askers_take_turns() {
        let mut queue = queue();
        push(&mut queue, "a", 5);
        push(&mut queue, "b", 2);
        push(&mut queue, "c", 1);
        assert_eq!(drain(&mut queue), "abcabaaa");
    }

    /// The flood's question that is under way is the only one that anybody waits for.
    #[test]
    fn who_asks_one_by_one_waits_for_one_of_a_flood_each_time() {
        let mut queue = queue();
        push(&mut queue, "a", 1000);
        assert_eq!(queue.pop(), Some(("a", true)));
        for _ in 0..100 {
            push(&mut queue, "b", 1);
            assert_eq!(queue.pop(), Some(("b", false)));
            assert_eq!(queue.pop(), Some(("a", true)));
        }
    }

    #[test]
    fn who_comes_back_again_and_again_starves_nobody() {
        let mut queue = queue();
        push(&mut queue, "a", 100);
        let mut served = HashMap::from([("a", 0), ("b", 0), ("c", 0)]);
        push(&mut queue, "b", 1);
        for _ in 0..90 {
            let (asker, _) = queue.pop().unwrap();
            *served.entry(asker).or_default() += 1;
            // Two who take care that one of them always comes anew.
            match asker {
                "b" => push(&mut queue, "c", 1),
                "c" => push(&mut queue, "b", 1),
                _ => 0,
            };
        }
        assert!(served["a"] >= 29, "{served:?}");
    }

    #[test]
    fn what_waits_is_bounded_and_nobody_is_remembered() {
        let mut queue = queue();
        assert_eq!(push(&mut queue, "a", 1100), 1000, "by count");
        assert_eq!((queue.push(&"b", 4000, "b"), queue.push(&"b", 1001, "b")), (Ok(()), Err(Full)), "by bytes");
        assert_eq!(push(&mut queue, "c", 1), 1, "the bounds are one asker's");
        assert_eq!(queue.push(&"d", 6000, "d"), Err(Full));
        assert_eq!(queue.waiting(), 1002);
        assert_eq!(drain(&mut queue).len(), 1002);
        push(&mut queue, "a", 1);
        assert_eq!(queue.pop(), Some(("a", false)));
        assert_eq!((queue.askers.len(), queue.turns.len(), queue.waiting()), (1, 0, 0), "the last one only");
    }
}
