//! Stanzas from our domains to the peer's.

use bytes::Bytes;

use super::timers::Timer;
use super::{Action, HostStream, Out};
use crate::batch::Batch;
use crate::control::{DeactivateReason, UndeliveredReason};
use crate::domain_pair::Failure;
use crate::limits::{PAIRS, UNPROVEN_PAIRS};
use crate::mux::{Again, QueueFull, Slot};
use crate::now::Now;
use crate::pair::Pair;
use crate::pairs::Pause;
use crate::refusal::Refusal;
use crate::stanza_error::Condition;
use crate::train::{Train, trains};

impl HostStream {
    /// The slot of a pair, made where there is none.
    pub fn slot(&mut self, pair: &Pair) -> Slot {
        if let Some(slot) = self.pairs.find(pair) {
            return slot;
        }
        let slot = self.mux.add();
        self.pairs.add(slot, pair.clone());
        slot
    }

    /// The slot of a pair that the peer asks for; `None` where it has named too many.
    ///
    /// Anybody can name pairs without end: of those that nobody has proved, the oldest give way.
    pub(super) fn slot_for_peer(&mut self, pair: &Pair) -> Option<Slot> {
        if let Some(slot) = self.pairs.find(pair) {
            return Some(slot);
        }
        for _ in 0..self.unproven.len() {
            if self.unproven.len() < UNPROVEN_PAIRS {
                break;
            }
            let slot = self.unproven.pop_front()?;
            let record = self.pairs.get(slot);
            if record.was_open() {
                continue;
            }
            let gives_way = record.is_forgettable() && self.mux.is_unused(slot);
            self.unproven.push_back(slot);
            if gives_way {
                self.pairs.replace(slot, pair);
                self.incoming.places.forget();
                return Some(slot);
            }
        }
        if self.unproven.len() >= UNPROVEN_PAIRS || self.pairs.len() >= PAIRS {
            return None;
        }
        let slot = self.slot(pair);
        self.unproven.push_back(slot);
        Some(slot)
    }

    /// Serves a pair from now on, whatever was before, with these stanzas.
    pub fn open_pair(&mut self, now: Now, pair: &Pair, stanzas: impl IntoIterator<Item = Bytes>, out: &mut Out) {
        let slot = self.slot(pair);
        self.pairs.get_mut(slot).change(|rare| rare.moved = false);
        self.send(now, slot, stanzas, out);
    }

    /// Another link has the pair now: the newest activation wins (protocol §5). The peer is told behind
    /// what is queued for it; what cannot be sent, and what comes later, goes to that link.
    pub fn moved(&mut self, pair: &Pair, out: &mut Out) {
        let Some(slot) = self.pairs.find(pair) else { return };
        self.pairs.get_mut(slot).change(|rare| rare.moved = true);
        if !self.mux.is_open(slot) {
            let waiting = self.mux.take(slot).into_iter().map(|parcel| Action::Reroute(parcel.bytes));
            out.actions.extend(waiting);
        }
        self.deactivate(slot, DeactivateReason::Moved, out);
    }

    /// Queues stanzas of one pair, and asks for the pair where it is not active.
    pub fn send(&mut self, now: Now, slot: Slot, stanzas: impl IntoIterator<Item = Bytes>, out: &mut Out) {
        self.send_trains(now, slot, stanzas.into_iter().map(Train::from), out);
    }

    /// Queues stanzas of several pairs, as [`Self::send`] does: those of a pair in order.
    pub fn send_batch(&mut self, now: Now, mut stanzas: Batch<Slot>, out: &mut Out) {
        stanzas.shrink();
        let stanzas = match self.mux.push_express(stanzas, (), now.instant) {
            Ok(()) => return out.actions.push(Action::Write),
            Err(stanzas) => stanzas,
        };
        let mut write = false;
        trains(&stanzas, |slot, train| {
            if self.mux.is_open(slot) && !self.pairs.get(slot).is_moved() {
                self.queue(now, slot, train, out);
                write = true;
            } else {
                self.send_trains(now, slot, [train], out);
            }
        });
        if write {
            out.actions.push(Action::Write);
        }
    }

    fn send_trains(&mut self, now: Now, slot: Slot, trains: impl IntoIterator<Item = Train>, out: &mut Out) {
        if self.pairs.get(slot).is_moved() {
            let stanzas = trains.into_iter().flat_map(Train::into_stanzas);
            return out.actions.extend(stanzas.map(Action::Reroute));
        }
        let was_empty = self.mux.oldest(slot).is_none();
        for train in trains {
            self.queue(now, slot, train, out);
        }
        if self.mux.is_open(slot) {
            out.actions.push(Action::Write);
            return;
        }
        self.want(now, slot, out);
        if was_empty {
            self.watch_queue(slot);
        }
    }

    /// Queues as many stanzas of a train as there is room for.
    fn queue(&mut self, now: Now, slot: Slot, train: Train, out: &mut Out) {
        let Err(train) = self.mux.push_train(slot, train, (), now.instant) else { return };
        for stanza in train.into_stanzas() {
            let Err(QueueFull(full)) = self.mux.push(slot, stanza, (), now.instant) else { continue };
            let stanza = full.bytes;
            let text = format!("too much waits for {} already", self.pairs.get(slot).pair);
            let (condition, reason) = (Condition::ResourceConstraint, "queue-full");
            out.actions.push(Action::Bounce { stanza, condition, reason, text });
        }
    }

    /// Asks for a pair that stanzas wait for, unless a pause or a hold says otherwise.
    pub(super) fn want(&mut self, now: Now, slot: Slot, out: &mut Out) {
        let record = self.pairs.get(slot);
        let is_kept = self.held.contains(&record.pair.remote) || record.opens_behind().is_some();
        if is_kept && record.active.is_some() {
            return;
        }
        if !self.allows(&record.pair) {
            return self.bounce_not_allowed(slot, out);
        }
        match record.pause() {
            Some(Pause { until, refusal: Some(failure) }) if *until > now.instant => {
                let failure = failure.clone();
                self.bounce_all(slot, &failure, out);
            }
            Some(Pause { until, .. }) if *until > now.instant => (),
            Some(_) | None => self.queue_run(now, slot, out),
        }
    }

    /// Sends everything that waits for a pair back to its senders.
    pub(super) fn bounce_all(&mut self, slot: Slot, failure: &Failure, out: &mut Out) {
        let (condition, reason) = (condition_of(failure), failure.refusal.reason());
        for parcel in self.mux.take(slot) {
            let (stanza, text) = (parcel.bytes, failure.text_for_sender().to_owned());
            out.actions.push(Action::Bounce { stanza, condition, reason, text });
        }
    }

    /// The peer handed stanza `n` back.
    pub(super) fn undelivered(&mut self, now: Now, n: u64, reason: UndeliveredReason, out: &mut Out) {
        let Some(sent) = self.sm.counts.copies.take(n) else {
            out.actions.push(Action::StanzaRefused("undelivered-unknown"));
            return;
        };
        let Some(slot) = sent.slot else { return };
        if reason == UndeliveredReason::PairNotActive && self.pairs.get(slot).is_moved() {
            return out.actions.push(Action::Reroute(sent.bytes));
        }
        if reason == UndeliveredReason::PairNotActive && !sent.retried {
            let again = Again { bytes: sent.bytes, seq: sent.seq, retried: true };
            self.mux.push_again(slot, again, (), now.instant);
            self.pair_is_gone(now, slot, out);
            return;
        }
        let (condition, text) = reason.told();
        let (stanza, reason, text) = (sent.bytes, reason.as_str(), text.to_owned());
        out.actions.push(Action::Bounce { stanza, condition, reason, text });
    }

    /// The peer does not know the pair (any more): what waits goes through a fresh run.
    fn pair_is_gone(&mut self, now: Now, slot: Slot, out: &mut Out) {
        if self.pairs.get(slot).active.is_some() {
            self.deactivated(now, slot, out);
        } else {
            self.mux.close(slot);
            self.watch_queue(slot);
            self.want(now, slot, out);
        }
    }

    /// Remembers a failure: stanzas bounce at once meanwhile, or wait where the peer is only busy.
    pub(super) fn pause(&mut self, now: Now, slot: Slot, failure: &Failure, out: &mut Out) {
        let (length, refusal) = match failure.refusal {
            Refusal::Busy(seconds) => (std::time::Duration::from_secs(u64::from(seconds)), None),
            Refusal::Glare => (crate::limits::GLARE_WAIT, None),
            Refusal::Malformed
            | Refusal::UnknownDomain
            | Refusal::Policy
            | Refusal::UnsupportedSuite
            | Refusal::StaleIdentity
            | Refusal::UntrustedCertificate
            | Refusal::NotDelegated
            | Refusal::BadProof => (crate::limits::FAILURE_MEMORY, Some(failure.clone())),
        };
        let until = now.instant + length;
        let record = self.pairs.get_mut(slot);
        let bounces = refusal.is_some() && record.active.is_none();
        record.change(|rare| {
            rare.last_error = Some(failure.text.clone().into_boxed_str());
            rare.pause = Some(Pause { until, refusal });
        });
        self.timers.set(until, slot, Timer::Resume);
        if bounces {
            self.bounce_all(slot, failure, out);
        }
    }
}

/// What the sender of a stanza is told when the pair was refused.
fn condition_of(failure: &Failure) -> Condition {
    match failure.refusal {
        Refusal::UnknownDomain if failure.is_our_own() => Condition::InternalServerError,
        Refusal::UnknownDomain => Condition::RemoteServerNotFound,
        Refusal::Policy => Condition::NotAllowed,
        Refusal::UnsupportedSuite | Refusal::UntrustedCertificate | Refusal::NotDelegated | Refusal::BadProof => {
            Condition::NotAuthorized
        }
        Refusal::Malformed | Refusal::StaleIdentity | Refusal::Glare => Condition::RemoteServerTimeout,
        Refusal::Busy(_) => Condition::ResourceConstraint,
    }
}
