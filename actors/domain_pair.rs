//! DomainPair: the activity of one domain pair, from a request to its proof or refusal.
//!
//! Parent: the HostConnection that started it for one run. Children: none. Ends when the run is
//! over, or when the parent drops it (glare, time-out, end of the link); `stopped` tells the parent
//! even after a panic, and the stanzas that wait start another.

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use heteronym_proto::control::Aid;
use heteronym_proto::crypto::CryptoOp;
use heteronym_proto::domain_pair::{Delegation, DomainPair as Core, PairAction, PairEvent};
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;

use crate::Shared;
use crate::crypto::{Asker, Unperformed};
use crate::host_connection::{HostConnection, PairEnded, PairSaid};
use crate::registry::CheckDelegation;

/// See the module.
pub struct DomainPair {
    core: Core,
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
        Self { core, slot, aid, peer_host, parent, shared }
    }

    fn take(&mut self, event: PairEvent, ctx: &mut Context<Self>) {
        match self.core.handle(event) {
            Some(PairAction::Crypto(op)) => self.perform(op, ctx),
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
        if self.parent.try_send(said).is_err() || self.core.has_ended() {
            ctx.stop();
        }
    }

    fn perform(&mut self, op: CryptoOp, ctx: &mut Context<Self>) {
        let result = self.shared.crypto.perform(&Asker::Host(self.peer_host.clone()), op);
        ctx.spawn(result.into_actor(self).map(|result, this, ctx| match result {
            Ok(result) => this.take(PairEvent::Crypto(result), ctx),
            Err(Unperformed::Overloaded) => {
                let said = this.core.overloaded();
                this.say(said, ctx);
            }
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
