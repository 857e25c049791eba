//! The subjects, each in a file of its own.

pub mod heteronym;
pub mod relay;
