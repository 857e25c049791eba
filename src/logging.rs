//! What goes to standard error, and how much of an address it may show.

use std::fmt;
use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{Log, LogFormat};

/// Starts logging to standard error for the whole process.
///
/// # Errors
/// If the process has a subscriber already.
pub fn start(log: &Log) -> Result<(), TryInitError> {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter(log.level))).try_init()
}

/// `level` for our own crates. The libraries stay at warnings below `trace`: their chatter would bury ours.
fn filter(level: LevelFilter) -> Targets {
    let libraries = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_default(libraries).with_target("heteronym", level)
}

/// How much of an address a log line may show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jids {
    /// All of it.
    #[default]
    Full,
    /// The domain.
    Domain,
    /// Nothing.
    None,
}

impl Jids {
    /// `jid` as a log line may show it.
    #[must_use]
    pub fn show(self, jid: &str) -> Shown<'_> {
        Shown { jid, how: self }
    }
}

/// An address that displays as much of itself as the configuration allows.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    jid: &'a str,
    how: Jids,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            Jids::Full => f.write_str(self.jid),
            Jids::Domain => f.write_str(domain(self.jid)),
            Jids::None => f.write_str("…"),
        }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The domain part (RFC 7622 §3.2): the resource, which may hold an `@`, goes first.
fn domain(jid: &str) -> &str {
    let bare = jid.split_once('/').map_or(jid, |(bare, _)| bare);
    bare.split_once('@').map_or(bare, |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_what_is_allowed() {
        let jid = "ricardo@reis.lit/odes@home";
        assert_eq!(Jids::Full.show(jid).to_string(), jid);
        assert_eq!(Jids::Domain.show(jid).to_string(), "reis.lit");
        assert_eq!(Jids::Domain.show("reis.lit").to_string(), "reis.lit");
        assert_eq!(Jids::None.show(jid).to_string(), "…");
        assert_eq!(format!("{:?}", Jids::Domain.show(jid)), "reis.lit", "no way round");
    }

    #[test]
    fn libraries_are_quiet_and_ours_are_not() {
        use tracing::Level;
        let debug = filter(LevelFilter::DEBUG);
        assert!(debug.would_enable("heteronym_net::dns", &Level::DEBUG));
        assert!(!debug.would_enable("hickory_resolver", &Level::INFO));
        assert!(!filter(LevelFilter::ERROR).would_enable("rustls", &Level::WARN));
        assert!(filter(LevelFilter::TRACE).would_enable("rustls", &Level::TRACE));
    }
}
