//! The command line, and what its commands end with.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::check::{self, Report};
use crate::config::{Config, ConfigErrors, choose_file};
use crate::daemon::DaemonError;
use crate::demo::{self, DemoError};
use crate::status::{QueryError, Status, query, tables};
use crate::zone;

/// An XMPP federation router: one connection between two hosts carries every pair of their domains.
#[derive(Debug, Parser)]
#[command(name = "heteronym", version, arg_required_else_help = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground; SIGTERM drains, SIGHUP reloads
    Run(File),
    /// Look at configuration, certificates, DNS and ports: what is wrong, and what to do about it
    Check(Check),
    /// Show it: two hosts on this machine, everything embedded
    Demo(Demo),
    /// Show hosts, pairs and local links of the running daemon
    Status(StatusOf),
    /// Print the SRV records to publish, as a zone-file fragment
    Dns(DnsOf),
}

/// Which configuration.
#[derive(Args, Debug)]
pub struct File {
    /// The configuration; by default $HETERONYM_CONFIG, else /etc/heteronym/heteronym.toml
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What to look at, and how to tell.
#[derive(Args, Debug)]
pub struct Check {
    #[command(flatten)]
    file: File,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
    /// Without DNS, and without dialling
    #[arg(long)]
    offline: bool,
}

/// Whose records, and how.
#[derive(Args, Debug)]
pub struct DnsOf {
    #[command(flatten)]
    file: File,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

/// How large a demonstration.
#[derive(Args, Debug)]
pub struct Demo {
    /// Domains on either side
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    domains: u32,
    /// Stanzas for each pair and direction
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    stanzas: u32,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

/// Whose status, and how.
#[derive(Args, Debug)]
pub struct StatusOf {
    #[command(flatten)]
    file: File,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

/// Why a command did not do what it was told; its text is what standard error says.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong: one line for each error.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The daemon did not start or did not end well.
    #[error("heteronym: {0}")]
    Daemon(#[from] DaemonError),
    /// The demonstration failed.
    #[error("heteronym: {0}")]
    Demo(#[from] DemoError),
    /// There are errors, which were printed.
    #[error("heteronym: the check found errors")]
    Check,
    /// The daemon did not tell its status.
    #[error("heteronym: {0}")]
    Status(#[from] QueryError),
    /// Something on the way there failed.
    #[error("heteronym: {what}: {reason}")]
    Other {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        reason: String,
    },
}

/// The command of this process, or how to end at once: after help, or with what is wrong with the line.
pub fn parse() -> Result<Command, ExitCode> {
    Line::try_parse().map(|line| line.command).map_err(|error| {
        // Where help goes is clap's decision. A closed pipe is nobody's error.
        let _ = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => ExitCode::from(EXIT_USAGE),
        }
    })
}

impl File {
    /// The configuration and where it lies.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(self) -> Result<(Config, PathBuf), Failure> {
        let file = self.choose();
        Ok((Config::load(&file)?, file))
    }

    /// Where it lies.
    #[must_use]
    pub fn choose(self) -> PathBuf {
        choose_file(self.config)
    }
}

impl From<Demo> for demo::Options {
    fn from(Demo { domains, stanzas, json }: Demo) -> Self {
        Self { domains, stanzas, json }
    }
}

/// `heteronym status`
///
/// # Errors
/// If the configuration is wrong or the daemon does not answer.
pub fn status(command: StatusOf) -> Result<(), Failure> {
    let (config, _) = command.file.load()?;
    if command.json {
        let document: Value = query(&config)?;
        print(&format!("{document:#}\n"))
    } else {
        let status: Status = query(&config)?;
        print(&tables(&status))
    }
}

/// `heteronym dns`
///
/// # Errors
/// If the configuration is wrong.
pub fn dns(command: DnsOf) -> Result<(), Failure> {
    let (config, _) = command.file.load()?;
    if command.json { print(&zone::document(&config)) } else { print(&zone::fragment(&config)) }
}

/// `heteronym check`
///
/// # Errors
/// If the configuration is wrong, or something else is.
pub fn check(command: Check) -> Result<(), Failure> {
    let show = |report: &Report| {
        let json = || serde_json::to_string_pretty(report).map_err(|error| other("JSON", &error));
        if command.json { print(&(json()? + "\n")) } else { print(&report.text()) }
    };
    match check::check(&command.file.choose(), command.offline) {
        Ok(report) => {
            show(&report)?;
            if report.ok { Ok(()) } else { Err(Failure::Check) }
        }
        Err(errors) => {
            if command.json {
                show(&Report::from(&errors))?;
            }
            Err(errors.into())
        }
    }
}

fn other(what: &'static str, error: &dyn std::error::Error) -> Failure {
    Failure::Other { what, reason: error.to_string() }
}

impl Failure {
    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(EXIT_CONFIG),
            Self::Daemon(_) | Self::Demo(_) | Self::Check | Self::Status(_) | Self::Other { .. } => ExitCode::FAILURE,
        }
    }

    /// Says it on standard error, where nobody may be listening.
    pub fn report(&self) -> ExitCode {
        let _ = writeln!(io::stderr(), "{self}");
        self.exit_code()
    }
}

/// Prints to standard output; a reader that has seen enough is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Other { what: "standard output", reason: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;
