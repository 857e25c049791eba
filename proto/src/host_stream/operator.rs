//! What an operator asks for: another configuration, a pair, the end of a pair, a look at what waits.

use std::time::Instant;

use super::timers::Timer;
use super::{Action, Budget, HostStream, HostStreamConfig, Out};
use crate::control::DeactivateReason;
use crate::mux::Slot;
use crate::now::Now;
use crate::pair::Pair;
use crate::pairs::PairRecord;
use crate::stanza_error::Condition;
use crate::way::Policy;

/// What waits for one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Stanzas.
    pub count: usize,
    /// Their bytes, and what they cost beyond them.
    pub bytes: usize,
    /// Since when the oldest waits.
    pub since: Instant,
    /// Whether the pair may send: then the stream is what it waits for.
    pub open: bool,
}

impl HostStream {
    /// Takes over another configuration: pairs that it does not allow any more end, and what was
    /// remembered against the others is forgotten. The host's name stays what it was.
    pub fn reconfigure(&mut self, now: Now, config: HostStreamConfig, out: &mut Out) {
        self.mux.set_limits(config.limits.pair_queue_bytes, config.limits.host_queue_bytes);
        if config.limits.activations_per_second != self.config.limits.activations_per_second {
            self.budget = Budget::new(config.limits.activations_per_second, now.instant);
            self.questions = Budget::new(config.limits.activations_per_second, now.instant);
        }
        self.config = config;
        self.incoming.places.forget();
        let slots: Vec<Slot> = self.pairs.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if self.allows(&self.pairs.get(slot).pair) {
                self.forget_pause(now, slot, out);
            } else {
                self.end_for_good(slot, out);
            }
        }
    }

    pub(super) fn allows(&self, pair: &Pair) -> bool {
        let hosted = &self.config.hosted;
        hosted.contains(pair.local.as_str())
            && !hosted.contains(pair.remote.as_str())
            && self.config.policies.of(&pair.remote) != Policy::Off
    }

    fn forget_pause(&mut self, now: Now, slot: Slot, out: &mut Out) {
        if self.pairs.get(slot).pause().is_some() {
            self.timers.clear(slot, Timer::Resume);
            self.pause_ended(now, slot, out);
        }
    }

    /// Ends a pair behind what may still be sent; what may not goes back to its senders.
    fn end_for_good(&mut self, slot: Slot, out: &mut Out) {
        self.deactivate(slot, DeactivateReason::Policy, out);
        if self.mux.is_open(slot) {
            return;
        }
        self.bounce_not_allowed(slot, out);
    }

    pub(super) fn bounce_not_allowed(&mut self, slot: Slot, out: &mut Out) {
        let text = "the configuration does not allow this pair any more";
        for parcel in self.mux.take(slot) {
            let (condition, reason) = (Condition::RemoteServerNotFound, "configuration");
            out.actions.push(Action::Bounce { stanza: parcel.bytes, condition, reason, text: text.to_owned() });
        }
    }

    /// Asks for a pair now, whatever was remembered against it; of one that is active, nothing happens.
    pub fn want_now(&mut self, now: Now, pair: &Pair, out: &mut Out) {
        let slot = self.slot(pair);
        self.timers.clear(slot, Timer::Resume);
        let record = self.pairs.get_mut(slot);
        record.change(|rare| rare.pause = None);
        if record.active.is_none() {
            self.want(now, slot, out);
        }
    }

    /// Ends the activation of a pair, if there is one here.
    pub fn deactivate_pair(&mut self, pair: &Pair, reason: DeactivateReason, out: &mut Out) {
        if let Some(slot) = self.pairs.find(pair) {
            self.deactivate(slot, reason, out);
        }
    }

    /// Puts everything that waits into the queues of its pairs, to be seen there.
    pub fn settle(&mut self) {
        self.mux.settle();
    }

    /// Every pair in whose queue stanzas wait.
    pub fn waiting(&self) -> impl Iterator<Item = (&PairRecord, Waiting)> {
        self.pairs.iter().filter_map(|(slot, record)| {
            let since = self.mux.oldest(slot)?;
            let (count, bytes) = (self.mux.pair_count(slot), self.mux.pair_bytes(slot));
            Some((record, Waiting { count, bytes, since, open: self.mux.is_open(slot) }))
        })
    }
}
