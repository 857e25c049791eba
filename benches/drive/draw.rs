//! Whose turn it is: the pair of each number.

use std::sync::Arc;

/// Numbers after which a drawn sequence begins anew.
const DRAWN: usize = 1 << 16;
/// Every run draws the same.
const SEED: u64 = 0x5052;

/// Which pair a number belongs to. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Draw(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Even(u64),
    Listed { first: u64, pairs: Arc<[u32]> },
}

impl Draw {
    /// Each of `pairs` in turn.
    #[must_use]
    pub fn even(pairs: usize) -> Self {
        Self(Kind::Even(pairs as u64))
    }

    /// The pair of rank k as often as 1/k says, drawn before.
    #[must_use]
    pub fn zipf(pairs: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let weights = (1..=pairs).scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        });
        let sums: Vec<f64> = weights.collect();
        let whole = sums.last().copied().unwrap_or(1.0);
        let mut draw = || {
            let at = random.f64() * whole;
            u32::try_from(sums.partition_point(|sum| *sum <= at).min(pairs - 1)).unwrap_or(u32::MAX)
        };
        Self(Kind::Listed { first: 0, pairs: (0..DRAWN).map(|_| draw()).collect() })
    }

    /// These pairs, one for each number from `first` on.
    #[must_use]
    pub fn listed(first: u64, pairs: impl IntoIterator<Item = u32>) -> Self {
        Self(Kind::Listed { first, pairs: pairs.into_iter().collect() })
    }

    /// The pair of `n`; `None` if no such number is sent.
    #[must_use]
    pub fn pair(&self, n: u64) -> Option<usize> {
        match &self.0 {
            Kind::Even(pairs) => Some((n % pairs) as usize),
            Kind::Listed { first, pairs } => {
                let at = n.checked_sub(*first)? % (pairs.len() as u64);
                Some(pairs[at as usize] as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(draw: &Draw, pairs: usize, numbers: u64) -> Vec<u64> {
        let mut counts = vec![0; pairs];
        (0..numbers).for_each(|n| counts[draw.pair(n).unwrap()] += 1);
        counts
    }

    #[test]
    fn each_pair_has_its_turn() {
        assert_eq!(counts(&Draw::even(3), 3, 300), [100, 100, 100]);
    }

    #[test]
    fn zipf_gives_rank_k_a_kth_of_the_first() {
        let counts = counts(&Draw::zipf(100), 100, DRAWN as u64);
        let expected = |rank: f64| DRAWN as f64 / 5.187 / rank;
        for rank in [1, 2, 5, 20] {
            let (found, expected) = (counts[rank - 1] as f64, expected(rank as f64));
            assert!((found - expected).abs() < expected / 5.0, "rank {rank}: {found} beside {expected}");
        }
        assert!(counts.iter().all(|count| *count > 0));
    }

    #[test]
    fn zipf_draws_the_same_each_time() {
        let (one, other) = (Draw::zipf(64), Draw::zipf(64));
        assert!((0..1000).all(|n| one.pair(n) == other.pair(n)));
    }

    #[test]
    fn a_list_begins_with_its_first_number() {
        let draw = Draw::listed(10, [7, 3]);
        assert_eq!([9, 10, 11].map(|n| draw.pair(n)), [None, Some(7), Some(3)]);
    }
}
