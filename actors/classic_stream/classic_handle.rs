//! The way in for stanzas: the handle that routes hold, and the messages that bring them.

use std::sync::Arc;

use actix::prelude::SendError;
use actix::{Addr, Handler, Message};
use bytes::Bytes;
use heteronym_proto::classic::remotes::StreamId;
use heteronym_proto::limits::Limits;
use heteronym_proto::pair::Pair;
use heteronym_proto::traffic::Traffic;
use tracing::warn;

use super::ClassicStream;
use super::parent::Parent;
use crate::host_connection::strand;
use crate::local_link::{Delivered, Origin, ServerStranded};
use crate::metrics::Direction;
use crate::{Gauge, now};

/// Reaches a stream from the data path.
#[derive(Clone)]
pub struct ClassicHandle {
    /// Which.
    pub id: StreamId,
    /// Its actor.
    pub addr: Addr<ClassicStream>,
    /// The bytes on their way to it.
    pub gauge: Arc<Gauge>,
    /// Who finds another way for what the stream does not take any more.
    pub(crate) parent: Parent,
}

impl ClassicHandle {
    /// Hands stanzas over; gives them back where there is no room. Where there is no actor any more,
    /// the parent finds another way.
    pub(crate) fn send(&self, stanzas: Vec<(Pair, Bytes)>, limits: &Limits) -> Result<(), Vec<(Pair, Bytes)>> {
        self.post(stanzas, None, limits)
    }

    /// The same of one pair, from the parent, which knows that it has no better way: it is asked for, even where
    /// it was refused before and where there are no stanzas yet.
    pub(crate) fn open(&self, pair: &Pair, stanzas: Vec<Bytes>, limits: &Limits) -> Result<(), Vec<(Pair, Bytes)>> {
        let stanzas = stanzas.into_iter().map(|stanza| (pair.clone(), stanza)).collect();
        self.post(stanzas, Some(pair.clone()), limits)
    }

    fn post(
        &self,
        stanzas: Vec<(Pair, Bytes)>,
        wanted: Option<Pair>,
        limits: &Limits,
    ) -> Result<(), Vec<(Pair, Bytes)>> {
        let bytes = stanzas.iter().map(|(_, stanza)| stanza.len()).sum();
        if self.gauge.bytes() + bytes > limits.host_queue_bytes {
            return Err(stanzas);
        }
        self.gauge.posted(bytes);
        match self.addr.try_send(SendClassic { stanzas, bytes, wanted, parent: self.parent.clone() }) {
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

    /// Hands stanzas of `origin` over, for the server of ours at the other end; where there is no actor any
    /// more, its LocalLink lets them wait.
    pub(crate) fn send_to_server(&self, origin: Arc<Origin>, stanzas: Vec<(Pair, Delivered)>) {
        let bytes = stanzas.iter().map(|(_, stanza)| stanza.bytes.len()).sum();
        self.gauge.posted(bytes);
        if let Err(error) = self.addr.try_send(SendToServer { origin, stanzas, bytes, parent: self.parent.clone() }) {
            self.gauge.received(bytes);
            drop(error);
        }
    }
}

impl std::fmt::Debug for ClassicHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ClassicHandle").field(&self.id).finish()
    }
}

/// Stanzas for remote domains. Where the stream ends before it takes them, they go back to the Router.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SendClassic {
    /// By pair, in order.
    pub stanzas: Vec<(Pair, Bytes)>,
    /// Their bytes, as the gauge was told.
    pub bytes: usize,
    /// This pair is to be let in, whatever the other server has said before.
    pub wanted: Option<Pair>,
    pub(crate) parent: Parent,
}

impl Drop for SendClassic {
    fn drop(&mut self) {
        if let Parent::Router(router) = &self.parent {
            strand(router, self.stanzas.drain(..).map(|(_, stanza)| stanza).collect());
        }
    }
}

impl Handler<SendClassic> for ClassicStream {
    type Result = ();

    fn handle(&mut self, mut message: SendClassic, ctx: &mut Self::Context) {
        self.gauge.received(message.bytes);
        let (stanzas, now) = (std::mem::take(&mut message.stanzas), now().instant);
        let mut traffic = Traffic::default();
        stanzas.iter().for_each(|(_, stanza)| traffic.count(stanza));
        self.shared.metrics.traffic(Direction::Out, traffic);
        let inside = Arc::clone(&self.inside);
        self.with_core(ctx, |stream, actions| {
            if let Some(pair) = &message.wanted {
                stream.want(now, pair, actions);
            }
            for (pair, stanza) in stanzas {
                stream.send(now, &pair, stanza, (Arc::clone(&inside), 0), actions);
            }
        });
    }
}

/// Stanzas for a server of ours. Where the stream ends before it takes them, they go back to its LocalLink.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SendToServer {
    /// Who is told what could not be delivered.
    pub origin: Arc<Origin>,
    /// By pair (whose "local" domain is that of the sender: it is we who speak for it), in order.
    pub stanzas: Vec<(Pair, Delivered)>,
    /// Their bytes, as the gauge was told.
    pub bytes: usize,
    pub(crate) parent: Parent,
}

impl Drop for SendToServer {
    fn drop(&mut self) {
        let Parent::Local(_, local) = &self.parent else { return };
        let stanzas: Vec<Delivered> = self.stanzas.drain(..).map(|(_, stanza)| stanza).collect();
        let back = ServerStranded { origin: Arc::clone(&self.origin), stanzas };
        if !back.stanzas.is_empty() && local.addr.try_send(back).is_err() {
            warn!("stanzas for a server whose stream ended are lost: its actor is gone");
        }
    }
}

impl Handler<SendToServer> for ClassicStream {
    type Result = ();

    fn handle(&mut self, mut message: SendToServer, ctx: &mut Self::Context) {
        self.gauge.received(message.bytes);
        let (stanzas, now) = (std::mem::take(&mut message.stanzas), now().instant);
        let origin = Arc::clone(&message.origin);
        self.with_core(ctx, |stream, actions| {
            for (pair, Delivered { n, bytes }) in stanzas {
                stream.send(now, &pair, bytes, (Arc::clone(&origin), n), actions);
            }
        });
    }
}
