//! `cargo bench -p heteronym-bench --bench load`: the router beside the limit and its rivals. See `benches/README.md`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a harness prints its table")]

use std::process::ExitCode;

use heteronym_bench::line::{Line, Mode};
use heteronym_bench::modes::{latency, load};
use heteronym_bench::report::Report;
use heteronym_bench::subject::Subject;
use heteronym_bench::subjects::running::Operated;
use heteronym_bench::{Failure, parts, subjects};

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
    Ok(())
}

fn perform(line: &Line) -> Result<Report, Failure> {
    let (subjects, ground) = match &line.running {
        Some(file) => {
            let operated = Operated::read(file)?;
            let ground = operated.ground()?;
            (vec![Box::new(operated) as Box<dyn Subject>], Some(ground))
        }
        None => (subjects::all(&line.against)?, None),
    };
    match line.mode {
        Mode::Load => load::run(&line.load(), &subjects, ground),
        Mode::Latency => latency::run(&line.load(), &subjects, ground),
        Mode::Activate | Mode::Resume | Mode::Memory | Mode::Idle | Mode::Start => Err("not yet".into()),
    }
}
