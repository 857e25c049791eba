//! What an operator asks of a connection.

use std::sync::Arc;

use actix::{Context, Handler, Message};
use heteronym_proto::control::DeactivateReason;
use heteronym_proto::limits::CONTROL_BYTES;
use heteronym_proto::pair::Pair;
use heteronym_proto::status::{QueuePlace, QueueStatus};

use super::{HostConnection, stream_config};
use crate::{Config, now};

/// What an operator asks for.
#[derive(Message)]
#[rtype(result = "()")]
pub enum OfOperator {
    /// This configuration counts from now on.
    Reconfigure(Arc<Config>),
    /// The pair is wanted now, whatever was remembered against it.
    Activate(Pair),
    /// The pair is to end.
    Deactivate(Pair),
}

impl Handler<OfOperator> for HostConnection {
    type Result = ();

    fn handle(&mut self, asked: OfOperator, ctx: &mut Self::Context) {
        match asked {
            OfOperator::Reconfigure(config) => self.reconfigure(&config, ctx),
            OfOperator::Activate(pair) => self.with_core(ctx, |stream, out| stream.want_now(now(), &pair, out)),
            OfOperator::Deactivate(pair) => {
                self.with_core(ctx, |stream, out| stream.deactivate_pair(&pair, DeactivateReason::Policy, out));
            }
        }
    }
}

impl HostConnection {
    fn reconfigure(&mut self, config: &Config, ctx: &mut Context<Self>) {
        if self.link.is_some() {
            self.framer.set_max_bytes(config.limits.stanza_bytes.max(CONTROL_BYTES));
        }
        self.with_core(ctx, |stream, out| stream.reconfigure(now(), stream_config(config), out));
    }
}

/// What waits on this connection, by pair.
#[derive(Message)]
#[rtype(result = "Vec<QueueStatus>")]
pub struct GetQueues;

impl Handler<GetQueues> for HostConnection {
    type Result = Vec<QueueStatus>;

    fn handle(&mut self, GetQueues: GetQueues, _: &mut Self::Context) -> Self::Result {
        let Some(link) = &self.link else { return Vec::new() };
        let (mut wired, instant) = (link.wired.borrow_mut(), now().instant);
        wired.stream.settle();
        let host = wired.stream.peer().to_string();
        let queues = wired.stream.waiting().map(|(record, waiting)| QueueStatus {
            place: QueuePlace::Host,
            name: Some(host.clone()),
            pair: Some(record.pair.clone()),
            count: waiting.count,
            bytes: waiting.bytes,
            oldest: instant.saturating_duration_since(waiting.since),
            why: match (record.last_error(), waiting.open) {
                (_, true) => "the connection takes no more at the moment".to_owned(),
                (Some(error), false) => error.to_string(),
                (None, false) if record.active.is_some() => "the peer asked to hold stanzas for this domain".to_owned(),
                (None, false) => "the pair is being activated".to_owned(),
            },
        });
        queues.collect()
    }
}
