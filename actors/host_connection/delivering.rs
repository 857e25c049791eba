//! The way out for stanzas: to our servers, and what happens when one does not keep up.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use bytes::Bytes;
use heteronym_proto::batch::Batch;
use heteronym_proto::checker::Scope;
use heteronym_proto::control::UndeliveredReason;
use heteronym_proto::hosted::Entry;
use heteronym_proto::limits::HOLD_BYTES;
use heteronym_proto::name::Name;
use heteronym_proto::stanza;
use tracing::{info, warn};

use super::HostConnection;
use crate::Gauge;
use crate::local_link::{Deliver, HostOrigin, Origin};
use crate::now;
use crate::router::{HandedBack, Router};

impl HostConnection {
    /// Hands stanzas to our servers, one message per server and read.
    pub(super) fn deliver(&mut self, deliveries: Vec<(Entry, Batch<u64>)>, ctx: &mut Context<Self>) {
        for (entry, stanzas) in deliveries {
            let local = self.shared.locals.get(entry);
            if let Some(local) = local.as_ref().filter(|local| local.gauge.bytes() > HOLD_BYTES) {
                self.hold(entry, &stanzas, Arc::clone(&local.gauge), ctx);
            }
            let from = self.origin(ctx);
            let deliver = Deliver { from, stanzas };
            let full = match local {
                Some(local) => local.deliver(deliver).err(),
                None => Some(deliver.stanzas),
            };
            for (n, stanza) in full.unwrap_or_default().iter() {
                let reason = UndeliveredReason::Overflow;
                self.with_core(ctx, |stream, out| {
                    let n = (stream.serial(), n);
                    stream.undeliverable(now(), n, reason, stanza, out);
                });
            }
        }
    }

    fn origin(&self, ctx: &Context<Self>) -> Origin {
        let stream = self.link.as_ref().map(|link| link.wired.borrow());
        let (serial, peer) = stream.map(|of| (of.stream.serial(), of.stream.peer().clone())).unzip();
        match peer {
            Some(peer) => Origin::Host(HostOrigin {
                link: ctx.address(),
                router: self.router.clone(),
                peer,
                serial: serial.unwrap_or_default(),
            }),
            None => Origin::Inside,
        }
    }

    /// A server of ours does not keep up: the peer is to hold what it has for these domains, and
    /// everything else on the stream goes on (protocol §7).
    pub(super) fn hold(&mut self, entry: Entry, stanzas: &Batch<u64>, gauge: Arc<Gauge>, ctx: &mut Context<Self>) {
        let first = !self.held.contains_key(&entry);
        for (_, stanza) in stanzas.iter() {
            let Ok(stanza) = stanza::read(stanza, &Scope::SERVER) else { continue };
            let held = self.held.entry(entry).or_default();
            if held.contains(stanza.to_domain()) {
                continue;
            }
            let Ok(domain) = Name::parse(stanza.to_domain()) else { continue };
            held.insert(domain.clone());
            info!(%domain, "the domain's server does not keep up: the peer is asked to hold");
            self.shared.metrics.hold();
            self.with_core(ctx, |stream, out| stream.ask_to_hold(domain, out));
        }
        if first {
            self.go_when_there_is_room(entry, gauge, ctx);
        }
    }

    pub(super) fn go_when_there_is_room(&mut self, entry: Entry, gauge: Arc<Gauge>, ctx: &mut Context<Self>) {
        let waiting = async move {
            gauge.has_room(LOOK_AGAIN).await;
            gauge
        };
        ctx.spawn(waiting.into_actor(self).map(move |gauge, this, ctx| {
            if gauge.is_high() {
                return this.go_when_there_is_room(entry, gauge, ctx);
            }
            for domain in this.held.remove(&entry).unwrap_or_default() {
                info!(%domain, "the domain's server keeps up again");
                this.with_core(ctx, |stream, out| stream.ask_to_go(domain, out));
            }
        }));
    }
}

/// How long until a server that is held is looked at again, whatever its gauge says.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A server of ours has read what was delivered to it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HasRead {
    /// The session of the numbers.
    pub serial: u64,
    /// Which server.
    pub entry: Entry,
    /// Everything for it up to here.
    pub n: u64,
}

impl Handler<HasRead> for HostConnection {
    type Result = ();

    fn handle(&mut self, HasRead { serial, entry, n }: HasRead, ctx: &mut Self::Context) {
        self.with_core(ctx, |stream, _| stream.has_read(serial, entry, n));
    }
}

/// A stanza of the peer's could not be delivered to our server.
#[derive(Debug)]
pub struct Undelivered {
    /// Its session, and its number there.
    pub n: (u64, u64),
    /// Why.
    pub reason: UndeliveredReason,
    /// All of it.
    pub stanza: Bytes,
}

/// Tells a link about one. Where the link ends before it reads that, the Router knows what has taken its place.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Undeliverable {
    /// Which.
    pub of: Option<Undelivered>,
    /// The peer host.
    pub peer: Name,
    /// Who is told otherwise.
    pub router: Addr<Router>,
}

impl Drop for Undeliverable {
    fn drop(&mut self) {
        let Some(of) = self.of.take() else { return };
        let handed_back = HandedBack { peer: self.peer.clone(), of };
        if self.router.try_send(handed_back).is_err() {
            warn!("a sender is not told that a stanza was not delivered: the router is gone");
        }
    }
}

impl Handler<Undeliverable> for HostConnection {
    type Result = ();

    fn handle(&mut self, mut message: Undeliverable, ctx: &mut Self::Context) {
        if let Some(Undelivered { n, reason, stanza }) = message.of.take() {
            self.with_core(ctx, |stream, out| stream.undeliverable(now(), n, reason, &stanza, out));
        }
    }
}
