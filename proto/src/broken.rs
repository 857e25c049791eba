//! Faults that tests build in, one at a time: the simulation has to notice them, the actors to survive them.
//!
//! Without the feature `broken`, which nothing but those tests turns on, there are none and nothing is asked.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// What has arrived is sent again when a session goes on.
    ArrivedGoesAgain = 1,
    /// What has not arrived is not sent again.
    LostGoesNot,
    /// What is sent again goes behind what was never sent.
    AgainGoesLast,
    /// Stanzas are taken of pairs that are not active.
    InactiveIsTaken,
    /// Queues have no bound.
    NoBound,
    /// The time-outs of an activation outlive it.
    TimersStay,
    /// Stanzas that may have arrived are sent again, and nobody is told.
    DoubtIsHidden,
    /// The next event of an activation panics.
    PairPanics,
    /// The next element from a peer host panics.
    LinkPanics,
    /// The next stanza from a local server panics.
    LocalPanics,
}

impl Fault {
    /// Those that the simulation has to notice.
    pub const NOTICED: [Self; 7] = [
        Self::ArrivedGoesAgain,
        Self::LostGoesNot,
        Self::AgainGoesLast,
        Self::InactiveIsTaken,
        Self::NoBound,
        Self::TimersStay,
        Self::DoubtIsHidden,
    ];
}

static BROKEN: AtomicU8 = AtomicU8::new(0);

/// Builds a fault in, in place of the one before.
pub fn build_in(fault: Fault) {
    BROKEN.store(fault as u8, Ordering::Relaxed);
}

/// Whether this fault is built in.
pub(crate) fn has(fault: Fault) -> bool {
    cfg!(feature = "broken") && BROKEN.load(Ordering::Relaxed) == fault as u8
}

/// Panics, once, where this fault is built in.
pub(crate) fn panic_once(fault: Fault) {
    if has(fault) {
        BROKEN.store(0, Ordering::Relaxed);
        panic!("{fault:?} was built in");
    }
}
