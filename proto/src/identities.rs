//! What one link knows of the identities of the peer's domains, and what it has shown of ours.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::control::{Control, IdentityRequest};
use crate::crypto::CryptoOp;
use crate::domain_pair::{Failure, SaidBy};
use crate::identity::{Identity, OwnIdentity, PeerIdentity};
use crate::mux::Slot;
use crate::name::Name;
use crate::refusal::Refusal;
use crate::suite::Fingerprint;

/// Identities known at once on one link; a provider with more domains has the rest asked again.
const KNOWN: usize = 1 << 17;
/// Pairs that wait for one identity to be checked: as many as may be pending on a link.
const WAITING: usize = crate::limits::PENDING_ACTIVATIONS;

/// See the module.
#[derive(Debug)]
pub struct Identities {
    peer_host: Name,
    known: HashMap<Name, Known>,
    asked: HashMap<String, Ask>,
    shown: HashSet<(Name, Shown)>,
    next_id: u64,
}

/// Leaf and KEM key of ours that the peer has seen.
type Shown = (Fingerprint, Option<Fingerprint>);

#[derive(Debug)]
struct Ask {
    slot: Slot,
    domain: Name,
}

#[derive(Debug)]
enum Known {
    Checking { identity: Box<Identity>, before: Option<Arc<PeerIdentity>>, waiting: Vec<Slot> },
    Checked { shown: Box<Identity>, verdict: Result<Arc<PeerIdentity>, Failure> },
}

/// What a pair gets that needs a peer's identity.
pub type Verdict = Result<Arc<PeerIdentity>, Failure>;

/// What comes of a question.
#[derive(Debug)]
pub enum Answer {
    /// Here it is, or why it cannot be had.
    Now(Verdict),
    /// Send this; the answer comes later.
    Ask(Box<Control>),
    /// The answer comes later.
    Wait,
}

/// What comes of an identity that the peer showed.
#[derive(Debug)]
pub enum Learnt {
    /// Check it, off the I/O path.
    Check(CryptoOp),
    /// It is being checked, or was checked before.
    Known(Option<Verdict>),
    /// It cannot be taken.
    Refused(Failure),
}

impl Identities {
    /// Nothing known, nothing shown.
    #[must_use]
    pub fn new(peer_host: Name) -> Self {
        let (known, asked, shown) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { peer_host, known, asked, shown, next_id: 0 }
    }

    /// For an initiator: the identity of `domain`, with ours shown to the peer.
    pub fn to_initiate(&mut self, slot: Slot, own: &OwnIdentity, domain: &Name, again: bool, unix: u64) -> Answer {
        let shown = (own.identity.domain.clone(), (own.certificate.fingerprint, own.kem));
        let current = self.trusted(domain).filter(|peer| peer.is_current(unix));
        if let (Some(peer), true, false) = (&current, self.shown.contains(&shown), again) {
            return Answer::Now(Ok(Arc::clone(peer)));
        }
        let have = current.map(|peer| peer.certificate.fingerprint);
        self.shown.insert(shown);
        self.next_id += 1;
        let id = format!("c{}", self.next_id);
        self.asked.insert(id.clone(), Ask { slot, domain: domain.clone() });
        let request = IdentityRequest { id, domain: domain.clone(), have, identity: own.identity.clone() };
        Answer::Ask(Box::new(Control::IdentityRequest(request)))
    }

    /// For a responder: the identity that the initiator showed before it asked.
    pub fn to_respond(&mut self, slot: Slot, domain: &Name, unix: u64) -> Answer {
        match self.known.get_mut(domain) {
            Some(Known::Checking { waiting, .. }) if waiting.len() < WAITING => {
                waiting.push(slot);
                Answer::Wait
            }
            Some(Known::Checking { .. }) => Answer::Now(Err(Refusal::Busy(1).into())),
            Some(Known::Checked { verdict: Ok(peer), .. }) if !peer.is_current(unix) => {
                Answer::Now(Err(Refusal::StaleIdentity.into()))
            }
            Some(Known::Checked { verdict, .. }) => Answer::Now(verdict.clone()),
            None => Answer::Now(Err(Refusal::StaleIdentity.into())),
        }
    }

    fn trusted(&self, domain: &Name) -> Option<Arc<PeerIdentity>> {
        match self.known.get(domain)? {
            Known::Checking { before, .. } => before.clone(),
            Known::Checked { verdict, .. } => verdict.as_ref().ok().cloned(),
        }
    }

    /// The peer answered question `id`: who asked, if anybody did, and what comes of it.
    pub fn answered(&mut self, id: &str, identity: Identity) -> Option<(Slot, Learnt)> {
        let ask = self.asked.remove(id)?;
        if ask.domain != identity.domain {
            let text = format!("asked for {}, the peer host showed {}", ask.domain, identity.domain);
            let failure = Failure { refusal: Refusal::UntrustedCertificate, said_by: SaidBy::Us, text };
            return Some((ask.slot, Learnt::Refused(failure)));
        }
        let learnt = self.learn(identity);
        let waits = matches!(learnt, Learnt::Check(_) | Learnt::Known(None));
        if let (true, Some(Known::Checking { waiting, .. })) = (waits, self.known.get_mut(&ask.domain)) {
            waiting.push(ask.slot);
        }
        Some((ask.slot, learnt))
    }

    /// The peer refused question `id`: who asked, if anybody did.
    pub fn refused(&mut self, id: &str) -> Option<Slot> {
        self.asked.remove(id).map(|ask| ask.slot)
    }

    /// Takes what the peer shows of one of its domains.
    pub fn learn(&mut self, mut identity: Identity) -> Learnt {
        let before = self.trusted(&identity.domain);
        if identity.chain.is_empty() {
            match &before {
                Some(peer) => identity.chain.clone_from(&peer.chain),
                None => return Learnt::Refused(Refusal::StaleIdentity.into()),
            }
        }
        match self.known.get(&identity.domain) {
            Some(Known::Checking { identity: same, .. }) if **same == identity => return Learnt::Known(None),
            Some(Known::Checked { shown, verdict }) if **shown == identity => {
                return Learnt::Known(Some(verdict.clone()));
            }
            Some(_) => (),
            None if self.known.len() >= KNOWN => return Learnt::Refused(Refusal::Busy(5).into()),
            None => (),
        }
        let waiting = match self.known.remove(&identity.domain) {
            Some(Known::Checking { waiting, .. }) => waiting,
            Some(Known::Checked { .. }) | None => Vec::new(),
        };
        let checking = Known::Checking { identity: Box::new(identity.clone()), before, waiting };
        self.known.insert(identity.domain.clone(), checking);
        Learnt::Check(CryptoOp::CheckIdentity { identity, host: self.peer_host.clone() })
    }

    /// The check of `domain` ended: who waits for it, and what they get.
    ///
    /// A verdict on an identity that has been replaced meanwhile is dropped; its successor's comes.
    pub fn checked(
        &mut self,
        checked: &Identity,
        result: Result<Arc<PeerIdentity>, String>,
    ) -> Option<(Vec<Slot>, Verdict)> {
        let known = self.known.get_mut(&checked.domain)?;
        let Known::Checking { identity, waiting, .. } = known else { return None };
        if **identity != *checked {
            return None;
        }
        let waiting = std::mem::take(waiting);
        let verdict =
            result.map_err(|text| Failure { refusal: Refusal::UntrustedCertificate, said_by: SaidBy::Us, text });
        *known = Known::Checked { shown: Box::new(checked.clone()), verdict: verdict.clone() };
        Some((waiting, verdict))
    }
}
