//! The daemon of the federation router: command line, configuration, start-up and shutdown, admin interface, demo.

pub mod admin;
pub mod certificates;
pub mod check;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod launch;
pub mod logging;
pub mod metrics;
pub mod operator;
pub mod panics;
pub mod status;
pub mod telemetry;
pub mod zone;

/// Stanzas come and go by the hundred: twice as fast here as with the system's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
