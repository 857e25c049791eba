//! Frames from the peer, in stream order.

use bytes::Bytes;

use super::{Action, Delivery, HostStream, Out};
use crate::checker::{Root, Scope};
use crate::control::{Control, NAMESPACE, UndeliveredReason};
use crate::element::Element;
use crate::framer::Frame;
use crate::host_iq;
use crate::now::Now;
use crate::stanza::{self, NotAStanza, Stanza};
use crate::stream_error::{Condition, StreamError};

impl HostStream {
    /// Takes the next frame.
    pub fn frame(&mut self, now: Now, frame: Frame, out: &mut Out) {
        match frame {
            Frame::Element(bytes) => self.element(now, &bytes, out),
            Frame::TooLarge { .. } => self.hand_back(UndeliveredReason::TooLarge, out),
            Frame::End => out.actions.push(Action::Close(None)),
            Frame::Header(_) => {
                let error = StreamError::new(Condition::InvalidXml, "a second stream header");
                out.actions.push(Action::Close(Some(error)));
            }
        }
    }

    fn element(&mut self, now: Now, bytes: &Bytes, out: &mut Out) {
        match stanza::read(bytes, &Scope::SERVER) {
            Ok(stanza) => self.stanza(now, bytes, &stanza, out),
            Err(NotAStanza::OtherElement(root)) => self.other_element(now, bytes, &root, out),
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
        self.received += 1;
        self.undeliverable(self.received, reason, out);
    }

    /// Stanza `n` of the peer's could not be delivered: says so.
    pub fn undeliverable(&mut self, n: u64, reason: UndeliveredReason, out: &mut Out) {
        self.control(Control::Undelivered { n, reason }, out);
        out.actions.push(Action::StanzaRefused(reason.as_str()));
    }

    fn stanza(&mut self, now: Now, bytes: &Bytes, stanza: &Stanza<'_>, out: &mut Out) {
        if bytes.len() > self.config.limits.stanza_bytes {
            return self.hand_back(UndeliveredReason::TooLarge, out);
        }
        let (from, to) = (stanza.from_domain(), stanza.to_domain());
        let found = self.pairs.find(&(to, from));
        let (Some(slot), Some(entry)) = (found, self.config.hosted.entry(to)) else {
            return self.stanza_of_no_pair(bytes, stanza, out);
        };
        let record = self.pairs.get_mut(slot);
        if record.active.as_ref().is_none_or(|active| active.expires <= now.unix) {
            return self.hand_back(UndeliveredReason::PairNotActive, out);
        }
        record.stanzas_in += 1;
        self.received += 1;
        let bytes = stanza::forward(bytes, stanza, &Scope::COMPONENT, self.peer_lang.as_deref());
        out.deliveries.push(Delivery { entry, n: self.received, bytes });
    }

    fn stanza_of_no_pair(&mut self, bytes: &[u8], stanza: &Stanza<'_>, out: &mut Out) {
        let between_hosts =
            stanza.from_domain() == self.peer.as_str() && stanza.to_domain() == self.config.host.as_str();
        if between_hosts {
            self.received += 1;
            return self.host_stanza(bytes, stanza, out);
        }
        if self.config.hosted.contains(stanza.from_domain()) {
            return self.hand_back(UndeliveredReason::Policy, out);
        }
        self.hand_back(UndeliveredReason::PairNotActive, out);
    }

    /// A stanza from host to host: pings and disco (XEP-0199, XEP-0030), and answers to our own.
    fn host_stanza(&mut self, bytes: &[u8], stanza: &Stanza<'_>, out: &mut Out) {
        if host_iq::is_answer(stanza) {
            out.actions.push(Action::Alive);
        } else if let Some(answer) = host_iq::answer(bytes, stanza) {
            self.mux.push_own(answer);
            out.actions.push(Action::Write);
        }
    }

    /// Asks whether the peer is alive (XEP-0199); [`Action::Alive`] is the answer.
    pub fn probe(&mut self, out: &mut Out) {
        self.pings += 1;
        self.mux.push_own(host_iq::ping(&self.config.host, &self.peer, self.pings));
        out.actions.push(Action::Write);
    }

    fn other_element(&mut self, now: Now, bytes: &Bytes, root: &Root<'_>, out: &mut Out) {
        if root.namespace == NAMESPACE {
            return match Element::parse(bytes, &Scope::SERVER) {
                Ok(_) if bytes.len() > crate::limits::CONTROL_BYTES => {
                    let error = StreamError::new(Condition::PolicyViolation, "a control element is too large");
                    out.actions.push(Action::Close(Some(error)));
                }
                Ok(element) => self.control_arrived(now, &element, out),
                Err(malformed) => out.actions.push(Action::Close(Some(malformed.stream_error()))),
            };
        }
        let element = Element::parse(bytes, &Scope::SERVER).ok();
        if let Some(error) = element.as_ref().and_then(StreamError::from_element) {
            out.actions.push(Action::PeerError(error));
            return out.actions.push(Action::Close(None));
        }
        let text = format!("<{}/> does not belong here", root.name);
        out.actions.push(Action::Close(Some(StreamError::new(Condition::UnsupportedStanzaType, text))));
    }
}
