//! Fresh pairs: how many a second, what one costs, and how long its first stanza takes.

use std::time::Duration;

use heteronym::demo::authority::{KeyKind, KeyUsage};
use serde_json::json;

use super::{BYTES, raised};
use crate::Failure;
use crate::bare;
use crate::cost::Meter;
use crate::drive::Load;
use crate::ground::{Ground, Plan, side};
use crate::line::Key;
use crate::progress::Bar;
use crate::report::{Column, Median, Report};
use crate::subject::Subject;

/// Stanzas over pairs that are active already, to compare with.
const ACTIVE: usize = 20;

const COSTS: &[Column] = &[
    Column::plain("fresh_pairs_per_second", "fresh pairs/s", 0),
    Column::plain("cpu_milliseconds_per_pair", "CPU-ms per pair", 3),
    Column::plain("bare_milliseconds_per_pair", "bare operations", 3),
    Column::plain("times_bare", "times that", 2),
    Column::plain("cpu_milliseconds_with_identities", "with new domains", 3),
    Column::plain("bare_milliseconds_with_identities", "bare operations", 3),
];

const FIRST_STANZAS: &[Column] = &[
    Column::plain("active_p50_ms", "active pair p50 ms", 1),
    Column::plain("known_p50_ms", "known domains p50 ms", 1),
    Column::plain("known_max_ms", "max", 1),
    Column::plain("known_p50_rtts", "p50 in RTTs", 2),
    Column::plain("new_p50_ms", "new domains p50 ms", 1),
    Column::plain("new_max_ms", "max", 1),
    Column::plain("new_p50_rtts", "p50 in RTTs", 2),
];

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Pairs, of all domains of either side with all of the other.
    pub pairs: usize,
    /// The keys, each in turn.
    pub keys: Vec<Key>,
    /// Fresh pairs under way at once.
    pub window: u64,
    /// Between the hosts, there and back; then one stanza goes at a time, and its time is told.
    pub rtt: Option<Duration>,
    /// Rounds of each subject.
    pub rounds: usize,
}

/// Which pairs are looked at in which order.
struct Pairs {
    all: usize,
    /// Both domains are new.
    new: Vec<u32>,
    /// Both have been seen, not together.
    known: Vec<u32>,
}

impl Pairs {
    fn of(pairs: usize) -> Self {
        let domains = side(pairs);
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let new: Vec<u32> = (1..domains).map(|at| number(at * domains + at)).collect();
        let others = (0..domains * domains).filter(|at| at / domains != at % domains);
        Self { all: domains * domains, new, known: others.map(number).take(pairs).collect() }
    }
}

/// Measures.
///
/// # Errors
/// If a subject does not start, or a stanza is lost.
pub fn run(options: &Options, subjects: &[Box<dyn Subject>]) -> Result<Report, Failure> {
    let keys: Vec<&str> = options.keys.iter().map(|key| name(*key)).collect();
    let (window, rtt) = (options.rtt.is_none().then_some(options.window), options.rtt.map(|rtt| rtt.as_secs_f64()));
    let (pairs, rounds) = (options.pairs, options.rounds);
    let settings = json!({ "pairs": pairs, "keys": keys, "window": window, "rtt_seconds": rtt, "rounds": rounds });
    let columns = if options.rtt.is_some() { FIRST_STANZAS } else { COSTS };
    let mut report = Report { raised: raised(subjects), ..Report::new("activate", settings, columns, Median::Each) };
    for key in &options.keys {
        let ground = Ground::prepare(&plan(options, *key))?;
        for round in 0..options.rounds {
            for subject in subjects {
                let what = format!("round {}, {}, {}", round + 1, name(*key), subject.name());
                let figures = match options.rtt {
                    None => costs(subject.as_ref(), &ground, options, &what),
                    Some(rtt) => first_stanzas(subject.as_ref(), &ground, options, rtt, &what),
                };
                let figures = figures.map_err(|error| format!("{what}: {error}"))?;
                report.add(&format!("{} {}", subject.name(), name(*key)), pairs, figures);
            }
        }
    }
    Ok(report)
}

fn plan(options: &Options, key: Key) -> Plan {
    let (kind, key_usage) = match key {
        Key::Rsa2048 => (KeyKind::Rsa2048, KeyUsage::Signature),
        Key::Rsa2048Oaep => (KeyKind::Rsa2048, KeyUsage::SignatureAndEncipherment),
        Key::P256 => (KeyKind::P256, KeyUsage::Signature),
    };
    let between = options.rtt.map(|rtt| rtt / 2);
    Plan { key: kind, key_usage, between, ..Plan::for_pairs(options.pairs) }
}

fn name(key: Key) -> &'static str {
    match key {
        Key::Rsa2048 => "rsa2048",
        Key::Rsa2048Oaep => "rsa2048-oaep",
        Key::P256 => "p256",
    }
}

fn costs(subject: &dyn Subject, ground: &Ground, options: &Options, what: &str) -> Result<Vec<f64>, Failure> {
    let bare = bare::measure(ground)?;
    let running = subject.start(ground)?;
    let pairs = Pairs::of(options.pairs);
    let mut load = Load::attach(&running, ground, pairs.all, BYTES)?;
    let bar = Bar::new(what, pairs.all as u64, "pairs");
    // The connection is up, and everything was done once.
    load.send_over(&[0], 1, &bar)?;
    let meter = Meter::new(&running.processes);
    let mut cost = |of: &[u32]| {
        let before = meter.read()?;
        let sent = load.send_over(of, options.window, &bar)?;
        let cpu = meter.read()?.since(&before).seconds();
        Ok::<_, Failure>((cpu / of.len() as f64, of.len() as f64 / sent.time.as_secs_f64()))
    };
    let (with_identities, _) = if pairs.new.is_empty() { (f64::NAN, f64::NAN) } else { cost(&pairs.new)? };
    let (cpu, per_second) = cost(&pairs.known)?;
    // What others do for a fresh pair has other operations in it.
    let beside = |bare: f64| if subject.name() == "heteronym" { bare } else { f64::NAN };
    Ok(vec![
        per_second,
        cpu * 1e3,
        beside(bare.pair * 1e3),
        beside(cpu / bare.pair),
        with_identities * 1e3,
        beside((bare.pair + bare.identities) * 1e3),
    ])
}

fn first_stanzas(
    subject: &dyn Subject,
    ground: &Ground,
    options: &Options,
    rtt: Duration,
    what: &str,
) -> Result<Vec<f64>, Failure> {
    let running = subject.start(ground)?;
    let pairs = Pairs::of(options.pairs);
    let mut load = Load::attach(&running, ground, pairs.all, BYTES)?;
    let bar = Bar::new(what, (ACTIVE + pairs.new.len() + pairs.known.len()) as u64, "stanzas");
    load.send_over(&[0], 1, &Bar::hidden())?;
    let mut done = 0;
    let mut times = |of: &[u32]| {
        let mut times = Vec::new();
        for pair in of {
            times.push(load.send_over(&[*pair], 1, &Bar::hidden())?.time.as_secs_f64() * 1e3);
            done += 1;
            bar.reach(done);
        }
        times.sort_by(f64::total_cmp);
        let at = |place: usize| times.get(place).copied().unwrap_or(f64::NAN);
        Ok::<_, Failure>((at(times.len() / 2), at(times.len().saturating_sub(1))))
    };
    let (active, _) = times(&[0; ACTIVE])?;
    let (new, new_max) = times(&pairs.new)?;
    let (known, known_max) = times(&pairs.known)?;
    let rtts = |milliseconds: f64| milliseconds / 1e3 / rtt.as_secs_f64();
    Ok(vec![active, known, known_max, rtts(known), new, new_max, rtts(new)])
}

#[cfg(test)]
mod tests {
    use super::Pairs;

    #[test]
    fn new_domains_meet_first_and_known_ones_then() {
        let pairs = Pairs::of(9);
        assert_eq!((pairs.all, pairs.new, pairs.known), (9, vec![4, 8], vec![1, 2, 3, 5, 6, 7]));
        let one = Pairs::of(1);
        assert!(one.new.is_empty() && one.known.is_empty());
    }
}
