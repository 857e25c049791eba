//! Time, as an argument.

use std::time::{Duration, Instant};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic; for time-outs.
    pub instant: Instant,
    /// Seconds since 1970; for what certificates and keys say.
    pub unix: u64,
}

impl Now {
    /// The instant at which the wall clock will show `unix` seconds; now, where that has passed.
    #[must_use]
    pub fn at_unix(&self, unix: u64) -> Instant {
        self.instant + Duration::from_secs(unix.saturating_sub(self.unix))
    }
}
