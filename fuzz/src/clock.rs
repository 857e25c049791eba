//! Virtual time.

use std::sync::LazyLock;
use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "an origin is needed; from there on time is virtual")]
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The beginning of every run.
pub(crate) fn origin() -> Instant {
    *ORIGIN
}
