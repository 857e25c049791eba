//! Runs of the activation on this link: ours, the peer's, and what both leave in the records.

use std::time::Duration;

use zeroize::Zeroizing;

use super::timers::Timer;
use super::{Action, HostStream, Out, PairChange};
use crate::activation::Proven;
use crate::broken::{self, Fault};
use crate::control::{About, Activate, Aid, Control, DeactivateReason, Request, Response};
use crate::crypto::ActivationKey;
use crate::domain_pair::{Failure, PairAction, PairEvent, SaidBy};
use crate::identities::Answer;
use crate::limits::{ACTIVATION_TIMEOUT, BUSY_SECONDS, CONCURRENT_RUNS, PENDING_ACTIVATIONS};
use crate::mux::Slot;
use crate::now::Now;
use crate::pair::Pair;
use crate::pairs::{Active, Run};
use crate::refusal::Refusal;
use crate::way::Policy;

/// The share of an activation's life after which it is renewed at the earliest.
pub(super) const FIRST_RENEWAL: f64 = 0.80;

impl HostStream {
    /// Asks for a pair, as soon as its turn among our runs comes.
    pub(super) fn queue_run(&mut self, now: Now, slot: Slot, out: &mut Out) {
        if self.pairs.get(slot).run().is_none() {
            self.set_run(slot, Some(Run::Queued));
            self.queued_runs.push_back(slot);
            self.start_runs(now, out);
        }
    }

    pub(super) fn start_runs(&mut self, now: Now, out: &mut Out) {
        while self.chosen && self.is_settled() && !self.closing && self.our_runs < CONCURRENT_RUNS {
            let Some(slot) = self.queued_runs.pop_front() else { return };
            if !matches!(self.pairs.get(slot).run(), Some(Run::Queued)) {
                continue;
            }
            let mut aid = Aid::default();
            (self.random)(&mut aid);
            self.set_run(slot, Some(Run::Asking(aid)));
            self.timers.set(now.instant + ACTIVATION_TIMEOUT, slot, Timer::RunEnds);
            let key = self.random_key();
            out.actions.push(Action::Changed(slot, PairChange::Requested));
            out.actions.push(Action::Pair(slot, PairEvent::Open(aid, key)));
        }
    }

    fn random_key(&mut self) -> ActivationKey {
        let mut key = Zeroizing::new([0; 32]);
        (self.random)(key.as_mut_slice());
        key
    }

    /// The one place where a run begins or ends, and what there was before: keeps the index by id,
    /// the counts, and what belongs to a run right.
    pub(super) fn set_run(&mut self, slot: Slot, run: Option<Run>) -> Option<Run> {
        let aid = run.as_ref().and_then(Run::aid);
        let before = self.pairs.get_mut(slot).change(|rare| std::mem::replace(&mut rare.run, run));
        if let Some((ended, ours)) = before.as_ref().and_then(named) {
            *self.run_count(ours) -= 1;
            self.pairs.forget_run(&ended);
            if aid != Some(ended) {
                self.identities.forget(slot);
                self.timers.clear(slot, Timer::RunEnds);
            }
        }
        if let Some((aid, ours)) = self.pairs.get(slot).run().and_then(named) {
            *self.run_count(ours) += 1;
            self.pairs.name_run(aid, slot);
        }
        before
    }

    fn run_count(&mut self, ours: bool) -> &mut usize {
        if ours { &mut self.our_runs } else { &mut self.their_runs }
    }

    /// What the actor of the pair in `slot` says about run `aid`; of a run that is over, nothing counts.
    ///
    /// Crypto and delegation are the actor's own business and do not come here.
    pub fn pair_says(&mut self, now: Now, slot: Slot, aid: Aid, said: PairAction, out: &mut Out) {
        let run = self.pairs.get(slot).run();
        let Some(ours) = run.filter(|run| run.aid() == Some(aid)).map(Run::is_ours) else { return };
        match said {
            PairAction::NeedPeerIdentity { own, again } => {
                let remote = self.pairs.get(slot).pair.remote.clone();
                let answer = if ours {
                    self.identities.to_initiate(slot, &own, &remote, again, now.unix)
                } else {
                    self.identities.to_respond(slot, &remote, now.unix)
                };
                self.answer(slot, answer, out);
            }
            PairAction::Request(request) => self.control(Control::Request(*request), out),
            PairAction::Respond(response, expected, proven) => {
                self.set_run(slot, Some(Run::Responded(expected, proven)));
                out.actions.push(Action::EndPair(slot));
                self.control(Control::Response(*response), out);
            }
            PairAction::Activate(activate, proven) => {
                self.set_run(slot, Some(Run::Activating(proven)));
                out.actions.push(Action::EndPair(slot));
                self.control(Control::Activate(activate), out);
                self.open(slot, false, out);
            }
            PairAction::Fail(failure) => self.run_failed(now, slot, aid, failure, out),
            PairAction::Crypto(_) | PairAction::CheckDelegation(_) => (),
        }
    }

    fn run_failed(&mut self, now: Now, slot: Slot, aid: Aid, failure: Failure, out: &mut Out) {
        let ours = self.pairs.get(slot).run().is_some_and(Run::is_ours);
        // The responder waits for an <activate/> that will not come.
        let found_by_us = failure.said_by == SaidBy::Us && failure.refusal == Refusal::BadProof;
        if !ours || found_by_us {
            self.refuse(About::Aid(aid), failure.refusal, out);
        }
        if ours {
            self.fail_run(now, slot, failure, out);
        } else {
            self.refuse_run(now, slot, failure, out);
        }
    }

    fn answer(&mut self, slot: Slot, answer: Answer, out: &mut Out) {
        match answer {
            Answer::Now(verdict) => out.actions.push(Action::Pair(slot, PairEvent::PeerIdentity(verdict))),
            Answer::Ask(control) => self.control(*control, out),
            Answer::Wait => (),
        }
    }

    pub(super) fn refuse(&mut self, about: About, refusal: Refusal, out: &mut Out) {
        self.control(Control::Refused { about, refusal }, out);
    }

    /// The pair's actor broke down: its run ends, and stanzas wait for another.
    pub fn pair_broke(&mut self, now: Now, slot: Slot, out: &mut Out) {
        let Some(aid) = self.pairs.get(slot).run().and_then(Run::aid) else { return };
        let text = "an internal error ended the activation".to_owned();
        let failure = Failure { refusal: Refusal::Busy(1), said_by: SaidBy::Us, text };
        self.pair_says(now, slot, aid, PairAction::Fail(failure), out);
    }

    /// The pair may send, whatever waits goes out; stanzas come here directly from now on.
    fn open(&mut self, slot: Slot, resumed: bool, out: &mut Out) {
        let record = self.pairs.get_mut(slot);
        record.change(|rare| (rare.unopened, rare.moved) = (false, false));
        let held = self.held.contains(&record.pair.remote);
        if !self.opens_later(slot, resumed, out) && !held {
            self.open_queue(slot);
        }
        out.actions.push(Action::RouteUp { slot, resumed });
        out.actions.push(Action::Write);
    }

    /// The pair may not send any more: what waits is watched.
    fn shut(&mut self, slot: Slot, out: &mut Out) {
        self.mux.close(slot);
        self.watch_queue(slot);
        out.actions.push(Action::RouteDown(slot));
    }

    /// A run of ours is over without an activation.
    pub(super) fn fail_run(&mut self, now: Now, slot: Slot, failure: Failure, out: &mut Out) {
        let run = self.set_run(slot, None);
        out.actions.push(Action::EndPair(slot));
        if matches!(run, Some(Run::Activating(_))) && self.pairs.get(slot).active.is_none() {
            self.shut(slot, out);
        }
        let record = self.pairs.get_mut(slot);
        let retries = failure.refusal == Refusal::StaleIdentity && record.stale_runs() == 0;
        record.change(|rare| rare.stale_runs = u8::from(retries));
        if retries {
            self.queue_run(now, slot, out);
        } else {
            self.pause(now, slot, &failure, out);
            out.actions.push(Action::Changed(slot, PairChange::Refused(failure)));
        }
        self.start_runs(now, out);
    }

    /// A run of the peer's is over without an activation: stanzas of ours may ask for one of ours.
    pub(super) fn refuse_run(&mut self, now: Now, slot: Slot, failure: Failure, out: &mut Out) {
        self.set_run(slot, None);
        out.actions.push(Action::EndPair(slot));
        out.actions.push(Action::Changed(slot, PairChange::RefusedPeer(failure)));
        self.go_on(now, slot, out);
    }

    /// The activation is in force; `change` says how.
    pub(super) fn activated(&mut self, now: Now, slot: Slot, active: Active, change: PairChange, out: &mut Out) {
        let (expires, initiated, [jitter, ..]) = (active.expires, active.initiated, active.resumable.id);
        self.pairs.set_active(slot, Some(active));
        self.pairs.get_mut(slot).change(|rare| (rare.pause, rare.stale_runs, rare.last_error) = (None, 0, None));
        let life = now.at_unix(expires).saturating_duration_since(now.instant);
        let renewal = now.instant + renewal(life, initiated, jitter);
        self.timers.set(renewal, slot, Timer::Renew);
        self.timers.clear(slot, Timer::Expire);
        self.timers.clear(slot, Timer::Resume);
        self.open(slot, matches!(change, PairChange::Resumed { .. }), out);
        out.actions.push(Action::Changed(slot, change));
    }

    /// The activation is not in force any more; what waits goes through a fresh run.
    pub(super) fn deactivated(&mut self, now: Now, slot: Slot, out: &mut Out) {
        if self.forget_active(slot).is_some() {
            self.shut(slot, out);
            self.go_on(now, slot, out);
        }
    }

    fn forget_active(&mut self, slot: Slot) -> Option<Active> {
        let active = self.pairs.set_active(slot, None)?;
        if !broken::has(Fault::TimersStay) {
            self.timers.clear(slot, Timer::Renew);
            self.timers.clear(slot, Timer::Expire);
        }
        Some(active)
    }

    fn go_on(&mut self, now: Now, slot: Slot, out: &mut Out) {
        if self.mux.oldest(slot).is_some() && !self.mux.is_open(slot) {
            self.want(now, slot, out);
        }
    }

    /// When an activation ends that begins now, Unix seconds.
    fn end_of(&self, now: Now, proven: &Proven) -> u64 {
        let life = self.config.activation_lifetime.as_secs();
        now.unix.saturating_add(life).min(proven.certificates_end)
    }

    /// Step 2 arrived. Checks, cheapest first (protocol §5); certificates, signature, delegation and
    /// decryption are the actor's.
    pub(super) fn requested(&mut self, now: Now, request: Request, out: &mut Out) {
        let aid = request.aid;
        match self.admit(now, &request) {
            Ok(slot) => {
                let before = self.set_run(slot, Some(Run::Serving(aid)));
                out.actions.push(Action::EndPair(slot));
                if matches!(before, Some(Run::Activating(_))) && self.pairs.get(slot).active.is_none() {
                    self.shut(slot, out);
                }
                self.timers.set(now.instant + ACTIVATION_TIMEOUT, slot, Timer::RunEnds);
                let key = self.random_key();
                out.actions.push(Action::Pair(slot, PairEvent::Serve(Box::new(request), key)));
                // A run of ours may have made room for the peer's.
                self.start_runs(now, out);
            }
            Err(refusal) => {
                self.refuse(About::Aid(aid), refusal, out);
                out.actions.push(Action::RequestRefused(refusal));
            }
        }
    }

    fn admit(&mut self, now: Now, request: &Request) -> Result<Slot, Refusal> {
        if self.pairs.find_aid(&request.aid).is_some() {
            return Err(Refusal::Malformed);
        }
        if !self.config.hosted.contains(request.responder.as_str()) {
            return Err(Refusal::UnknownDomain);
        }
        let off = self.config.policies.of(&request.initiator) == Policy::Off;
        if off || self.config.hosted.contains(request.initiator.as_str()) {
            return Err(Refusal::Policy);
        }
        let pair = Pair { local: request.responder.clone(), remote: request.initiator.clone() };
        let run = self.pairs.find(&pair).and_then(|slot| self.pairs.get(slot).run());
        let asking = run.and_then(named).is_some_and(|(_, ours)| ours);
        if asking && self.decides() {
            return Err(Refusal::Glare);
        }
        if self.their_runs >= PENDING_ACTIVATIONS || !self.budget.take(now.instant) {
            return Err(Refusal::Busy(1));
        }
        self.slot_for_peer(&pair).ok_or(Refusal::Busy(BUSY_TABLE))
    }

    /// Step 3 arrived.
    pub(super) fn responded(&mut self, response: Response, out: &mut Out) {
        let asking =
            |slot: &Slot| matches!(self.pairs.get(*slot).run(), Some(Run::Asking(aid)) if *aid == response.aid);
        match self.pairs.find_aid(&response.aid).filter(asking) {
            Some(slot) => out.actions.push(Action::Pair(slot, PairEvent::Response(response))),
            None => self.refuse(About::Aid(response.aid), Refusal::Malformed, out),
        }
    }

    /// Step 5 arrived: compared, and in force before the next element is looked at.
    pub(super) fn activate(&mut self, now: Now, activate: &Activate, out: &mut Out) {
        let (aid, slot) = (activate.aid, self.pairs.find_aid(&activate.aid));
        let responded = |slot: &Slot| match self.pairs.get(*slot).run() {
            Some(Run::Responded(_, proven)) => proven.resumable.aid == aid,
            Some(Run::Queued | Run::Asking(_) | Run::Activating(_) | Run::Serving(_)) | None => false,
        };
        let Some(slot) = slot.filter(responded) else {
            return self.refuse(About::Aid(aid), Refusal::Malformed, out);
        };
        let Some(Run::Responded(expected, proven)) = self.set_run(slot, None) else { return };
        let pair = &self.pairs.get(slot).pair;
        let names = activate.initiator == pair.remote && activate.responder == pair.local;
        let proves = names && expected.matches(&activate.confirm);
        if proves && now.unix < proven.certificates_end {
            let (initiated, expires) = (false, self.end_of(now, &proven));
            let active = Active::new(proven, now.unix, expires, initiated);
            self.control(Control::Active { aid, expires }, out);
            self.activated(now, slot, active, PairChange::Activated { initiated, expires }, out);
        } else {
            let refusal = if proves { Refusal::UntrustedCertificate } else { Refusal::BadProof };
            self.refuse(About::Aid(aid), refusal, out);
            self.refuse_run(now, slot, refusal.into(), out);
        }
    }

    /// The peer has the pair active: from here on its stanzas are taken as well.
    pub(super) fn active_arrived(&mut self, now: Now, aid: Aid, expires: u64, out: &mut Out) {
        let activating = |slot: &Slot| match self.pairs.get(*slot).run() {
            Some(Run::Activating(proven)) => proven.resumable.aid == aid,
            Some(Run::Queued | Run::Asking(_) | Run::Serving(_) | Run::Responded(..)) | None => false,
        };
        let Some(slot) = self.pairs.find_aid(&aid).filter(activating) else { return };
        let Some(Run::Activating(proven)) = self.pairs.get(slot).run() else { return };
        if expires.min(proven.certificates_end) <= now.unix {
            let (refusal, text) = (Refusal::Busy(BUSY_SECONDS), "it ended before it began".to_owned());
            return self.fail_run(now, slot, Failure { refusal, said_by: SaidBy::Peer, text }, out);
        }
        let Some(Run::Activating(proven)) = self.set_run(slot, None) else { return };
        let (initiated, expires) = (true, self.end_of(now, &proven).min(expires));
        let active = Active::new(proven, now.unix, expires, initiated);
        self.activated(now, slot, active, PairChange::Activated { initiated, expires }, out);
        self.start_runs(now, out);
    }

    /// The peer refused a request or an `<activate/>` of ours, or our response.
    pub(super) fn refused(&mut self, now: Now, about: &About, refusal: Refusal, out: &mut Out) {
        let text = format!("the peer host {} refused: {refusal}", self.peer);
        let failure = Failure { refusal, said_by: SaidBy::Peer, text };
        match about {
            About::Id(id) => {
                if let Some(slot) = self.identities.refused(id) {
                    out.actions.push(Action::Pair(slot, PairEvent::PeerIdentity(Err(failure))));
                }
            }
            About::Aid(aid) => {
                let Some(slot) = self.pairs.find_aid(aid) else { return };
                let run = self.pairs.get(slot).run().filter(|run| run.aid() == Some(*aid));
                match run {
                    Some(Run::Asking(_) | Run::Activating(_)) => self.fail_run(now, slot, failure, out),
                    Some(Run::Responded(..)) => self.refuse_run(now, slot, failure, out),
                    Some(Run::Queued | Run::Serving(_)) | None => (),
                }
            }
        }
    }

    /// The peer ends an activation; of one that is not in force, nothing happens.
    pub(super) fn peer_deactivated(&mut self, now: Now, aid: Aid, reason: DeactivateReason, out: &mut Out) {
        let Some(slot) = self.pairs.find_aid(&aid) else { return };
        let record = self.pairs.get_mut(slot);
        if let Some(active) = record.active.as_ref().filter(|active| active.aid() == aid) {
            if reason == DeactivateReason::Expired {
                let text = active.why_ended();
                record.change(|rare| _ = rare.last_error.get_or_insert(text));
            }
            self.deactivated(now, slot, out);
            out.actions.push(Action::Changed(slot, PairChange::Deactivated(reason)));
        }
    }

    /// Ends an activation from our side: behind the pair's last stanza, or before it where a key is
    /// compromised. A run that would bring it back ends with it.
    pub fn deactivate(&mut self, slot: Slot, reason: DeactivateReason, out: &mut Out) {
        self.sm.asleep.retain(|_, (of, _)| *of != slot);
        let run = self.set_run(slot, None);
        out.actions.push(Action::EndPair(slot));
        let proven = match run {
            Some(Run::Activating(proven)) => Some(proven.resumable.aid),
            Some(Run::Queued | Run::Asking(_) | Run::Serving(_) | Run::Responded(..)) | None => None,
        };
        let active = self.forget_active(slot).map(|active| active.aid());
        for aid in proven.into_iter().chain(active) {
            self.send_deactivate(slot, aid, reason);
        }
        if proven.is_some() || active.is_some() {
            out.actions.push(Action::RouteDown(slot));
            out.actions.push(Action::Changed(slot, PairChange::Deactivated(reason)));
            out.actions.push(Action::Write);
            self.watch_queue(slot);
        }
    }

    fn send_deactivate(&mut self, slot: Slot, aid: Aid, reason: DeactivateReason) {
        let element = Control::Deactivate { aid, reason }.to_bytes();
        if reason == DeactivateReason::KeyCompromise {
            self.mux.close(slot);
            self.mux.control(element);
        } else {
            self.mux.control_behind(slot, element);
        }
    }
}

/// How long a peer is asked to wait that has named as many pairs as a link may have.
const BUSY_TABLE: u32 = 60;

/// A run's id, and whether we asked for it; nothing while it waits for its turn.
fn named(run: &Run) -> Option<(Aid, bool)> {
    run.aid().map(|aid| (aid, run.is_ours()))
}

/// The initiator renews at 80 to 90 % of the life, the responder at 97 % if nothing came.
fn renewal(life: Duration, initiated: bool, jitter: u8) -> Duration {
    let share = if initiated { FIRST_RENEWAL + 0.10 * f64::from(jitter) / 255.0 } else { 0.97 };
    life.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs that became active together do not renew together.
    #[test]
    fn renewals_are_spread() {
        let share = |initiated, jitter| renewal(Duration::from_secs(1000), initiated, jitter).as_secs();
        assert_eq!((share(true, 0), share(true, u8::MAX)), (800, 900));
        assert!((849..=851).contains(&share(true, u8::MAX / 2)));
        assert_eq!((share(false, 0), share(false, u8::MAX)), (970, 970));
    }
}
