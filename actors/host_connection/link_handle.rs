//! The way in for stanzas: the handle that routes hold, and the two messages that bring them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::prelude::SendError;
use actix::{Addr, Handler, Message};
use bytes::Bytes;
use heteronym_proto::batch::Batch;
use heteronym_proto::limits::Limits;
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::mux::Slot;
use heteronym_proto::pair::Pair;
use tracing::warn;

use super::HostConnection;
use crate::router::{Router, Stranded};
use crate::{Gauge, now};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A new name for a connection.
#[must_use]
pub fn next_link_id() -> LinkId {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// Reaches a link from the data path.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    /// Which.
    pub id: LinkId,
    /// Its actor.
    pub addr: Addr<HostConnection>,
    /// The bytes on their way to it.
    pub gauge: Arc<Gauge>,
    /// Who finds another way for what the link does not take any more.
    pub router: Addr<Router>,
}

/// Handles of the same link are equal.
impl PartialEq for LinkHandle {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl LinkHandle {
    /// Hands stanzas over; gives them back where there is no room. Where there is no actor any more,
    /// the Router finds another way.
    pub(crate) fn send(&self, mut stanzas: Batch<Slot>, limits: &Limits) -> Result<(), Batch<Slot>> {
        stanzas.shrink();
        let bytes = stanzas.as_bytes().len();
        if self.gauge.bytes() + bytes > limits.host_queue_bytes {
            return Err(stanzas);
        }
        self.gauge.posted(bytes);
        let message = SendStanzas { stanzas, bytes, router: self.router.clone() };
        match self.addr.try_send(message) {
            Ok(()) => Ok(()),
            Err(SendError::Closed(ended)) => {
                drop(ended);
                Ok(())
            }
            Err(SendError::Full(mut message)) => {
                self.gauge.received(bytes);
                Err(std::mem::take(&mut message.stanzas))
            }
        }
    }
}

/// Stanzas of active pairs, from a local link. Where the link ends before it takes them, they go back
/// to the Router.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SendStanzas {
    /// By slot, in order.
    pub stanzas: Batch<Slot>,
    /// Their bytes, as the gauge was told.
    pub bytes: usize,
    /// Where they go back to.
    pub router: Addr<Router>,
}

impl Drop for SendStanzas {
    fn drop(&mut self) {
        strand(&self.router, self.stanzas.copies().map(|(_, stanza)| stanza).collect());
    }
}

impl Handler<SendStanzas> for HostConnection {
    type Result = ();

    fn handle(&mut self, mut message: SendStanzas, ctx: &mut Self::Context) {
        self.gauge.received(message.bytes);
        let (stanzas, now) = (std::mem::take(&mut message.stanzas), now());
        self.with_core(ctx, |stream, out| stream.send_batch(now, stanzas, out));
    }
}

/// Stanzas of a pair that this link is to serve, from the Router, to which they go back where the
/// link ends before it takes them.
#[derive(Message)]
#[rtype(result = "()")]
pub struct OpenPair {
    /// The pair.
    pub pair: Pair,
    /// What waits for it, in order.
    pub stanzas: Vec<Bytes>,
    /// Where it goes back to.
    pub router: Addr<Router>,
}

impl Drop for OpenPair {
    fn drop(&mut self) {
        strand(&self.router, std::mem::take(&mut self.stanzas));
    }
}

/// Sends stanzas back to the Router that a link has not taken before it ended.
pub(crate) fn strand(router: &Addr<Router>, stanzas: Vec<Bytes>) {
    if !stanzas.is_empty() && router.try_send(Stranded(stanzas)).is_err() {
        warn!("stanzas for a link that ended are lost: the router is gone");
    }
}

impl Handler<OpenPair> for HostConnection {
    type Result = ();

    fn handle(&mut self, mut open: OpenPair, ctx: &mut Self::Context) {
        let stanzas = std::mem::take(&mut open.stanzas);
        self.with_core(ctx, |stream, out| stream.open_pair(now(), &open.pair, stanzas, out));
    }
}

/// Another link has activated a pair: the newest activation wins.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PairMoved(pub Pair);

impl Handler<PairMoved> for HostConnection {
    type Result = ();

    fn handle(&mut self, PairMoved(pair): PairMoved, ctx: &mut Self::Context) {
        self.with_core(ctx, |stream, out| stream.moved(&pair, out));
    }
}
