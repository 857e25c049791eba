//! Throughput and CPU time: the same stanzas through every subject in turns.

use serde_json::json;

use super::latency::{milliseconds, quantiles};
use super::raised;
use crate::Failure;
use crate::cost::{Meter, connections};
use crate::drive::draw::Draw;
use crate::drive::{Load, Pace, Until, Way};
use crate::ground::{Ground, Plan};
use crate::progress::Bar;
use crate::report::{Column, Compare, Median, Report, Series};
use crate::subject::{Running, Subject};

/// Pairs that become active at once before the load.
pub(super) const ACTIVATED_AT_ONCE: u64 = 256;
/// Stanzas before those that are measured, at most; a tenth of these if that is less.
const WARM_UP: u64 = 20_000;
/// Stanzas under way at once, and their bytes: a router lets 1 MiB wait for a pair (`limits.pair_queue_bytes`), and
/// returns what is more.
const WINDOW: (u64, usize) = (4096, 800 << 10);

/// What a closed loop gives: the time of a stanza would be that of its window.
const CLOSED: usize = 8;

const COLUMNS: &[Column] = &[
    Column { key: "cpu_seconds_per_million", title: "CPU-s per million", digits: 2, compare: Compare::Ratio },
    Column { key: "stanzas_per_second", title: "stanzas/s", digits: 0, compare: Compare::Ratio },
    Column::plain("megabytes_per_second", "MB/s", 1),
    Column { key: "peak_mebibytes", title: "peak MiB", digits: 1, compare: Compare::Ratio },
    Column::plain("voluntary_switches", "waits", 0),
    Column::plain("involuntary_switches", "preempted", 0),
    Column::plain("connections", "connections", 0),
    Column::plain("harness_cpu_seconds_per_million", "load's own CPU-s", 2),
    milliseconds("one_way_p50_ms", "one way p50 ms"),
    milliseconds("one_way_p99_ms", "p99"),
    milliseconds("one_way_max_ms", "max"),
];

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many pairs, each in turn.
    pub pairs: Vec<usize>,
    /// Whether the pair of rank k gets 1/k of the first's stanzas.
    pub zipf: bool,
    /// Bytes of a stanza.
    pub bytes: usize,
    /// When.
    pub pace: Pace,
    /// How long.
    pub until: Until,
    /// Rounds of each subject.
    pub rounds: usize,
}

impl Options {
    pub(super) fn settings(&self) -> serde_json::Value {
        let (window, rate) = match self.pace {
            Pace::Window(window) => (Some(window), None),
            Pace::Rate(rate) => (None, Some(rate)),
        };
        let (stanzas, seconds) = match self.until {
            Until::Stanzas(stanzas) => (Some(stanzas), None),
            Until::Time(time) => (None, Some(time.as_secs_f64())),
        };
        json!({
            "pairs": self.pairs, "zipf": self.zipf, "bytes": self.bytes, "window": window, "rate": rate,
            "stanzas": stanzas, "seconds": seconds, "rounds": self.rounds,
        })
    }

    fn draw(&self, pairs: usize) -> Draw {
        if self.zipf { Draw::zipf(pairs) } else { Draw::even(pairs) }
    }
}

/// Stanzas of `bytes` bytes that may be under way at once, where nothing else is said.
#[must_use]
pub fn window(bytes: usize) -> u64 {
    WINDOW.0.min((WINDOW.1 / bytes).max(1) as u64)
}

/// Where the subjects stand: on a ground of the harness, or where an operator has put them.
fn grounds(pairs: &[usize], given: Option<Ground>) -> Result<Ground, Failure> {
    match given {
        Some(ground) => Ok(ground),
        None => Ground::prepare(&Plan::for_pairs(pairs.iter().copied().max().unwrap_or(1))),
    }
}

/// Measures.
///
/// # Errors
/// If a subject does not start, or a stanza is lost, doubled, altered or out of order.
pub fn run(options: &Options, subjects: &[Box<dyn Subject>], ground: Option<Ground>) -> Result<Report, Failure> {
    let columns = match options.pace {
        Pace::Window(_) => &COLUMNS[..CLOSED],
        Pace::Rate(_) => COLUMNS,
    };
    let report = Report::new("load", options.settings(), columns, Median::By(0));
    let mut report = in_turns(report, options, subjects, ground, measure)?;
    report.notes = by_pairs(&report);
    Ok(report)
}

/// What measures one subject, attached to for so many pairs, all of them active.
type Measure = fn((Running, Load), usize, &Options, &str) -> Result<Vec<f64>, Failure>;

/// Fills in what `measure` finds, of all subjects in turns.
pub(super) fn in_turns(
    report: Report,
    options: &Options,
    subjects: &[Box<dyn Subject>],
    ground: Option<Ground>,
    measure: Measure,
) -> Result<Report, Failure> {
    let ground = grounds(&options.pairs, ground)?;
    let mut report = Report { raised: raised(subjects), reference: reference(subjects), ..report };
    for round in 0..options.rounds {
        for pairs in &options.pairs {
            for subject in subjects {
                let what = format!("round {}, {pairs} pairs, {}", round + 1, subject.name());
                let active = active(subject.as_ref(), &ground, *pairs, options.bytes, &what);
                let figures = active.and_then(|active| measure(active, *pairs, options, &what));
                report.add(subject.name(), *pairs, figures.map_err(|error| format!("{what}: {error}"))?);
            }
        }
    }
    Ok(report)
}

fn active(
    subject: &dyn Subject,
    ground: &Ground,
    pairs: usize,
    bytes: usize,
    what: &str,
) -> Result<(Running, Load), Failure> {
    let running = subject.start(ground)?;
    let mut load = Load::attach(&running, ground, pairs, bytes)?;
    load.activate(ACTIVATED_AT_ONCE, &Bar::new(&format!("{what}: activating"), pairs as u64, "pairs"))?;
    Ok((running, load))
}

/// What more pairs cost than the fewest, of each subject.
fn by_pairs(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    for subject in report.subjects() {
        let mut of: Vec<_> = report.series.iter().filter(|series| series.subject == subject).collect();
        of.sort_by_key(|series| series.pairs);
        let Some((fewest, more)) = of.split_first() else { continue };
        let cpu = |series: &Series| report.figure(series, "cpu_seconds_per_million");
        let line = |series: &&Series| {
            let (pairs, times) = (series.pairs, cpu(series) / cpu(fewest));
            format!("{subject}: over {pairs} pairs a stanza takes {times:.2} × the CPU of {}", fewest.pairs)
        };
        notes.extend(more.iter().map(line));
    }
    notes
}

/// Whom the others are compared with.
fn reference(subjects: &[Box<dyn Subject>]) -> String {
    let relay = subjects.iter().find(|subject| subject.name() == "relay");
    relay.or(subjects.first()).map_or("", |subject| subject.name()).to_owned()
}

fn measure(
    (running, mut load): (Running, Load),
    pairs: usize,
    options: &Options,
    what: &str,
) -> Result<Vec<f64>, Failure> {
    let draw = options.draw(pairs);
    let stanzas = match options.until {
        Until::Stanzas(stanzas) => stanzas,
        Until::Time(_) => 0,
    };
    let (warm_up, window) =
        (Until::Stanzas((stanzas / 10).clamp(100, WARM_UP)), Pace::Window(window(options.bytes).min(1024)));
    load.send(&draw, Way::There, window, warm_up, &Bar::hidden())?;
    let (meter, own, bar) = (Meter::new(&running.processes), Meter::own(), Bar::new(what, stanzas, "stanzas"));
    let (before, own_before) = (meter.read()?, own.read()?);
    let sent = load.send(&draw, Way::There, options.pace, options.until, &bar)?;
    let (cost, own_cost) = (meter.read()?.since(&before), own.read()?.since(&own_before));
    drop(bar);
    let (count, seconds) = (sent.stanzas as f64, sent.time.as_secs_f64());
    let known = |value: f64| if running.processes.is_empty() { f64::NAN } else { value };
    let mut figures = vec![
        known(cost.seconds() / count * 1e6),
        count / seconds,
        count * options.bytes as f64 / seconds / 1e6,
        known(meter.memory()?.peak as f64 / 1024.0),
        known(cost.voluntary as f64),
        known(cost.involuntary as f64),
        if running.ports.is_empty() { f64::NAN } else { connections(&running.ports)? as f64 },
        own_cost.seconds() / count * 1e6,
    ];
    if let Pace::Rate(_) = options.pace {
        let [p50, _, p99, _, longest] = quantiles(&sent.latency);
        figures.extend([p50, p99, longest]);
    }
    Ok(figures)
}
