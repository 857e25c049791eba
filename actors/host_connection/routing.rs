//! The routes that lead to the link: written in stream order, while the core's actions are performed.

use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, Message};
use heteronym_proto::host_stream::PairChange;
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::mux::Slot;
use heteronym_proto::pair::Pair;
use heteronym_proto::routes::Route;
use tracing::field::display;
use tracing::{debug, info, warn};

use super::{HostConnection, Link, LinkHandle, PairMoved};
use crate::Shared;
use crate::router::PairArrived;

impl HostConnection {
    pub(super) fn link_handle(&self, ctx: &Context<Self>) -> Arc<LinkHandle> {
        let (addr, gauge, router) = (ctx.address(), Arc::clone(&self.gauge), self.router.clone());
        Arc::new(LinkHandle { id: self.id, addr, gauge, router })
    }

    pub(super) fn pair_of(&self, slot: Slot) -> Option<Pair> {
        self.link.as_ref().map(|link| link.wired.borrow().stream.record(slot).pair.clone())
    }

    /// Stanzas of the pair come here from now on. An activation that is resumed is older than any other
    /// link's, and gives way to it.
    pub(super) fn route_up(&mut self, slot: Slot, resumed: bool, ctx: &mut Context<Self>) {
        let Some(link) = self.link.as_ref().map(|link| Arc::clone(&link.handle)) else { return };
        let Some(pair) = self.pair_of(slot) else { return };
        let mut other = None;
        let written =
            self.shared.routes.insert_unless(pair.clone(), Route::Link { link, slot }, |before| match before {
                Route::Link { link, .. } => {
                    other = Some(Arc::clone(link)).filter(|link| link.id != self.id);
                    resumed && other.is_some()
                }
                Route::Classic { .. } | Route::Moving => true,
                Route::Local(_) => false,
            });
        if !written && resumed && other.is_some() {
            return self.with_core(ctx, |stream, out| stream.moved(&pair, out));
        }
        if !written {
            // What went by classic S2S has to arrive first.
            return self.tell_router(PairArrived { pair, link: ctx.address(), slot }, ctx);
        }
        if let Some(other) = other {
            // A link that is gone needs no telling.
            let _ = other.addr.try_send(PairMoved(pair));
        }
    }

    pub(super) fn route_down(&mut self, slot: Slot) {
        if let Some(pair) = self.pair_of(slot) {
            remove_route(&self.shared, self.id, &pair);
        }
    }

    pub(super) fn changed(&mut self, slot: Slot, change: &PairChange) {
        self.log_change(slot, change);
        self.count_change(slot, change);
    }

    fn log_change(&self, slot: Slot, change: &PairChange) {
        let Some(link) = &self.link else { return };
        // Looked for only where it is logged: a hundred thousand may be resumed at once.
        let pair = || display(link.wired.borrow().stream.record(slot).pair.clone());
        match change {
            PairChange::Requested => debug!(pair = pair(), "activation asked for"),
            PairChange::Activated { initiated, expires } => info!(pair = pair(), initiated, expires, "pair active"),
            PairChange::Resumed { .. } => debug!(pair = pair(), "pair resumed"),
            PairChange::Refused(failure) => warn!(pair = pair(), why = failure.text, "pair refused"),
            PairChange::RefusedPeer(failure) => warn!(pair = pair(), why = failure.text, "refused the peer's request"),
            PairChange::Deactivated(reason) => info!(pair = pair(), reason = reason.as_str(), "pair ended"),
        }
    }
}

/// Nothing of the pair in this slot is on its way by classic S2S any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakePair(pub Slot);

impl Handler<TakePair> for HostConnection {
    type Result = ();

    fn handle(&mut self, TakePair(slot): TakePair, ctx: &mut Self::Context) {
        let is_active = |link: &Link| link.wired.borrow().stream.is_active(slot);
        if self.link.as_ref().is_some_and(is_active) {
            self.route_up(slot, false, ctx);
        }
    }
}

pub(super) fn remove_route(shared: &Shared, id: LinkId, pair: &Pair) {
    shared.routes.remove_if(pair, |route| match route {
        Route::Link { link, .. } => link.id == id,
        Route::Classic { .. } | Route::Moving | Route::Local(_) => false,
    });
}
