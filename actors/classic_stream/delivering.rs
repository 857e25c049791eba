//! The way out for stanzas: to our servers, and back to their senders where that fails.

use actix::{AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use heteronym_proto::control::UndeliveredReason;
use heteronym_proto::hosted::Entry;
use heteronym_proto::stanza_error::{Condition, bounce_bytes};
use heteronym_proto::traffic::Traffic;

use super::ClassicStream;
use crate::local_link::{Deliver, Delivered, Origin};
use crate::metrics::Direction;

impl ClassicStream {
    /// Hands stanzas to our servers, one message per server and read.
    pub(super) fn deliver(&mut self, deliveries: Vec<(Entry, Bytes)>, ctx: &mut Context<Self>) {
        let mut traffic = Traffic::default();
        let mut by_entry: Vec<(Entry, Vec<Delivered>)> = Vec::new();
        for (entry, bytes) in deliveries {
            traffic.count(&bytes);
            match by_entry.iter_mut().find(|(other, _)| *other == entry) {
                Some((_, list)) => list.push(Delivered { n: 0, bytes }),
                None => by_entry.push((entry, vec![Delivered { n: 0, bytes }])),
            }
        }
        self.shared.metrics.traffic(Direction::In, traffic);
        for (entry, stanzas) in by_entry {
            let deliver = Deliver { from: Origin::Classic(ctx.address()), stanzas };
            let local = self.shared.locals.get(entry);
            if let Some(local) = &local {
                self.gate.shut_if_full(&local.gauge);
            }
            let full = match local {
                Some(local) => local.deliver(deliver).err(),
                None => Some(deliver),
            };
            for stanza in full.map(|deliver| deliver.stanzas).unwrap_or_default() {
                self.send_back(&stanza.bytes, Condition::ResourceConstraint, "the domain's server does not read", ctx);
            }
        }
    }

    /// Tells a remote sender that its stanza was not delivered, by whatever way leads there.
    pub(super) fn send_back(&mut self, stanza: &[u8], condition: Condition, text: &str, ctx: &mut Context<Self>) {
        self.shared.metrics.stanza_error(condition.as_str(), "classic");
        if let Some(error) = bounce_bytes(stanza, condition, text) {
            self.tell_answer(error, ctx);
        }
    }
}

/// A stanza that came by this stream could not be delivered to our server.
#[derive(Message)]
#[rtype(result = "()")]
pub struct NotDelivered(pub Bytes, pub UndeliveredReason);

impl Handler<NotDelivered> for ClassicStream {
    type Result = ();

    fn handle(&mut self, NotDelivered(stanza, reason): NotDelivered, ctx: &mut Self::Context) {
        let (condition, text) = reason.told();
        self.send_back(&stanza, condition, text, ctx);
    }
}
