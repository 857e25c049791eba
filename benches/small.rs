//! A small run of the harness, with all of it in place: what it counts is checked, not how fast it was.
#![allow(clippy::unwrap_used, reason = "a test")]

use heteronym_bench::line::Line;
use heteronym_bench::modes::{latency, load};
use heteronym_bench::report::Report;
use heteronym_bench::{parts, subjects};

/// The routers and the relay are processes of this very program, so it cannot have the usual test harness.
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(done) = parts::play(&arguments) {
        return done.unwrap();
    }
    stanzas_arrive_over_every_pair();
    latencies_are_taken_there_and_back();
}

fn line(text: &str) -> Line {
    Line::read(text.split_whitespace().map(str::to_owned)).unwrap()
}

fn figures<'a>(report: &'a Report, subject: &str) -> impl Fn(&str) -> f64 + use<'a> {
    let series = report.series.iter().find(|series| series.subject == subject).unwrap();
    move |key| report.figure(series, key)
}

fn stanzas_arrive_over_every_pair() {
    let line = line("--pairs 4 --stanzas 1000 --rounds 1 --window 64");
    let report = load::run(&line.load(), &subjects::all(&line.against).unwrap(), None).unwrap();
    assert_eq!(report.subjects(), ["relay", "heteronym"]);
    for subject in ["relay", "heteronym"] {
        let figure = figures(&report, subject);
        assert_eq!(figure("connections"), 1.0, "{subject}");
        for key in ["cpu_seconds_per_million", "stanzas_per_second", "peak_mebibytes", "voluntary_switches"] {
            assert!(figure(key) > 0.0, "{subject}: {key}");
        }
    }
}

fn latencies_are_taken_there_and_back() {
    let line = line("--mode latency --stanzas 50 --rounds 1 --rate 500");
    let report = latency::run(&line.load(), &subjects::all(&line.against).unwrap(), None).unwrap();
    for subject in ["relay", "heteronym"] {
        let figure = figures(&report, subject);
        assert!(figure("round_trip_p50_ms") > 0.0 && figure("one_way_p50_ms") > 0.0, "{subject}");
        assert!(figure("one_way_p99_ms") >= figure("one_way_p50_ms"), "{subject}");
    }
}
