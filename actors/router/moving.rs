//! From classic S2S to a link: a domain has a federation record now, or its host can be reached again.
//!
//! Nothing of a pair overtakes: what comes anew waits here, the classic stream ends in order (the other
//! server has taken everything when it has ended its own side), and only then does the pair go over a link.

use std::time::Instant;

use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use futures_util::future::join_all;
use heteronym_proto::classic::remotes::StreamId;
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::registry::{self, Found, Reach, Service};
use heteronym_proto::routes::Route;
use heteronym_proto::way::{Policy, Way};
use tracing::info;

use super::{Host, LATER, Router};
use crate::classic_stream::EndStream;
use crate::host_connection::{HostConnection, TakePair};
use crate::local_link::Barrier;
use crate::now;
use crate::registry::LookUpHost;

/// A pair that waits for its classic stream to end.
pub(super) struct Move {
    pub(super) stream: StreamId,
    /// The pair is active there already.
    to: Option<Arrived>,
}

/// A connection on which a pair is active, and the pair's place there.
type Arrived = (Addr<HostConnection>, Slot);

impl Router {
    /// Asks for the federation records of domains that are reached by classic S2S, once their last answer
    /// has ended.
    pub(super) fn look_for_federation(&mut self, instant: Instant, ctx: &mut Context<Self>) {
        for Pair { local, remote } in self.remotes.due(instant) {
            if self.shared.config().policy(&remote) == Policy::Off {
                self.remotes.look_at(&remote, instant + LATER);
                continue;
            }
            let question = self.shared.registry.send(LookUpHost { domain: remote.clone(), asker: local });
            ctx.spawn(question.into_actor(self).map(move |answer, this, ctx| {
                if let Ok(found) = answer {
                    this.looked_for_federation(&remote, found, ctx);
                }
            }));
        }
    }

    fn looked_for_federation(&mut self, domain: &Name, Found { service, until }: Found, ctx: &mut Context<Self>) {
        self.remotes.look_at(domain, until);
        // A look-up that failed is no reason to leave a stream that carries.
        if matches!(service, Service::Failed(_)) {
            return;
        }
        let Way::Federation(mut targets) = self.shared.circumstances(domain).way(service) else { return };
        let us = self.shared.config().host.clone();
        targets.retain(|target| target.host != us);
        self.end_pauses(domain, &targets);
        let instant = now().instant;
        let reach = |name: &Name| self.hosts.get(name).map_or(Reach::Open, |host| host.choice.reach(instant));
        let Some(target) = registry::choose(&targets, reach).map(|first| targets[first].clone()) else { return };
        let (name, reach) = (target.host.clone(), reach(&target.host));
        match reach {
            Reach::Linked => self.move_domain(domain, ctx),
            Reach::Open => {
                let host = self.hosts.entry(name.clone()).or_insert_with(|| Host::new(&us, target));
                host.movers.insert(domain.clone());
                self.want_link(&name, ctx);
            }
            Reach::Paused(until) => self.remotes.look_at(domain, until),
        }
    }

    /// Every pair of a remote domain that goes by classic S2S goes over a link from now on.
    pub(super) fn move_domain(&mut self, domain: &Name, ctx: &mut Context<Self>) {
        for pair in self.remotes.pairs(domain) {
            self.move_pair(pair, None, ctx);
        }
    }

    fn move_pair(&mut self, pair: Pair, to: Option<Arrived>, ctx: &mut Context<Self>) {
        if let Some(moving) = self.moving.get_mut(&pair) {
            moving.to = to.or(moving.to.take());
            return;
        }
        let route = self.shared.routes.of(&pair);
        let Some(Route::Classic { stream }) = route else { return };
        let (id, addr) = (stream.id, stream.addr.clone());
        let waits = self.shared.routes.insert_unless(pair.clone(), Route::Moving, |before| match before {
            // The stream has ended by itself meanwhile, and a link has the pair.
            Route::Link { .. } => true,
            Route::Classic { .. } | Route::Moving | Route::Local(_) => false,
        });
        if !waits {
            return;
        }
        info!(%pair, stream = id, "the pair goes over a link from now on");
        let ends_already = self.moving.values().any(|other| other.stream == id);
        self.moving.insert(pair, Move { stream: id, to });
        self.remotes.retire(id);
        if ends_already {
            return;
        }
        // What our servers have sent by the old route is in the stream's mailbox once they have answered.
        let locals = self.shared.locals.all();
        let passed = async move {
            join_all(locals.iter().map(|local| local.addr.send(Barrier))).await;
            addr.try_send(EndStream)
        };
        ctx.spawn(passed.into_actor(self).map(move |told, this, ctx| {
            if told.is_err() {
                this.moved(id, ctx);
            }
        }));
    }

    /// A classic stream has ended: the pairs that waited for that go over a link.
    pub(super) fn moved(&mut self, id: StreamId, ctx: &mut Context<Self>) {
        let moved: Vec<(Pair, Move)> = self.moving.extract_if(|_, of| of.stream == id).collect();
        for (pair, Move { to, .. }) in moved {
            self.shared.routes.remove_if(&pair, |route| match route {
                Route::Moving => true,
                Route::Link { .. } | Route::Classic { .. } | Route::Local(_) => false,
            });
            if let Some((link, slot)) = to {
                let _ = link.try_send(TakePair(slot));
            }
            self.find_way(&pair, ctx);
        }
    }
}

/// A pair is active on a link, and its stanzas go by a classic stream still.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PairArrived {
    /// The pair.
    pub pair: Pair,
    /// Where it is active.
    pub link: Addr<HostConnection>,
    /// Its place there.
    pub slot: Slot,
}

impl Handler<PairArrived> for Router {
    type Result = ();

    fn handle(&mut self, PairArrived { pair, link, slot }: PairArrived, ctx: &mut Self::Context) {
        self.move_pair(pair.clone(), Some((link.clone(), slot)), ctx);
        if !self.moving.contains_key(&pair) {
            // The stream has ended by itself meanwhile.
            let _ = link.try_send(TakePair(slot));
        }
    }
}
