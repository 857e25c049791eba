//! `cargo bench -p heteronym-bench --bench load`: the router beside the limit, in turns.
#![allow(clippy::print_stdout, reason = "a harness prints its table")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use comfy_table::Table;
use heteronym_bench::drive::{Path, Run};
use heteronym_bench::subject::Ground;

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

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let done = match arguments.get(1).map(String::as_str) {
        Some("serve-router") => serve_router(&arguments[2..]),
        Some("serve-relay") => serve_relay(&arguments[2..]),
        Some(_) | None => measure(&Line::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_router(arguments: &[String]) -> Result<(), Failure> {
    let file = PathBuf::from(arguments.first().ok_or("no configuration")?);
    let (config, certificates) = heteronym::certificates::read(&file)?;
    heteronym::logging::start(&config.log)?;
    Ok(heteronym::daemon::run(config, certificates, file)?)
}

fn serve_relay(arguments: &[String]) -> Result<(), Failure> {
    let [end, configuration, listen, to] = arguments else { return Err("near|far FILE LISTEN TO".into()) };
    let address = |text: &String| text.parse::<SocketAddr>();
    heteronym_bench::relay::serve(end == "near", configuration.as_ref(), address(listen)?, address(to)?)
}

fn measure(line: &Line) -> Result<(), Failure> {
    let ground = Ground::prepare()?;
    let (mut relay, mut routers) = (Vec::new(), Vec::new());
    for round in 0..line.rounds {
        relay.push(run_relay(&ground, line)?);
        routers.push(run_routers(&ground, line)?);
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

fn run_relay(ground: &Ground, line: &Line) -> Result<Run, Failure> {
    let subject = ground.relay()?;
    Path::through_relay(ground)?.drive(&subject, line.stanzas, line.bytes.into())
}

fn run_routers(ground: &Ground, line: &Line) -> Result<Run, Failure> {
    let subject = ground.routers()?;
    Path::through_routers(ground)?.drive(&subject, line.stanzas, line.bytes.into())
}

fn said(run: Run) -> String {
    format!("{:.2} CPU-s per million at {:.0} stanzas/s", run.cpu_per_million, run.per_second)
}

/// The run in the middle by CPU.
fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by(|a, b| a.cpu_per_million.total_cmp(&b.cpu_per_million));
    runs[runs.len() / 2]
}
