//! What goes to standard error, and how much of an address it may show.

use std::io;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry, reload};

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
    let (filter, handle) = reload::Layer::new(filter(log.level));
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()?;
    let _ = LEVEL.set(handle);
    Ok(())
}

/// Reaches the filter of the running log.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Another level from now on.
pub fn set_level(level: LevelFilter) {
    if let Some(Err(error)) = LEVEL.get().map(|handle| handle.reload(filter(level))) {
        tracing::warn!(%error, "the level of the log could not be changed");
    }
}

/// `level` for our own crates. The libraries stay at warnings below `trace`: their chatter would bury ours.
fn filter(level: LevelFilter) -> Targets {
    let libraries = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_default(libraries).with_target("heteronym", level)
}

#[cfg(test)]
mod tests {
    use super::*;

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
