//! Acknowledgements on the link (protocol §8): asking, answering, and whether the peer is still there.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::session::Counting;
use super::{Action, HostStream, Out};
use crate::acks::Ack;
use crate::control::{Control, UndeliveredReason};
use crate::hosted::Entry;
use crate::limits::{ANSWER_WITHIN, ASK_AFTER, ASK_WITHIN, SILENCE, UNANSWERED, UNREAD_REPORTS};
use crate::now::Now;
use crate::stanza_error::bounce_bytes;
use crate::stream_error::{Condition, StreamError};

/// How much later than it was to be called this process may look at a peer and still judge it: who was
/// stopped itself has heard nobody.
const OVERSLEPT: Duration = Duration::from_secs(2);
/// What is taken over together, so that there is no timer for each read.
const TOGETHER: Duration = Duration::from_millis(100);

/// When the peer is asked, and when it was heard.
#[derive(Debug)]
pub(super) struct Asking {
    /// An `<r/>` that is not answered.
    asked: Option<Instant>,
    /// When the next one is due.
    ask_at: Option<Instant>,
    /// Stanzas and bytes that were written since the last one.
    written: (u64, usize),
    heard: Instant,
    /// When to look whether the peer is there.
    look_at: Option<Instant>,
    /// When a ping is due that shows whether reports were read.
    report_at: Option<Instant>,
    /// A ping whose answer shows that so many reports were read.
    reports: Option<(u64, usize)>,
}

impl Asking {
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: None, ask_at: None, written: (0, 0), heard: now, look_at: None, report_at: None, reports: None }
    }

    /// The peer counts, or is to say whether it will.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self { look_at: Some(now + SILENCE), ..Self::new(now) };
    }

    pub(super) fn end(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    fn asks(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
        (self.ask_at, self.written) = (None, (0, 0));
    }

    /// When the peer was heard last.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// So many stanzas were written, of so many bytes.
    pub(super) fn wrote(&mut self, stanzas: u64, bytes: usize) {
        self.written = (self.written.0 + stanzas, self.written.1 + bytes);
    }

    /// Whether an `<r/>` is due behind what was written.
    fn is_due(&self) -> bool {
        self.asked.is_none() && (self.written.0 >= ASK_AFTER.0 || self.written.1 >= ASK_AFTER.1)
    }

    pub(super) fn deadline(&self) -> impl Iterator<Item = Instant> + use<> {
        self.ask_at.into_iter().chain(self.look_at).chain(self.report_at)
    }
}

impl HostStream {
    pub(super) fn ack_arrived(&mut self, now: Now, ack: Option<Ack>, out: &mut Out) {
        if !self.chosen {
            return self.too_early(out);
        }
        match ack {
            Some(Ack::Request) if self.is_counted() => {
                let answer = Ack::Answer(self.sm.counts.taken.answer());
                self.say(&answer, out);
            }
            Some(Ack::Answer(h)) if self.is_counted() => self.acknowledged(h, out),
            Some(Ack::Request | Ack::Answer(_)) => {
                let text = "nothing is counted on this stream";
                self.end(StreamError::new(Condition::PolicyViolation, text), out);
            }
            Some(
                ack @ (Ack::Enable { .. }
                | Ack::Enabled { .. }
                | Ack::Resume { .. }
                | Ack::Resumed { .. }
                | Ack::Failed(_)),
            ) => self.counting(now, ack, out),
            None => self.end(StreamError::new(Condition::UndefinedCondition, "not an element of XEP-0198"), out),
        }
    }

    pub(super) fn say(&mut self, ack: &Ack, out: &mut Out) {
        self.mux.control(ack.to_element().to_bytes("jabber:server"));
        self.control_queued(out);
    }

    fn acknowledged(&mut self, h: u32, out: &mut Out) {
        self.sm.asking.asked = None;
        match self.sm.counts.copies.acknowledge(h) {
            Ok(0) => (),
            Ok(_) => {
                self.sm.carried = true;
                self.see_to_gate();
                self.open_acknowledged(out);
                out.actions.push(Action::Write);
            }
            Err(found) => self.end(StreamError::handled_count_too_high(found), out),
        }
    }

    /// The peer has answered our ping `number`: what was said before it was read.
    pub(super) fn ping_answered(&mut self, number: u64, out: &mut Out) {
        self.open_behind(number, out);
        if let Some((_, count)) = self.sm.asking.reports.take_if(|(ping, _)| *ping == number) {
            self.sm.counts.taken.reports_read(count);
        }
    }

    /// The peer has sent something, whether it is whole or not.
    pub fn heard(&mut self, now: Now) {
        self.sm.asking.heard = now.instant;
    }

    /// A server of ours has read everything up to stanza `n` of those that were delivered to it under `serial`.
    pub fn has_read(&mut self, serial: u64, entry: Entry, n: u64) {
        if let Some(counts) = self.counts_of(serial) {
            counts.taken.has_read(entry, n);
        }
    }

    /// Stanza `n` of the peer's, of those under `serial`, could not be delivered to our server: the peer is
    /// told, or the sender itself where the peer has no copy any more.
    pub fn undeliverable(
        &mut self,
        now: Now,
        (serial, n): (u64, u64),
        reason: UndeliveredReason,
        stanza: &[u8],
        out: &mut Out,
    ) {
        let is_current = self.sm.counts.serial == serial;
        match self.counts_of(serial) {
            Some(counts) if n > counts.taken.acknowledged() => {
                if is_current {
                    return self.report(n, reason, out);
                }
                counts.taken.report(n, reason);
            }
            Some(_) | None => {
                let (condition, text) = reason.told();
                out.actions.extend(bounce_bytes(stanza, condition, text).map(Action::Reply));
            }
        }
        out.actions.push(Action::StanzaRefused(reason.as_str()));
        self.tend(now, out);
    }

    /// Tells the peer that its stanza `n` goes no further.
    pub(super) fn report(&mut self, n: u64, reason: UndeliveredReason, out: &mut Out) {
        if self.is_counted() {
            self.sm.counts.taken.report(n, reason);
        }
        self.control(Control::Undelivered { n, reason }, out);
        out.actions.push(Action::StanzaRefused(reason.as_str()));
        if self.sm.counts.taken.unread_reports() > UNREAD_REPORTS {
            self.end(StreamError::new(Condition::ResourceConstraint, "reports are not read"), out);
        }
    }

    /// Comes behind everything that may have changed something: acknowledges what the peer waits for, and sees
    /// to it that we are told how far the peer is.
    pub fn tend(&mut self, now: Now, out: &mut Out) {
        if !self.is_counted() || self.over {
            return;
        }
        self.sm.counts.taken.take_over(now.instant);
        if let Some(h) = self.sm.counts.taken.news() {
            self.say(&Ack::Answer(h), out);
        }
        if self.sm.counts.taken.unread_reports() > 0 && self.sm.asking.reports.is_none() {
            self.sm.asking.report_at.get_or_insert(now.instant + ASK_WITHIN);
        }
        let owed = !self.sm.counts.copies.is_empty() || self.mux.bytes() > 0;
        if owed && self.sm.asking.asked.is_none() {
            self.sm.asking.ask_at.get_or_insert(now.instant + ASK_WITHIN);
        }
    }

    /// Does what the time has come for: asking, taking over, giving the peer up.
    pub(super) fn ack_timeout(&mut self, now: Now, out: &mut Out) {
        self.sm.counts.taken.take_over(now.instant + TOGETHER);
        if self.sm.asking.ask_at.take_if(|at| *at <= now.instant).is_some() && !self.sm.counts.copies.is_empty() {
            self.ask(now, out);
        }
        if self.sm.asking.report_at.take_if(|at| *at <= now.instant).is_some() {
            self.ask_about_reports(out);
        }
        if let Some(due) = self.sm.asking.look_at.take_if(|at| *at <= now.instant) {
            self.look(now, due, out);
        }
        self.tend(now, out);
    }

    fn ask(&mut self, now: Now, out: &mut Out) {
        if self.is_counted() {
            self.say(&Ack::Request, out);
        }
        self.sm.asking.asks(now.instant);
    }

    fn ask_about_reports(&mut self, out: &mut Out) {
        let unread = self.sm.counts.taken.unread_reports();
        if unread > 0 && self.sm.asking.reports.is_none() && self.is_counted() {
            self.probe(out);
            self.sm.asking.reports = Some((self.pings.count, unread));
        }
    }

    /// Looks whether the peer is still there.
    fn look(&mut self, now: Now, due: Instant, out: &mut Out) {
        let (instant, asked, heard) = (now.instant, self.sm.asking.asked, self.sm.asking.heard);
        if instant > due + OVERSLEPT {
            self.sm.asking.look_at = Some(instant + OVERSLEPT);
            return;
        }
        let next = match asked {
            Some(asked) => (asked.max(heard) + ANSWER_WITHIN).min(asked + UNANSWERED),
            None => heard + SILENCE,
        };
        if next > instant {
            self.sm.asking.look_at = Some(next);
        } else if asked.is_some() {
            self.over = true;
            out.actions.push(Action::Dead(instant.saturating_duration_since(heard)));
        } else {
            self.ask(now, out);
            self.sm.asking.look_at = Some(instant + ANSWER_WITHIN);
        }
    }

    /// Asks behind stanzas that were just written, where that is due.
    pub(super) fn ask_behind(&mut self, now: Now, out: &mut BytesMut) {
        if self.is_counted() && self.sm.asking.is_due() && !self.mux.has_ended() {
            out.extend_from_slice(&Ack::Request.to_element().to_bytes("jabber:server"));
            self.sm.asking.asks(now.instant);
        }
    }

    /// Whether what we send is counted by the peer, and what it sends by us.
    pub(super) fn is_counted(&self) -> bool {
        matches!(self.sm.state, Counting::Enabling | Counting::On)
    }
}
