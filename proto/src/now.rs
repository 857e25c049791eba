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
    ///
    /// Peers say when something ends: a time beyond a century is brought nearer, as instants have an end.
    #[must_use]
    pub fn at_unix(&self, unix: u64) -> Instant {
        self.instant + Duration::from_secs(unix.saturating_sub(self.unix).min(FAR))
    }

    /// A beginning for tests: from there on, time is what they say.
    #[cfg(test)]
    #[expect(clippy::disallowed_methods, reason = "an instant can only be had from the clock")]
    pub(crate) fn origin() -> Self {
        Self { instant: Instant::now(), unix: 1_795_358_400 }
    }
}

/// A hundred years in seconds: no clock overflows so soon.
const FAR: u64 = 100 * 365 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_date_overflows_the_clock() {
        let now = Now::origin();
        assert_eq!(now.at_unix(now.unix + 5), now.instant + Duration::from_secs(5));
        assert_eq!(now.at_unix(0), now.instant);
        assert!(now.at_unix(u64::MAX) > now.instant);
    }
}
