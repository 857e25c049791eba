//! The daemon: builds the router from its configuration and runs it until it is told to end.

use std::path::PathBuf;

use crate::config::Config;

/// Why the daemon ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// There is no router behind the configuration yet.
    #[error("the router is not built yet")]
    NotBuilt,
}

/// Runs the router that `config` describes; `file` is what a reload reads again.
///
/// # Errors
/// If it cannot start, or ends other than by a signal.
pub fn run(config: Config, file: PathBuf) -> Result<(), DaemonError> {
    drop((config, file));
    Err(DaemonError::NotBuilt)
}
