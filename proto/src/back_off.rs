//! Pauses between attempts (RFC 6120 §3.3): longer each time, and no two peers' alike.

use std::time::Duration;

use crate::limits::FIRST_PAUSE;

/// The pause after one more failure than `failures`: half to all of a time that doubles, up to `longest`, so that
/// many who lost one host do not come back as one. `jitter` is a random number.
#[must_use]
pub(crate) fn pause(failures: u32, longest: Duration, jitter: u8) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(longest);
    pause.mul_f64(0.5 + f64::from(jitter) / 512.0)
}
