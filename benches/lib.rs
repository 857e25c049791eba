//! The load harness: the same stanzas through each subject in turns, and what they cost.
//!
//! Figures are CPU-seconds (user and system, from the operating system) of the subject's own
//! processes; the load's cost is not in them. See `benches/README.md`.

pub mod drive;
pub mod relay;
pub mod subject;
