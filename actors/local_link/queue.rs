//! What waits for a server: while there is a link, to be written; while there is none, for the grace.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler};
use bytes::{Bytes, BytesMut};
use heteronym_net::wire::Source;
use heteronym_proto::control::UndeliveredReason;
use heteronym_proto::stanza_error::Condition;

use super::LocalLink;
use super::local_handle::{Deliver, Delivered, Origin, bounce_to_sender};
use crate::classic_stream::NotDelivered;
use crate::host_connection::Undeliverable;
use crate::{Gauge, Shared};

impl LocalLink {
    /// Queues stanzas for the link, or lets them wait for one.
    pub(super) fn enqueue(&mut self, from: Origin, stanzas: Vec<Delivered>) {
        let (now, from) = (crate::now().instant, Rc::new(from));
        let waiting = stanzas.into_iter().map(|stanza| Waiting { since: now, from: from.clone(), stanza });
        if let Some(link) = &self.link {
            let mut out = link.out.borrow_mut();
            for waiting in waiting {
                out.bytes += waiting.stanza.bytes.len();
                out.stanzas.push_back(waiting);
            }
            self.gauge.queued_is(out.bytes);
            drop(out);
            link.wake.notify_one();
            return;
        }
        for waiting in waiting {
            self.waiting_bytes += waiting.stanza.bytes.len();
            self.waiting.push_back(waiting);
        }
        self.gauge.queued_is(self.waiting_bytes);
    }

    /// Hands back what has waited longer than the grace, and looks again when the next has.
    pub(super) fn watch_waiting(&mut self, ctx: &mut Context<Self>) {
        let (now, grace) = (crate::now().instant, self.shared.config().limits.local_link_grace);
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| now >= waiting.since + grace) {
            self.waiting_bytes -= waiting.stanza.bytes.len();
            hand_back(&self.shared, waiting, UndeliveredReason::DomainUnavailable);
        }
        self.gauge.queued_is(self.waiting_bytes);
        if let (Some(first), None) = (self.waiting.front(), &self.link) {
            let wait = (first.since + grace).saturating_duration_since(now) + Duration::from_millis(1);
            ctx.run_later(wait, |this, ctx| {
                if this.link.is_none() {
                    this.watch_waiting(ctx);
                }
            });
        }
    }

    /// Hands back everything that waits: there will be no other link.
    pub(super) fn hand_back_all(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            hand_back(&self.shared, waiting, UndeliveredReason::DomainUnavailable);
        }
        self.waiting_bytes = 0;
        self.gauge.queued_is(0);
    }
}

pub(super) struct Waiting {
    pub(super) since: Instant,
    /// Shared by all stanzas of one message.
    pub(super) from: Rc<Origin>,
    pub(super) stanza: Delivered,
}

/// What is to be written to the server.
pub(super) struct OutQueue {
    /// Goes out before the first stanza.
    pub(super) greeting: Bytes,
    pub(super) stanzas: VecDeque<Waiting>,
    pub(super) raw: VecDeque<Bytes>,
    pub(super) bytes: usize,
    pub(super) closed: bool,
    pub(super) gauge: Arc<Gauge>,
    pub(super) written: u64,
}

impl Source for OutQueue {
    fn fill(&mut self, out: &mut BytesMut, room: usize) {
        let end = out.len() + room;
        out.extend_from_slice(&std::mem::take(&mut self.greeting));
        while out.len() < end {
            let Some(waiting) = self.stanzas.pop_front() else { break };
            self.bytes -= waiting.stanza.bytes.len();
            self.written += 1;
            out.extend_from_slice(&waiting.stanza.bytes);
        }
        if self.stanzas.is_empty() {
            for raw in self.raw.drain(..) {
                out.extend_from_slice(&raw);
            }
        }
        self.gauge.queued_is(self.bytes);
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

fn hand_back(shared: &Shared, waiting: Waiting, reason: UndeliveredReason) {
    match &*waiting.from {
        Origin::Host(from) => {
            let _ = from.try_send(Undeliverable { n: waiting.stanza.n, reason });
        }
        Origin::Classic(from) => {
            let _ = from.try_send(NotDelivered(waiting.stanza.bytes));
        }
        Origin::Inside => {
            let text = "the domain's server is down";
            bounce_to_sender(
                shared,
                &waiting.stanza.bytes,
                (Condition::RemoteServerTimeout, "domain-unavailable"),
                text,
            );
        }
    }
}

impl Handler<Deliver> for LocalLink {
    type Result = ();

    fn handle(&mut self, deliver: Deliver, ctx: &mut Self::Context) {
        self.gauge.received(deliver.bytes());
        let was_empty = self.waiting.is_empty();
        self.enqueue(deliver.from, deliver.stanzas);
        if self.link.is_none() && was_empty {
            self.watch_waiting(ctx);
        }
    }
}
