//! Randomness from aws-lc, for keys, identifiers and jitter.

use aws_lc_rs::rand;

/// Fills `buf` with random bytes fit for keys.
///
/// # Panics
///
/// If aws-lc has no randomness to give. It aborts the process in that case itself; a router that
/// went on with predictable keys would be worse than one that stopped.
pub fn fill(buf: &mut [u8]) {
    rand::fill(buf).expect("aws-lc aborts when the system gives it no randomness");
}

/// `N` random bytes fit for keys.
///
/// # Panics
///
/// As [`fill`].
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        assert_ne!(super::bytes::<32>(), super::bytes::<32>());
    }
}
