//! What arrived: each number once, and those of a pair in order.

use std::fmt;

/// Lost numbers that an error names.
const NAMED: usize = 10;

/// What one receiver has taken.
#[derive(Clone, Debug)]
pub struct Ledger {
    first: u64,
    /// By pair: one more than the last number, or 0.
    next: Vec<u64>,
    /// A bit for each number from `first` on.
    seen: Vec<u64>,
}

/// What must not happen to a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It came twice.
    Doubled(u64),
    /// It came behind a later one of its pair.
    Overtaken {
        /// Its number.
        n: u64,
        /// The later one's.
        by: u64,
    },
    /// It was not sent in this run.
    Foreign(u64),
    /// These did not come.
    Lost {
        /// How many.
        count: usize,
        /// The first of them.
        numbers: Vec<u64>,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Doubled(n) => write!(f, "stanza {n} arrived twice"),
            Self::Overtaken { n, by } => write!(f, "stanza {n} arrived behind stanza {by} of its pair"),
            Self::Foreign(n) => write!(f, "stanza {n} arrived, which was not sent in this run"),
            Self::Lost { count, numbers } => {
                write!(f, "{count} stanzas did not arrive; the first of them: {numbers:?}")
            }
        }
    }
}

impl std::error::Error for Fault {}

impl Ledger {
    /// Of `pairs` pairs, for numbers from `first` on.
    #[must_use]
    pub fn new(pairs: usize, first: u64) -> Self {
        Self { first, next: vec![0; pairs], seen: Vec::new() }
    }

    /// Stanza `n` of `pair` has arrived.
    ///
    /// # Errors
    /// If it has before, or a later one of the pair has.
    pub fn take(&mut self, pair: usize, n: u64) -> Result<(), Fault> {
        let at = n.checked_sub(self.first).ok_or(Fault::Foreign(n))?;
        let (word, bit) = ((at / 64) as usize, 1 << (at % 64));
        if word >= self.seen.len() {
            self.seen.resize((word + 1).max(self.seen.len() * 2), 0);
        }
        if self.seen[word] & bit != 0 {
            return Err(Fault::Doubled(n));
        }
        self.seen[word] |= bit;
        if n < self.next[pair] {
            return Err(Fault::Overtaken { n, by: self.next[pair] - 1 });
        }
        self.next[pair] = n + 1;
        Ok(())
    }

    /// Adds what another receiver has taken.
    ///
    /// # Errors
    /// If both have taken the same stanza.
    pub fn add(&mut self, other: &Self) -> Result<(), Fault> {
        self.seen.resize(self.seen.len().max(other.seen.len()), 0);
        for (at, (mine, others)) in self.seen.iter_mut().zip(&other.seen).enumerate() {
            let both = *mine & others;
            if both != 0 {
                return Err(Fault::Doubled(self.first + at as u64 * 64 + u64::from(both.trailing_zeros())));
            }
            *mine |= others;
        }
        Ok(())
    }

    /// Whether all numbers before `end` have arrived, and none after.
    ///
    /// # Errors
    /// What is lost, or was never sent.
    pub fn close(&self, end: u64) -> Result<(), Fault> {
        let has = |n: u64| {
            let at = n - self.first;
            self.seen.get((at / 64) as usize).is_some_and(|word| word & 1 << (at % 64) != 0)
        };
        let mut missing = (self.first..end).filter(|n| !has(*n));
        let numbers: Vec<u64> = missing.by_ref().take(NAMED).collect();
        if !numbers.is_empty() {
            return Err(Fault::Lost { count: numbers.len() + missing.count(), numbers });
        }
        let seen_end = self.first + self.seen.len() as u64 * 64;
        (end..seen_end).find(|n| has(*n)).map_or(Ok(()), |n| Err(Fault::Foreign(n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(numbers: impl IntoIterator<Item = u64>) -> Ledger {
        let mut ledger = Ledger::new(2, 100);
        numbers.into_iter().for_each(|n| ledger.take((n % 2) as usize, n).unwrap());
        ledger
    }

    #[test]
    fn all_in_order_is_all_right() {
        assert_eq!(taken(100..300).close(300), Ok(()));
        assert_eq!(taken([101, 100, 103, 102]).close(104), Ok(()), "pairs may overtake each other");
    }

    #[test]
    fn what_is_lost_is_named() {
        let ledger = taken((100..300).filter(|n| ![150, 299].contains(n)));
        assert_eq!(ledger.close(300), Err(Fault::Lost { count: 2, numbers: vec![150, 299] }));
        let Err(Fault::Lost { count, numbers }) = taken([]).close(1100) else { panic!("nothing arrived") };
        assert_eq!((count, numbers.len()), (1000, NAMED));
    }

    #[test]
    fn what_comes_twice_is_named() {
        assert_eq!(taken(100..110).take(0, 104), Err(Fault::Doubled(104)));
        assert_eq!(taken([100, 102]).add(&taken([102])), Err(Fault::Doubled(102)));
    }

    #[test]
    fn what_is_overtaken_is_named() {
        assert_eq!(taken([100, 104]).take(0, 102), Err(Fault::Overtaken { n: 102, by: 104 }));
    }

    #[test]
    fn what_was_never_sent_is_named() {
        assert_eq!(taken([]).take(0, 99), Err(Fault::Foreign(99)));
        assert_eq!(taken([100, 101]).close(101), Err(Fault::Foreign(101)));
    }

    #[test]
    fn receivers_add_up() {
        let mut all = taken([100, 102, 200]);
        all.add(&taken((100..201).filter(|n| ![100, 102, 200].contains(n)))).unwrap();
        assert_eq!(all.close(201), Ok(()));
    }
}
