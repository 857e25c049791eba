//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, ValueEnum};

use crate::drive::{Pace, Until};
use crate::modes::load;
use crate::subjects::Against;

/// Stanzas of a run, where nothing else is said.
const STANZAS: u64 = 1_000_000;
/// Seconds of a run that has a rate.
const SECONDS: f64 = 4.0;
/// Stanzas a second where latencies are measured.
const RATE: f64 = 3000.0;
/// The most pairs of any mode; a router keeps records of no more (`limits::PAIRS`).
const PAIRS: usize = 1 << 20;

/// Sends the same stanzas through two routers and through what they replace, in turns, and says what it cost.
///
/// A subject is two ends on this machine: `heteronym` is two routers; `relay` the limit, one TLS 1.3 stream that
/// nobody looks into; the others are two XMPP servers as Debian has them.
#[derive(Clone, Debug, Parser)]
#[command(name = "load")]
pub struct Line {
    /// What is measured
    #[arg(long, value_enum, default_value_t = Mode::Load)]
    pub mode: Mode,
    /// Pairs of domains; of a list, each in turn
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = pairs)]
    pub pairs: Vec<usize>,
    /// Give the pair of rank k one k-th of the first one's stanzas, not all the same (load)
    #[arg(long)]
    pub zipf: bool,
    /// Stanzas of each run (load, latency)
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub stanzas: Option<u64>,
    /// Seconds of each run (load, latency, idle)
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// Bytes of one stanza (load, latency)
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(150..=200_000))]
    pub bytes: u32,
    /// Stanzas, or fresh pairs, under way at once (load, activate)
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub window: Option<u64>,
    /// Stanzas a second, whatever arrives: an open loop (load, latency)
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rate: Option<f64>,
    /// Runs of each subject (all but memory and idle)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,
    /// Whom to measure beside heteronym; none: nobody (load, latency, activate)
    #[arg(long, value_enum, value_name = "WHOM,…", value_delimiter = ',')]
    pub against: Vec<Against>,
    /// The keys of the domains' certificates (activate)
    #[arg(long, value_enum, value_delimiter = ',')]
    pub key: Vec<Key>,
    /// Delay between the hosts, there and back, such as 50ms: tells how long first stanzas take (activate)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub rtt: Option<Duration>,
    /// Domains of the router (start)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub domains: Option<u32>,
    /// Attach to routers that run, instead of starting some: see benches/README.md (load, latency)
    #[arg(long, value_name = "FILE")]
    pub running: Option<PathBuf>,
    /// Write all figures there
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw them there, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// CPU time, throughput, memory under load
    Load,
    /// Round trips at low load, one way at a rate
    Latency,
    /// Fresh pairs: how many a second, and what one costs
    Activate,
    /// Pairs that are active again after the connection was cut
    Resume,
    /// Bytes of an idle pair
    Memory,
    /// CPU of routers that have nothing to do
    Idle,
    /// From the start to ready
    Start,
}

/// The keys of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Key {
    /// RSA of 2048 bits that may only sign, as public CAs certify them: sealed by HPKE
    Rsa2048,
    /// RSA of 2048 bits that may be encrypted to: sealed by OAEP
    Rsa2048Oaep,
    /// ECDSA on P-256: sealed by HPKE
    P256,
}

/// The folder that relative paths are meant from: cargo has changed to another one, but tells which it was.
fn called_from() -> PathBuf {
    std::env::var_os("PWD").map(PathBuf::from).filter(|folder| folder.is_absolute()).unwrap_or_default()
}

fn pairs(text: &str) -> Result<usize, String> {
    let pairs = text.parse().ok().filter(|pairs| (1..=PAIRS).contains(pairs));
    pairs.ok_or_else(|| format!("a number from 1 to {PAIRS}"))
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "a number of seconds from 0.1 to 86400".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.1..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "stanzas a second from 0.1 to 10000000".to_owned())
}

impl Line {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// What is wrong with it, for clap to print.
    pub fn read(arguments: impl IntoIterator<Item = String>) -> Result<Self, clap::Error> {
        let mut line = Self::try_parse_from(["load".to_owned()].into_iter().chain(arguments))?;
        line.check()?;
        for file in [&mut line.running, &mut line.json, &mut line.plot].into_iter().flatten() {
            *file = called_from().join(&*file);
        }
        Ok(line)
    }

    /// Options that the mode does not take are errors: they would be ignored without a word.
    fn check(&self) -> Result<(), clap::Error> {
        use Mode::{Activate, Idle, Latency, Load, Memory, Resume, Start};
        let taken: [(&str, bool, &[Mode]); 11] = [
            ("--pairs", !self.pairs.is_empty(), &[Load, Latency, Activate, Resume, Memory, Idle]),
            ("--zipf", self.zipf, &[Load]),
            ("--stanzas", self.stanzas.is_some(), &[Load, Latency]),
            ("--seconds", self.seconds.is_some(), &[Load, Latency, Idle]),
            ("--window", self.window.is_some(), &[Load, Activate]),
            ("--rate", self.rate.is_some(), &[Load, Latency]),
            ("--rounds", self.rounds.is_some(), &[Load, Latency, Activate, Resume, Start]),
            ("--against", !self.against.is_empty(), &[Load, Latency, Activate]),
            ("--key", !self.key.is_empty(), &[Activate]),
            ("--rtt", self.rtt.is_some(), &[Activate]),
            ("--domains", self.domains.is_some(), &[Start]),
        ];
        for (option, given, modes) in taken {
            if given && !modes.contains(&self.mode) {
                return Err(self.conflict(&format!("{option} means nothing to --mode {}", self.mode.name())));
            }
        }
        if self.running.is_some() && !matches!(self.mode, Load | Latency) {
            return Err(
                self.conflict("--running goes with --mode load and latency: the others start what they measure")
            );
        }
        if self.running.is_some() && !self.against.is_empty() {
            return Err(self.conflict("--running measures what runs, and --against starts something else"));
        }
        if self.against.contains(&Against::None) && self.against.len() > 1 {
            return Err(self.conflict("--against none, or names"));
        }
        if self.mode == Activate && self.against.contains(&Against::Relay) {
            return Err(self.conflict("--against relay means nothing to --mode activate: it knows no pairs"));
        }
        if self.mode == Activate && self.pairs.len() > 1 {
            return Err(self.conflict("--mode activate takes one number of pairs"));
        }
        if self.rtt.is_some() && self.window.is_some() {
            return Err(self.conflict("--rtt sends one stanza at a time, and takes no --window"));
        }
        if self.rtt.is_some_and(|rtt| rtt > Duration::from_secs(2)) {
            return Err(self.conflict("--rtt of more than 2s is no network"));
        }
        Ok(())
    }

    fn conflict(&self, text: &str) -> clap::Error {
        Self::command().error(ErrorKind::ArgumentConflict, text)
    }

    /// The options of load and latency.
    #[must_use]
    pub fn load(&self) -> load::Options {
        let rate = match self.mode {
            Mode::Latency => Some(self.rate.unwrap_or(RATE)),
            Mode::Load | Mode::Activate | Mode::Resume | Mode::Memory | Mode::Idle | Mode::Start => self.rate,
        };
        let time = |seconds: f64| Until::Time(Duration::from_secs_f64(seconds));
        let until = match (self.stanzas, self.seconds) {
            (Some(stanzas), _) => Until::Stanzas(stanzas),
            (None, Some(seconds)) => time(seconds),
            (None, None) if rate.is_some() => time(SECONDS),
            (None, None) => Until::Stanzas(STANZAS),
        };
        load::Options {
            pairs: self.pairs(&[1]),
            zipf: self.zipf,
            bytes: self.bytes as usize,
            pace: rate.map_or(Pace::Window(self.window.unwrap_or(load::window(self.bytes as usize))), Pace::Rate),
            until,
            rounds: self.rounds(3),
        }
    }

    /// Seconds, or the mode's own.
    #[must_use]
    pub fn seconds(&self, default: f64) -> Duration {
        Duration::from_secs_f64(self.seconds.unwrap_or(default))
    }

    /// The pairs, or the mode's own.
    #[must_use]
    pub fn pairs(&self, default: &[usize]) -> Vec<usize> {
        if self.pairs.is_empty() { default.to_vec() } else { self.pairs.clone() }
    }

    /// Whom to measure beside heteronym, or the mode's own.
    #[must_use]
    pub fn against(&self, default: &[Against]) -> Vec<Against> {
        if self.against.is_empty() { default.to_vec() } else { self.against.clone() }
    }

    /// The rounds, or the mode's own.
    #[must_use]
    pub fn rounds(&self, default: usize) -> usize {
        self.rounds.map_or(default, |rounds| rounds as usize)
    }
}

impl Mode {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Line, clap::Error> {
        Line::read(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_bare_command_measures_load() {
        let line = read("--bench").unwrap();
        assert_eq!((line.mode, line.load().pace), (Mode::Load, Pace::Window(4096)));
        assert_eq!(line.load().until, Until::Stanzas(STANZAS));
    }

    #[test]
    fn a_rate_is_an_open_loop_and_else_there_is_a_window() {
        assert_eq!(read("--rate 50").unwrap().load().pace, Pace::Rate(50.0));
        assert_eq!(read("--mode latency").unwrap().load().pace, Pace::Rate(RATE));
        assert_eq!(read("--bytes 1024").unwrap().load().pace, Pace::Window(800));
        assert_eq!(read("--bytes 1024 --window 5").unwrap().load().pace, Pace::Window(5));
        assert_eq!(read("--pairs 1,64").unwrap().load().pairs, [1, 64]);
    }

    #[test]
    fn what_makes_no_sense_ends_with_code_2() {
        for text in [
            "--mode speed",
            "--pairs 0",
            "--pairs 1,x",
            "--pairs 2000000",
            "--bytes 100",
            "--rate 0",
            "--rate 10 --window 5",
            "--stanzas 5 --seconds 5",
            "--against nobody",
            "--against none,relay",
            "--mode memory --against relay",
            "--mode idle --zipf",
            "--mode start --pairs 4",
            "--rtt 50ms",
            "--mode activate --rtt 5s",
            "--mode activate --running x.toml",
            "--mode activate --against relay",
            "--mode activate --pairs 1,64",
            "--mode activate --rtt 50ms --window 5",
            "--running x.toml --against relay",
            "--domains 5",
            "stray",
        ] {
            assert_eq!(read(text).expect_err(text).exit_code(), 2, "{text}");
        }
    }
}
