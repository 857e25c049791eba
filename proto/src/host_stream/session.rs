//! The session of two hosts, which outlives its links (protocol §6 and §8).
//!
//! On a new link the dialling side says which session it has: both count on where they were, resume the
//! pairs that were active, and send again what did not arrive. Who has lost the session begins another,
//! and what is unacknowledged of the old one is in doubt.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::acks::Asking;
use super::resuming::Resuming;
use crate::control::UndeliveredReason;
use crate::mux::{Mux, Slot};
use crate::now::Now;
use crate::pair::Pair;
use crate::pairs::{Asleep, Pairs};
use crate::sent::SentCopies;
use crate::taken::Taken;

/// How far a link is with counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// The session is still with another link.
    Apart,
    /// We were dialled: the peer says first what it wants.
    Listening,
    /// We dialled, and count already; the peer has not said that it does.
    Enabling,
    /// We dialled, and want to go on with the session.
    Resuming,
    /// Both count.
    On,
    /// Nobody counts: what a broken link held is lost.
    Off,
}

/// Who dialled a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We did.
    Dialled {
        /// Whether the peer offered to acknowledge stanzas.
        counts: bool,
    },
    /// The peer did.
    Accepted,
}

impl Role {
    pub(super) fn is_dialler(self) -> bool {
        matches!(self, Self::Dialled { .. })
    }
}

/// Stream management (XEP-0198) on one link.
#[derive(Debug)]
pub(super) struct Sm {
    pub(super) role: Role,
    pub(super) state: Counting,
    pub(super) counts: Counts,
    /// Those of the session, until it is known whether it goes on.
    pub(super) before: Option<Counts>,
    pub(super) asleep: Asleep,
    pub(super) resuming: Option<Resuming>,
    /// We were dialled: the peer says by then what it wants, or is asked whether it is there.
    pub(super) listens_until: Option<Instant>,
    /// Since when a peer that dialled, has a session with us, and says nothing is asked whether it is there.
    pub(super) silence_asked: Option<Instant>,
    /// The peer wanted to resume a session that is not known here: it counts, and says so again.
    pub(super) refused: bool,
    /// Stanzas of ours that were written before counting began.
    pub(super) before_enable: u64,
    pub(super) asking: Asking,
    /// Stanzas of our own that wait for the session to go on.
    pub(super) own_waiting: Vec<Bytes>,
    /// The peer has acknowledged something.
    pub(super) carried: bool,
}

impl Sm {
    pub(super) fn new(role: Role, serial: u64, byte_limit: usize, now: Now) -> Self {
        Self {
            role,
            state: Counting::Apart,
            counts: Counts::uncounted(serial, byte_limit),
            before: None,
            asleep: Asleep::new(),
            resuming: None,
            listens_until: None,
            silence_asked: None,
            refused: false,
            before_enable: 0,
            asking: Asking::new(now.instant),
            own_waiting: Vec::new(),
            carried: false,
        }
    }
}

/// What both sides have counted.
#[derive(Debug)]
pub(super) struct Counts {
    /// Tells these numbers from those of another session.
    pub(super) serial: u64,
    /// What the session is resumed by.
    pub(super) id: Option<String>,
    /// The peer has gone on with it from where it never was.
    pub(super) refuted: bool,
    pub(super) copies: SentCopies,
    pub(super) taken: Taken,
}

impl Counts {
    pub(super) fn uncounted(serial: u64, byte_limit: usize) -> Self {
        Self { serial, id: None, refuted: false, copies: SentCopies::bounded(byte_limit), taken: Taken::default() }
    }

    pub(super) fn counted(serial: u64) -> Self {
        Self { serial, id: None, refuted: false, copies: SentCopies::acknowledged(), taken: Taken::default() }
    }
}

/// What is left of a host stream when its link has ended.
pub struct Session {
    pub(super) counts: Counts,
    pub(super) pairs: Pairs,
    pub(super) mux: Mux,
    pub(super) unproven: VecDeque<Slot>,
    pub(super) asleep: Asleep,
}

impl Session {
    /// Stanzas that were sent and not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.counts.copies.len()
    }

    /// Whether a link is wanted, for what is not acknowledged or came back.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.unacknowledged() > 0 || self.mux.bytes() > 0
    }

    /// Pairs that can be resumed.
    #[must_use]
    pub fn resumable_pairs(&self) -> usize {
        self.asleep.len()
    }

    /// A stanza that came by the lost link could not be delivered. Whether the peer will be told; it has no
    /// copy any more of what we have taken over, or of another session.
    pub fn undeliverable(&mut self, (serial, n): (u64, u64), reason: UndeliveredReason) -> bool {
        let told = serial == self.counts.serial && n > self.counts.taken.acknowledged();
        if told {
            self.counts.taken.report(n, reason);
        }
        told
    }

    /// The pair is not resumed.
    pub fn forget(&mut self, pair: &Pair) {
        let slot = self.pairs.find(pair);
        self.asleep.retain(|_, (of, _)| Some(*of) != slot);
    }

    /// There will be no other link: the stanzas of which nobody knows whether they arrived.
    #[must_use]
    pub fn give_up(mut self) -> Vec<Bytes> {
        let sent = self.counts.copies.take_all().into_iter().filter(|sent| sent.slot.is_some());
        let mut all: Vec<Bytes> = sent.map(|sent| sent.bytes).collect();
        for slot in self.pairs.iter().map(|(slot, _)| slot).collect::<Vec<_>>() {
            all.extend(self.mux.take(slot).into_iter().map(|parcel| parcel.bytes));
        }
        all
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("unacknowledged", &self.unacknowledged()).finish_non_exhaustive()
    }
}
