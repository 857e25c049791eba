//! Frames from the other side, in stream order.

use bytes::Bytes;

use super::{Action, Ending, Peer, Sending, ServerStream};
use crate::acks::{Ack, NAMESPACE as SM};
use crate::checker::{Malformed, Root, Scope, check_head};
use crate::classic::SERVER;
use crate::dialback::{Dialback, Ends, Outcome};
use crate::element::Element;
use crate::framer::Frame;
use crate::jid::domain_of;
use crate::limits::{PENDING_CHECKS, PROVED_DOMAINS};
use crate::name::Name;
use crate::pair::{AsPair, Pair};
use crate::stanza::{self, Kind, NotAStanza, Stanza};
use crate::stanza_error::{Condition, bounce, bounce_root};
use crate::stream_error::{Condition as StreamCondition, StreamError, farewell};

impl<O: Clone> ServerStream<O> {
    /// Takes the next frame.
    pub fn frame(&mut self, frame: &Frame, actions: &mut Vec<Action<O>>) {
        if self.is_over() {
            return;
        }
        match frame {
            Frame::Element(bytes) => self.element(bytes, actions),
            Frame::TooLarge { head, .. } => self.too_large(head, actions),
            Frame::End => {
                if self.ending == Ending::Hearing && self.mux.has_ended() {
                    self.all_arrived();
                }
                self.peer_closed(None, actions);
            }
            Frame::Header(_) => self.fail_with(StreamCondition::InvalidXml, "a second stream header", actions),
        }
    }

    fn element(&mut self, bytes: &Bytes, actions: &mut Vec<Action<O>>) {
        let scope = self.setting.scope;
        match stanza::read(bytes, &scope) {
            Ok(stanza) => self.stanza(bytes, &stanza, actions),
            Err(NotAStanza::OtherElement(_)) => match Element::parse(bytes, &scope) {
                Ok(element) => self.other(&element, actions),
                Err(malformed) => self.fail(malformed.stream_error(), actions),
            },
            Err(NotAStanza::Malformed(malformed)) => self.malformed(bytes, malformed, actions),
            Err(NotAStanza::Prefixed(_)) => {
                self.fail_with(StreamCondition::BadNamespacePrefix, "a stanza must not have a prefix", actions);
            }
            Err(NotAStanza::Address { .. }) => {
                let text = "between servers a stanza needs valid addresses in 'from' and 'to'";
                self.fail_with(StreamCondition::ImproperAddressing, text, actions);
            }
        }
    }

    fn stanza(&mut self, bytes: &Bytes, stanza: &Stanza<'_>, actions: &mut Vec<Action<O>>) {
        self.counted();
        if !self.may_speak_for(stanza.from_domain()) {
            return self.not_proved(stanza.from_domain(), actions);
        }
        if bytes.len() > self.setting.limits.stanza_bytes {
            return self.answer(
                "too-large",
                bounce(stanza, Condition::PolicyViolation, &self.too_large_text()),
                actions,
            );
        }
        match self.setting.peer {
            Peer::Own(_) => {
                let lang = self.setting.lang.as_deref();
                actions.push(Action::Route(stanza::forward_shared(bytes, stanza, &Scope::SERVER, lang)));
            }
            Peer::Remote => match self.setting.hosted.entry(stanza.to_domain()) {
                Some(entry) => {
                    self.count_received(stanza.to_domain(), stanza.from_domain());
                    let lang = self.setting.lang.as_deref();
                    actions
                        .push(Action::Deliver(entry, stanza::forward_shared(bytes, stanza, &Scope::COMPONENT, lang)));
                }
                None => {
                    let error = bounce(stanza, Condition::ItemNotFound, "this domain is not served here");
                    self.answer("unknown-domain", error, actions);
                }
            },
        }
    }

    fn count_received(&mut self, local: &str, remote: &str) {
        if let Some(count) = self.received.get_mut(&(local, remote) as &dyn AsPair) {
            *count += 1;
        } else if let (Ok(local), Ok(remote)) = (Name::parse(local), Name::parse(remote)) {
            self.received.insert(Pair { local, remote }, 1);
        }
    }

    /// For the other side's acknowledgements.
    fn counted(&mut self) {
        if let Some(counted) = &mut self.counted {
            *counted = counted.wrapping_add(1);
        }
    }

    /// A server of ours that has proved one of its domains speaks for all of them: Prosody answers for any
    /// of them on the stream that it has.
    fn may_speak_for(&self, domain: &str) -> bool {
        match self.setting.peer {
            Peer::Remote => self.proved.contains(domain),
            Peer::Own(entry) => !self.proved.is_empty() && self.setting.hosted.entry(domain) == Some(entry),
        }
    }

    fn not_proved(&mut self, domain: &str, actions: &mut Vec<Action<O>>) {
        let text = format!("{domain} was not proved on this stream");
        let condition =
            if self.proved.is_empty() { StreamCondition::NotAuthorized } else { StreamCondition::InvalidFrom };
        self.fail_with(condition, &text, actions);
    }

    fn too_large_text(&self) -> String {
        format!("a stanza has at most {} bytes", self.setting.limits.stanza_bytes)
    }

    fn too_large(&mut self, head: &[u8], actions: &mut Vec<Action<O>>) {
        let root = match check_head(head, &self.setting.scope) {
            Ok(root) => root,
            Err(malformed) => return self.fail(malformed.stream_error(), actions),
        };
        self.refuse_stanza("too-large", &root, &self.too_large_text(), actions);
    }

    /// RFC 6120 §4.9.3.13: what is not well-formed ends the stream. What only goes beyond our limits is one
    /// user's doing, and that user is told.
    fn malformed(&mut self, bytes: &[u8], malformed: Malformed, actions: &mut Vec<Action<O>>) {
        let error = malformed.stream_error();
        let scope = self.setting.scope;
        match stanza::root_only(bytes, &scope) {
            Some(root) if error.condition == StreamCondition::PolicyViolation => {
                self.refuse_stanza("beyond-limits", &root, &malformed.to_string(), actions);
            }
            Some(_) | None => self.fail(error, actions),
        }
    }

    /// A stanza of which no more is known than its root goes no further, and the stream goes on.
    fn refuse_stanza(&mut self, why: &'static str, root: &Root<'_>, text: &str, actions: &mut Vec<Action<O>>) {
        let Some(kind) = Kind::parse(root.name) else {
            return self.fail_with(StreamCondition::PolicyViolation, "an element that large is no stanza", actions);
        };
        self.counted();
        let domain = root.from().and_then(|from| Some(domain_of(&from).ok()?.into_owned()));
        match domain {
            Some(domain) if self.may_speak_for(&domain) => {
                self.answer(why, bounce_root(root, kind, Condition::PolicyViolation, text), actions);
            }
            Some(_) | None => self.not_proved("the domain in 'from'", actions),
        }
    }

    fn answer(&mut self, why: &'static str, error: Option<Bytes>, actions: &mut Vec<Action<O>>) {
        actions.push(Action::Refused(why));
        actions.extend(error.map(Action::Answer));
    }

    fn other(&mut self, element: &Element, actions: &mut Vec<Action<O>>) {
        if let Some(error) = StreamError::from_element(element) {
            return self.peer_closed(Some(error), actions);
        }
        if Dialback::is(element) {
            return match Dialback::read(element) {
                Ok(dialback) => self.dialback(dialback, actions),
                Err(why) => self.fail_with(StreamCondition::ImproperAddressing, &why.to_string(), actions),
            };
        }
        if element.namespace() == SM {
            return match Ack::read(element) {
                Some(ack) => self.ack(ack, actions),
                None => self.fail_with(StreamCondition::UndefinedCondition, "not an element of XEP-0198", actions),
            };
        }
        let text = format!("<{}/> does not belong here", element.name());
        self.fail_with(StreamCondition::UnsupportedStanzaType, &text, actions);
    }

    fn dialback(&mut self, dialback: Dialback, actions: &mut Vec<Action<O>>) {
        match dialback {
            Dialback::Result { ends, key } => self.asked(ends, key, actions),
            Dialback::Verdict { ends, outcome } => self.verdict(&ends, outcome, actions),
            Dialback::Verify { ends, id, key } => {
                let outcome = self.verified(&ends, &id, &key);
                self.push_own(Dialback::Verified { ends: ends.reversed(), id, outcome }.to_bytes(), actions);
            }
            Dialback::Verified { ends, id, outcome } => actions.push(Action::Verified(ends, id, outcome)),
        }
    }

    /// Whether a key is ours (XEP-0220 §2.2). A server of ours asks about the domains that we speak for there,
    /// which are everybody's.
    fn verified(&self, ends: &Ends, id: &str, key: &str) -> Outcome {
        match self.setting.peer {
            Peer::Remote if !self.setting.hosted.contains(ends.to.as_str()) => Outcome::Error(Condition::ItemNotFound),
            Peer::Remote | Peer::Own(_) if self.setting.secret.verify(&ends.reversed(), id, key) => Outcome::Valid,
            Peer::Remote | Peer::Own(_) => Outcome::Invalid,
        }
    }

    /// The other side wants to prove a domain (XEP-0220 §2.1.1, §2.4).
    fn asked(&mut self, ends: Ends, key: String, actions: &mut Vec<Action<O>>) {
        if self.ending != Ending::Open {
            return;
        }
        let full = self.checking.len() >= PENDING_CHECKS || self.proved.len() + self.checking.len() >= PROVED_DOMAINS;
        let refusal = match self.setting.peer {
            _ if !self.setting.dialback => Some(Condition::NotAllowed),
            _ if full => Some(Condition::ResourceConstraint),
            Peer::Remote if !self.setting.hosted.contains(ends.to.as_str()) => Some(Condition::ItemNotFound),
            Peer::Remote if self.setting.hosted.contains(ends.from.as_str()) => Some(Condition::NotAllowed),
            Peer::Own(entry) if self.setting.hosted.entry(ends.from.as_str()) != Some(entry) => {
                Some(Condition::NotAllowed)
            }
            Peer::Remote | Peer::Own(_) => None,
        };
        match refusal {
            Some(condition) => {
                let outcome = Outcome::Error(condition);
                self.push_own(Dialback::Verdict { ends: ends.reversed(), outcome }.to_bytes(), actions);
            }
            None => {
                if self.checking.insert(ends.clone()) {
                    actions.push(Action::Check(ends, key));
                }
            }
        }
    }

    fn verdict(&mut self, ends: &Ends, outcome: Outcome, actions: &mut Vec<Action<O>>) {
        let pair = Pair { local: ends.to.clone(), remote: ends.from.clone() };
        let Some(&slot) = self.slots.get(&pair) else { return };
        match self.senders[slot as usize].state {
            Sending::Asked(_) => (),
            Sending::New | Sending::Granted | Sending::Refused => return,
        }
        let why = match outcome {
            Outcome::Valid => return self.open(slot, actions),
            Outcome::Invalid => "the other server found our dialback key invalid".to_owned(),
            Outcome::Error(condition) => format!("the other server could not verify our dialback key: {condition}"),
        };
        self.refuse(slot, why, actions);
    }

    fn ack(&mut self, ack: Ack, actions: &mut Vec<Action<O>>) {
        match ack {
            Ack::Request => {
                let h = self.counted.unwrap_or_default();
                self.push_own(Ack::Answer(h).to_element().to_bytes(SERVER), actions);
            }
            Ack::Answer(h) => self.acknowledged(h, actions),
            Ack::Enable { .. } => {
                self.counted = Some(0);
                let enabled = Ack::Enabled { id: None, max: None };
                self.push_own(enabled.to_element().to_bytes(SERVER), actions);
            }
            Ack::Resume { .. } => {
                let failed = Ack::Failed(Condition::FeatureNotImplemented);
                self.push_own(failed.to_element().to_bytes(SERVER), actions);
            }
            Ack::Enabled { .. } | Ack::Resumed { .. } => (),
            Ack::Failed(_) => {
                self.unacknowledged = None;
                self.unacknowledged_bytes = 0;
            }
        }
    }

    fn acknowledged(&mut self, h: u32, actions: &mut Vec<Action<O>>) {
        let Some(sent) = &mut self.unacknowledged else { return };
        let bytes = sent.acknowledge(h).map(|taken| taken.map(|unheard| unheard.stanza.len()).sum::<usize>());
        match bytes {
            Ok(bytes) => self.unacknowledged_bytes -= bytes,
            Err(found) => self.fail(StreamError::handled_count_too_high(found), actions),
        }
    }

    /// The other side has answered our end with its own, and so has taken all that came before (RFC 6120 §4.4).
    fn all_arrived(&mut self) {
        self.unacknowledged = None;
        self.unacknowledged_bytes = 0;
    }

    /// What is not written yet goes by another stream: this one may not be read any more.
    fn peer_closed(&mut self, error: Option<StreamError>, actions: &mut Vec<Action<O>>) {
        self.ending = Ending::Over;
        self.mux.end(farewell(None), true);
        actions.extend([Action::Write, Action::Close(error)]);
    }

    fn fail_with(&mut self, condition: StreamCondition, text: &str, actions: &mut Vec<Action<O>>) {
        self.fail(StreamError::new(condition, text), actions);
    }
}
