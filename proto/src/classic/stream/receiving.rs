//! Frames from the other side, in stream order.

use bytes::Bytes;

use super::{Action, Item, Peer, Sending, ServerStream};
use crate::acks::{Ack, NAMESPACE as SM};
use crate::checker::{Scope, check_head};
use crate::classic::SERVER;
use crate::dialback::{Dialback, Ends, Outcome};
use crate::element::Element;
use crate::framer::Frame;
use crate::limits::PROVED_DOMAINS;
use crate::name::Name;
use crate::pair::Pair;
use crate::stanza::{self, Kind, NotAStanza, Stanza};
use crate::stanza_error::{Condition, bounce, bounce_root};
use crate::stream_error::{Condition as StreamCondition, StreamError, farewell};

impl ServerStream {
    /// Takes the next frame.
    pub fn frame(&mut self, frame: &Frame, actions: &mut Vec<Action>) {
        if self.over {
            return;
        }
        match frame {
            Frame::Element(bytes) => self.element(bytes, actions),
            Frame::TooLarge { head, .. } => self.too_large(head, actions),
            Frame::End => self.peer_closed(None, actions),
            Frame::Header(_) => self.end(StreamCondition::InvalidXml, "a second stream header", actions),
        }
    }

    fn element(&mut self, bytes: &Bytes, actions: &mut Vec<Action>) {
        let scope = self.setting.scope;
        match stanza::read(bytes, &scope) {
            Ok(stanza) => self.stanza(bytes, &stanza, actions),
            Err(NotAStanza::OtherElement(_)) => match Element::parse(bytes, &scope) {
                Ok(element) => self.other(&element, actions),
                Err(malformed) => self.close(Some(malformed.stream_error()), actions),
            },
            Err(NotAStanza::Malformed(malformed)) => self.close(Some(malformed.stream_error()), actions),
            Err(NotAStanza::Prefixed(_)) => {
                self.end(StreamCondition::BadNamespacePrefix, "a stanza must not have a prefix", actions);
            }
            Err(NotAStanza::Address { .. }) => {
                let text = "between servers a stanza needs valid addresses in 'from' and 'to'";
                self.end(StreamCondition::ImproperAddressing, text, actions);
            }
        }
    }

    fn stanza(&mut self, bytes: &Bytes, stanza: &Stanza<'_>, actions: &mut Vec<Action>) {
        if let Some(counted) = &mut self.counted {
            *counted = counted.wrapping_add(1);
        }
        if !self.proved.contains(stanza.from_domain()) {
            let text = format!("{} was not proved on this stream", stanza.from_domain());
            return self.end(StreamCondition::InvalidFrom, &text, actions);
        }
        if bytes.len() > self.setting.stanza_bytes {
            let text = format!("a stanza has at most {} bytes", self.setting.stanza_bytes);
            return self.answer("too-large", bounce(stanza, Condition::PolicyViolation, &text), actions);
        }
        let (entry, to) = match self.setting.peer {
            Peer::Own(entry) => (Some(entry), Scope::SERVER),
            Peer::Remote => (self.setting.hosted.entry(stanza.to_domain()), Scope::COMPONENT),
        };
        match entry {
            Some(entry) => {
                let bytes = stanza::forward(bytes, stanza, &to, self.setting.lang.as_deref());
                actions.push(Action::Deliver(entry, bytes));
            }
            None => {
                let error = bounce(stanza, Condition::ItemNotFound, "this domain is not served here");
                self.answer("unknown-domain", error, actions);
            }
        }
    }

    fn too_large(&mut self, head: &[u8], actions: &mut Vec<Action>) {
        let root = match check_head(head, &self.setting.scope) {
            Ok(root) => root,
            Err(malformed) => return self.close(Some(malformed.stream_error()), actions),
        };
        let Some(kind) = Kind::parse(root.name) else {
            return self.end(StreamCondition::PolicyViolation, "an element that large is no stanza", actions);
        };
        if let Some(counted) = &mut self.counted {
            *counted = counted.wrapping_add(1);
        }
        let text = format!("a stanza has at most {} bytes", self.setting.stanza_bytes);
        self.answer("too-large", bounce_root(&root, kind, Condition::PolicyViolation, &text), actions);
    }

    /// Answers the other side's sender, on this stream where that is allowed (both ways), else by the
    /// way that stanzas take to it.
    fn answer(&mut self, why: &'static str, error: Option<Bytes>, actions: &mut Vec<Action>) {
        actions.push(Action::Refused(why));
        let Some(error) = error else { return };
        let ends = stanza::read(&error, &Scope::SERVER).ok().and_then(|answer| {
            let name = |text: &str| Name::parse(text).ok();
            Some(Pair { local: name(answer.from_domain())?, remote: name(answer.to_domain())? })
        });
        match ends {
            Some(pair) if matches!(self.sending.get(&pair), Some(Sending::Granted)) => {
                self.out_bytes += error.len();
                self.out.push_back(Item::Stanza(pair, error));
                actions.push(Action::Write);
            }
            Some(_) | None => (),
        }
    }

    fn other(&mut self, element: &Element, actions: &mut Vec<Action>) {
        if let Some(error) = StreamError::from_element(element) {
            return self.peer_closed(Some(error), actions);
        }
        if Dialback::is(element) {
            return match Dialback::read(element) {
                Ok(dialback) => self.dialback(dialback, actions),
                Err(why) => self.end(StreamCondition::ImproperAddressing, &why.to_string(), actions),
            };
        }
        if element.namespace() == SM {
            return match Ack::read(element) {
                Some(ack) => self.ack(ack, actions),
                None => self.end(StreamCondition::UndefinedCondition, "not an element of XEP-0198", actions),
            };
        }
        let text = format!("<{}/> does not belong here", element.name());
        self.end(StreamCondition::UnsupportedStanzaType, &text, actions);
    }

    fn dialback(&mut self, dialback: Dialback, actions: &mut Vec<Action>) {
        match dialback {
            Dialback::Result { ends, key } => self.asked(ends, key, actions),
            Dialback::Verdict { ends, outcome } => self.verdict(&ends, outcome, actions),
            Dialback::Verify { ends, id, key } => {
                let valid = self.setting.secret.verify(&ends.reversed(), &id, &key);
                let outcome = if valid { Outcome::Valid } else { Outcome::Invalid };
                self.push_own(Dialback::Verified { ends: ends.reversed(), id, outcome }.to_bytes(), actions);
            }
            Dialback::Verified { ends, id, outcome } => actions.push(Action::Verified(ends, id, outcome)),
        }
    }

    /// The other side wants to prove a domain (XEP-0220 §2.1.1, §2.4).
    fn asked(&mut self, ends: Ends, key: String, actions: &mut Vec<Action>) {
        let refusal = match self.setting.peer {
            _ if !self.setting.dialback => Some(Condition::NotAllowed),
            _ if self.proved.len() + self.checking.len() >= PROVED_DOMAINS => Some(Condition::ResourceConstraint),
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

    fn verdict(&mut self, ends: &Ends, outcome: Outcome, actions: &mut Vec<Action>) {
        let pair = Pair { local: ends.to.clone(), remote: ends.from.clone() };
        let Some(Sending::Asked { .. }) = self.sending.get(&pair) else { return };
        let Some(Sending::Asked { waiting, .. }) = self.sending.remove(&pair) else { return };
        let why = match outcome {
            Outcome::Valid => {
                self.grant(pair.clone(), actions);
                self.out_bytes += waiting.iter().map(Bytes::len).sum::<usize>();
                self.out.extend(waiting.into_iter().map(|stanza| Item::Stanza(pair.clone(), stanza)));
                return actions.push(Action::Write);
            }
            Outcome::Invalid => "the other server found our dialback key invalid".to_owned(),
            Outcome::Error(condition) => format!("the other server could not verify our dialback key: {condition}"),
        };
        actions.push(Action::Down(pair, why, waiting.into()));
    }

    fn ack(&mut self, ack: Ack, actions: &mut Vec<Action>) {
        match ack {
            Ack::Request => {
                let h = self.counted.unwrap_or_default();
                self.push_own(Ack::Answer(h).to_element().to_bytes(SERVER), actions);
            }
            Ack::Answer(h) => {
                let Some(sent) = &mut self.unacknowledged else { return };
                if let Err(error) = sent.acknowledge(h).map(drop) {
                    self.end(StreamCondition::UndefinedCondition, &error.to_string(), actions);
                }
            }
            Ack::Enable => {
                self.counted = Some(0);
                self.push_own(Ack::Enabled.to_element().to_bytes(SERVER), actions);
            }
            Ack::Enabled => (),
            Ack::Failed => self.unacknowledged = None,
        }
    }

    fn peer_closed(&mut self, error: Option<StreamError>, actions: &mut Vec<Action>) {
        self.over = true;
        self.push_own(farewell(None), actions);
        actions.push(Action::Close(error));
    }

    fn end(&mut self, condition: StreamCondition, text: &str, actions: &mut Vec<Action>) {
        self.close(Some(StreamError::new(condition, text)), actions);
    }
}
