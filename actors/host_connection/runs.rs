//! The runs under way: a DomainPair for each, and the identities that they need.

use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use heteronym_proto::control::Aid;
use heteronym_proto::crypto::{CryptoOp, CryptoResult};
use heteronym_proto::domain_pair::{DomainPair as PairCore, PairAction, PairEvent};
use heteronym_proto::host_stream::{IdentityQuestion, PairChange};
use heteronym_proto::mux::Slot;
use tracing::warn;

use super::HostConnection;
use crate::crypto::{Asker, Unperformed};
use crate::domain_pair::{DomainPair, Stop, Tell};
use crate::now;

impl HostConnection {
    pub(super) fn tell_pair(&mut self, slot: Slot, event: PairEvent, ctx: &mut Context<Self>) {
        if let Some(aid) = event.begins() {
            self.start_pair(slot, aid, ctx);
        }
        if let Some((_, child)) = self.children.get(&slot) {
            // A child that is gone has told so, or will: `PairEnded` ends its run.
            let _ = child.try_send(Tell(event));
        }
    }

    pub(super) fn start_pair(&mut self, slot: Slot, aid: Aid, ctx: &mut Context<Self>) {
        let Some(link) = &self.link else { return };
        let wired = link.wired.borrow();
        let record = wired.stream.record(slot);
        let core = PairCore::new(record.pair.clone(), wired.stream.setting().clone(), record.stale_runs() > 0);
        let peer = wired.stream.peer().clone();
        let child = DomainPair::new(core, slot, aid, peer, ctx.address(), self.shared.clone()).start();
        self.children.insert(slot, (aid, child));
        self.begun.insert(slot, now().instant);
    }

    pub(super) fn count_change(&mut self, slot: Slot, change: &PairChange) {
        let metrics = Arc::clone(&self.shared.metrics);
        let mut seconds = || self.begun.remove(&slot).map(|since| now().instant.duration_since(since).as_secs_f64());
        match change {
            PairChange::Activated { initiated, .. } => {
                metrics.activation(*initiated, "active", seconds());
                if let Some(pair) = self.pair_of(slot) {
                    self.shared.pinned.activated(&pair.remote);
                }
            }
            PairChange::Resumed { .. } => metrics.resumed_pair(),
            PairChange::Refused(failure) | PairChange::RefusedPeer(failure) => {
                let initiated = matches!(change, PairChange::Refused(_));
                let _ = seconds();
                metrics.activation(initiated, failure.refusal.reason(), None);
            }
            PairChange::Deactivated(_) => _ = seconds(),
            PairChange::Requested => (),
        }
    }

    pub(super) fn end_pair(&mut self, slot: Slot) {
        if let Some((_, child)) = self.children.remove(&slot) {
            let _ = child.try_send(Stop);
        }
    }

    /// On whose account operations go.
    fn asker(&self) -> Option<Asker> {
        self.link.as_ref().map(|link| Asker::Host(link.wired.borrow().stream.peer().clone()))
    }

    pub(super) fn check_identity(&mut self, op: CryptoOp, ctx: &mut Context<Self>) {
        let Some(identity) = op.checked_identity().cloned() else { return };
        let Some(asker) = self.asker() else { return };
        let checked = self.shared.crypto.perform(&asker, op);
        ctx.spawn(checked.into_actor(self).map(move |result, this, ctx| {
            let verdict = match result {
                Ok(CryptoResult::CheckIdentity(verdict)) => verdict,
                Err(Unperformed::Overloaded) => {
                    return this.with_core(ctx, |stream, out| stream.identity_not_checked(&identity, out));
                }
                Ok(_) | Err(Unperformed::Broken) => Err("the check broke down; see the log".to_owned()),
            };
            this.with_core(ctx, |stream, out| stream.identity_checked(&identity, verdict, out));
        }));
    }

    pub(super) fn show_identity(&mut self, question: IdentityQuestion, ctx: &mut Context<Self>) {
        let Some(asker) = self.asker() else { return };
        let shown = self.shared.crypto.perform(&asker, CryptoOp::OwnIdentity { domain: question.domain.clone() });
        ctx.spawn(shown.into_actor(self).map(move |result, this, ctx| {
            let own = match result {
                Ok(CryptoResult::OwnIdentity(own)) => own,
                Err(Unperformed::Overloaded) => {
                    return this.with_core(ctx, |stream, out| stream.own_identity_not_shown(question, out));
                }
                Ok(_) | Err(Unperformed::Broken) => Err("the crypto pool broke down; see the log".to_owned()),
            };
            if let Err(why) = &own {
                warn!(domain = %question.domain, why, "a domain of ours cannot be shown to a peer");
            }
            this.with_core(ctx, |stream, out| stream.own_identity(question, own, out));
        }));
    }
}

/// A pair's actor wants something done.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PairSaid {
    /// The pair's place.
    pub slot: Slot,
    /// Its run.
    pub aid: Aid,
    /// What.
    pub said: PairAction,
}

impl Handler<PairSaid> for HostConnection {
    type Result = ();

    fn handle(&mut self, PairSaid { slot, aid, said }: PairSaid, ctx: &mut Self::Context) {
        self.with_core(ctx, |stream, out| stream.pair_says(now(), slot, aid, said, out));
    }
}

/// A pair's actor ended; where its run is not over, it broke down.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PairEnded {
    /// The pair's place.
    pub slot: Slot,
    /// Its run.
    pub aid: Aid,
}

impl Handler<PairEnded> for HostConnection {
    type Result = ();

    fn handle(&mut self, PairEnded { slot, aid }: PairEnded, ctx: &mut Self::Context) {
        if self.children.get(&slot).is_some_and(|(of, _)| *of == aid) {
            warn!(link = self.id, "a pair's actor broke down; its run ends");
            self.children.remove(&slot);
            self.with_core(ctx, |stream, out| stream.pair_broke(now(), slot, out));
        }
    }
}
