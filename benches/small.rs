//! A small run of the harness, with all of it in place: what it counts is checked, not how fast it was.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use heteronym_bench::ground::{Ground, Plan};
use heteronym_bench::line::{Key, Line};
use heteronym_bench::modes::{activate, idle, latency, load, memory, resume, start};
use heteronym_bench::report::Report;
use heteronym_bench::subject::{Attachment, Subject};
use heteronym_bench::subjects::Against;
use heteronym_bench::subjects::heteronym::Heteronym;
use heteronym_bench::subjects::running::Operated;
use heteronym_bench::{parts, subjects};

/// The routers and the relay are processes of this very program, so it cannot have the usual test harness.
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(done) = parts::play(&arguments) {
        return done.unwrap();
    }
    stanzas_arrive_over_every_pair();
    what_comes_at_a_rate_has_its_times();
    links_may_be_many();
    routers_that_run_are_attached_to();
    latencies_are_taken_there_and_back();
    fresh_pairs_are_beside_the_bare_operations();
    first_stanzas_wait_for_the_network();
    idle_pairs_are_weighed();
    pairs_are_active_again_after_a_cut();
    a_router_becomes_ready();
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
    let report = load::run(&line.load(), &subjects::all(&[Against::Relay]), None).unwrap();
    assert_eq!(report.subjects(), ["relay", "heteronym"]);
    for subject in ["relay", "heteronym"] {
        let figure = figures(&report, subject);
        assert_eq!(figure("connections"), 1.0, "{subject}");
        for key in ["cpu_seconds_per_million", "stanzas_per_second", "peak_mebibytes", "voluntary_switches"] {
            assert!(figure(key) > 0.0, "{subject}: {key}");
        }
    }
}

fn what_comes_at_a_rate_has_its_times() {
    let line = line("--pairs 2 --stanzas 100 --rounds 1 --rate 1000");
    let report = load::run(&line.load(), &subjects::all(&[]), None).unwrap();
    let figure = figures(&report, "heteronym");
    assert!(figure("one_way_p50_ms") > 0.0 && figure("one_way_max_ms") >= figure("one_way_p99_ms"));
}

fn links_may_be_many() {
    let line = line("--pairs 9 --stanzas 900 --rounds 1 --window 64 --zipf");
    let heteronym = Heteronym { apart: true, ..Heteronym::default() };
    let report = load::run(&line.load(), &[Box::new(heteronym) as Box<dyn Subject>], None).unwrap();
    assert!(figures(&report, "heteronym")("stanzas_per_second") > 0.0);
}

fn routers_that_run_are_attached_to() {
    let ground = Ground::prepare(&Plan::for_pairs(4)).unwrap();
    let running = Heteronym::default().start(&ground).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (side, pid) in running.sides.iter().zip(&running.processes) {
        let Attachment::Component { address, domains, secret } = &side[0] else { panic!("no component") };
        std::fs::write(folder.path().join("secret"), secret).unwrap();
        text += &format!(
            "[[side]]\ncomponent = \"{address}\"\ndomains = {domains:?}\nsecret_file = \"secret\"\npid = {pid}\n"
        );
    }
    let file = folder.path().join("running.toml");
    std::fs::write(&file, text).unwrap();
    let operated = Operated::read(&file).unwrap();
    let (line, ground) = (line("--pairs 4 --stanzas 400 --rounds 1"), operated.ground().unwrap());
    let report = load::run(&line.load(), &[Box::new(operated) as Box<dyn Subject>], Some(ground)).unwrap();
    assert!(figures(&report, "running")("cpu_seconds_per_million") > 0.0);
}

fn latencies_are_taken_there_and_back() {
    let line = line("--mode latency --stanzas 50 --rounds 1 --rate 500");
    let report = latency::run(&line.load(), &subjects::all(&[Against::Relay]), None).unwrap();
    for subject in ["relay", "heteronym"] {
        let figure = figures(&report, subject);
        assert!(figure("round_trip_p50_ms") > 0.0 && figure("one_way_p50_ms") > 0.0, "{subject}");
        assert!(figure("one_way_p99_ms") >= figure("one_way_p50_ms"), "{subject}");
    }
}

fn activated(rtt: Option<Duration>) -> activate::Options {
    activate::Options { pairs: 4, keys: vec![Key::P256], window: 8, rtt, rounds: 1 }
}

fn fresh_pairs_are_beside_the_bare_operations() {
    let report = activate::run(&activated(None), &subjects::all(&[])).unwrap();
    let figure = figures(&report, "heteronym p256");
    for key in ["fresh_pairs_per_second", "cpu_milliseconds_per_pair", "bare_milliseconds_per_pair", "times_bare"] {
        assert!(figure(key) > 0.0, "{key}");
    }
    assert_eq!(report.raised[0].0, "activations_per_second");
}

fn first_stanzas_wait_for_the_network() {
    let report = activate::run(&activated(Some(Duration::from_millis(20))), &subjects::all(&[])).unwrap();
    let figure = figures(&report, "heteronym p256");
    assert!(figure("active_p50_ms") >= 10.0, "half a round trip: {}", figure("active_p50_ms"));
    assert!(figure("known_p50_ms") > figure("active_p50_ms") && figure("new_p50_ms") > 10.0);
}

fn idle_pairs_are_weighed() {
    let weighed = memory::run(&[9]).unwrap();
    assert!(figures(&weighed, "heteronym")("dialled_resident_mebibytes") > 0.0);
    let idle = idle::run(&[4], Duration::from_millis(100)).unwrap();
    assert!(figures(&idle, "heteronym")("dialling_cpu_percent") >= 0.0);
}

fn pairs_are_active_again_after_a_cut() {
    let report = resume::run(&[4], 1).unwrap();
    let figure = figures(&report, "heteronym");
    assert_eq!(figure("resumed_pairs"), 4.0);
    assert!(figure("seconds") > 0.0 && figure("stanza_seconds") > 0.0);
}

fn a_router_becomes_ready() {
    let report = start::run(10, 1).unwrap();
    let figure = figures(&report, "heteronym");
    assert!(figure("seconds_to_ready") > 0.0 && figure("peak_mebibytes") > 1.0);
}
