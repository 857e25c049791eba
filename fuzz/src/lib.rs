//! What libFuzzer does with the parts that read bytes of strangers: one function for each target.
//!
//! Each function panics where a property does not hold that is true of *any* bytes. See the folder's
//! `README.md`.

pub mod control;
pub mod framer;
pub mod header;

/// What is done with one input.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 3] = [("control", control::run), ("framer", framer::run), ("header", header::run)];
