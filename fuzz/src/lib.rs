//! What libFuzzer does with the parts that read bytes of strangers: one function for each target.
//!
//! Each function panics where a property does not hold that is true of *any* bytes. See the folder's
//! `README.md`.

mod choices;
mod clock;

pub mod checker;
pub mod configuration;
pub mod control;
pub mod framer;
pub mod header;
pub mod mux;
pub mod negotiation;
pub mod pair;

/// The daemon's own: its crate has much that would have to be built for it.
#[path = "../../src/config/mod.rs"]
#[allow(dead_code, unreachable_pub, unused_imports, reason = "the daemon uses more of it")]
mod config;

/// The shell of the tests of one link, and its stand-in for crypto.
#[path = "../../proto/tests/link/bench.rs"]
#[allow(dead_code, reason = "the tests of one link use more of it")]
mod bench;
#[path = "../../proto/tests/link/vault.rs"]
#[allow(dead_code, reason = "the tests of one link use more of it")]
mod vault;

/// What the differential test compares readings with.
#[path = "../../proto/tests/differential/by_rxml.rs"]
mod by_rxml;
#[path = "../../proto/tests/differential/differences.rs"]
#[allow(dead_code, reason = "examples and expat's part are for the differential test")]
mod differences;
#[path = "../../proto/tests/differential/reading.rs"]
mod reading;

/// What is done with one input.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 8] = [
    ("checker", checker::run),
    ("configuration", configuration::run),
    ("control", control::run),
    ("framer", framer::run),
    ("header", header::run),
    ("mux", mux::run),
    ("negotiation", negotiation::run),
    ("pair", pair::run),
];
