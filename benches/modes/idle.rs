//! What routers cost that have active pairs and nothing to do.

use std::time::Duration;

use heteronym_net::clock::Now;
use serde_json::json;

use super::ActivePairs;
use crate::Failure;
use crate::ground::Plan;
use crate::progress::Bar;
use crate::report::{Column, Median, Report};
use crate::subject::Subject as _;
use crate::subjects::heteronym::Heteronym;

/// After the last activation.
const SETTLE: Duration = Duration::from_secs(5);

const COLUMNS: &[Column] = &[
    Column::plain("dialling_cpu_percent", "% of a core, who dials", 3),
    Column::plain("dialled_cpu_percent", "who is dialled", 3),
    Column::plain("switches_per_second", "wakes/s of both", 1),
];

/// Measures over `time`.
///
/// # Errors
/// If the routers do not start, or a pair does not become active.
pub fn run(pairs: &[usize], time: Duration) -> Result<Report, Failure> {
    let subject = Heteronym::default();
    let settings = json!({ "pairs": pairs, "seconds": time.as_secs_f64(), "key": "p256" });
    let mut report = Report { raised: subject.raised(), ..Report::new("idle", settings, COLUMNS, Median::Each) };
    for count in pairs {
        report.add(subject.name(), *count, measure(&subject, *count, time)?);
    }
    Ok(report)
}

fn measure(subject: &Heteronym, count: usize, time: Duration) -> Result<Vec<f64>, Failure> {
    let mut pairs = ActivePairs::of(subject, &Plan::for_pairs(count), count)?;
    pairs.activate()?;
    wait(SETTLE, "settling");
    let (before, start) = (pairs.meter.read()?, Now::read().instant);
    wait(time, &format!("{count} pairs, idle"));
    let (cost, seconds) = (pairs.meter.read()?.since(&before), (Now::read().instant - start).as_secs_f64());
    let percent = |side: usize| cost.cpu[side].as_secs_f64() / seconds * 100.0;
    Ok(vec![percent(0), percent(1), (cost.voluntary + cost.involuntary) as f64 / seconds])
}

/// Lets time pass, and shows it.
pub(super) fn wait(time: Duration, what: &str) {
    let end = Now::read().instant + time;
    let bar = Bar::new(what, time.as_secs(), "s");
    while Now::read().instant < end {
        let left = end.saturating_duration_since(Now::read().instant);
        std::thread::sleep(left.min(Duration::from_secs(1)));
        bar.reach((time - left.min(time)).as_secs());
    }
}
