//! Time: round trips at low load, and one way at a rate.

use hdrhistogram::Histogram;
use serde_json::json;

use super::load::{self, Options};
use crate::Failure;
use crate::drive::draw::Draw;
use crate::drive::{Load, Pace, Until, Way};
use crate::ground::Ground;
use crate::progress::Bar;
use crate::report::{Column, Compare, Median, Report};
use crate::subject::{Running, Subject};

/// Round trips a second: low load.
const ROUND_TRIPS: f64 = 100.0;
/// Quantiles that are told; then the longest.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// A time, which is compared by the difference.
pub(super) const fn milliseconds(key: &'static str, title: &'static str) -> Column {
    Column { key, title, digits: 3, compare: Compare::Difference }
}

const COLUMNS: &[Column] = &[
    milliseconds("round_trip_p50_ms", "round trip p50 ms"),
    milliseconds("round_trip_p90_ms", "p90"),
    milliseconds("round_trip_p99_ms", "p99"),
    milliseconds("round_trip_p999_ms", "p99.9"),
    milliseconds("round_trip_max_ms", "max"),
    milliseconds("one_way_p50_ms", "one way p50 ms"),
    milliseconds("one_way_p90_ms", "p90"),
    milliseconds("one_way_p99_ms", "p99"),
    milliseconds("one_way_p999_ms", "p99.9"),
    milliseconds("one_way_max_ms", "max"),
];

/// Measures.
///
/// # Errors
/// As [`load::run`].
pub fn run(options: &Options, subjects: &[Box<dyn Subject>], ground: Option<Ground>) -> Result<Report, Failure> {
    let mut settings = options.settings();
    settings["round_trips_per_second"] = json!(ROUND_TRIPS);
    let report = Report::new("latency", settings, COLUMNS, Median::Each);
    load::in_turns(report, options, subjects, ground, measure)
}

fn measure(
    (_running, mut load): (Running, Load),
    pairs: usize,
    options: &Options,
    what: &str,
) -> Result<Vec<f64>, Failure> {
    let draw = Draw::even(pairs);
    // The first of each direction find nothing warm.
    load.send(&draw, Way::AndBack, Pace::Rate(ROUND_TRIPS), Until::Stanzas(50), &Bar::hidden())?;
    let bar = Bar::new(&format!("{what}: there and back"), 0, "stanzas");
    let round_trips = load.send(&draw, Way::AndBack, Pace::Rate(ROUND_TRIPS), options.until, &bar)?.latency;
    drop(bar);
    let bar = Bar::new(&format!("{what}: there"), 0, "stanzas");
    let one_way = load.send(&draw, Way::There, options.pace, options.until, &bar)?.latency;
    Ok([quantiles(&round_trips), quantiles(&one_way)].concat())
}

/// In milliseconds, the longest last.
pub(super) fn quantiles(latency: &Histogram<u64>) -> [f64; 5] {
    let [p50, p90, p99, p999] = QUANTILES.map(|quantile| latency.value_at_quantile(quantile));
    [p50, p90, p99, p999, latency.max()].map(|nanoseconds| nanoseconds as f64 / 1e6)
}
