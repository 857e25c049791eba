//! Control elements in stream order: what each one changes.

use std::sync::Arc;

use super::session::Counting;
use super::{Action, HostStream, IdentityQuestion, Out};
use crate::control::{About, Control, IdentityRequest, MalformedControl};
use crate::crypto::CryptoOp;
use crate::domain_pair::PairEvent;
use crate::element::Element;
use crate::identities::Learnt;
use crate::identity::{Identity, OwnIdentity, PeerIdentity};
use crate::limits::{BUSY_SECONDS, HELD_DOMAINS};
use crate::mux::Slot;
use crate::name::Name;
use crate::now::Now;
use crate::pairs::PairRecord;
use crate::refusal::Refusal;
use crate::stream_error::{Condition, StreamError};

impl HostStream {
    pub(super) fn control_arrived(&mut self, now: Now, element: &Element, out: &mut Out) {
        let says_first = self.sm.refused || element.name() == "resume-pairs";
        if self.chosen && self.sm.state == Counting::Listening && !says_first {
            // Who counts says so first.
            self.is_not_counted(now, out);
        }
        self.controls += 1;
        match Control::read(element) {
            Ok(Control::Chosen) => self.chosen_arrived(now, out),
            Ok(_) | Err(_) if !self.chosen => self.too_early(out),
            Ok(control) => self.take_control(now, control, out),
            Err(MalformedControl { about: Some(about) }) if element.name() != "refused" => {
                out.actions.push(Action::RequestRefused(Refusal::Malformed));
                self.refuse(about, Refusal::Malformed, out);
            }
            Err(MalformedControl { .. }) => out.actions.push(Action::StanzaRefused("malformed-control")),
        }
    }

    fn chosen_arrived(&mut self, now: Now, out: &mut Out) {
        if self.decides() {
            let text = "the host with the smaller name chooses";
            return self.end(StreamError::new(Condition::PolicyViolation, text), out);
        }
        if !self.chosen {
            out.actions.push(Action::Chosen);
            self.become_chosen(now, out);
        }
    }

    /// Before the choice, nothing but pings passes.
    pub(super) fn too_early(&mut self, out: &mut Out) {
        self.end(StreamError::new(Condition::PolicyViolation, "not before <chosen/>"), out);
    }

    fn take_control(&mut self, now: Now, control: Control, out: &mut Out) {
        match control {
            Control::Chosen => (),
            Control::IdentityRequest(request) => self.identity_requested(now, request, out),
            Control::Identity { id, identity } => self.identity_arrived(now, &id, identity, out),
            Control::Request(request) => self.requested(now, request, out),
            Control::Response(response) => self.responded(response, out),
            Control::Activate(activate) => self.activate(now, &activate, out),
            Control::Active { aid, expires } => self.active_arrived(now, aid, expires, out),
            Control::Refused { about, refusal } => self.refused(now, &about, refusal, out),
            Control::Deactivate { aid, reason } => self.peer_deactivated(now, aid, reason, out),
            Control::Undelivered { n, reason } => self.undelivered(now, n, reason, out),
            Control::ResumePairs(list) => self.resume_pairs(now, list, out),
            Control::ResumedPairs(answer) => self.resumed_pairs(now, answer, out),
            Control::Hold(domain) => self.hold(domain),
            Control::Go(domain) => self.go(&domain, out),
        }
    }

    fn identity_requested(&mut self, now: Now, request: IdentityRequest, out: &mut Out) {
        let IdentityRequest { id, domain, have, identity } = request;
        if !self.config.hosted.contains(domain.as_str()) {
            return self.refuse(About::Id(id), Refusal::UnknownDomain, out);
        }
        if self.config.hosted.contains(identity.domain.as_str()) {
            return self.refuse(About::Id(id), Refusal::Policy, out);
        }
        if !self.questions.take(now.instant) {
            out.actions.push(Action::RequestRefused(Refusal::Busy(1)));
            return self.refuse(About::Id(id), Refusal::Busy(1), out);
        }
        let learnt = self.identities.learn(identity, now.unix);
        self.learnt(None, learnt, out);
        out.actions.push(Action::ShowIdentity(IdentityQuestion { id, domain, have }));
    }

    /// The answer to [`Action::ShowIdentity`].
    pub fn own_identity(&mut self, question: IdentityQuestion, own: Result<Arc<OwnIdentity>, String>, out: &mut Out) {
        let IdentityQuestion { id, have, .. } = question;
        match own {
            Ok(own) => {
                let mut identity = own.identity.clone();
                if have == Some(own.certificate.fingerprint) {
                    identity.chain.clear();
                }
                self.control(Control::Identity { id, identity }, out);
            }
            Err(_told_in_the_log) => self.refuse(About::Id(id), Refusal::UnknownDomain, out),
        }
    }

    fn identity_arrived(&mut self, now: Now, id: &str, identity: Identity, out: &mut Out) {
        if let Some((slot, learnt)) = self.identities.answered(id, identity, now.unix) {
            self.learnt(Some(slot), learnt, out);
        }
    }

    fn learnt(&mut self, asker: Option<Slot>, learnt: Learnt, out: &mut Out) {
        let verdict = match learnt {
            Learnt::Check(op) => return out.actions.push(Action::CheckIdentity(op)),
            Learnt::Known(None) => return,
            Learnt::Known(Some(verdict)) => verdict,
            Learnt::Refused(failure) => Err(failure),
        };
        if let Some(slot) = asker {
            out.actions.push(Action::Pair(slot, PairEvent::PeerIdentity(verdict)));
        }
    }

    /// The answer to [`Action::CheckIdentity`].
    pub fn identity_checked(&mut self, checked: &Identity, result: Result<Arc<PeerIdentity>, String>, out: &mut Out) {
        let Some((slots, verdict)) = self.identities.checked(checked, result) else { return };
        for slot in slots {
            out.actions.push(Action::Pair(slot, PairEvent::PeerIdentity(verdict.clone())));
        }
    }

    /// [`Action::CheckIdentity`] cannot be performed now: too much waits.
    pub fn identity_not_checked(&mut self, identity: &Identity, out: &mut Out) {
        let Some((slots, verdict)) = self.identities.not_checked(identity) else { return };
        for slot in slots {
            out.actions.push(Action::Pair(slot, PairEvent::PeerIdentity(verdict.clone())));
        }
    }

    /// [`Action::ShowIdentity`] cannot be performed now: too much waits.
    pub fn own_identity_not_shown(&mut self, question: IdentityQuestion, out: &mut Out) {
        self.refuse(About::Id(question.id), Refusal::Busy(BUSY_SECONDS), out);
    }

    /// Asks the peer to send nothing to `domain` until [`Self::ask_to_go`].
    pub fn ask_to_hold(&mut self, domain: Name, out: &mut Out) {
        self.control(Control::Hold(domain), out);
    }

    /// Asks the peer to go on.
    pub fn ask_to_go(&mut self, domain: Name, out: &mut Out) {
        self.control(Control::Go(domain), out);
    }

    fn hold(&mut self, domain: Name) {
        if self.held.contains(&domain) || self.held.len() >= HELD_DOMAINS {
            return;
        }
        for slot in self.usable_slots_to(&domain) {
            self.mux.close(slot);
            self.watch_queue(slot);
        }
        self.held.insert(domain);
    }

    fn go(&mut self, domain: &Name, out: &mut Out) {
        if self.held.remove(domain) {
            for slot in self.usable_slots_to(domain) {
                self.open_queue(slot);
            }
            out.actions.push(Action::Write);
        }
    }

    /// The slots of all pairs with a domain of the peer's that could send if it were not held.
    fn usable_slots_to(&self, domain: &Name) -> Vec<Slot> {
        let to = |(slot, record): (Slot, &PairRecord)| {
            (record.may_send() && record.opens_behind().is_none()).then_some(slot)
        };
        self.pairs.with_remote(domain).filter_map(to).collect()
    }
}

impl CryptoOp {
    /// The identity that a [`CryptoOp::CheckIdentity`] is about.
    #[must_use]
    pub fn checked_identity(&self) -> Option<&Identity> {
        match self {
            Self::CheckIdentity { identity, .. } => Some(identity),
            Self::OwnIdentity { .. }
            | Self::Sign { .. }
            | Self::Verify { .. }
            | Self::Seal { .. }
            | Self::Open { .. } => None,
        }
    }
}
