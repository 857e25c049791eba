//! What one link knows of the identities of the peer's domains, and what it has shown of ours.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::control::{Control, IdentityRequest};
use crate::crypto::CryptoOp;
use crate::domain_pair::{Failure, SaidBy};
use crate::identity::{Identity, KemOffer, OwnIdentity, PeerIdentity};
use crate::mux::Slot;
use crate::name::Name;
use crate::refusal::Refusal;
use crate::suite::Fingerprint;

/// Identities known at once on one link; of more, the oldest are forgotten and asked for again.
const KNOWN: usize = 1 << 17;
/// Bytes of all of them: their chains are what the peer makes them.
const KNOWN_BYTES: usize = 64 << 20;
/// What an identity costs beyond its chain.
const OVERHEAD: usize = 512;
/// Pairs that wait for one identity to be checked: as many as may be pending on a link.
const WAITING: usize = crate::limits::PENDING_ACTIVATIONS;
/// How long a verdict counts, in seconds: a chain is judged again after a day or when its leaf ends, and one that was found
/// wanting after a minute, because roots, clocks and the pool that judges can be mended.
const TRUSTED_FOR: u64 = 24 * 3600;
const DISTRUSTED_FOR: u64 = crate::limits::FAILURE_MEMORY.as_secs();

/// See the module.
#[derive(Debug)]
pub struct Identities {
    peer_host: Name,
    known: HashMap<Name, Known>,
    /// The names of all that are known, the oldest first.
    order: VecDeque<Name>,
    bytes: usize,
    asked: HashMap<String, Ask>,
    shown: HashMap<Name, Shown>,
    next_id: u64,
}

/// Leaf and KEM key of ours that the peer has seen.
type Shown = (Fingerprint, Option<Fingerprint>);

#[derive(Debug)]
struct Ask {
    slot: Slot,
    domain: Name,
    own: Name,
}

#[derive(Debug)]
struct Known {
    /// H of what was shown.
    digest: [u8; 32],
    cost: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Checking { before: Option<Arc<PeerIdentity>>, since: u64, waiting: Vec<Slot> },
    Checked { verdict: Verdict, until: u64 },
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
        Self {
            peer_host,
            known: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            asked: HashMap::new(),
            shown: HashMap::new(),
            next_id: 0,
        }
    }

    /// For an initiator: the identity of `domain`, with ours shown to the peer.
    pub fn to_initiate(&mut self, slot: Slot, own: &OwnIdentity, domain: &Name, again: bool, unix: u64) -> Answer {
        let ours = own.identity.domain.clone();
        let shown = (own.certificate.fingerprint, own.kem);
        let trusted = self.trusted(domain, unix);
        if let (Some(peer), true, false) = (&trusted, self.shown.get(&ours) == Some(&shown), again)
            && peer.is_current(unix)
        {
            return Answer::Now(Ok(Arc::clone(peer)));
        }
        let have = trusted.map(|peer| peer.certificate.fingerprint);
        self.shown.insert(ours.clone(), shown);
        self.next_id += 1;
        let id = format!("c{}", self.next_id);
        self.asked.insert(id.clone(), Ask { slot, domain: domain.clone(), own: ours });
        let request = IdentityRequest { id, domain: domain.clone(), have, identity: own.identity.clone() };
        Answer::Ask(Box::new(Control::IdentityRequest(request)))
    }

    /// For a responder: the identity that the initiator showed before it asked.
    pub fn to_respond(&mut self, slot: Slot, domain: &Name, unix: u64) -> Answer {
        let stale = || Answer::Now(Err(Refusal::StaleIdentity.into()));
        match self.known.get_mut(domain).map(|known| &mut known.state) {
            Some(State::Checking { waiting, .. }) if waiting.len() < WAITING => {
                waiting.push(slot);
                Answer::Wait
            }
            Some(State::Checking { .. }) => Answer::Now(Err(Refusal::Busy(1).into())),
            Some(State::Checked { until, .. }) if *until <= unix => stale(),
            Some(State::Checked { verdict: Ok(peer), .. }) if !peer.is_current(unix) => stale(),
            Some(State::Checked { verdict, .. }) => Answer::Now(verdict.clone()),
            None => stale(),
        }
    }

    fn trusted(&self, domain: &Name, unix: u64) -> Option<Arc<PeerIdentity>> {
        match &self.known.get(domain)?.state {
            State::Checking { before, .. } => before.clone(),
            State::Checked { verdict: Ok(peer), until } if unix < *until => Some(Arc::clone(peer)),
            State::Checked { .. } => None,
        }
    }

    /// The run of `slot` is over: nobody waits for the answers to its questions.
    pub fn forget(&mut self, slot: Slot) {
        self.asked.retain(|_, ask| ask.slot != slot);
    }

    /// The peer answered question `id`: who asked, if anybody did, and what comes of it.
    pub fn answered(&mut self, id: &str, identity: Identity, unix: u64) -> Option<(Slot, Learnt)> {
        let ask = self.asked.remove(id)?;
        if ask.domain != identity.domain {
            let text = format!("asked for {}, the peer host showed {}", ask.domain, identity.domain);
            return Some((ask.slot, Learnt::Refused(untrusted(text))));
        }
        let learnt = self.learn(identity, unix);
        let waits = matches!(learnt, Learnt::Check(_) | Learnt::Known(None));
        let state = self.known.get_mut(&ask.domain).map(|known| &mut known.state);
        if let (true, Some(State::Checking { waiting, .. })) = (waits, state) {
            waiting.push(ask.slot);
        }
        Some((ask.slot, learnt))
    }

    /// The peer refused question `id`: who asked, if anybody did. It may not have looked at what we
    /// showed with it.
    pub fn refused(&mut self, id: &str) -> Option<Slot> {
        let Ask { slot, own, .. } = self.asked.remove(id)?;
        self.shown.remove(&own);
        Some(slot)
    }

    /// Takes what the peer shows of one of its domains.
    pub fn learn(&mut self, mut identity: Identity, unix: u64) -> Learnt {
        let before = self.trusted(&identity.domain, unix);
        if identity.chain.is_empty() {
            match &before {
                Some(peer) => identity.chain.clone_from(&peer.chain),
                None => return Learnt::Refused(Refusal::StaleIdentity.into()),
            }
        }
        let digest = digest(&identity);
        let mut waiters = Vec::new();
        if let Some(known) = self.known.get_mut(&identity.domain) {
            match &mut known.state {
                State::Checking { .. } if known.digest == digest => return Learnt::Known(None),
                State::Checked { verdict, until } if known.digest == digest && unix < *until => {
                    return Learnt::Known(Some(verdict.clone()));
                }
                State::Checking { waiting, .. } => waiters.append(waiting),
                State::Checked { .. } => (),
            }
        }
        let chain: usize = identity.chain.iter().map(Vec::len).sum();
        let state = State::Checking { before, since: unix, waiting: waiters };
        self.put(identity.domain.clone(), Known { digest, cost: OVERHEAD + chain, state });
        Learnt::Check(CryptoOp::CheckIdentity { identity, host: self.peer_host.clone() })
    }

    fn put(&mut self, domain: Name, known: Known) {
        self.bytes += known.cost;
        match self.known.insert(domain.clone(), known) {
            Some(before) => self.bytes -= before.cost,
            None => self.order.push_back(domain),
        }
        for _ in 0..self.order.len() {
            if self.known.len() <= KNOWN && self.bytes <= KNOWN_BYTES {
                return;
            }
            let Some(oldest) = self.order.pop_front() else { return };
            match self.known.get(&oldest) {
                // Somebody waits for it.
                Some(Known { state: State::Checking { .. }, .. }) => self.order.push_back(oldest),
                Some(Known { state: State::Checked { .. }, cost, .. }) => {
                    self.bytes -= cost;
                    self.known.remove(&oldest);
                }
                None => (),
            }
        }
    }

    /// The check of `domain` ended: who waits for it, and what they get.
    ///
    /// A verdict on an identity that has been replaced meanwhile is dropped; its successor's comes.
    pub fn checked(
        &mut self,
        checked: &Identity,
        result: Result<Arc<PeerIdentity>, String>,
    ) -> Option<(Vec<Slot>, Verdict)> {
        let life = match &result {
            Ok(peer) => (TRUSTED_FOR, peer.certificate.not_after),
            Err(_) => (DISTRUSTED_FOR, u64::MAX),
        };
        self.decided(checked, life, result.map_err(untrusted))
    }

    /// The check of `domain` cannot be made now: who waits for it, and what they get. Nothing is remembered
    /// of it, so that the peer is asked again.
    pub fn not_checked(&mut self, identity: &Identity) -> Option<(Vec<Slot>, Verdict)> {
        self.decided(identity, (0, u64::MAX), Err(Failure::overloaded()))
    }

    /// `life`: for how many seconds the verdict counts, and until which second at most.
    fn decided(&mut self, of: &Identity, life: (u64, u64), verdict: Verdict) -> Option<(Vec<Slot>, Verdict)> {
        let Known { digest: current, state, .. } = self.known.get_mut(&of.domain)?;
        let State::Checking { waiting, since, .. } = state else { return None };
        if *current != digest(of) {
            return None;
        }
        let waiting = std::mem::take(waiting);
        let until = since.saturating_add(life.0).min(life.1);
        *state = State::Checked { verdict: verdict.clone(), until };
        Some((waiting, verdict))
    }
}

fn untrusted(text: String) -> Failure {
    Failure { refusal: Refusal::UntrustedCertificate, said_by: SaidBy::Us, text }
}

/// Names an identity with everything in it, so that nothing but its hash is kept to know it again.
fn digest(identity: &Identity) -> [u8; 32] {
    let Identity { domain, chain, kem } = identity;
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    field(domain.as_str().as_bytes());
    for certificate in chain {
        field(certificate);
    }
    if let Some(KemOffer { not_before, not_after, key, signature }) = kem {
        field(b"kem");
        field(&not_before.to_be_bytes());
        field(&not_after.to_be_bytes());
        field(key);
        field(signature);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::Now;
    use crate::suite::{CertificateFacts, KeyType, Suite};

    fn identity(domain: &str, certificate: usize) -> Identity {
        Identity { domain: Name::parse(domain).unwrap(), chain: vec![vec![0; certificate]], kem: None }
    }

    fn identities() -> Identities {
        Identities::new(Name::parse("xmpp.other.isp").unwrap())
    }

    #[test]
    fn a_chain_that_was_found_wanting_is_judged_again_after_a_minute() {
        let (mut identities, unix, shown) = (identities(), Now::origin().unix, identity("pessoa.lit", 9));
        assert!(matches!(identities.learn(shown.clone(), unix), Learnt::Check(_)));
        assert!(matches!(identities.learn(shown.clone(), unix), Learnt::Known(None)), "one check at a time");
        identities.checked(&shown, Err("no root".to_owned()));
        assert!(matches!(identities.learn(shown.clone(), unix + 59), Learnt::Known(Some(Err(_)))));
        assert!(matches!(identities.learn(shown, unix + 60), Learnt::Check(_)));
    }

    /// A peer that shows an ended certificate again must not be believed because it once was.
    #[test]
    fn no_verdict_outlives_the_certificate() {
        let (mut identities, unix, shown) = (identities(), Now::origin().unix, identity("pessoa.lit", 9));
        let key = KeyType::P256;
        let certificate = CertificateFacts {
            fingerprint: [1; 32],
            not_before: 0,
            not_after: unix + 60,
            key,
            may_sign: true,
            may_encipher: true,
        };
        let (domain, chain, suite) = (shown.domain.clone(), shown.chain.clone(), Suite::P256Hpke);
        let peer = PeerIdentity { domain, chain, certificate, suite, kem: None };
        identities.learn(shown.clone(), unix);
        identities.checked(&shown, Ok(Arc::new(peer)));
        assert!(matches!(identities.learn(shown.clone(), unix + 59), Learnt::Known(Some(Ok(_)))));
        assert!(matches!(identities.learn(shown, unix + 60), Learnt::Check(_)));
    }

    #[test]
    fn an_identity_that_could_not_be_checked_is_checked_when_it_is_shown_again() {
        let (mut identities, unix, shown) = (identities(), Now::origin().unix, identity("pessoa.lit", 9));
        identities.learn(shown.clone(), unix);
        assert!(matches!(identities.to_respond(7, &shown.domain, unix), Answer::Wait));
        let (waiting, verdict) = identities.not_checked(&shown).unwrap();
        assert_eq!((waiting, verdict.unwrap_err().refusal.reason()), (vec![7], "busy"));
        let Answer::Now(Err(stale)) = identities.to_respond(7, &shown.domain, unix) else { panic!("no answer") };
        assert_eq!(stale.refusal, Refusal::StaleIdentity);
        assert!(matches!(identities.learn(shown, unix), Learnt::Check(_)));
        assert_eq!(identities.order.len(), 1);
    }

    #[test]
    fn a_verdict_on_what_was_replaced_is_dropped() {
        let (mut identities, unix) = (identities(), Now::origin().unix);
        let (old, new) = (identity("pessoa.lit", 9), identity("pessoa.lit", 10));
        identities.learn(old.clone(), unix);
        assert!(matches!(identities.to_respond(7, &old.domain, unix), Answer::Wait));
        identities.learn(new.clone(), unix);
        assert!(identities.checked(&old, Err(String::new())).is_none());
        let (waiting, verdict) = identities.checked(&new, Err(String::new())).unwrap();
        assert_eq!((waiting, verdict.is_err()), (vec![7], true));
    }

    #[test]
    fn the_oldest_identities_give_way() {
        let (mut identities, unix) = (identities(), Now::origin().unix);
        let certificate = 16 << 10;
        let count = KNOWN_BYTES / certificate + 100;
        for n in 0..count {
            let shown = identity(&format!("d{n}.lit"), certificate);
            assert!(matches!(identities.learn(shown.clone(), unix), Learnt::Check(_)));
            identities.checked(&shown, Err(String::new()));
        }
        assert!(identities.bytes <= KNOWN_BYTES);
        assert_eq!(identities.order.len(), identities.known.len());
        assert!(identities.known.contains_key(format!("d{}.lit", count - 1).as_str()));
        assert!(!identities.known.contains_key("d0.lit"));
    }
}
