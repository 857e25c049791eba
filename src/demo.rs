//! The demonstration: two hosts on this machine, everything embedded.

pub mod authority;
pub mod component;
pub mod name_server;

/// How large the demonstration is, and how it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Domains on either side.
    pub domains: u32,
    /// Stanzas for each pair and direction.
    pub stanzas: u32,
    /// One JSON document instead of the show.
    pub json: bool,
}

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is nothing to show yet.
    #[error("the demonstration is not built yet")]
    NotBuilt,
}

/// Runs the demonstration.
///
/// # Errors
/// If a part of it cannot start, or a stanza was lost.
pub fn run(options: Options) -> Result<(), DemoError> {
    let Options { .. } = options;
    Err(DemoError::NotBuilt)
}
