//! Pairs that are active again after the connection between the hosts was cut.

use std::time::Duration;

use heteronym_net::clock::Now;
use serde_json::json;

use super::{active_pairs, idle};
use crate::Failure;
use crate::admin::Admin;
use crate::cost::Meter;
use crate::ground::{Ground, Plan};
use crate::progress::Bar;
use crate::report::{Column, Compare, Median, Report};
use crate::subject::Subject as _;
use crate::subjects::heteronym::Heteronym;

/// A link that lived for less than `limits::SETTLED` is not dialled anew at once.
const SETTLE: Duration = Duration::from_secs(12);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pairs that were resumed, in the router's own count.
const RESUMED: &str = "heteronym_resumed_pairs_total";

const fn column(key: &'static str, title: &'static str, digits: usize) -> Column {
    Column { key, title, digits, compare: Compare::Not }
}

const COLUMNS: &[Column] = &[
    column("seconds", "s until all are active", 3),
    column("dialling_cpu_seconds", "CPU-s, who dials", 3),
    column("dialled_cpu_seconds", "who is dialled", 3),
    column("resumed_pairs", "resumed", 0),
    column("stanza_seconds", "s of a stanza on each", 3),
];

/// Measures.
///
/// # Errors
/// If the routers do not start, a pair is not resumed, or a stanza does not arrive afterwards.
pub fn run(pairs: &[usize], rounds: usize) -> Result<Report, Failure> {
    let subject = Heteronym::default();
    let mut report = Report {
        mode: "resume",
        settings: json!({ "pairs": pairs, "rounds": rounds, "key": "p256" }),
        raised: subject.raised(),
        columns: COLUMNS,
        median: Median::By(0),
        reference: String::new(),
        series: Vec::new(),
        notes: Vec::new(),
    };
    for count in pairs {
        measure(&subject, *count, rounds, &mut report)?;
    }
    Ok(report)
}

/// All rounds with the same routers: activating takes much longer than resuming.
fn measure(subject: &Heteronym, count: usize, rounds: usize, report: &mut Report) -> Result<(), Failure> {
    let ground = Ground::prepare(&Plan { between: Some(Duration::ZERO), ..Plan::for_pairs(count) })?;
    let routers = subject.routers(&ground)?;
    let meter = Meter::new(&routers.running.processes);
    let admin = routers.admin.map(Admin::new);
    let mut pairs = active_pairs(&ground, &routers, count)?;
    pairs.activate()?;
    for _ in 0..rounds {
        idle::wait(SETTLE, "letting the link settle");
        let resumed = [admin[0].metric(RESUMED, &[])?, admin[1].metric(RESUMED, &[])?];
        let before = meter.read()?;
        ground.cut();
        let start = Now::read().instant;
        // Routers dial when they have something to send.
        pairs.load.send_over(&[0], 1, &Bar::hidden())?;
        for side in [0, 1] {
            admin[side].wait_for(RESUMED, &[], resumed[side] + count as f64, PATIENCE)?;
        }
        let seconds = (Now::read().instant - start).as_secs_f64();
        let cost = meter.read()?.since(&before);
        let stanzas = pairs.activate()?;
        let cpu = |side: usize| cost.cpu[side].as_secs_f64();
        let figures = vec![seconds, cpu(0), cpu(1), count as f64, stanzas.as_secs_f64()];
        report.add(subject.name(), count, figures);
    }
    Ok(())
}
