//! `cargo bench -p heteronym-bench --bench load`: the router beside the limit and its rivals. See `benches/README.md`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a harness prints its table")]

use std::process::ExitCode;

use heteronym_bench::line::{Key, Line, Mode};
use heteronym_bench::modes::{activate, idle, latency, load, memory, resume, start};
use heteronym_bench::report::Report;
use heteronym_bench::subject::Subject;
use heteronym_bench::subjects::Against;
use heteronym_bench::subjects::running::Operated;
use heteronym_bench::{Failure, parts, plot, subjects};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match parts::play(&arguments) {
        Some(done) => done,
        None => match Line::read(arguments) {
            Ok(line) => measure(&line),
            Err(error) => error.exit(),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(line: &Line) -> Result<(), Failure> {
    let report = perform(line)?;
    print!("{}", report.table());
    if let Some(file) = &line.json {
        let text = serde_json::to_string_pretty(&report.document())? + "\n";
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if let Some(file) = &line.plot {
        plot::write(&report, file)?;
    }
    Ok(())
}

fn perform(line: &Line) -> Result<Report, Failure> {
    match line.mode {
        Mode::Load | Mode::Latency => {
            let (subjects, ground) = match &line.running {
                Some(file) => {
                    let operated = Operated::read(file)?;
                    let ground = operated.ground()?;
                    (vec![Box::new(operated) as Box<dyn Subject>], Some(ground))
                }
                None => (subjects::all(&line.against(&[Against::Relay])), None),
            };
            let measure = if line.mode == Mode::Load { load::run } else { latency::run };
            measure(&line.load(), &subjects, ground)
        }
        Mode::Activate => activate::run(&activated(line), &subjects::all(&line.against)),
        Mode::Resume => resume::run(&line.pairs(&[10_000]), line.rounds(1)),
        Mode::Memory => memory::run(&line.pairs(&[1000, 10_000, 100_000])),
        Mode::Idle => idle::run(&line.pairs(&[100_000]), line.seconds(60.0)),
        Mode::Start => start::run(line.domains.unwrap_or(10_000) as usize, line.rounds(3)),
    }
}

fn activated(line: &Line) -> activate::Options {
    let pairs = if line.rtt.is_some() { 64 } else { 400 };
    let keys = if line.key.is_empty() { vec![Key::Rsa2048, Key::P256] } else { line.key.clone() };
    activate::Options {
        pairs: line.pairs.first().copied().unwrap_or(pairs),
        keys,
        window: line.window.unwrap_or(64),
        rtt: line.rtt,
        rounds: line.rounds(if line.rtt.is_some() { 1 } else { 3 }),
    }
}
