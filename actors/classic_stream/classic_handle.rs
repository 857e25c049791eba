//! The way in for stanzas: the handle that routes hold, and the message that brings them.

use std::sync::Arc;

use actix::prelude::SendError;
use actix::{Addr, Handler, Message};
use bytes::Bytes;
use heteronym_proto::classic::remotes::StreamId;
use heteronym_proto::limits::Limits;
use heteronym_proto::pair::Pair;
use heteronym_proto::traffic::Traffic;

use super::ClassicStream;
use crate::host_connection::strand;
use crate::metrics::Direction;
use crate::router::Router;
use crate::{Gauge, now};

/// Reaches a stream from the data path.
#[derive(Clone, Debug)]
pub struct ClassicHandle {
    /// Which.
    pub id: StreamId,
    /// Its actor.
    pub addr: Addr<ClassicStream>,
    /// The bytes on their way to it.
    pub gauge: Arc<Gauge>,
    /// Who finds another way for what the stream does not take any more.
    pub router: Addr<Router>,
}

impl ClassicHandle {
    /// Hands stanzas over; gives them back where there is no room. Where there is no actor any more,
    /// the Router finds another way.
    pub(crate) fn send(&self, stanzas: Vec<(Pair, Bytes)>, limits: &Limits) -> Result<(), Vec<(Pair, Bytes)>> {
        let bytes = stanzas.iter().map(|(_, stanza)| stanza.len()).sum();
        if self.gauge.bytes() + bytes > limits.host_queue_bytes {
            return Err(stanzas);
        }
        self.gauge.posted(bytes);
        match self.addr.try_send(SendClassic { stanzas, bytes, router: self.router.clone() }) {
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

/// Stanzas for remote domains. Where the stream ends before it takes them, they go back to the Router.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SendClassic {
    /// By pair, in order.
    pub stanzas: Vec<(Pair, Bytes)>,
    /// Their bytes, as the gauge was told.
    pub bytes: usize,
    /// Where they go back to.
    pub router: Addr<Router>,
}

impl Drop for SendClassic {
    fn drop(&mut self) {
        strand(&self.router, self.stanzas.drain(..).map(|(_, stanza)| stanza).collect());
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
        self.with_core(ctx, |stream, actions| {
            for (pair, stanza) in stanzas {
                stream.send(now, &pair, stanza, (), actions);
            }
        });
    }
}
