//! The end of everything, in order.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use futures_util::FutureExt;
use futures_util::future::join_all;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza_error::Condition;
use tracing::info;

use super::Router;
use super::classic::end_all;
use crate::host_connection::Decide;
use crate::listener::StopAccepting;
use crate::local_link::{Finish, StopReading};

impl Router {
    pub(super) fn finish_drain_if_done(&mut self, ctx: &mut Context<Self>) {
        if self.links.is_empty() && self.streams.is_empty() {
            self.finish_drain(ctx);
        }
    }

    pub(super) fn finish_drain(&mut self, ctx: &mut Context<Self>) {
        if let Some(done) = self.drain.take() {
            let locals: Vec<_> = self.shared.locals.all();
            let finished = join_all(locals.into_iter().map(|local| async move {
                let _ = local.addr.send(Finish).await;
                while local.addr.connected() {
                    actix_rt::time::sleep(Duration::from_millis(5)).await;
                }
            }));
            let finished = async { tokio::time::timeout(DRAIN, finished).await.is_ok() };
            let pinned = Arc::clone(&self.shared.pinned);
            let saved = finished.then(|_| actix_rt::task::spawn_blocking(move || pinned.save()));
            ctx.spawn(saved.into_actor(self).map(|_, _, ctx| {
                let _ = done.send(());
                ctx.stop();
            }));
        }
    }
}

/// How long peer hosts get to end their streams when we drain.
const DRAIN: Duration = Duration::from_secs(5);

/// Ends everything in order: nothing is accepted any more, what may be sent is sent, streams end.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Handler<Drain> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Drain: Drain, ctx: &mut Self::Context) -> Self::Result {
        info!(links = self.links.len(), "draining");
        let (done, drained) = tokio::sync::oneshot::channel();
        self.drain = Some(done);
        self.draining = true;
        if let Some(listener) = self.listener.take() {
            let _ = listener.try_send(StopAccepting);
        }
        let stops = self.shared.locals.all().into_iter().map(|local| async move {
            let _ = local.addr.send(StopReading).await;
        });
        ctx.spawn(join_all(stops).into_actor(self).map(|_, this, ctx| {
            let pairs: Vec<Pair> = this.waiting.pairs().cloned().collect();
            for pair in pairs {
                let stanzas = this.waiting.take(&pair);
                this.bounce(stanzas, (Condition::RemoteServerTimeout, "shutdown"), "this router shuts down");
            }
            this.give_up_all_sessions();
            for entry in this.links.values() {
                let _ = entry.link.addr.try_send(Decide::Drain);
            }
            end_all(&this.streams);
            this.finish_drain_if_done(ctx);
        }));
        ctx.run_later(DRAIN, |this, ctx| this.finish_drain(ctx));
        Box::pin(async {
            let _ = drained.await;
        })
    }
}
