//! Bytes of an idle pair: what two routers have more resident when they have more active pairs.

use std::time::Duration;

use serde_json::json;

use super::ActivePairs;
use crate::Failure;
use crate::cost::{Memory, Meter};
use crate::ground::Plan;
use crate::report::{Column, Median, Report};
use crate::subject::Subject as _;
use crate::subjects::heteronym::Heteronym;

/// Between two looks whether memory has settled.
const PAUSE: Duration = Duration::from_millis(500);
/// Looks, at most.
const LOOKS: usize = 20;

const COLUMNS: &[Column] = &[
    Column::plain("dialling_bytes_per_pair", "bytes per pair, who dials", 0),
    Column::plain("dialled_bytes_per_pair", "who is dialled", 0),
    Column::plain("dialling_resident_mebibytes", "MiB, who dials", 1),
    Column::plain("dialled_resident_mebibytes", "who is dialled", 1),
    Column::plain("activation_seconds", "activated in s", 1),
];

/// Measures, of each number of pairs.
///
/// # Errors
/// If the routers do not start, or a pair does not become active.
pub fn run(pairs: &[usize]) -> Result<Report, Failure> {
    let subject = Heteronym::default();
    let settings = json!({ "pairs": pairs, "key": "p256" });
    let mut report = Report { raised: subject.raised(), ..Report::new("memory", settings, COLUMNS, Median::Each) };
    for count in pairs {
        report.add(subject.name(), *count, measure(&subject, *count)?);
    }
    Ok(report)
}

fn measure(subject: &Heteronym, count: usize) -> Result<Vec<f64>, Failure> {
    let mut pairs = ActivePairs::of(subject, &Plan::for_pairs(count), count)?;
    let before = settled(&pairs.meter)?;
    let time = pairs.activate()?;
    let after = settled(&pairs.meter)?;
    let per_pair = |side: usize| (after[side].resident as f64 - before[side].resident as f64) * 1024.0 / count as f64;
    let resident = |side: usize| after[side].resident as f64 / 1024.0;
    Ok(vec![per_pair(0), per_pair(1), resident(0), resident(1), time.as_secs_f64()])
}

/// The memory of each process, when it does not change any more.
fn settled(meter: &Meter) -> Result<Vec<Memory>, Failure> {
    let mut last = meter.memories()?;
    for _ in 0..LOOKS {
        std::thread::sleep(PAUSE);
        let now = meter.memories()?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}
