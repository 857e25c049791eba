//! Elements that no honest host would send now: with what was seen on the wire, and with what never was.

use bytes::Bytes;
use heteronym_proto::acks::Ack;
use heteronym_proto::control::{
    About, Aid, Claim, Control, DeactivateReason, IdentityRequest, ResumePairs, ResumedPairs, UndeliveredReason,
};
use heteronym_proto::identity::Identity;
use heteronym_proto::refusal::Refusal;
use heteronym_proto::stanza_error::Condition;

use crate::choices::Choices;
use crate::vault::{Vault, name};

/// Domains that are hosted, one that is not, and the hosts themselves.
const NAMES: [&str; 7] =
    ["saramago.lit", "pessoa.lit", "camoes.lit", "sophia.lit", "impostor.lit", "xmpp.my.isp", "xmpp.other.isp"];
const REFUSALS: [Refusal; 6] = [
    Refusal::Malformed,
    Refusal::StaleIdentity,
    Refusal::Policy,
    Refusal::BadProof,
    Refusal::Glare,
    Refusal::Busy(u32::MAX),
];
const DEACTIVATIONS: [DeactivateReason; 3] =
    [DeactivateReason::Moved, DeactivateReason::Expired, DeactivateReason::KeyCompromise];
const REPORTS: [UndeliveredReason; 3] =
    [UndeliveredReason::PairNotActive, UndeliveredReason::Overflow, UndeliveredReason::TooLarge];
/// How many of the last elements are remembered.
const SEEN: usize = 24;

/// What was seen on the wire.
#[derive(Default)]
pub(super) struct Seen {
    controls: Vec<Control>,
    sessions: Vec<String>,
}

impl Seen {
    pub(super) fn control(&mut self, control: Control) {
        if self.controls.len() == SEEN {
            self.controls.remove(0);
        }
        self.controls.push(control);
    }

    pub(super) fn ack(&mut self, ack: &Ack) {
        if let Ack::Enabled { id: Some(id), .. } = ack {
            self.sessions.push(id.clone());
        }
    }

    /// A control element; `unix` is the time, and `vault` knows some identities.
    pub(super) fn forge(&self, choices: &mut Choices<'_>, unix: u64, vault: &Vault) -> Bytes {
        let (aid, domain) = (self.aid(choices), name(choices.of(&NAMES)));
        let control = match choices.below(14) {
            0 => Control::Chosen,
            1 => Control::Hold(domain),
            2 => Control::Go(domain),
            3 => Control::Active { aid, expires: choices.of(&[0, unix, unix + 60, unix + 600, u64::MAX]) },
            4 => Control::Deactivate { aid, reason: choices.of(&DEACTIVATIONS) },
            5 => Control::Refused { about: About::Aid(aid), refusal: choices.of(&REFUSALS) },
            6 => Control::Refused { about: About::Id(self.id(choices)), refusal: choices.of(&REFUSALS) },
            7 => Control::Undelivered { n: choices.of(&[0, 1, 2, 3, 4, 8, u64::MAX]), reason: choices.of(&REPORTS) },
            8 => {
                let claims = (0..choices.below(3)).map(|_| Claim { rid: self.aid(choices), tag: [1; 16] }).collect();
                Control::ResumePairs(ResumePairs { id: self.id(choices), claims })
            }
            9 => {
                let tags = (0..choices.below(3)).map(|_| choices.of(&[None, Some([1; 16])])).collect();
                Control::ResumedPairs(ResumedPairs { id: self.id(choices), tags })
            }
            10 => {
                let (id, identity) = (self.id(choices), identity(choices, unix, vault));
                Control::IdentityRequest(IdentityRequest { id, domain, have: None, identity })
            }
            11 => Control::Identity { id: self.id(choices), identity: identity(choices, unix, vault) },
            _ => self.again(choices, aid),
        };
        control.to_bytes()
    }

    /// An element of XEP-0198.
    pub(super) fn forge_ack(&self, choices: &mut Choices<'_>) -> Bytes {
        let h = choices.of(&[0, 1, 2, 3, 4, 8, u32::MAX]);
        let known = choices.below(self.sessions.len() + 1);
        let previd = self.sessions.get(known).cloned().unwrap_or_else(|| "unknown".to_owned());
        let ack = match choices.below(8) {
            0 => Ack::Request,
            1 => Ack::Answer(h),
            2 => Ack::Enable { resume: h == 0 },
            3 => Ack::Enabled { id: Some(previd), max: Some(h) },
            4 => Ack::Enabled { id: None, max: None },
            5 => Ack::Resume { previd, h },
            6 => Ack::Resumed { previd, h },
            _ => Ack::Failed(Condition::ItemNotFound),
        };
        ack.to_element().to_bytes("jabber:server")
    }

    /// One that was seen, with another field where it has some.
    fn again(&self, choices: &mut Choices<'_>, aid: Aid) -> Control {
        let at = choices.below(self.controls.len() + 1);
        let Some(mut control) = self.controls.get(at).cloned() else { return Control::Chosen };
        let (what, other) = (choices.below(6), name(choices.of(&NAMES)));
        match (&mut control, what) {
            (Control::Request(request), 0) => request.aid = aid,
            (Control::Request(request), 1) => request.initiator = other,
            (Control::Request(request), 2) => request.responder = other,
            (Control::Request(request), 3) => request.key[0] ^= 1,
            (Control::Request(request), 4) => request.signature[0] ^= 1,
            (Control::Response(response), 0) => response.aid = aid,
            (Control::Response(response), 1) => response.key[0] ^= 1,
            (Control::Response(response), 2) => response.signature[0] ^= 1,
            (Control::Response(response), 3) => response.confirm[0] ^= 1,
            (Control::Activate(activate), 0) => activate.aid = aid,
            (Control::Activate(activate), 1) => activate.initiator = other,
            (Control::Activate(activate), 2) => activate.responder = other,
            (Control::Activate(activate), 3) => activate.confirm[0] ^= 1,
            (Control::Identity { id, .. }, 0) => *id = self.id(choices),
            (Control::ResumePairs(resume), 0) => resume.claims.reverse(),
            (Control::ResumePairs(resume), 1) => resume.claims.truncate(1),
            (Control::ResumedPairs(resumed), 0) => resumed.tags.reverse(),
            (Control::ResumedPairs(resumed), 1) => resumed.tags.truncate(1),
            (_, _) => (),
        }
        control
    }

    fn aid(&self, choices: &mut Choices<'_>) -> Aid {
        let at = choices.below(SEEN + 1);
        self.controls.get(at).and_then(aid_of).unwrap_or([1; 16])
    }

    fn id(&self, choices: &mut Choices<'_>) -> String {
        let at = choices.below(SEEN + 1);
        let id = self.controls.get(at).and_then(|control| match control {
            Control::IdentityRequest(request) => Some(request.id.clone()),
            Control::Identity { id, .. } => Some(id.clone()),
            Control::ResumePairs(resume) => Some(resume.id.clone()),
            _ => None,
        });
        id.unwrap_or_else(|| "x".to_owned())
    }
}

/// Identities are no secrets: anybody can show those of others.
fn identity(choices: &mut Choices<'_>, unix: u64, vault: &Vault) -> Identity {
    let domain = name(choices.of(&NAMES));
    let unknown = |domain| Identity { domain, chain: vec![vec![1]], kem: None };
    vault.own(&domain, unix).map_or_else(|_| unknown(domain), |own| own.identity)
}

/// The activation that an element is about.
pub(super) fn aid_of(control: &Control) -> Option<Aid> {
    match control {
        Control::Request(request) => Some(request.aid),
        Control::Response(response) => Some(response.aid),
        Control::Activate(activate) => Some(activate.aid),
        Control::Active { aid, .. } | Control::Deactivate { aid, .. } => Some(*aid),
        Control::Refused { about: About::Aid(aid), .. } => Some(*aid),
        _ => None,
    }
}
