//! Turns: who may begin a slow question next, where anybody may ask any number of them.
//!
//! One asker never has more under way than are left for all others, and what waits is served one by
//! one for each: questions that nobody answers hold up their own asker only.

use std::collections::{HashMap, VecDeque};

use crate::name::Name;

/// See the module. `T` is what is asked.
#[derive(Debug)]
pub struct Turns<T> {
    askers: HashMap<Name, Asker<T>>,
    /// Those for whom something waits.
    ring: VecDeque<Name>,
    under_way: usize,
    waiting: usize,
    bounds: Bounds,
}

/// What a [`Turns`] keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Questions under way, of all askers.
    pub under_way: usize,
    /// Questions that wait, of one asker.
    pub waiting_of_one: usize,
    /// Questions that wait, of all askers.
    pub waiting: usize,
}

#[derive(Debug)]
struct Asker<T> {
    waiting: VecDeque<T>,
    under_way: usize,
}

/// Too many questions wait: of this asker, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many questions wait")]
pub struct TooMany;

impl<T> Turns<T> {
    /// Nothing under way, nothing waiting.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { askers: HashMap::new(), ring: VecDeque::new(), under_way: 0, waiting: 0, bounds }
    }

    /// Lets a question of `asker` wait for its turn.
    ///
    /// # Errors
    /// [`TooMany`] where a bound would be passed.
    pub fn push(&mut self, asker: &Name, question: T) -> Result<(), TooMany> {
        let waits = self.askers.get(asker).map_or(0, |asker| asker.waiting.len());
        if waits >= self.bounds.waiting_of_one || self.waiting >= self.bounds.waiting {
            return Err(TooMany);
        }
        let of_asker = || Asker { waiting: VecDeque::new(), under_way: 0 };
        self.askers.entry(asker.clone()).or_insert_with(of_asker).waiting.push_back(question);
        self.waiting += 1;
        if waits == 0 {
            self.ring.push_back(asker.clone());
        }
        Ok(())
    }

    /// The question that begins now, if one may; [`Self::ended`] is to be told when it ends.
    pub fn begin(&mut self) -> Option<(Name, T)> {
        let left = self.bounds.under_way - self.under_way;
        for _ in 0..self.ring.len() {
            let name = self.ring.pop_front()?;
            let asker = self.askers.get_mut(&name)?;
            if asker.under_way >= left {
                self.ring.push_back(name);
                continue;
            }
            let question = asker.waiting.pop_front()?;
            asker.under_way += 1;
            self.under_way += 1;
            self.waiting -= 1;
            if !asker.waiting.is_empty() {
                self.ring.push_back(name.clone());
            }
            return Some((name, question));
        }
        None
    }

    /// A question of `asker` has ended.
    pub fn ended(&mut self, asker: &Name) {
        let Some(of_asker) = self.askers.get_mut(asker) else { return };
        of_asker.under_way -= 1;
        self.under_way -= 1;
        if of_asker.under_way == 0 && of_asker.waiting.is_empty() {
            self.askers.remove(asker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { under_way: 8, waiting_of_one: 10, waiting: 15 };

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn push(turns: &mut Turns<usize>, asker: &str, count: usize) -> usize {
        (0..count).filter(|n| turns.push(&name(asker), *n).is_ok()).count()
    }

    fn begin(turns: &mut Turns<usize>) -> Vec<String> {
        std::iter::from_fn(|| turns.begin()).map(|(asker, question)| format!("{asker} {question}")).collect()
    }

    #[test]
    fn one_asker_leaves_room_for_another() {
        let mut turns = Turns::new(BOUNDS);
        push(&mut turns, "flood.lit", 10);
        assert_eq!(begin(&mut turns).len(), 4, "half of all");
        push(&mut turns, "a.lit", 1);
        assert_eq!(begin(&mut turns), ["a.lit 0"]);
        assert_eq!(begin(&mut turns), [""; 0]);
        turns.ended(&name("flood.lit"));
        turns.ended(&name("flood.lit"));
        assert_eq!(begin(&mut turns), ["flood.lit 4", "flood.lit 5"], "what has ended makes room");
    }

    #[test]
    fn askers_take_turns() {
        let mut turns = Turns::new(BOUNDS);
        push(&mut turns, "a.lit", 2);
        push(&mut turns, "b.lit", 2);
        assert_eq!(begin(&mut turns), ["a.lit 0", "b.lit 0", "a.lit 1", "b.lit 1"]);
    }

    #[test]
    fn what_waits_is_bounded_and_nobody_is_remembered() {
        let mut turns = Turns::new(BOUNDS);
        assert_eq!(push(&mut turns, "a.lit", 20), 10, "of one");
        assert_eq!(push(&mut turns, "b.lit", 20), 5, "of all");
        let mut begun = 0;
        while let Some((asker, _)) = turns.begin() {
            turns.ended(&asker);
            begun += 1;
        }
        assert_eq!((begun, turns.askers.len(), turns.ring.len(), turns.waiting), (15, 0, 0, 0));
    }
}
