//! Pairs that are active again after the connection between the hosts was cut.

use std::time::Duration;

use heteronym_net::clock::Now;
use serde_json::json;

use super::{ActivePairs, idle};
use crate::Failure;
use crate::ground::Plan;
use crate::progress::Bar;
use crate::report::{Column, Median, Report};
use crate::subject::Subject as _;
use crate::subjects::heteronym::Heteronym;

/// A link that lived for less than `limits::SETTLED` is not dialled anew at once.
const SETTLE: Duration = Duration::from_secs(12);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pairs that were resumed, in the router's own count.
const RESUMED: &str = "heteronym_resumed_pairs_total";

const COLUMNS: &[Column] = &[
    Column::plain("seconds", "s until all are active", 3),
    Column::plain("dialling_cpu_seconds", "CPU-s, who dials", 3),
    Column::plain("dialled_cpu_seconds", "who is dialled", 3),
    Column::plain("resumed_pairs", "resumed", 0),
    Column::plain("stanza_seconds", "s of a stanza on each", 3),
];

/// Measures.
///
/// # Errors
/// If the routers do not start, a pair is not resumed, or a stanza does not arrive afterwards.
pub fn run(pairs: &[usize], rounds: usize) -> Result<Report, Failure> {
    let subject = Heteronym::default();
    let settings = json!({ "pairs": pairs, "rounds": rounds, "key": "p256" });
    let mut report = Report { raised: subject.raised(), ..Report::new("resume", settings, COLUMNS, Median::By(0)) };
    for count in pairs {
        measure(&subject, *count, rounds, &mut report)?;
    }
    Ok(report)
}

/// All rounds with the same routers: activating takes much longer than resuming.
fn measure(subject: &Heteronym, count: usize, rounds: usize, report: &mut Report) -> Result<(), Failure> {
    let plan = Plan { between: Some(Duration::ZERO), ..Plan::for_pairs(count) };
    let mut pairs = ActivePairs::of(subject, &plan, count)?;
    pairs.activate()?;
    for _ in 0..rounds {
        idle::wait(SETTLE, "letting the link settle");
        let resumed = [pairs.admin[0].metric(RESUMED, &[])?, pairs.admin[1].metric(RESUMED, &[])?];
        let before = pairs.meter.read()?;
        pairs.ground.cut();
        let start = Now::read().instant;
        // Routers dial when they have something to send.
        pairs.load.send_over(&[0], 1, &Bar::hidden())?;
        for side in [0, 1] {
            pairs.admin[side].wait_for(RESUMED, &[], resumed[side] + count as f64, PATIENCE)?;
        }
        let seconds = (Now::read().instant - start).as_secs_f64();
        let cost = pairs.meter.read()?.since(&before);
        let stanzas = pairs.activate()?;
        let cpu = |side: usize| cost.cpu[side].as_secs_f64();
        let figures = vec![seconds, cpu(0), cpu(1), count as f64, stanzas.as_secs_f64()];
        report.add(subject.name(), count, figures);
    }
    Ok(())
}
