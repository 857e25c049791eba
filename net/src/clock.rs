//! The one clock. Everything else is given its time as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks, taken together.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For durations and deadlines: never goes back.
    pub instant: Instant,
    /// For certificates and expiry times: seconds since 1970, as the operator set the clock.
    pub unix: u64,
}

impl Now {
    /// Reads both clocks.
    ///
    /// A system clock that stands before 1970 reads as 0: certificates are then "not yet valid",
    /// which is what an operator with a dead clock battery should be told.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place where time enters")]
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { instant: Instant::now(), unix }
    }
}

#[cfg(test)]
mod tests {
    use super::Now;

    #[test]
    fn the_system_clock_is_read_in_seconds_since_1970() {
        let now = Now::read();
        assert!(now.unix > 1_700_000_000 && now.unix < 10_000_000_000, "{}", now.unix);
    }

    #[test]
    fn instants_never_go_back() {
        let first = Now::read();
        assert!(Now::read().instant >= first.instant);
    }
}
