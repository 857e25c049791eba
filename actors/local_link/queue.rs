//! What waits for a server: while there is a link, to be written; while there is none, for the grace.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler};
use bytes::{Bytes, BytesMut};
use heteronym_net::wire::Source;
use heteronym_proto::batch::Batch;
use heteronym_proto::control::UndeliveredReason;
use heteronym_proto::jabberd2::in_route;
use heteronym_proto::stanza_error::bounce_bytes;

use super::LocalLink;
use super::local_handle::{Deliver, HostOrigin, Origin, bounce_to_sender, cost};
use super::unread::Unread;
use crate::host_connection::{Undeliverable, Undelivered};
use crate::router::Reply;
use crate::{Gauge, Shared};

impl LocalLink {
    /// Queues stanzas for the link, or lets them wait for one.
    pub(super) fn enqueue(&mut self, from: Origin, stanzas: Batch<u64>) {
        let (now, from) = (crate::now().instant, Arc::new(from));
        if let (None, Some(stream)) = (&self.link, &self.servers.out) {
            self.stanzas_out += stanzas.len() as u64;
            return self.send_to_server(stream, &from, &stanzas);
        }
        let waiting = Waiting { since: now, tries: 0, from, stanzas };
        if let Some(link) = &self.link {
            let mut out = link.out.borrow_mut();
            out.bytes += waiting.cost();
            out.waiting.push_back(waiting);
            self.gauge.queued_is(out.bytes);
            drop(out);
            link.wake.notify_one();
            return;
        }
        self.waiting_bytes += waiting.cost();
        self.waiting.push_back(waiting);
        self.gauge.queued_is(self.waiting_bytes);
    }

    /// Hands back what has waited longer than the grace, and looks again when the next has.
    pub(super) fn watch_waiting(&mut self, ctx: &mut Context<Self>) {
        let (now, grace) = (crate::now().instant, self.shared.config().limits.local_link_grace);
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| now >= waiting.since + grace) {
            self.waiting_bytes -= waiting.cost();
            self.returned = self.returned.saturating_sub(1);
            self.hand_back(&waiting);
        }
        if self.is_up() {
            return;
        }
        self.gauge.queued_is(self.waiting_bytes);
        if let Some(first) = self.waiting.front() {
            let wait = (first.since + grace).saturating_duration_since(now) + Duration::from_millis(1);
            ctx.run_later(wait, |this, ctx| {
                if !this.is_up() {
                    this.watch_waiting(ctx);
                }
            });
        }
    }

    /// Hands back everything that waits: there will be no other link.
    pub(super) fn hand_back_all(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.hand_back(&waiting);
        }
        (self.waiting_bytes, self.returned) = (0, 0);
        self.gauge.queued_is(0);
    }

    fn hand_back(&self, Waiting { from, stanzas, .. }: &Waiting) {
        for (n, stanza) in stanzas.iter() {
            hand_back(&self.shared, from, n, stanza, UndeliveredReason::DomainUnavailable);
        }
    }

    /// Lets what a link has left wait for the next one, but for what was on too many already: the server may be
    /// choking on one of them.
    pub(super) fn keep(&mut self, left: Vec<Waiting>) {
        for waiting in left {
            if waiting.tries > TRIES {
                self.hand_back(&waiting);
            } else {
                self.waiting_bytes += waiting.cost();
                self.waiting.push_back(waiting);
            }
        }
    }

    /// Whether the server can be given stanzas now.
    pub(super) fn is_up(&self) -> bool {
        self.link.is_some() || self.servers.out.is_some()
    }
}

/// Links that may end with a stanza unread before it is handed back.
const TRIES: u8 = 2;

/// The stanzas of one message.
pub(super) struct Waiting {
    pub(super) since: Instant,
    /// How many links ended when they were written and not seen to be read.
    pub(super) tries: u8,
    pub(super) from: Arc<Origin>,
    pub(super) stanzas: Batch<u64>,
}

impl Waiting {
    /// Bytes by which they count.
    pub(super) fn cost(&self) -> usize {
        cost(&self.stanzas)
    }
}

/// What is to be written to the server.
pub(super) struct OutQueue {
    /// Goes out before the first stanza.
    pub(super) greeting: Bytes,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) raw: VecDeque<Bytes>,
    pub(super) bytes: usize,
    pub(super) closed: bool,
    pub(super) gauge: Arc<Gauge>,
    pub(super) written: u64,
    /// What was written and not seen to be read; nothing, where that cannot be seen.
    pub(super) unread: Option<Unread>,
    /// Where each stanza is put into a route of jabberd2's: the name that is bound there.
    pub(super) in_routes: Option<(String, Shared)>,
}

impl OutQueue {
    /// Everything that was not seen to be read, in order. Its time begins anew.
    pub(super) fn take_all(&mut self) -> Vec<Waiting> {
        let since = crate::now().instant;
        let unread = self.unread.as_mut().map(Unread::take).unwrap_or_default();
        let again = |waiting: Waiting| Waiting { since, tries: waiting.tries + 1, ..waiting };
        let unread = unread.into_iter().map(again);
        self.bytes = 0;
        unread.chain(self.waiting.drain(..)).collect()
    }

    /// The server has read everything that was written.
    pub(super) fn was_read(&mut self) {
        self.unread.as_mut().map(Unread::take);
    }

    fn write(&self, Waiting { from, stanzas, .. }: &Waiting, out: &mut BytesMut) {
        let Some((name, shared)) = &self.in_routes else { return out.extend_from_slice(stanzas.as_bytes()) };
        for (n, stanza) in stanzas.iter() {
            match in_route(name, stanza) {
                Some(route) => out.extend_from_slice(&route),
                None => hand_back(shared, from, n, stanza, UndeliveredReason::Policy),
            }
        }
    }
}

impl Source for OutQueue {
    fn fill(&mut self, out: &mut BytesMut, room: usize) {
        let end = out.len() + room;
        out.extend_from_slice(&std::mem::take(&mut self.greeting));
        while out.len() < end {
            let fits = |next: &mut Waiting| out.is_empty() || out.len() + next.stanzas.as_bytes().len() <= end;
            let Some(waiting) = self.waiting.pop_front_if(fits) else { break };
            self.bytes -= waiting.cost();
            self.written += waiting.stanzas.len() as u64;
            self.write(&waiting, out);
            if let Some(unread) = &mut self.unread {
                unread.wrote(waiting);
            }
        }
        if let Some(unread) = self.unread.as_mut().filter(|_| !self.closed) {
            unread.ask(out);
        }
        if self.waiting.is_empty() {
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

/// Tells where a stanza came from that it was not delivered.
pub(crate) fn hand_back(shared: &Shared, from: &Origin, n: u64, stanza: &[u8], reason: UndeliveredReason) {
    match from {
        Origin::Host(HostOrigin { link, router, peer, serial }) => {
            let of = Some(Undelivered { n: (*serial, n), reason, stanza: Bytes::copy_from_slice(stanza) });
            // A link that has ended does not take it: then the message itself tells the Router.
            drop(link.try_send(Undeliverable { of, peer: peer.clone(), router: router.clone() }));
        }
        Origin::Classic(router) => {
            let (condition, text) = reason.told();
            shared.metrics.stanza_error(condition.as_str(), "classic");
            if let Some(error) = bounce_bytes(stanza, condition, text) {
                let _ = router.try_send(Reply(error));
            }
        }
        Origin::Inside => {
            let (condition, text) = reason.told();
            bounce_to_sender(shared, stanza, (condition, reason.as_str()), text);
        }
    }
}

impl Handler<Deliver> for LocalLink {
    type Result = ();

    fn handle(&mut self, deliver: Deliver, ctx: &mut Self::Context) {
        self.gauge.received(deliver.bytes());
        let was_empty = self.waiting.is_empty();
        self.enqueue(deliver.from, deliver.stanzas);
        if !self.is_up() && was_empty {
            self.watch_waiting(ctx);
        }
    }
}
