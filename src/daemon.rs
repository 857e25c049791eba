//! The daemon: builds the router from its configuration and runs it until it is told to end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::certificates::Certificates;
use crate::config::Config;
use crate::launch::{LaunchError, launch};
use crate::operator::Operator;
use crate::panics;

/// Why the daemon ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It could not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Signals cannot be heard.
    #[error("signals: {0}")]
    Signals(#[from] io::Error),
}

/// Runs the router that `config` describes until SIGTERM, SIGINT or `POST /api/drain`; `file` is named in the log.
///
/// # Errors
/// If it cannot start.
pub fn run(config: Config, certificates: Certificates, file: PathBuf) -> Result<(), DaemonError> {
    actix_rt::System::new().block_on(async move {
        let launched = launch(&config, certificates, cores())?;
        panics::watch(Arc::clone(launched.operator().metrics()));
        info!(host = %config.host.name, config = %file.display(), "running");
        wait_for_end(launched.operator()).await?;
        launched.drain().await;
        info!("ended");
        Ok(())
    })
}

/// How many cores there are for this process, hyperthreads counted.
#[must_use]
pub fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

async fn wait_for_end(operator: &Operator) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = operator.drain_asked() => return Ok(()),
            _ = hang_up.recv() => operator.reload_and_log().await,
        }
    }
}
