//! The `heteronym` binary: one command, and an exit code that says how it went.

use std::process::ExitCode;

use heteronym::cli::{self, Command, Failure, File};
use heteronym::{certificates, daemon, demo, logging};

fn main() -> ExitCode {
    match cli::parse() {
        Ok(command) => perform(command).map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS),
        Err(code) => code,
    }
}

fn perform(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(file) => run(file),
        Command::Demo(options) => Ok(demo::run(options.into())?),
        Command::Status(of) => cli::status(of),
        Command::Dns(of) => cli::dns(of),
        Command::Check(what) => cli::check(what),
    }
}

fn run(file: File) -> Result<(), Failure> {
    let file = file.choose();
    let (config, certificates) = certificates::read(&file)?;
    logging::start(&config.log).map_err(|error| Failure::Other { what: "logging", reason: error.to_string() })?;
    tracing::info!(host = %config.host.name, config = %file.display(), "heteronym {}", env!("CARGO_PKG_VERSION"));
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(daemon::run(config, certificates, file)?)
}
