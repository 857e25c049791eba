//! From the start of a router with many domains to ready.

use std::time::Duration;

use heteronym_net::clock::Now;
use serde_json::json;

use crate::Failure;
use crate::admin::Admin;
use crate::cost::Meter;
use crate::ground::{Ground, Plan};
use crate::progress::Bar;
use crate::report::{Column, Median, Report};
use crate::subject::Subject as _;
use crate::subjects::heteronym::Heteronym;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether it is ready.
const PAUSE: Duration = Duration::from_millis(2);

const COLUMNS: &[Column] = &[
    Column::plain("seconds_to_ready", "s to ready", 3),
    Column::plain("cpu_seconds", "CPU-s", 3),
    Column::plain("peak_mebibytes", "peak MiB", 1),
];

/// Measures a router with so many domains, each with a certificate on P-256 of its own.
///
/// # Errors
/// If it does not become ready.
pub fn run(domains: usize, rounds: usize) -> Result<Report, Failure> {
    let subject = Heteronym::default();
    let settings = json!({ "domains": domains, "rounds": rounds, "key": "p256" });
    let mut report = Report::new("start", settings, COLUMNS, Median::By(0));
    report.notes.push("in place of pairs: domains".to_owned());
    let bar = Bar::new("certificates", 0, "");
    let ground = Ground::prepare(&Plan { domains: [domains, 1], ..Plan::for_pairs(1) })?;
    drop(bar);
    for _ in 0..rounds {
        report.add(subject.name(), domains, measure(&subject, &ground)?);
    }
    Ok(report)
}

fn measure(subject: &Heteronym, ground: &Ground) -> Result<Vec<f64>, Failure> {
    let bar = Bar::new("starting", 0, "");
    let start = Now::read().instant;
    let mut first = subject.first(ground)?;
    let admin = Admin::new(first.admin);
    while !admin.is_ready() {
        first.guard.check()?;
        if Now::read().instant - start > PATIENCE {
            return Err(format!("not ready after {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(PAUSE);
    }
    let seconds = (Now::read().instant - start).as_secs_f64();
    let meter = Meter::new(&[first.process]);
    drop(bar);
    Ok(vec![seconds, meter.since_start()?, meter.memory()?.peak as f64 / 1024.0])
}
