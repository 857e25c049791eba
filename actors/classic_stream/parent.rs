//! What the parent is told: the Router of remote servers, a LocalLink of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use actix::{ActorContext, Addr, AsyncContext, Context};
use bytes::Bytes;
use heteronym_proto::control::UndeliveredReason;
use heteronym_proto::hosted::Entry;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza_error::Condition;
use tracing::{info, warn};

use super::connecting::How;
use super::{ClassicHandle, ClassicStream, Consigner};
use crate::host_connection::strand;
use crate::local_link::{
    AnswerServer, LocalHandle, Origin, ServerEnded, ServerOpen, ServerUp, ToRoute, bounce_to_sender, hand_back,
};
use crate::router::{ClassicDown, ClassicEnded, ClassicOpen, ClassicUp, Ending, Reply, Router, Shares};

/// Who started a stream, or has it.
#[derive(Clone)]
pub(crate) enum Parent {
    /// Of a remote server.
    Router(Addr<Router>),
    /// Of a server of ours: its entry's.
    Local(Entry, LocalHandle),
}

impl ClassicStream {
    pub(super) fn own_handle(&self, ctx: &Context<Self>) -> Option<ClassicHandle> {
        let parent = self.parent.clone()?;
        Some(ClassicHandle { id: self.id, addr: ctx.address(), gauge: Arc::clone(&self.gauge), parent })
    }

    /// Whether it is what a server of ours gets its stanzas by.
    pub(super) fn is_attached(&self) -> bool {
        matches!(self.parent, Some(Parent::Local(..))) && self.dialled.is_some()
    }

    pub(super) fn tell_open(&mut self, how: &How, ctx: &mut Context<Self>) {
        let Some(stream) = self.own_handle(ctx) else { return };
        let told = match &stream.parent {
            Parent::Router(router) => {
                let shares = self.shares_with_others(how);
                router.try_send(ClassicOpen { stream: Arc::new(stream.clone()), shares }).is_ok()
            }
            Parent::Local(_, local) => local.addr.try_send(ServerOpen(stream.clone())).is_ok(),
        };
        self.or_stop(told, ctx);
    }

    /// Further domains of the server may share a stream that we have dialled, where a refusal would not end
    /// it (XEP-0220 §2.4).
    fn shares_with_others(&self, how: &How) -> Option<(SocketAddr, Shares)> {
        match how {
            How::Dialled { features, certified, .. } if features.dialback_errors && self.grows => {
                let shares = Shares { chain: Arc::new(self.chain.clone()), certified: *certified };
                Some((self.address?, shares))
            }
            How::Dialled { .. } | How::Attached | How::Accepted { .. } | How::AcceptedOwn { .. } => None,
        }
    }

    pub(super) fn tell_up(&mut self, pair: Pair, ctx: &mut Context<Self>) {
        info!(stream = self.id, %pair, "pair may send by classic S2S");
        let told = match &self.parent {
            Some(Parent::Router(router)) => router.try_send(ClassicUp { id: self.id, pair, grows: self.grows }).is_ok(),
            Some(Parent::Local(_, local)) if self.dialled.as_ref() == Some(&pair) => {
                local.addr.try_send(ServerUp(self.id)).is_ok()
            }
            Some(Parent::Local(..)) | None => true,
        };
        self.or_stop(told, ctx);
    }

    pub(super) fn tell_down(
        &mut self,
        pair: Pair,
        why: String,
        waiting: Vec<(Bytes, Consigner)>,
        ctx: &mut Context<Self>,
    ) {
        warn!(stream = self.id, %pair, why, "a pair was refused by the other server");
        match self.parent.clone() {
            Some(Parent::Router(router)) => {
                let waiting = waiting.into_iter().map(|(stanza, _)| stanza).collect();
                let guest = self.dialled.as_ref().is_some_and(|dialled| dialled.remote != pair.remote);
                let told = router.try_send(ClassicDown { id: self.id, pair, guest, why, waiting }).is_ok();
                self.or_stop(told, ctx);
            }
            Some(Parent::Local(..)) => {
                for (stanza, consigner) in waiting {
                    self.give_back(&stanza, &consigner, Condition::RemoteServerTimeout, &why);
                }
                if self.dialled.as_ref() == Some(&pair) {
                    self.why_ended.get_or_insert(why);
                    self.end(ctx);
                }
            }
            None => (),
        }
    }

    pub(super) fn tell_answer(&mut self, error: Bytes, ctx: &mut Context<Self>) {
        let told = match &self.parent {
            Some(Parent::Router(router)) => router.try_send(Reply(error)).is_ok(),
            Some(Parent::Local(_, local)) => local.addr.try_send(AnswerServer(error)).is_ok(),
            None => true,
        };
        self.or_stop(told, ctx);
    }

    pub(super) fn tell_ended(&mut self, why: Ending, pairs: Vec<Pair>, unsent: Vec<(Pair, Vec<(Bytes, Consigner)>)>) {
        let (id, dialled) = (self.id, self.dialled.take());
        match self.parent.take() {
            Some(Parent::Router(router)) => {
                let plain = |(pair, stanzas): (Pair, Vec<(Bytes, Consigner)>)| {
                    (pair, stanzas.into_iter().map(|(stanza, _)| stanza).collect())
                };
                let unsent = unsent.into_iter().map(plain).collect();
                if let Err(error) = router.try_send(ClassicEnded { id, dialled, pairs, why, unsent }) {
                    for stanza in error.into_inner().unsent.into_iter().flat_map(|(_, stanzas)| stanzas) {
                        let why = (Condition::RemoteServerTimeout, "link-ended");
                        bounce_to_sender(&self.shared, &stanza, why, "the connection to the other server ended");
                    }
                }
            }
            Some(Parent::Local(_, local)) => {
                let why = match why {
                    Ending::Ended(_, why) | Ending::Refused(why) => why,
                    Ending::Shared(_) => String::new(),
                };
                let unsent = unsent.into_iter().flat_map(|(_, stanzas)| stanzas).collect();
                if let Err(error) = local.addr.try_send(ServerEnded { id, why, unsent }) {
                    for (stanza, (origin, n)) in error.into_inner().unsent {
                        hand_back(&self.shared, &origin, n, &stanza, UndeliveredReason::DomainUnavailable);
                    }
                }
            }
            None => (),
        }
    }

    /// A stanza was not sent: whoever gave it is told.
    pub(super) fn give_back(&self, stanza: &Bytes, (origin, n): &Consigner, condition: Condition, text: &str) {
        match &**origin {
            Origin::Inside => bounce_to_sender(&self.shared, stanza, (condition, "classic"), text),
            Origin::Host(_) | Origin::Classic(_) => {
                hand_back(&self.shared, origin, *n, stanza, UndeliveredReason::of(condition));
            }
        }
    }

    /// The Router finds another way, or says that there is none.
    pub(super) fn reroute(&self, stanzas: Vec<Bytes>) {
        if let Some(Parent::Router(router)) = &self.parent {
            strand(router, stanzas);
        }
    }

    /// Hands what a server of ours has sent to its LocalLink, which finds the ways.
    pub(super) fn route(&mut self, stanzas: Vec<Bytes>, ctx: &mut Context<Self>) {
        let Some(Parent::Local(_, local)) = &self.parent else { return };
        if stanzas.is_empty() {
            return;
        }
        let told = local.route(ToRoute::new(stanzas, self.gate.clone()));
        self.gate.shut_if_full(&local.intake);
        self.or_stop(told, ctx);
    }

    fn or_stop(&mut self, told: bool, ctx: &mut Context<Self>) {
        if !told {
            warn!(stream = self.id, "nobody listens to this stream any more; it ends");
            ctx.stop();
        }
    }
}
