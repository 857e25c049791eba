//! The load harness: the same stanzas through each subject in turns, and what they cost.
//!
//! Figures are CPU-seconds (user and system, from the operating system) of the subject's own
//! processes; the load's cost is not in them. See `benches/README.md`.

pub mod admin;
pub mod bare;
pub mod component;
pub mod cost;
pub mod drive;
pub mod ground;
pub mod line;
pub mod modes;
pub mod parts;
pub mod plot;
pub mod progress;
pub mod proxy;
pub mod report;
pub mod stanzas;
pub mod subject;
pub mod subjects;

/// Why there is no figure.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
