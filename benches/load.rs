//! `cargo bench -p heteronym-bench --bench load`: the router beside the limit, in turns.
#![allow(clippy::print_stdout, reason = "a harness prints its table")]

use std::process::ExitCode;

use clap::Parser;
use comfy_table::Table;
use heteronym_bench::drive::{Path, Run};
use heteronym_bench::ground::{Ground, Plan};
use heteronym_bench::subject::Subject;
use heteronym_bench::subjects::heteronym::Heteronym;
use heteronym_bench::subjects::relay::Relay;
use heteronym_bench::{Failure, parts};

/// Pushes stanzas over one pair, through two routers and through a plain TLS relay in turns, and
/// prints what they cost: CPU-seconds (user and system, both processes) per million stanzas.
#[derive(Parser)]
struct Line {
    /// Stanzas in each run
    #[arg(long, default_value_t = 500_000)]
    stanzas: u64,
    /// Bytes of one stanza
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(150..))]
    bytes: u16,
    /// Runs of each subject
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = parts::play(&arguments).unwrap_or_else(|| measure(&Line::parse()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(line: &Line) -> Result<(), Failure> {
    let ground = Ground::prepare(&Plan::for_pairs(1))?;
    let (mut relay, mut routers) = (Vec::new(), Vec::new());
    for round in 0..line.rounds {
        relay.push(run(&Relay, &ground, line)?);
        routers.push(run(&Heteronym::default(), &ground, line)?);
        println!("round {}: relay {}, heteronym {}", round + 1, said(relay[round]), said(routers[round]));
    }
    let (relay, routers) = (median(relay), median(routers));
    let mut table = Table::new();
    table.set_header(["subject", "CPU-s per million", "stanzas/s", "times the relay's CPU"]);
    for (name, run) in [("relay (the limit)", relay), ("heteronym", routers)] {
        let ratio = run.cpu_per_million / relay.cpu_per_million;
        table.add_row([
            name.to_owned(),
            format!("{:.2}", run.cpu_per_million),
            format!("{:.0}", run.per_second),
            format!("{ratio:.1}"),
        ]);
    }
    println!("{} stanzas of {} bytes over one pair, median of {} rounds", line.stanzas, line.bytes, line.rounds);
    println!("{table}");
    Ok(())
}

fn run(subject: &dyn Subject, ground: &Ground, line: &Line) -> Result<Run, Failure> {
    let running = subject.start(ground)?;
    Path::through(&running)?.drive(&running, line.stanzas, line.bytes.into())
}

fn said(run: Run) -> String {
    format!("{:.2} CPU-s per million at {:.0} stanzas/s", run.cpu_per_million, run.per_second)
}

/// The run in the middle by CPU.
fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.cpu_per_million.total_cmp(&b.cpu_per_million));
    runs[runs.len() / 2]
}
