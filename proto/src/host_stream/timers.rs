//! Every time-out of a host stream: one ordered set, so that the actor needs one timer.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Action, HostStream, Out, PairChange};
use crate::control::{About, Aid, Control, DeactivateReason};
use crate::mux::Slot;
use crate::now::Now;
use crate::pairs::Run;
use crate::refusal::Refusal;
use crate::stanza_error::Condition;

/// What is to happen then. Timers are not cancelled: when one fires, it is checked against the
/// record, and one that has nothing to do any more does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The run ends unless it has succeeded.
    RunEnds(Aid),
    /// A pause is over: ask again if stanzas wait.
    Resume,
    /// Renew the activation.
    Renew(Aid),
    /// The activation ends.
    Expire(Aid),
    /// Stanzas have waited long enough.
    Overdue,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeMap<(Instant, u64), (Slot, Timer)>,
    next: u64,
}

impl Timers {
    pub(super) fn add(&mut self, at: Instant, slot: Slot, timer: Timer) {
        self.next += 1;
        self.set.insert((at, self.next), (slot, timer));
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.set.keys().next().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<(Slot, Timer)> {
        let first = self.set.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

impl HostStream {
    /// Does what the time has come for.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Out) {
        while let Some((slot, timer)) = self.timers.pop_due(now.instant) {
            match timer {
                Timer::RunEnds(aid) => self.run_timed_out(now, slot, aid, out),
                Timer::Resume => self.pause_ended(now, slot, out),
                Timer::Renew(aid) => self.renew(now, slot, aid, out),
                Timer::Expire(aid) => self.expire(now, slot, aid, out),
                Timer::Overdue => self.bounce_overdue(now, slot, out),
            }
        }
    }

    fn run_timed_out(&mut self, now: Now, slot: Slot, aid: Aid, out: &mut Out) {
        let Some(run) = self.pairs.get(slot).run.as_ref().filter(|run| run.aid() == Some(aid)) else { return };
        let refusal = Refusal::Busy(crate::limits::GLARE_WAIT.as_secs() as u32);
        if matches!(run, Run::Serving(_)) {
            self.control(Control::Refused { about: About::Aid(aid), refusal }, out);
        }
        let mut failure: crate::domain_pair::Failure = refusal.into();
        "no proof within the time for pending activations".clone_into(&mut failure.text);
        self.end_run(now, slot, Err(failure), out);
    }

    fn pause_ended(&mut self, now: Now, slot: Slot, out: &mut Out) {
        let record = self.pairs.get_mut(slot);
        if record.pause.as_ref().is_some_and(|pause| pause.until <= now.instant) {
            record.pause = None;
        }
        if self.mux.oldest(slot).is_some() {
            self.want(now, slot, out);
        }
    }

    fn renew(&mut self, now: Now, slot: Slot, aid: Aid, out: &mut Out) {
        let record = self.pairs.get(slot);
        let due = record.active.as_ref().is_some_and(|active| active.aid == aid) && record.run.is_none();
        if due {
            self.queue_run(now, slot, out);
        }
    }

    fn expire(&mut self, now: Now, slot: Slot, aid: Aid, out: &mut Out) {
        let record = self.pairs.get_mut(slot);
        if record.active.as_ref().is_none_or(|active| active.aid != aid) {
            return;
        }
        let reason = DeactivateReason::Expired;
        self.deactivated(now, slot, out);
        self.control(Control::Deactivate { aid, reason }, out);
        out.actions.push(Action::Changed(slot, PairChange::Deactivated(reason)));
    }

    fn bounce_overdue(&mut self, now: Now, slot: Slot, out: &mut Out) {
        if self.mux.is_open(slot) {
            return;
        }
        let text = match &self.pairs.get(slot).last_error {
            Some(error) => format!("the pair could not be activated in time: {error}"),
            None => "the pair could not be activated in time".to_owned(),
        };
        for parcel in self.mux.take_overdue(slot, now.instant, self.config.limits.stanza_wait) {
            let condition = Condition::RemoteServerTimeout;
            out.actions.push(Action::Bounce { stanza: parcel.bytes, condition, text: text.clone() });
        }
        self.watch_queue(slot);
    }

    /// Sets the timer that bounces the oldest stanza of a closed queue.
    pub(super) fn watch_queue(&mut self, slot: Slot) {
        if let (Some(oldest), false) = (self.mux.oldest(slot), self.mux.is_open(slot)) {
            self.timers.add(oldest + self.config.limits.stanza_wait, slot, Timer::Overdue);
        }
    }
}
