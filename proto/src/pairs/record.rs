//! What is known of one pair on a link. A million pairs rest, so a record holds what all of them have; the rest is
//! in a box that few have at a time.

use std::time::Instant;

use crate::activation::{Proven, Resumable};
use crate::control::Aid;
use crate::domain_pair::Failure;
use crate::pair::Pair;
use crate::transcript::Confirmation;

/// A pair's record on one link.
#[derive(Debug)]
pub struct PairRecord {
    /// Its names.
    pub pair: Pair,
    /// The activation that is in force; [`super::Pairs`] alone changes it.
    pub active: Option<Active>,
    /// Stanzas that came from the peer and were taken.
    pub stanzas_in: u64,
    /// Stanzas that were written to the link.
    pub stanzas_out: u64,
    /// The number of the last stanza that was written for it in this session.
    pub(crate) last_sent: u64,
    rare: Option<Box<Rare>>,
}

/// What a pair that rests has not.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The activation that is under way.
    pub(crate) run: Option<Run>,
    /// Nothing is asked for before this.
    pub(crate) pause: Option<Pause>,
    /// Runs in a row that ended with a stale identity.
    pub(crate) stale_runs: u8,
    /// For the operator.
    pub(crate) last_error: Option<Box<str>>,
    /// Another link has it now: stanzas that are still under way to its slot go there.
    pub(crate) moved: bool,
    /// It may send once this ping is answered: then the peer has handed back what was under way.
    pub(crate) opens_behind: Option<u64>,
    /// It was never open: no stanzas are under way to its slot.
    pub(crate) unopened: bool,
}

/// An activation in force.
#[derive(Debug)]
pub struct Active {
    /// Its end, Unix seconds: the earlier of both sides'.
    pub expires: u64,
    /// How long it is in force, in seconds.
    life: u32,
    /// Whether we asked for it.
    pub initiated: bool,
    /// A certificate of the pair ends no later.
    by_certificate: bool,
    /// Its id, and what it can be resumed with (protocol §6).
    pub resumable: Box<Resumable>,
}

/// An activation under way.
#[derive(Debug)]
pub enum Run {
    /// Waits for its turn among our runs.
    Queued,
    /// We asked; the pair's actor works or waits for the response.
    Asking(Aid),
    /// We sent `<activate/>` and wait for `<active/>`.
    Activating(Proven),
    /// The peer asked; the pair's actor works.
    Serving(Aid),
    /// We responded and expect `<activate/>` with this confirmation.
    Responded(Confirmation, Proven),
}

/// Why nothing is asked for now.
#[derive(Clone, Debug)]
pub struct Pause {
    /// Until when.
    pub until: Instant,
    /// A refusal that bounces stanzas meanwhile; `None`: they wait.
    pub refusal: Option<Failure>,
}

/// What the status page says of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PairState {
    /// Its host is being looked up or reached.
    Resolving,
    /// An activation is under way.
    Requested,
    /// Usable both ways.
    Active,
    /// The activation was refused.
    Refused,
    /// It ends.
    Draining,
}

impl Active {
    /// In force from `since` to `expires`, both Unix seconds.
    #[must_use]
    pub fn new(proven: Proven, since: u64, expires: u64, initiated: bool) -> Self {
        let Proven { resumable, certificates_end } = proven;
        let life = u32::try_from(expires.saturating_sub(since)).unwrap_or(u32::MAX);
        Self { expires, life, initiated, by_certificate: expires >= certificates_end, resumable }
    }

    /// Its id.
    #[must_use]
    pub fn aid(&self) -> Aid {
        self.resumable.aid
    }

    /// Since when, Unix seconds.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.expires.saturating_sub(self.life.into())
    }

    /// For the operator, once it has ended by itself.
    pub(crate) fn why_ended(&self) -> Box<str> {
        let what = if self.by_certificate { "a certificate of the pair" } else { "the activation" };
        format!("{what} has ended, and no other was proved").into()
    }
}

impl Run {
    /// The id, once there is one.
    #[must_use]
    pub fn aid(&self) -> Option<Aid> {
        match self {
            Self::Queued => None,
            Self::Asking(aid) | Self::Serving(aid) => Some(*aid),
            Self::Activating(proven) | Self::Responded(_, proven) => Some(proven.resumable.aid),
        }
    }

    /// Whether we asked for it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Queued | Self::Asking(_) | Self::Activating(_) => true,
            Self::Serving(_) | Self::Responded(..) => false,
        }
    }
}

impl PairRecord {
    pub(super) fn new(pair: Pair) -> Self {
        let rare = Some(Box::new(Rare { unopened: true, ..Rare::default() }));
        Self { pair, active: None, stanzas_in: 0, stanzas_out: 0, last_sent: 0, rare }
    }

    /// The activation that is under way.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        self.rare.as_ref()?.run.as_ref()
    }

    /// Why nothing is asked for now.
    pub(crate) fn pause(&self) -> Option<&Pause> {
        self.rare.as_ref()?.pause.as_ref()
    }

    /// Runs in a row that ended with a stale identity.
    #[must_use]
    pub fn stale_runs(&self) -> u8 {
        self.rare.as_ref().map_or(0, |rare| rare.stale_runs)
    }

    /// What went wrong, for the operator.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.rare.as_ref()?.last_error.as_deref()
    }

    /// Whether another link has it now: stanzas that are still under way to its slot go there.
    pub(crate) fn is_moved(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.moved)
    }

    /// Whether stanzas may be under way to its slot: it was open once.
    pub(crate) fn was_open(&self) -> bool {
        !self.rare.as_ref().is_some_and(|rare| rare.unopened)
    }

    /// The ping that is to be answered before it may send.
    pub(crate) fn opens_behind(&self) -> Option<u64> {
        self.rare.as_ref()?.opens_behind
    }

    /// Changes what few pairs have; of one that has nothing of it any more, nothing is kept.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut Rare) -> T) -> T {
        let Some(rare) = &mut self.rare else {
            let mut rare = Rare::default();
            let result = change(&mut rare);
            self.rare = (!rare.is_empty()).then(|| Box::new(rare));
            return result;
        };
        let result = change(rare);
        if rare.is_empty() {
            self.rare = None;
        }
        result
    }

    /// Whether stanzas of the pair may be sent: we know that it is active, or that the peer will before it reads them.
    pub(crate) fn may_send(&self) -> bool {
        self.active.is_some() || matches!(self.run(), Some(Run::Activating(_)))
    }

    /// Whether the record is only a question of the peer's that came to nothing.
    pub(crate) fn is_forgettable(&self) -> bool {
        !self.was_open() && self.active.is_none() && self.run().is_none() && self.pause().is_none()
    }

    /// For the status page.
    #[must_use]
    pub fn state(&self) -> PairState {
        match (&self.active, self.pause()) {
            (Some(_), _) => PairState::Active,
            (None, Some(Pause { refusal: Some(_), .. })) => PairState::Refused,
            (None, _) => PairState::Requested,
        }
    }
}

impl Rare {
    fn is_empty(&self) -> bool {
        let Self { run, pause, stale_runs, last_error, moved, opens_behind, unopened } = self;
        let nothing = run.is_none() && pause.is_none() && last_error.is_none() && opens_behind.is_none();
        nothing && *stale_runs == 0 && !moved && !unopened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    #[test]
    fn a_record_is_small_and_keeps_no_box_for_nothing() {
        let name = |text| Name::parse(text).unwrap();
        let mut record = PairRecord::new(Pair { local: name("a.lit"), remote: name("b.lit") });
        assert!(record.rare.is_some() && !record.was_open());
        record.change(|rare| rare.unopened = false);
        assert!(record.rare.is_none() && record.was_open());
        record.change(|rare| rare.stale_runs = 1);
        assert!(record.rare.is_some());
        record.change(|rare| rare.stale_runs = 0);
        assert!(record.rare.is_none());
        assert!(size_of::<PairRecord>() <= 72, "{}", size_of::<PairRecord>());
        assert!(size_of::<Resumable>() <= 64, "{}", size_of::<Resumable>());
    }
}
