//! What does not come in time: verdicts on our keys, and a server that reads.

use std::time::Instant;

use super::{Action, Peer, Sender, Sending, ServerStream};
use crate::acks::Unacknowledged;
use crate::limits::{ACKNOWLEDGED_WITHIN, DIALBACK_WAIT};
use crate::mux::Slot;
use crate::stanza_error::Condition;
use crate::stream_error::{Condition as StreamCondition, StreamError};

impl<O: Clone> ServerStream<O> {
    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.asked.front().map(|(until, _)| *until).into_iter().chain(self.look).min()
    }

    /// Gives up on verdicts that did not come, and on stanzas that have waited too long.
    pub fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action<O>>) {
        while let Some((until, slot)) = self.asked.pop_front_if(|(until, _)| *until <= now) {
            // A pair that was asked for again since then has more time.
            if self.senders[slot as usize].state == Sending::Asked(until) {
                let why = format!("no verdict on our dialback key within {} s", DIALBACK_WAIT.as_secs());
                self.refuse(slot, why, actions);
            }
        }
        if self.look.take_if(|look| *look <= now).is_some() {
            self.give_up_overdue(now, actions);
        }
    }

    /// The pair may not send: what waits for it goes back. What is on its way here goes back as well, where
    /// there are other ways: to a server of ours this stream is the only one.
    pub(super) fn refuse(&mut self, slot: Slot, why: String, actions: &mut Vec<Action<O>>) {
        let Sender { pair, state, .. } = &mut self.senders[slot as usize];
        *state = match self.setting.peer {
            Peer::Remote => Sending::Refused,
            Peer::Own(_) => Sending::New,
        };
        let waiting = self.mux.take(slot).into_iter().map(|parcel| (parcel.bytes, parcel.origin));
        actions.push(Action::Down(pair.clone(), why, waiting.collect()));
    }

    fn give_up_overdue(&mut self, now: Instant, actions: &mut Vec<Action<O>>) {
        let wait = self.setting.limits.stanza_wait;
        let mut oldest: Option<Instant> = None;
        for (slot, sender) in (0..).zip(&self.senders) {
            let why = match sender.state {
                Sending::New | Sending::Asked(_) | Sending::Refused => {
                    "the other server has not let the domain in within the time to wait"
                }
                Sending::Granted => "the other server does not read",
            };
            for parcel in self.mux.take_overdue(slot, now, wait) {
                let (bytes, origin) = (parcel.bytes, parcel.origin);
                actions.push(Action::Bounce(bytes, origin, Condition::RemoteServerTimeout, why.to_owned()));
            }
            oldest = oldest.into_iter().chain(self.mux.oldest(slot)).min();
        }
        let unheard = self.unacknowledged.as_ref().and_then(Unacknowledged::first).map(|first| first.since);
        let unheard = unheard.map(|since| since + ACKNOWLEDGED_WITHIN * wait);
        if unheard.is_some_and(|until| until <= now) {
            let text = "what was sent is not acknowledged in time";
            return self.fail(StreamError::new(StreamCondition::ConnectionTimeout, text), actions);
        }
        self.look = oldest.map(|since| since + wait).into_iter().chain(unheard).min();
    }
}
