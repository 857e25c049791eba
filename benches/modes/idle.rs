//! What routers cost that have active pairs and nothing to do.

use std::time::Duration;

use heteronym_net::clock::Now;
use serde_json::json;

use super::active_pairs;
use crate::Failure;
use crate::cost::Meter;
use crate::ground::{Ground, Plan};
use crate::progress::Bar;
use crate::report::{Column, Compare, Median, Report};
use crate::subject::Subject as _;
use crate::subjects::heteronym::Heteronym;

/// After the last activation.
const SETTLE: Duration = Duration::from_secs(5);

const fn column(key: &'static str, title: &'static str, digits: usize) -> Column {
    Column { key, title, digits, compare: Compare::Not }
}

const COLUMNS: &[Column] = &[
    column("dialling_cpu_percent", "% of a core, who dials", 3),
    column("dialled_cpu_percent", "who is dialled", 3),
    column("switches_per_second", "wakes/s of both", 1),
];

/// Measures over `time`.
///
/// # Errors
/// If the routers do not start, or a pair does not become active.
pub fn run(pairs: &[usize], time: Duration) -> Result<Report, Failure> {
    let subject = Heteronym::default();
    let mut report = Report {
        mode: "idle",
        settings: json!({ "pairs": pairs, "seconds": time.as_secs_f64(), "key": "p256" }),
        raised: subject.raised(),
        columns: COLUMNS,
        median: Median::Each,
        reference: String::new(),
        series: Vec::new(),
        notes: Vec::new(),
    };
    for count in pairs {
        report.add(subject.name(), *count, measure(&subject, *count, time)?);
    }
    Ok(report)
}

fn measure(subject: &Heteronym, count: usize, time: Duration) -> Result<Vec<f64>, Failure> {
    let ground = Ground::prepare(&Plan::for_pairs(count))?;
    let routers = subject.routers(&ground)?;
    let meter = Meter::new(&routers.running.processes);
    active_pairs(&ground, &routers, count)?.activate()?;
    wait(SETTLE, "settling");
    let (before, start) = (meter.read()?, Now::read().instant);
    wait(time, &format!("{count} pairs, idle"));
    let (cost, seconds) = (meter.read()?.since(&before), (Now::read().instant - start).as_secs_f64());
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
