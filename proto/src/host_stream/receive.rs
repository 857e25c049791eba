//! Frames from the peer, in stream order.

use bytes::{Buf, Bytes};

use super::session::Counting;
use super::{Action, HostStream, Out};
use crate::acks::{self, Ack};
use crate::broken::{self, Fault};
use crate::checker::{Scope, Shapes, is_white};
use crate::control::{NAMESPACE, UndeliveredReason};
use crate::element::Element;
use crate::framer::{Frame, Framer, FramingError};
use crate::host_iq;
use crate::hosted::Entry;
use crate::limits::{CONTROL_BYTES, WAITING_PINGS};
use crate::mux::Slot;
use crate::now::Now;
use crate::remembered::Remembered;
use crate::sent::Sent;
use crate::stanza::{self, Kind, NotAStanza, Stanza, Stanzas};
use crate::stream_error::{Condition, StreamError};
use crate::traffic::Traffic;

/// What is remembered of the stanzas that came.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Of those that were forwarded.
    pub(super) traffic: Traffic,
    /// What they look like.
    shapes: Shapes,
    /// Where they went: their pair's slot, and the server of ours.
    pub(super) places: Remembered<(Slot, u32)>,
}

impl HostStream {
    /// Takes the stanzas that come next, or else the next frame; whether there was anything complete.
    ///
    /// # Errors
    /// What the framer says: the stream is to end.
    pub fn step(&mut self, now: Now, framer: &mut Framer, out: &mut Out) -> Result<bool, FramingError> {
        let mut block = framer.take_block();
        let taken = self.stanzas(now, &block, out);
        block.advance(taken);
        framer.put_back(block);
        if taken > 0 {
            return Ok(true);
        }
        let frame = framer.next_frame()?;
        let found = frame.is_some();
        frame.into_iter().for_each(|frame| self.frame(now, frame, out));
        Ok(found)
    }

    /// Takes the stanzas that `block` begins with; how many bytes they took.
    fn stanzas(&mut self, now: Now, block: &[u8], out: &mut Out) -> usize {
        if block.is_empty() {
            return 0;
        }
        broken::panic_once(Fault::LinkPanics);
        self.heard(now);
        out.room = block.len();
        let mut shapes = std::mem::take(&mut self.incoming.shapes);
        let mut stanzas = Stanzas::new(block, &Scope::SERVER, &mut shapes);
        while self.takes_frames() && !self.over && !(self.closing && self.is_counted()) {
            let Some(stanza) = stanzas.next() else { break };
            self.stanza(now, &stanza, out);
        }
        let taken = stanzas.taken();
        drop(stanzas);
        self.incoming.shapes = shapes;
        taken
    }

    /// Takes the next frame.
    pub fn frame(&mut self, now: Now, frame: Frame, out: &mut Out) {
        broken::panic_once(Fault::LinkPanics);
        self.heard(now);
        if self.over || (self.closing && self.is_counted() && is_stanza(&frame)) {
            return;
        }
        match frame {
            Frame::Element(bytes) => self.element(now, &bytes, out),
            Frame::TooLarge { head, .. } if names_a_stanza(&head) => self.hand_back(UndeliveredReason::TooLarge, out),
            Frame::TooLarge { .. } => self.control_too_large(out),
            Frame::End => self.peer_closed(out),
            Frame::Header(_) => self.end(StreamError::new(Condition::InvalidXml, "a second stream header"), out),
        }
    }

    fn peer_closed(&mut self, out: &mut Out) {
        self.over = true;
        out.actions.push(Action::Close(None));
    }

    fn control_too_large(&mut self, out: &mut Out) {
        self.end(StreamError::new(Condition::PolicyViolation, "a control element is too large"), out);
    }

    fn element(&mut self, now: Now, bytes: &Bytes, out: &mut Out) {
        if let Some(element) = Element::read_plain(bytes) {
            return self.no_stanza(now, bytes, &element, out);
        }
        match stanza::read(bytes, &Scope::SERVER) {
            Ok(stanza) => self.stanza(now, &stanza, out),
            Err(NotAStanza::OtherElement(_)) => match Element::read_checked(bytes, &Scope::SERVER) {
                Ok(element) => self.no_stanza(now, bytes, &element, out),
                Err(malformed) => self.end(malformed.stream_error(), out),
            },
            // What is no stanza was written by the host itself, and is not counted.
            Err(NotAStanza::Malformed(malformed)) if !names_a_stanza(bytes) => self.end(malformed.stream_error(), out),
            Err(NotAStanza::Malformed(_)) if bytes.len() > self.config.limits.stanza_bytes => {
                self.hand_back(UndeliveredReason::TooLarge, out);
            }
            Err(NotAStanza::Malformed(_) | NotAStanza::Prefixed(_) | NotAStanza::Address { .. }) => {
                self.hand_back(UndeliveredReason::Policy, out);
            }
        }
    }

    /// Counts a stanza that goes no further, and tells its number.
    fn hand_back(&mut self, reason: UndeliveredReason, out: &mut Out) {
        if !self.chosen {
            return self.too_early(out);
        }
        let n = self.sm.counts.taken.count();
        self.report(n, reason, out);
    }

    fn stanza(&mut self, now: Now, stanza: &Stanza<'_>, out: &mut Out) {
        let bytes = stanza.bytes();
        if bytes.len() > self.config.limits.stanza_bytes {
            return self.hand_back(UndeliveredReason::TooLarge, out);
        }
        let (from, to) = (stanza.from_domain(), stanza.to_domain());
        let Some((slot, entry)) = self.way_in((to, from)).filter(|_| !self.is_answer(stanza)) else {
            return self.stanza_of_no_pair(stanza, out);
        };
        let active = self.pairs.get(slot).active.as_ref();
        let is_over = active.is_none_or(|active| active.expires <= now.unix);
        if is_over && !broken::has(Fault::InactiveIsTaken) {
            // Also where the wall clock was ahead of the timer: what is handed back belongs to no activation.
            self.expire(now, slot, out);
            return self.stanza_of_no_pair(stanza, out);
        }
        self.pairs.get_mut(slot).stanzas_in += 1;
        let n = self.sm.counts.taken.count();
        if self.is_counted() {
            self.sm.counts.taken.handed_over(entry, bytes.len(), now.instant);
        }
        self.incoming.traffic.count(bytes);
        out.deliver(entry, n, &stanza::forward(stanza, &Scope::COMPONENT, self.peer_lang.as_deref()));
    }

    /// The pair's slot, and which of our servers has its domain.
    fn way_in(&mut self, pair: (&str, &str)) -> Option<(Slot, Entry)> {
        if let Some((slot, entry)) = self.incoming.places.find(pair) {
            debug_assert!(self.pairs.get(slot).pair.is(&pair), "what is remembered is true");
            return Some((slot, entry as Entry));
        }
        let (slot, entry) = self.pairs.find(&pair).zip(self.config.hosted.entry(pair.0))?;
        let record = self.pairs.get(slot);
        // Of others, a peer may name as many as it likes.
        if let (true, Ok(entry)) = (record.active.is_some(), entry.try_into()) {
            self.incoming.places.remember(&record.pair, (slot, entry));
        }
        Some((slot, entry))
    }

    /// Whether it answers a probe of ours. A host's name may be a domain as well: then the pair of
    /// the two hosts' names may be active, and the answer must not go to a local server.
    fn is_answer(&self, stanza: &Stanza<'_>) -> bool {
        host_iq::is_answer(stanza)
            && stanza.from() == self.peer.as_str()
            && stanza.to() == self.config.host.as_str()
            && self.answered(stanza).is_some()
    }

    /// Which of our probes it answers, if it is an answer.
    fn answered(&self, stanza: &Stanza<'_>) -> Option<u64> {
        host_iq::ping_of(stanza).filter(|number| (1..=self.pings.count).contains(number))
    }

    fn stanza_of_no_pair(&mut self, stanza: &Stanza<'_>, out: &mut Out) {
        let between_hosts =
            stanza.from_domain() == self.peer.as_str() && stanza.to_domain() == self.config.host.as_str();
        if between_hosts {
            self.sm.counts.taken.count();
            return self.host_stanza(stanza, out);
        }
        if self.config.hosted.contains(stanza.from_domain()) {
            return self.hand_back(UndeliveredReason::Policy, out);
        }
        self.hand_back(UndeliveredReason::PairNotActive, out);
    }

    /// A stanza from host to host: pings and disco (XEP-0199, XEP-0030), and answers to our own.
    fn host_stanza(&mut self, stanza: &Stanza<'_>, out: &mut Out) {
        if host_iq::is_answer(stanza) {
            if let Some(number) = self.answered(stanza) {
                self.ping_answered(number, out);
            }
            out.actions.push(Action::Alive);
        } else if let Some(answer) = host_iq::answer(stanza) {
            self.push_own(answer);
            self.control_queued(out);
        }
    }

    /// Asks whether the peer is alive (XEP-0199); [`Action::Alive`] is the answer.
    pub fn probe(&mut self, out: &mut Out) {
        self.pings.count += 1;
        self.push_own(host_iq::ping(&self.config.host, &self.peer, self.pings.count));
        self.pings.written = self.sent();
        out.actions.push(Action::Write);
    }

    /// Sends a stanza of the host itself (a ping, or the answer to one): numbered like any other.
    pub(super) fn push_own(&mut self, stanza: Bytes) {
        if self.sm.state == Counting::Resuming {
            // Its number is not known before the peer has said how far it is.
            if self.sm.own_waiting.len() < WAITING_PINGS {
                self.sm.own_waiting.push(stanza);
            }
            return;
        }
        self.sm.counts.copies.push(Sent { slot: None, bytes: Bytes::new(), retried: false, seq: 0 });
        self.mux.control(stanza);
    }

    fn no_stanza(&mut self, now: Now, bytes: &Bytes, element: &Element, out: &mut Out) {
        if element.namespace() == acks::NAMESPACE {
            return self.ack_arrived(now, Ack::read(element), out);
        }
        if element.namespace() == NAMESPACE {
            if bytes.len() > CONTROL_BYTES {
                return self.control_too_large(out);
            }
            return self.control_arrived(now, element, out);
        }
        if let Some(error) = StreamError::from_element(element) {
            out.actions.push(Action::PeerError(error));
            return self.peer_closed(out);
        }
        let text = format!("<{}/> does not belong here", element.name());
        self.end(StreamError::new(Condition::UnsupportedStanzaType, text), out);
    }
}

fn is_stanza(frame: &Frame) -> bool {
    match frame {
        Frame::Element(bytes) => names_a_stanza(bytes),
        Frame::TooLarge { head, .. } => names_a_stanza(head),
        Frame::End | Frame::Header(_) => false,
    }
}

/// Whether an element that is not well-formed, or was too large to keep, was counted by its sender.
fn names_a_stanza(bytes: &[u8]) -> bool {
    let tag = bytes.strip_prefix(b"<").unwrap_or_default();
    let is_end = |byte: &u8| is_white(*byte) || matches!(byte, b'/' | b'>');
    let name = tag.split(is_end).next().unwrap_or_default();
    let local = name.rsplit(|byte| *byte == b':').next().unwrap_or_default();
    std::str::from_utf8(local).is_ok_and(|local| Kind::parse(local).is_some())
}
