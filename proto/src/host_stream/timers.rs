//! Every time-out of a host stream: one ordered set, so that the actor needs one timer.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::activation::FIRST_RENEWAL;
use super::renewals::Renewals;
use super::{Action, HostStream, Out, PairChange};
use crate::control::{About, Control, DeactivateReason};
use crate::domain_pair::{Failure, SaidBy};
use crate::limits::BUSY_SECONDS;
use crate::mux::Slot;
use crate::now::Now;
use crate::refusal::Refusal;
use crate::stanza_error::Condition;

/// What is to happen to a pair then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// The run ends unless it has succeeded.
    RunEnds,
    /// A pause is over: ask again if stanzas wait.
    Resume,
    /// Renew the activation.
    Renew,
    /// The activation ends.
    Expire,
    /// Stanzas have waited long enough.
    Overdue,
}

/// At most one time-out of each kind for a pair, so that no peer can pile them up. A pair that rests has its renewal
/// alone, which is kept where it takes little.
#[derive(Debug)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, Slot, Timer)>,
    set: HashMap<(Slot, Timer), Instant>,
    renewals: Renewals,
}

impl Timers {
    /// None; all that come are after `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { due: BTreeSet::new(), set: HashMap::new(), renewals: Renewals::new(now) }
    }

    /// Sets a time-out, in place of the one that was set before.
    pub(super) fn set(&mut self, at: Instant, slot: Slot, timer: Timer) {
        self.clear(slot, timer);
        if timer == Timer::Renew {
            return self.renewals.set(at, slot);
        }
        self.set.insert((slot, timer), at);
        self.due.insert((at, slot, timer));
    }

    pub(super) fn clear(&mut self, slot: Slot, timer: Timer) {
        if timer == Timer::Renew {
            return self.renewals.clear(slot);
        }
        if let Some(at) = self.set.remove(&(slot, timer)) {
            self.due.remove(&(at, slot, timer));
        }
    }

    fn is_set(&self, slot: Slot, timer: Timer) -> bool {
        self.set.contains_key(&(slot, timer))
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.next().map(|(at, ..)| at)
    }

    fn next(&self) -> Option<(Instant, Slot, Timer)> {
        let renewal = self.renewals.first().map(|(at, slot)| (at, slot, Timer::Renew));
        self.due.first().copied().into_iter().chain(renewal).min()
    }

    pub(super) fn len(&self) -> usize {
        self.due.len() + self.renewals.len()
    }

    fn pop_due(&mut self, now: Instant) -> Option<(Slot, Timer)> {
        let (_, slot, timer) = self.next().filter(|(at, ..)| *at <= now)?;
        self.clear(slot, timer);
        Some((slot, timer))
    }
}

impl HostStream {
    /// Does what the time has come for.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Out) {
        self.end_unless_chosen(now, out);
        self.end_unless_certified(now, out);
        self.resume_timeout(now, out);
        self.ack_timeout(now, out);
        while let Some((slot, timer)) = self.timers.pop_due(now.instant) {
            match timer {
                Timer::RunEnds => self.run_timed_out(now, slot, out),
                Timer::Resume => self.pause_ended(now, slot, out),
                Timer::Renew => self.renew(now, slot, out),
                Timer::Expire => self.expire(now, slot, out),
                Timer::Overdue => self.bounce_overdue(now, slot, out),
            }
        }
    }

    fn run_timed_out(&mut self, now: Now, slot: Slot, out: &mut Out) {
        let Some(run) = self.pairs.get(slot).run() else { return };
        let (aid, ours) = (run.aid(), run.is_ours());
        let refusal = Refusal::Busy(BUSY_SECONDS);
        let text = "no proof within the time for pending activations".to_owned();
        let failure = Failure { refusal, said_by: SaidBy::Us, text };
        if ours {
            return self.fail_run(now, slot, failure, out);
        }
        self.refuse_run(now, slot, failure, out);
        if let Some(aid) = aid {
            self.control(Control::Refused { about: About::Aid(aid), refusal }, out);
        }
    }

    pub(super) fn pause_ended(&mut self, now: Now, slot: Slot, out: &mut Out) {
        let record = self.pairs.get_mut(slot);
        record.change(|rare| rare.pause = None);
        if record.active.is_some() {
            // What failed was a renewal.
            self.renew(now, slot, out);
        } else if self.mux.oldest(slot).is_some() {
            self.want(now, slot, out);
        }
    }

    /// The end of the activation is set now, so that a pair that rests has one time-out. A wall clock that was set
    /// back meanwhile does not put it off.
    fn renew(&mut self, now: Now, slot: Slot, out: &mut Out) {
        let Some(active) = &self.pairs.get(slot).active else { return };
        if !self.timers.is_set(slot, Timer::Expire) {
            let life = Duration::from_secs(active.expires.saturating_sub(active.since()));
            let end = now.at_unix(active.expires).min(now.instant + life.mul_f64(1.0 - FIRST_RENEWAL));
            self.timers.set(end, slot, Timer::Expire);
        }
        self.queue_run(now, slot, out);
    }

    pub(super) fn expire(&mut self, now: Now, slot: Slot, out: &mut Out) {
        let Some(active) = &self.pairs.get(slot).active else { return };
        let (aid, reason) = (active.aid(), DeactivateReason::Expired);
        let text = active.why_ended();
        self.pairs.get_mut(slot).change(|rare| _ = rare.last_error.get_or_insert(text));
        self.deactivated(now, slot, out);
        self.control(Control::Deactivate { aid, reason }, out);
        out.actions.push(Action::Changed(slot, PairChange::Deactivated(reason)));
    }

    fn bounce_overdue(&mut self, now: Now, slot: Slot, out: &mut Out) {
        if self.mux.is_open(slot) {
            return;
        }
        // Why not is the operator's: the record has it.
        let text = "the pair could not be activated in time".to_owned();
        for parcel in self.mux.take_overdue(slot, now.instant, self.config.limits.stanza_wait) {
            let (condition, reason) = (Condition::RemoteServerTimeout, "overdue");
            out.actions.push(Action::Bounce { stanza: parcel.bytes, condition, reason, text: text.clone() });
        }
        self.watch_queue(slot);
    }

    /// Lets what waits go out: it will not be overdue.
    pub(super) fn open_queue(&mut self, slot: Slot) {
        self.mux.open(slot);
        self.timers.clear(slot, Timer::Overdue);
    }

    /// Sets the timer that bounces the oldest stanza of a closed queue.
    pub(super) fn watch_queue(&mut self, slot: Slot) {
        if let (Some(oldest), false) = (self.mux.oldest(slot), self.mux.is_open(slot)) {
            self.timers.set(oldest + self.config.limits.stanza_wait, slot, Timer::Overdue);
        }
    }
}
