//! Counting begins, goes on, or does not: what both sides say about a session (protocol §8).

use std::time::Instant;

use super::resuming::Resuming;
use super::session::{Counting, Counts, Session};
use super::timers::Timer;
use super::{Action, HostStream, Out, Role};
use crate::acks::Ack;
use crate::broken::{self, Fault};
use crate::control::Control;
use crate::limits::{ANSWER_WITHIN, LISTEN_WAIT, RESUME_WAIT, SESSION_LIFE, SILENCE};
use crate::mux::{Again, Mux, Slot};
use crate::now::Now;
use crate::sent::{Sent, SentCopies};
use crate::stanza_error::Condition;
use crate::stream_error::{Condition as StreamCondition, StreamError};
use crate::taken::Taken;

impl HostStream {
    /// Whether the link has the session, or knows that there is none: pairs may be asked for.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.sm.state != Counting::Apart
    }

    /// Whether the next frame may be taken: behind `<chosen/>`, not before the session is here.
    #[must_use]
    pub fn takes_frames(&self) -> bool {
        !self.chosen || self.is_adopted()
    }

    /// The link was chosen, and goes on with this session, if there is one.
    pub fn adopt(&mut self, now: Now, session: Option<Box<Session>>, out: &mut Out) {
        if let Some(session) = session {
            self.take_session(now, *session, out);
        }
        self.sm.state = match self.sm.role {
            Role::Dialled { counts: true } => {
                let id = self.sm.before.as_ref().and_then(|counts| counts.id.clone());
                match id {
                    Some(id) => self.resume(now, id, out),
                    None => self.enable(now, out),
                }
            }
            Role::Dialled { counts: false } => Counting::Off,
            Role::Accepted => {
                let wait = if self.sm.before.is_some() { SILENCE } else { LISTEN_WAIT };
                self.sm.listens_until = Some(now.instant + wait);
                Counting::Listening
            }
        };
        if self.sm.state == Counting::Off {
            self.lose_session(now, out);
        }
        self.see_to_gate();
        self.start_runs(now, out);
    }

    fn take_session(&mut self, now: Now, session: Session, out: &mut Out) {
        debug_assert!(self.pairs.is_empty(), "no pair is wanted of a link before it has the session");
        let Session { counts, pairs, mut mux, unproven, asleep } = session;
        mux.set_limits(self.config.limits.pair_queue_bytes, self.config.limits.host_queue_bytes);
        mux.continue_for(&mut self.mux);
        (self.pairs, self.mux, self.unproven, self.sm.asleep) = (pairs, mux, unproven, asleep);
        self.incoming.places.forget();
        self.sm.before = Some(counts);
        let paused = |(slot, record): (Slot, &crate::pairs::PairRecord)| Some((slot, record.pause()?.until));
        for (slot, until) in self.pairs.iter().filter_map(paused).collect::<Vec<_>>() {
            self.timers.set(until, slot, Timer::Resume);
        }
        for slot in self.pairs.iter().map(|(slot, _)| slot).collect::<Vec<_>>() {
            self.watch_queue(slot);
        }
        // What was configured while there was no link.
        self.reconfigure(now, self.config.clone(), out);
    }

    /// Ends what belongs to the link, and leaves the rest for the next one; nothing, where the link never had
    /// the session. What was never written is to be taken before.
    pub fn detach(&mut self) -> Option<Box<Session>> {
        if self.sm.state == Counting::Apart {
            return None;
        }
        let counted = self.is_counted();
        let serial = self.sm.counts.serial;
        let own = std::mem::replace(&mut self.sm.counts, Counts::uncounted(serial, 0));
        let counts = self.sm.before.take().or_else(|| counted.then_some(own));
        self.sm.state = Counting::Apart;
        self.over = true;
        let (mut pairs, mut asleep) = (std::mem::take(&mut self.pairs), std::mem::take(&mut self.sm.asleep));
        pairs.put_to_sleep(&mut asleep);
        let mut mux = std::mem::replace(&mut self.mux, Mux::new(0, 0));
        mux.restart();
        // Also where nothing is left on our side: the peer may have something for us.
        let unproven = std::mem::take(&mut self.unproven);
        Some(Box::new(Session { counts: counts?, pairs, mux, unproven, asleep }))
    }

    /// Whether pairs may be activated: those that are resumed need not be.
    pub(super) fn is_settled(&self) -> bool {
        let waits = match self.sm.state {
            Counting::Apart | Counting::Resuming => true,
            Counting::Listening => self.sm.before.is_some(),
            Counting::Enabling | Counting::On | Counting::Off => false,
        };
        self.sm.resuming.is_none() && !waits
    }

    /// No stanza goes out before the peer has said how far it is, or where too much is unacknowledged.
    pub(super) fn see_to_gate(&mut self) {
        let waits = !self.is_settled() || self.sm.state == Counting::Listening;
        let full = self.is_counted() && self.sm.counts.copies.bytes() > self.config.limits.host_queue_bytes / 2;
        self.mux.gate(waits || full);
    }

    /// The numbers that a delivery was made under, if they still count.
    pub(super) fn counts_of(&mut self, serial: u64) -> Option<&mut Counts> {
        let before = self.sm.before.as_mut().filter(|counts| counts.serial == serial);
        before.or(Some(&mut self.sm.counts).filter(|counts| counts.serial == serial))
    }

    /// Counting starts with what we send next; the peer is asked to do the same.
    fn enable(&mut self, now: Now, out: &mut Out) -> Counting {
        self.lose_session(now, out);
        self.say(&Ack::Enable { resume: true }, out);
        self.sm.before_enable = self.sm.counts.copies.count();
        self.sm.counts.copies = SentCopies::acknowledged();
        self.sm.asking.begin(now.instant);
        Counting::Enabling
    }

    fn resume(&mut self, now: Now, previd: String, out: &mut Out) -> Counting {
        let h = self.sm.before.as_ref().map_or(0, |counts| counts.taken.h());
        self.say(&Ack::Resume { previd, h }, out);
        self.ask_for_pairs(now, out);
        self.sm.asking.begin(now.instant);
        Counting::Resuming
    }

    /// What the two sides say about counting.
    pub(super) fn counting(&mut self, now: Now, ack: Ack, out: &mut Out) {
        match (self.sm.state, ack) {
            (Counting::Listening, Ack::Enable { resume }) => self.enabled_by_peer(now, resume, out),
            (Counting::Listening, Ack::Resume { previd, h }) => self.resumed_by_peer(now, previd, h, out),
            (Counting::Enabling, Ack::Enabled { id, .. }) => {
                self.sm.counts.id = id;
                // What came before was not counted by the peer.
                self.sm.counts.taken = Taken::default();
                self.sm.state = Counting::On;
            }
            (Counting::Resuming, Ack::Resumed { previd, h })
                if self.sm.before.as_ref().is_some_and(|counts| counts.id.as_ref() == Some(&previd)) =>
            {
                self.count_on(now, h, None, out);
                self.push_own_waiting();
            }
            (Counting::Resuming, Ack::Failed(_)) => {
                self.sm.resuming = None;
                self.sm.state = self.enable(now, out);
                self.push_own_waiting();
                self.pairs_settled(now, out);
            }
            (Counting::Enabling, Ack::Failed(_)) => {
                self.sm.state = Counting::Off;
                self.sm.counts.copies.uncounted(self.sm.before_enable, self.config.limits.host_queue_bytes);
                self.sm.asking.end(now.instant);
            }
            (_, Ack::Enable { .. } | Ack::Resume { .. }) => self.say(&Ack::Failed(Condition::UnexpectedRequest), out),
            (_, ack) => {
                let text = format!("<{}/> answers nothing", ack.to_element().name());
                self.end(StreamError::new(StreamCondition::PolicyViolation, text), out);
            }
        }
    }

    fn enabled_by_peer(&mut self, now: Now, resume: bool, out: &mut Out) {
        self.lose_session(now, out);
        let mut id = [0; 16];
        (self.random)(&mut id);
        let id = resume.then(|| hex::encode(id));
        self.sm.counts = Counts { id: id.clone(), ..Counts::counted(self.sm.counts.serial) };
        let max = id.as_ref().and(u32::try_from(SESSION_LIFE.as_secs()).ok());
        self.say(&Ack::Enabled { id, max }, out);
        self.begin_counting(now, out);
    }

    fn resumed_by_peer(&mut self, now: Now, previd: String, h: u32, out: &mut Out) {
        match &self.sm.before {
            Some(counts) if counts.id.as_ref() == Some(&previd) => {
                let resumed = Ack::Resumed { previd, h: counts.taken.h() };
                self.sm.resuming = Some(Resuming::listening(now.instant + RESUME_WAIT));
                self.count_on(now, h, Some(&resumed), out);
            }
            Some(_) | None => {
                self.sm.refused = true;
                self.say(&Ack::Failed(Condition::ItemNotFound), out);
            }
        }
    }

    /// The peer dialled, and has not said whether it counts. Before a session is lost, it is asked whether it is
    /// there at all.
    pub(super) fn heard_nothing(&mut self, now: Now, out: &mut Out) {
        let heard = self.sm.asking.heard();
        let believed_at = |asked: Instant| asked + (LISTEN_WAIT - SILENCE);
        match self.sm.silence_asked {
            None if self.sm.before.is_some() => {
                self.probe(out);
                self.sm.silence_asked = Some(now.instant);
                self.sm.listens_until = Some(now.instant + ANSWER_WITHIN);
            }
            Some(asked) if heard < asked => {
                (self.over, self.sm.listens_until) = (true, None);
                out.actions.push(Action::Dead(now.instant.saturating_duration_since(heard)));
            }
            Some(asked) if now.instant < believed_at(asked) => self.sm.listens_until = Some(believed_at(asked)),
            Some(_) | None => self.is_not_counted(now, out),
        }
    }

    /// The peer dialled, and does not count.
    pub(super) fn is_not_counted(&mut self, now: Now, out: &mut Out) {
        self.sm.state = Counting::Off;
        self.lose_session(now, out);
        self.pairs_settled(now, out);
    }

    /// Stanzas of our own have numbers from now on.
    fn push_own_waiting(&mut self) {
        for stanza in std::mem::take(&mut self.sm.own_waiting) {
            self.push_own(stanza);
        }
    }

    fn begin_counting(&mut self, now: Now, out: &mut Out) {
        self.sm.state = Counting::On;
        self.sm.asking.begin(now.instant);
        self.pairs_settled(now, out);
    }

    /// Both count on where they were: `h` of our stanzas have arrived. Says `answer` first, and behind it
    /// again what the peer may not have read.
    fn count_on(&mut self, now: Now, h: u32, answer: Option<&Ack>, out: &mut Out) {
        let Some(mut counts) = self.sm.before.take() else { return };
        match counts.copies.rewind(h) {
            Ok(again) => {
                if let Some(answer) = answer {
                    self.say(answer, out);
                }
                self.sm.counts = counts;
                self.sm.state = Counting::On;
                self.sm.asking.begin(now.instant);
                if let Some(resuming) = &mut self.sm.resuming {
                    resuming.wait_until(now.instant + RESUME_WAIT);
                }
                out.actions.push(Action::SessionResumed(again.len()));
                self.queue_again(now, again, out);
                let reports: Vec<_> = self.sm.counts.taken.reports().collect();
                for (n, reason) in reports {
                    self.control(Control::Undelivered { n, reason }, out);
                }
                self.see_to_gate();
                if self.sm.resuming.is_none() {
                    self.pairs_settled(now, out);
                }
            }
            Err(found) => {
                // Once may be a fault of the link. Who says so again has another session in mind: it is lost.
                let again = std::mem::replace(&mut counts.refuted, true);
                counts.id = counts.id.filter(|_| !again);
                self.sm.before = Some(counts);
                self.end(StreamError::handled_count_too_high(found), out);
            }
        }
    }

    /// The peer does not know the session any more: nobody can tell what has arrived of it.
    fn lose_session(&mut self, now: Now, out: &mut Out) {
        self.sm.asleep.clear();
        self.pings.forget_numbers();
        if let Some(mut counts) = self.sm.before.take() {
            let again = counts.copies.take_all();
            let in_doubt = again.iter().filter(|sent| sent.slot.is_some()).count();
            let in_doubt = if broken::has(Fault::DoubtIsHidden) { 0 } else { in_doubt };
            out.actions.push(Action::SessionLost { in_doubt });
            self.pairs.forget_numbers();
            self.queue_again(now, again, out);
        }
    }

    fn queue_again(&mut self, now: Now, again: Vec<Sent>, out: &mut Out) {
        for Sent { slot, bytes, retried, seq } in again {
            if let Some(slot) = slot.filter(|_| !broken::has(Fault::LostGoesNot)) {
                if self.pairs.get(slot).is_moved() {
                    out.actions.push(Action::Reroute(bytes));
                    continue;
                }
                let written = self.sent();
                let record = self.pairs.get_mut(slot);
                record.last_sent = record.last_sent.min(written);
                self.mux.push_again(slot, Again { bytes, seq, retried }, (), now.instant);
                self.watch_queue(slot);
            }
        }
    }

    /// Every pair that could be resumed is, or will not be: what waits for the others asks for them.
    pub(super) fn pairs_settled(&mut self, now: Now, out: &mut Out) {
        self.sm.asleep.clear();
        self.sm.resuming = None;
        self.see_to_gate();
        let waits = |(slot, _): &(Slot, _)| self.mux.oldest(*slot).is_some() && !self.mux.is_open(*slot);
        let slots: Vec<Slot> = self.pairs.iter().filter(waits).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.want(now, slot, out);
        }
        self.start_runs(now, out);
        out.actions.push(Action::Write);
    }

    pub(super) fn resume_deadline(&self) -> Option<Instant> {
        match self.sm.state {
            Counting::On => self.sm.resuming.as_ref().map(Resuming::until),
            Counting::Listening => self.sm.listens_until,
            Counting::Apart | Counting::Enabling | Counting::Resuming | Counting::Off => None,
        }
    }
}
