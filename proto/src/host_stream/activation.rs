//! Runs of the activation on this link: ours, the peer's, and what both leave in the records.

use std::time::Duration;

use zeroize::Zeroizing;

use super::timers::Timer;
use super::{Action, HostStream, Out, PairChange};
use crate::activation::Proven;
use crate::control::{About, Activate, Aid, Control, DeactivateReason, Request, Response};
use crate::crypto::ActivationKey;
use crate::domain_pair::{Failure, PairAction, PairEvent, SaidBy};
use crate::identities::Answer;
use crate::limits::{ACTIVATION_TIMEOUT, CONCURRENT_RUNS, PENDING_ACTIVATIONS};
use crate::mux::Slot;
use crate::now::Now;
use crate::pair::Pair;
use crate::pairs::{Active, Run};
use crate::refusal::Refusal;

impl HostStream {
    /// Asks for a pair, as soon as its turn among our runs comes.
    pub(super) fn queue_run(&mut self, now: Now, slot: Slot, out: &mut Out) {
        if self.pairs.get(slot).run.is_none() {
            self.set_run(slot, Some(Run::Queued));
            self.queued_runs.push_back(slot);
            self.start_runs(now, out);
        }
    }

    pub(super) fn start_runs(&mut self, now: Now, out: &mut Out) {
        while self.chosen && !self.closing && self.our_runs < CONCURRENT_RUNS {
            let Some(slot) = self.queued_runs.pop_front() else { return };
            if !matches!(self.pairs.get(slot).run, Some(Run::Queued)) {
                continue;
            }
            let mut aid = Aid::default();
            (self.random)(&mut aid);
            self.set_run(slot, Some(Run::Asking(aid)));
            self.timers.add(now.instant + ACTIVATION_TIMEOUT, slot, Timer::RunEnds(aid));
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

    /// The one place where a run begins or ends: keeps the index by id and the counts right.
    fn set_run(&mut self, slot: Slot, run: Option<Run>) {
        let before = std::mem::replace(&mut self.pairs.get_mut(slot).run, run);
        if let Some(before) = &before {
            *self.run_count(before) -= usize::from(before.aid().is_some());
            if let Some(aid) = before.aid() {
                self.pairs.forget_aid(&aid);
            }
        }
        let Some(run) = &self.pairs.get(slot).run else { return };
        if let Some(aid) = run.aid() {
            let ours = run.is_ours();
            self.pairs.name_run(aid, slot);
            *(if ours { &mut self.our_runs } else { &mut self.their_runs }) += 1;
        }
    }

    fn run_count(&mut self, run: &Run) -> &mut usize {
        if run.is_ours() { &mut self.our_runs } else { &mut self.their_runs }
    }

    /// What the actor of the pair in `slot` says about run `aid`; of a run that is over, nothing counts.
    ///
    /// Crypto and delegation are the actor's own business and do not come here.
    pub fn pair_says(&mut self, now: Now, slot: Slot, aid: Aid, said: PairAction, out: &mut Out) {
        let run = self.pairs.get(slot).run.as_ref();
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
                self.set_run(slot, Some(Run::Responded(aid, expected, Box::new(proven))));
                out.actions.push(Action::EndPair(slot));
                self.control(Control::Response(*response), out);
            }
            PairAction::Activate(activate, proven) => {
                self.set_run(slot, Some(Run::Activating(aid, Box::new(proven))));
                out.actions.push(Action::EndPair(slot));
                self.control(Control::Activate(activate), out);
                self.open(slot, out);
            }
            PairAction::Fail(failure) if ours => self.end_run(now, slot, Err(failure), out),
            PairAction::Fail(failure) => {
                self.set_run(slot, None);
                out.actions.push(Action::EndPair(slot));
                self.refuse(About::Aid(aid), failure.refusal, out);
                out.actions.push(Action::Changed(slot, PairChange::RefusedPeer(failure)));
                self.go_on(now, slot, out);
            }
            PairAction::Crypto(_) | PairAction::CheckDelegation(_) => (),
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
        let Some(aid) = self.pairs.get(slot).run.as_ref().and_then(Run::aid) else { return };
        let text = "an internal error ended the activation".to_owned();
        let failure = Failure { refusal: Refusal::Busy(1), said_by: SaidBy::Us, text };
        self.pair_says(now, slot, aid, PairAction::Fail(failure), out);
    }

    /// The pair may send, whatever waits goes out; stanzas come here directly from now on.
    fn open(&mut self, slot: Slot, out: &mut Out) {
        if !self.held.contains(&self.pairs.get(slot).pair.remote) {
            self.mux.open(slot);
        }
        out.actions.push(Action::RouteUp(slot));
        out.actions.push(Action::Write);
    }

    /// A run of ours is over: with an activation in force, or why not.
    pub(super) fn end_run(&mut self, now: Now, slot: Slot, result: Result<Active, Failure>, out: &mut Out) {
        self.set_run(slot, None);
        out.actions.push(Action::EndPair(slot));
        match result {
            Ok(active) => self.activated(now, slot, active, out),
            Err(failure) => self.run_failed(now, slot, failure, out),
        }
        self.start_runs(now, out);
    }

    fn run_failed(&mut self, now: Now, slot: Slot, failure: Failure, out: &mut Out) {
        if self.pairs.get(slot).active.is_none() && self.mux.is_open(slot) {
            self.mux.close(slot);
            out.actions.push(Action::RouteDown(slot));
            self.watch_queue(slot);
        }
        let record = self.pairs.get_mut(slot);
        if failure.refusal == Refusal::StaleIdentity && record.stale_runs == 0 {
            record.stale_runs = 1;
            self.queue_run(now, slot, out);
            return;
        }
        record.stale_runs = 0;
        self.pause(now, slot, &failure, out);
        out.actions.push(Action::Changed(slot, PairChange::Refused(failure)));
    }

    fn activated(&mut self, now: Now, slot: Slot, active: Active, out: &mut Out) {
        let (aid, expires, initiated) = (active.aid, active.expires, active.initiated);
        let record = self.pairs.get_mut(slot);
        let before = record.active.replace(active);
        record.pause = None;
        record.stale_runs = 0;
        record.last_error = None;
        if let Some(before) = before {
            self.pairs.forget_aid(&before.aid);
        }
        self.pairs.name_run(aid, slot);
        let life = Duration::from_secs(expires.saturating_sub(now.unix));
        let renewal = now.instant + self.renewal(life, initiated);
        self.timers.add(renewal, slot, Timer::Renew(aid));
        self.timers.add(now.instant + life, slot, Timer::Expire(aid));
        self.open(slot, out);
        out.actions.push(Action::Changed(slot, PairChange::Activated { initiated, expires }));
    }

    /// The initiator renews at 80 to 90 % of the life, the responder at 97 % if nothing came.
    fn renewal(&mut self, life: Duration, initiated: bool) -> Duration {
        let mut jitter = [0];
        (self.random)(&mut jitter);
        let share = if initiated { 0.80 + 0.10 * f64::from(jitter[0]) / 255.0 } else { 0.97 };
        life.mul_f64(share)
    }

    /// The activation is not in force any more; what waits goes through a fresh run.
    pub(super) fn deactivated(&mut self, now: Now, slot: Slot, out: &mut Out) {
        let Some(active) = self.pairs.get_mut(slot).active.take() else { return };
        self.pairs.forget_aid(&active.aid);
        self.mux.close(slot);
        out.actions.push(Action::RouteDown(slot));
        self.go_on(now, slot, out);
    }

    fn go_on(&mut self, now: Now, slot: Slot, out: &mut Out) {
        if self.mux.oldest(slot).is_some() && !self.mux.is_open(slot) {
            self.watch_queue(slot);
            self.want(now, slot, out);
        }
    }

    fn active(&self, now: Now, aid: Aid, proven: Box<Proven>, initiated: bool) -> Active {
        let expires = (now.unix + self.config.activation_lifetime.as_secs()).min(proven.certificates_end);
        Active { aid, since: now.unix, expires, initiated, proven }
    }

    /// Step 2 arrived. Checks, cheapest first (protocol §5); certificates, signature, delegation and
    /// decryption are the actor's.
    pub(super) fn requested(&mut self, now: Now, request: Request, out: &mut Out) {
        let aid = request.aid;
        match self.admit(now, &request) {
            Ok(slot) => {
                out.actions.push(Action::EndPair(slot));
                if self.pairs.get(slot).active.is_none() && self.mux.is_open(slot) {
                    self.mux.close(slot);
                    out.actions.push(Action::RouteDown(slot));
                }
                self.set_run(slot, Some(Run::Serving(aid)));
                self.timers.add(now.instant + ACTIVATION_TIMEOUT, slot, Timer::RunEnds(aid));
                let key = self.random_key();
                out.actions.push(Action::Pair(slot, PairEvent::Serve(Box::new(request), key)));
            }
            Err(refusal) => self.refuse(About::Aid(aid), refusal, out),
        }
    }

    fn admit(&mut self, now: Now, request: &Request) -> Result<Slot, Refusal> {
        if self.pairs.find_aid(&request.aid).is_some() {
            return Err(Refusal::Malformed);
        }
        if !self.config.hosted.contains(request.responder.as_str()) {
            return Err(Refusal::UnknownDomain);
        }
        if self.config.hosted.contains(request.initiator.as_str()) || self.config.denied.contains(&request.initiator) {
            return Err(Refusal::Policy);
        }
        let pair = Pair { local: request.responder.clone(), remote: request.initiator.clone() };
        let known = self.pairs.find(&pair);
        let asking = known.and_then(|slot| self.pairs.get(slot).run.as_ref());
        if asking.is_some_and(|run| run.is_ours() && run.aid().is_some()) && self.decides() {
            return Err(Refusal::Glare);
        }
        if self.their_runs >= PENDING_ACTIVATIONS || !self.budget.take(now.instant) {
            return Err(Refusal::Busy(1));
        }
        Ok(known.unwrap_or_else(|| self.slot(&pair)))
    }

    /// Step 3 arrived.
    pub(super) fn responded(&mut self, response: Response, out: &mut Out) {
        let asking = |slot: &Slot| matches!(self.pairs.get(*slot).run, Some(Run::Asking(aid)) if aid == response.aid);
        match self.pairs.find_aid(&response.aid).filter(asking) {
            Some(slot) => out.actions.push(Action::Pair(slot, PairEvent::Response(response))),
            None => self.refuse(About::Aid(response.aid), Refusal::Malformed, out),
        }
    }

    /// Step 5 arrived: compared, and in force before the next element is looked at.
    pub(super) fn activate(&mut self, now: Now, activate: &Activate, out: &mut Out) {
        let about = About::Aid(activate.aid);
        let Some(slot) = self.pairs.find_aid(&activate.aid) else {
            return self.refuse(about, Refusal::Malformed, out);
        };
        let record = self.pairs.get(slot);
        let Some(Run::Responded(aid, expected, _)) = &record.run else {
            return self.refuse(about, Refusal::Malformed, out);
        };
        let names = activate.initiator == record.pair.remote && activate.responder == record.pair.local;
        let holds = *aid == activate.aid && names && expected.matches(&activate.confirm);
        let run = self.pairs.get_mut(slot).run.take();
        self.their_runs -= 1;
        self.pairs.forget_aid(&activate.aid);
        match run {
            Some(Run::Responded(aid, _, proven)) if holds => {
                let active = self.active(now, aid, proven, false);
                self.control(Control::Active { aid, expires: active.expires }, out);
                self.activated(now, slot, active, out);
            }
            Some(_) | None => {
                self.refuse(about, Refusal::BadProof, out);
                let failure = Failure::from(Refusal::BadProof);
                out.actions.push(Action::Changed(slot, PairChange::RefusedPeer(failure)));
                self.go_on(now, slot, out);
            }
        }
    }

    /// The peer has the pair active: from here on its stanzas are taken as well.
    pub(super) fn active_arrived(&mut self, now: Now, aid: Aid, expires: u64, out: &mut Out) {
        let Some(slot) = self.pairs.find_aid(&aid) else { return };
        let record = self.pairs.get_mut(slot);
        match record.run.take() {
            Some(Run::Activating(ours, proven)) if ours == aid => {
                record.run = Some(Run::Asking(aid));
                let mut active = self.active(now, aid, proven, true);
                active.expires = active.expires.min(expires);
                self.end_run(now, slot, Ok(active), out);
            }
            run => record.run = run,
        }
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
                match &self.pairs.get(slot).run {
                    Some(run) if run.aid() == Some(*aid) && run.is_ours() => self.end_run(now, slot, Err(failure), out),
                    Some(Run::Responded(..)) => {
                        self.set_run(slot, None);
                        self.go_on(now, slot, out);
                    }
                    Some(_) | None => (),
                }
            }
        }
    }

    /// The peer ends an activation; of one that is not in force, nothing happens.
    pub(super) fn peer_deactivated(&mut self, now: Now, aid: Aid, reason: DeactivateReason, out: &mut Out) {
        let Some(slot) = self.pairs.find_aid(&aid) else { return };
        if self.pairs.get(slot).active.as_ref().is_some_and(|active| active.aid == aid) {
            self.deactivated(now, slot, out);
            out.actions.push(Action::Changed(slot, PairChange::Deactivated(reason)));
        }
    }

    /// Ends an activation from our side: behind the pair's last stanza, or before it where a key is compromised.
    pub fn deactivate(&mut self, slot: Slot, reason: DeactivateReason, out: &mut Out) {
        let Some(active) = self.pairs.get_mut(slot).active.take() else { return };
        self.pairs.forget_aid(&active.aid);
        let element = Control::Deactivate { aid: active.aid, reason }.to_bytes();
        if reason == DeactivateReason::KeyCompromise {
            self.mux.close(slot);
            self.mux.control(element);
        } else {
            self.mux.control_behind(slot, element);
        }
        out.actions.push(Action::RouteDown(slot));
        out.actions.push(Action::Changed(slot, PairChange::Deactivated(reason)));
        out.actions.push(Action::Write);
    }
}
