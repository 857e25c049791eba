//! DomainPair: the activity of one domain pair, from a request to its proof or refusal.
//!
//! Parent: the HostConnection that started it for one run. Children: none. Ends when the run is
//! over, or when the parent drops it (glare, time-out, end of the link); `stopped` tells the parent
//! even after a panic, and the stanzas that wait start another.

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use heteronym_proto::control::Aid;
use heteronym_proto::crypto::{CryptoOp, CryptoResult};
use heteronym_proto::domain_pair::{Delegation, DomainPair as Core, Failure, PairAction, PairEvent};
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;

use crate::Shared;
use crate::crypto::{Asker, Unperformed};
use crate::host_connection::{HostConnection, PairEnded, PairSaid};
use crate::registry::CheckDelegation;

/// See the module.
pub struct DomainPair {
    /// Not here while the crypto pool has it: no event counts then.
    core: Option<Box<Core>>,
    slot: Slot,
    aid: Aid,
    peer_host: Name,
    parent: Addr<HostConnection>,
    shared: Shared,
}

impl DomainPair {
    /// The activity of run `aid` of the pair in `slot`.
    #[must_use]
    pub fn new(
        core: Core,
        slot: Slot,
        aid: Aid,
        peer_host: Name,
        parent: Addr<HostConnection>,
        shared: Shared,
    ) -> Self {
        Self { core: Some(Box::new(core)), slot, aid, peer_host, parent, shared }
    }

    fn take(&mut self, event: PairEvent, ctx: &mut Context<Self>) {
        let wanted = self.core.as_mut().and_then(|core| core.handle(event));
        self.act(wanted, ctx);
    }

    fn act(&mut self, wanted: Option<PairAction>, ctx: &mut Context<Self>) {
        match wanted {
            Some(PairAction::Crypto(op)) => self.compute(op, ctx),
            Some(PairAction::CheckDelegation(domain)) => self.check_delegation(domain, ctx),
            Some(
                said @ (PairAction::NeedPeerIdentity { .. }
                | PairAction::Request(_)
                | PairAction::Respond(..)
                | PairAction::Activate(..)
                | PairAction::Fail(_)),
            ) => self.say(said, ctx),
            None => (),
        }
    }

    fn say(&mut self, said: PairAction, ctx: &mut Context<Self>) {
        let said = PairSaid { slot: self.slot, aid: self.aid, said };
        if self.parent.try_send(said).is_err() || self.core.as_ref().is_none_or(|core| core.has_ended()) {
            ctx.stop();
        }
    }

    fn compute(&mut self, op: CryptoOp, ctx: &mut Context<Self>) {
        if let CryptoOp::OwnIdentity { domain } = &op
            && let Some(own) = self.shared.keys.own_identity_at_hand(domain)
        {
            return self.take(PairEvent::Crypto(CryptoResult::OwnIdentity(Ok(own))), ctx);
        }
        let Some(core) = self.core.take() else { return };
        let (known, host) = (self.shared.known.clone(), self.peer_host.clone());
        let delegates = move |domain: &Name| known.delegates(domain, &host);
        let asker = Asker::Host(self.peer_host.clone());
        let computed = self.shared.crypto.compute(&asker, core, op, delegates);
        ctx.spawn(computed.into_actor(self).map(|computed, this, ctx| match computed {
            Ok((core, wanted)) => {
                this.core = Some(core);
                this.act(wanted, ctx);
            }
            Err(Unperformed::Overloaded) => this.say(PairAction::Fail(Failure::overloaded()), ctx),
            Err(Unperformed::Broken) => ctx.stop(),
        }));
    }

    fn check_delegation(&mut self, domain: Name, ctx: &mut Context<Self>) {
        let question = CheckDelegation { domain, host: self.peer_host.clone() };
        let answer = self.shared.registry.send(question);
        ctx.spawn(answer.into_actor(self).map(|answer, this, ctx| {
            let delegation = answer.unwrap_or_else(|_| Delegation::Unknown("the registry is gone".to_owned()));
            this.take(PairEvent::Delegation(delegation), ctx);
        }));
    }
}

impl Actor for DomainPair {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        let _ = self.parent.try_send(PairEnded { slot: self.slot, aid: self.aid });
    }
}

/// Something happened to the pair.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tell(pub PairEvent);

impl Handler<Tell> for DomainPair {
    type Result = ();

    fn handle(&mut self, Tell(event): Tell, ctx: &mut Self::Context) {
        self.take(event, ctx);
    }
}

/// The parent has no more use for the run.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

impl Handler<Stop> for DomainPair {
    type Result = ();

    fn handle(&mut self, Stop: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
