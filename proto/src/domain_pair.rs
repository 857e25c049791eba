//! The activity of one domain pair: what its actor decides while the pair is not steady.
//!
//! One value serves one run, as initiator or as responder; it ends with [`PairAction::Activate`],
//! [`PairAction::Respond`] or [`PairAction::Fail`]. Its parent, the host stream, keeps the time,
//! the wire order and everything that outlives the run.

use std::sync::Arc;

use crate::activation::{Proven, Run, Setting, initiator, responder};
use crate::broken::{self, Fault};
use crate::control::{Activate, Aid, Request, Response};
use crate::crypto::{ActivationKey, CryptoOp, CryptoResult};
use crate::identity::{OwnIdentity, PeerIdentity};
use crate::limits::BUSY_SECONDS;
use crate::name::Name;
use crate::pair::Pair;
use crate::refusal::Refusal;
use crate::transcript::Confirmation;

/// What happens to a pair's activity.
#[derive(Debug)]
pub enum PairEvent {
    /// Ask for the pair, with this id and 32 random bytes.
    Open(Aid, ActivationKey),
    /// The peer asks for the pair; answer with these 32 random bytes.
    Serve(Box<Request>, ActivationKey),
    /// A crypto operation ended.
    Crypto(CryptoResult),
    /// What [`PairAction::NeedPeerIdentity`] asked for, or why it cannot be had.
    PeerIdentity(Result<Arc<PeerIdentity>, Failure>),
    /// What [`PairAction::CheckDelegation`] asked for.
    Delegation(Delegation),
    /// Step 3 arrived.
    Response(Response),
}

impl PairEvent {
    /// The run that begins with it, for which an activity is started.
    #[must_use]
    pub fn begins(&self) -> Option<Aid> {
        match self {
            Self::Open(aid, _) => Some(*aid),
            Self::Serve(request, _) => Some(request.aid),
            Self::Crypto(_) | Self::PeerIdentity(_) | Self::Delegation(_) | Self::Response(_) => None,
        }
    }
}

/// What a pair's activity wants done.
#[derive(Debug)]
pub enum PairAction {
    /// Perform it; the result comes back as [`PairEvent::Crypto`].
    Crypto(CryptoOp),
    /// The peer domain's identity, and ours shown to it.
    NeedPeerIdentity {
        /// Ours.
        own: Arc<OwnIdentity>,
        /// What is known of the peer's is stale.
        again: bool,
    },
    /// Does the initiator's domain name the peer host?
    CheckDelegation(Name),
    /// Send step 2.
    Request(Box<Request>),
    /// Send step 3, and expect this confirmation with `<activate/>`.
    Respond(Box<Response>, Confirmation, Proven),
    /// Step 4 is done: send step 5.
    Activate(Activate, Proven),
    /// The run ended without a proof.
    Fail(Failure),
}

/// Whether an initiator's domain delegates to the peer host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delegation {
    /// One of the targets of its SRV records is the peer host, or nobody asks.
    Delegated,
    /// The records lead elsewhere: where, for the log.
    Elsewhere(String),
    /// The look-up failed: why.
    Unknown(String),
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the peer is told where we answer, or what it told us.
    pub refusal: Refusal,
    /// Whose word it is.
    pub said_by: SaidBy,
    /// For the operator.
    pub text: String,
}

/// Who found a reason not to activate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaidBy {
    /// We did.
    Us,
    /// The peer did.
    Peer,
}

impl Failure {
    fn ours(refusal: Refusal, text: impl Into<String>) -> Self {
        Self { refusal, said_by: SaidBy::Us, text: text.into() }
    }

    /// More of the peer's operations wait for the crypto pool than may.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::ours(Refusal::Busy(BUSY_SECONDS), "too many operations of this peer host wait for the crypto pool")
    }

    /// Whether it is a domain of ours that cannot be shown: its certificate is missing or over.
    #[must_use]
    pub fn is_our_own(&self) -> bool {
        self.refusal == Refusal::UnknownDomain && self.said_by == SaidBy::Us
    }

    /// What the sender of a stanza reads, who need not know what our files are called.
    #[must_use]
    pub fn text_for_sender(&self) -> &str {
        if self.is_our_own() { "the certificate of this domain cannot be used at the moment" } else { &self.text }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::ours(refusal, refusal.to_string())
    }
}

/// The activity; see the module.
#[derive(Debug)]
pub struct DomainPair {
    pair: Pair,
    setting: Setting,
    phase: Phase,
    ask_again: bool,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Naming(Task),
    Meeting(Task, Arc<OwnIdentity>),
    InitiatorSealing(initiator::Sealing),
    InitiatorSigning(initiator::Signing),
    Requested(initiator::Requested),
    InitiatorChecking(initiator::Checking),
    InitiatorOpening(initiator::Opening),
    ResponderChecking(responder::Checking, ActivationKey),
    ResponderDelegating(responder::Checked, ActivationKey),
    ResponderOpening(responder::Opening, ActivationKey),
    ResponderSealing(responder::Sealing),
    ResponderSigning(responder::Signing),
    Ended,
}

#[derive(Debug)]
enum Task {
    Open(Aid, ActivationKey),
    Serve(Box<Request>, ActivationKey),
}

type Step = Result<(Phase, Option<PairAction>), Failure>;

impl DomainPair {
    /// An activity with nothing to do yet. `ask_again`: what is known of the peer's identity is stale.
    #[must_use]
    pub fn new(pair: Pair, setting: Setting, ask_again: bool) -> Self {
        Self { pair, setting, phase: Phase::Idle, ask_again }
    }

    /// Takes one event; at most one thing is to be done next.
    ///
    /// An event that does not belong to the phase is a result that came too late, or a peer's
    /// element out of order: the phase stays, and nothing is done.
    pub fn handle(&mut self, event: PairEvent) -> Option<PairAction> {
        broken::panic_once(Fault::PairPanics);
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        match self.step(phase, event) {
            Ok((phase, action)) => {
                self.phase = phase;
                action
            }
            Err(failure) => Some(PairAction::Fail(failure)),
        }
    }

    /// Performs `op` and, at once, what its result leads to: operations, and delegations that are known. Four
    /// operations at most; what is wanted then.
    ///
    /// Between an operation and its result no other event counts, so that none is missed here.
    pub fn compute(
        &mut self,
        op: CryptoOp,
        perform: impl Fn(CryptoOp) -> CryptoResult,
        delegates: impl Fn(&Name) -> bool,
    ) -> Option<PairAction> {
        let mut wanted = Some(PairAction::Crypto(op));
        loop {
            let event = match wanted {
                Some(PairAction::Crypto(op)) => PairEvent::Crypto(perform(op)),
                Some(PairAction::CheckDelegation(domain)) if delegates(&domain) => {
                    PairEvent::Delegation(Delegation::Delegated)
                }
                wanted => return wanted,
            };
            wanted = self.handle(event);
        }
    }

    /// Whether the run is over, for good or bad.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    fn step(&mut self, phase: Phase, event: PairEvent) -> Step {
        match (phase, event) {
            (Phase::Idle, PairEvent::Open(aid, key)) => Ok(self.name_ourselves(Task::Open(aid, key))),
            (Phase::Idle, PairEvent::Serve(request, key)) => Ok(self.name_ourselves(Task::Serve(request, key))),
            (Phase::Naming(task), PairEvent::Crypto(CryptoResult::OwnIdentity(own))) => self.named(task, own),
            (Phase::Meeting(task, own), PairEvent::PeerIdentity(Ok(peer))) if peer.domain != self.pair.remote => {
                Ok((Phase::Meeting(task, own), None))
            }
            (Phase::Meeting(task, own), PairEvent::PeerIdentity(peer)) => self.met(task, own, peer?),
            (phase, PairEvent::Response(response)) => Ok(responded(phase, response)),
            (phase, PairEvent::Delegation(delegation)) => delegated(phase, delegation),
            (phase, PairEvent::Crypto(result)) => computed(phase, result),
            (phase, PairEvent::Open(..) | PairEvent::Serve(..) | PairEvent::PeerIdentity(_)) => Ok((phase, None)),
        }
    }

    fn name_ourselves(&self, task: Task) -> (Phase, Option<PairAction>) {
        let op = CryptoOp::OwnIdentity { domain: self.pair.local.clone() };
        (Phase::Naming(task), Some(PairAction::Crypto(op)))
    }

    fn named(&mut self, task: Task, own: Result<Arc<OwnIdentity>, String>) -> Step {
        let own = own.map_err(|text| Failure::ours(Refusal::UnknownDomain, text))?;
        let action = PairAction::NeedPeerIdentity { own: Arc::clone(&own), again: self.ask_again };
        Ok((Phase::Meeting(task, own), Some(action)))
    }

    fn met(&self, task: Task, own: Arc<OwnIdentity>, peer: Arc<PeerIdentity>) -> Step {
        match task {
            Task::Open(aid, key) => {
                let run = Run::initiated(&self.setting, aid, own, peer);
                let (next, op) = initiator::Sealing::begin(run, key);
                Ok((Phase::InitiatorSealing(next), Some(PairAction::Crypto(op))))
            }
            Task::Serve(request, key) => {
                let run = Run::requested(&self.setting, &request, own, peer)?;
                let (next, op) = responder::Checking::begin(run, *request);
                Ok((Phase::ResponderChecking(next, key), Some(PairAction::Crypto(op))))
            }
        }
    }
}

fn responded(phase: Phase, response: Response) -> (Phase, Option<PairAction>) {
    match phase {
        Phase::Requested(state) => {
            let (next, op) = state.responded(response);
            (Phase::InitiatorChecking(next), Some(PairAction::Crypto(op)))
        }
        phase @ (Phase::Idle
        | Phase::Naming(_)
        | Phase::Meeting(..)
        | Phase::InitiatorSealing(_)
        | Phase::InitiatorSigning(_)
        | Phase::InitiatorChecking(_)
        | Phase::InitiatorOpening(_)
        | Phase::ResponderChecking(..)
        | Phase::ResponderDelegating(..)
        | Phase::ResponderOpening(..)
        | Phase::ResponderSealing(_)
        | Phase::ResponderSigning(_)
        | Phase::Ended) => (phase, None),
    }
}

fn delegated(phase: Phase, delegation: Delegation) -> Step {
    let Phase::ResponderDelegating(state, key) = phase else { return Ok((phase, None)) };
    match delegation {
        Delegation::Delegated => {
            let (next, op) = state.delegated();
            Ok((Phase::ResponderOpening(next, key), Some(PairAction::Crypto(op))))
        }
        Delegation::Elsewhere(text) => Err(Failure::ours(Refusal::NotDelegated, text)),
        Delegation::Unknown(text) => Err(Failure::ours(Refusal::Busy(BUSY_SECONDS), text)),
    }
}

fn computed(phase: Phase, result: CryptoResult) -> Step {
    let no_key = || Failure::ours(Refusal::Busy(BUSY_SECONDS), "the crypto operation failed; see the log above");
    let crypto = |phase, op| Ok((phase, Some(PairAction::Crypto(op))));
    match (phase, result) {
        (Phase::InitiatorSealing(state), CryptoResult::Seal(ct_i)) => {
            let (next, op) = state.sealed(ct_i.ok_or_else(no_key)?);
            crypto(Phase::InitiatorSigning(next), op)
        }
        (Phase::InitiatorSigning(state), CryptoResult::Sign(sig_i)) => {
            let (next, request) = state.signed(sig_i.ok_or_else(no_key)?);
            Ok((Phase::Requested(next), Some(PairAction::Request(Box::new(request)))))
        }
        (Phase::InitiatorChecking(state), CryptoResult::Verify(holds)) => {
            let (next, op) = state.checked(holds)?;
            crypto(Phase::InitiatorOpening(next), op)
        }
        (Phase::InitiatorOpening(state), CryptoResult::Open(k_r)) => {
            let (activate, proven) = state.opened(k_r)?;
            Ok((Phase::Ended, Some(PairAction::Activate(activate, proven))))
        }
        (Phase::ResponderChecking(state, key), CryptoResult::Verify(holds)) => {
            let next = state.checked(holds)?;
            let ask = PairAction::CheckDelegation(next.initiator().clone());
            Ok((Phase::ResponderDelegating(next, key), Some(ask)))
        }
        (Phase::ResponderOpening(state, key), CryptoResult::Open(k_i)) => {
            let (next, op) = state.opened(k_i, key)?;
            crypto(Phase::ResponderSealing(next), op)
        }
        (Phase::ResponderSealing(state), CryptoResult::Seal(ct_r)) => {
            let (next, op) = state.sealed(ct_r.ok_or_else(no_key)?);
            crypto(Phase::ResponderSigning(next), op)
        }
        (Phase::ResponderSigning(state), CryptoResult::Sign(sig_r)) => {
            let (response, expected, proven) = state.signed(sig_r.ok_or_else(no_key)?);
            Ok((Phase::Ended, Some(PairAction::Respond(Box::new(response), expected, proven))))
        }
        (phase, _late) => Ok((phase, None)),
    }
}
