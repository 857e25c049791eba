//! Floods, and whoever reads, writes or ends as it should not: each meets a bound, and a number moves.
//!
//! `docs/bounds.md` has all of them. The bystanders of the stage go on talking.

mod activations;
mod certificates;
mod connections;
mod queues;
