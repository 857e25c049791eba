//! Where the stanzas of one read go: one message per destination.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use heteronym_proto::batch::{Batch, push_for};
use heteronym_proto::hosted::Entry;
use heteronym_proto::limits::LOCAL_QUEUE_BYTES;
use heteronym_proto::mux::Slot;
use heteronym_proto::pair::Pair;
use heteronym_proto::routes::{KnownRoutes, Route};
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::traffic::Traffic;
use tracing::warn;

use super::LocalLink;
use super::local_handle::{Deliver, Origin, bounce_to_sender};
use crate::classic_stream::ClassicHandle;
use crate::host_connection::LinkHandle;
use crate::metrics::Direction;
use crate::router::Unrouted;
use crate::shell::Gate;
use crate::{Gauge, Shared};

impl LocalLink {
    /// Sends what one read brought; what was read from pauses at `gate` for a destination that is full.
    pub(super) fn dispatch(&mut self, outgoing: Outgoing, gate: Option<&Gate>) {
        self.batches += 1;
        let Outgoing { links, classics, locals, router, answers, .. } = outgoing;
        let config = self.shared.config();
        for (link, stanzas) in links {
            pause(gate, &link.gauge);
            if let Err(stanzas) = link.send(stanzas, &config.limits) {
                for (_, stanza) in stanzas.iter() {
                    let text = "the connection to the other host is full";
                    bounce_to_sender(&self.shared, stanza, (Condition::ResourceConstraint, "host-queue-full"), text);
                }
            }
        }
        for (stream, stanzas) in classics {
            pause(gate, &stream.gauge);
            self.send_by_classic(&stream, stanzas);
        }
        for (entry, stanzas) in locals {
            self.deliver_inside(entry, stanzas);
        }
        if !router.is_empty() {
            self.ask_router(router);
        }
        if !answers.is_empty() {
            pause(gate, &self.gauge);
            self.answer(answers);
        }
    }

    fn send_by_classic(&mut self, stream: &ClassicHandle, stanzas: Vec<(Pair, Bytes)>) {
        let limits = &self.shared.config().limits;
        for (_, stanza) in stream.send(stanzas, limits).err().unwrap_or_default() {
            let text = "the connection to the other server is full";
            bounce_to_sender(&self.shared, &stanza, (Condition::ResourceConstraint, "classic-queue-full"), text);
        }
    }

    /// A server that does not read its answers is read no faster than it reads; past the bound they
    /// are dropped.
    fn answer(&mut self, answers: Vec<Bytes>) {
        if self.gauge.bytes() > LOCAL_QUEUE_BYTES {
            return warn!(local = self.name(), "answers were dropped: the server does not read");
        }
        self.enqueue(Origin::Inside, answers.into_iter().map(|answer| (0, answer)).collect());
    }

    pub(super) fn deliver_inside(&mut self, entry: Entry, stanzas: Batch<u64>) {
        let mut traffic = Traffic::default();
        stanzas.iter().for_each(|(_, stanza)| traffic.count(stanza));
        self.shared.metrics.traffic(Direction::Local, traffic);
        let deliver = Deliver { from: Origin::Inside, stanzas };
        let full = match self.shared.locals.get(entry) {
            Some(local) => local.deliver(deliver).err(),
            None => Some(deliver.stanzas),
        };
        for (_, stanza) in full.unwrap_or_default().iter() {
            let text = "the domain's server does not read";
            bounce_to_sender(&self.shared, stanza, (Condition::ResourceConstraint, "local-queue-full"), text);
        }
    }

    pub(super) fn ask_router(&mut self, stanzas: Vec<(Pair, Bytes)>) {
        let batch = Unrouted { entry: self.entry, batch: self.batches, stanzas };
        if let Err(error) = self.router.try_send(batch) {
            for (pair, stanza) in error.into_inner().stanzas {
                self.via_router.remove(&pair);
                let text = "the router is busy";
                bounce_to_sender(&self.shared, &stanza, (Condition::ResourceConstraint, "router-busy"), text);
            }
        }
    }
}

fn pause(gate: Option<&Gate>, destination: &Arc<Gauge>) {
    if let Some(gate) = gate {
        gate.shut_if_full(destination);
    }
}

/// Stanzas for one classic stream, with their pairs.
type ForClassic = (Arc<ClassicHandle>, Vec<(Pair, Bytes)>);

/// Where the stanzas of one read go: one message per destination.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) links: Vec<(Arc<LinkHandle>, Batch<Slot>)>,
    pub(super) classics: Vec<ForClassic>,
    pub(super) locals: Vec<(Entry, Batch<u64>)>,
    pub(super) router: Vec<(Pair, Bytes)>,
    pub(super) answers: Vec<Bytes>,
    /// Bytes that a batch is given room for.
    pub(super) room: usize,
}

impl Outgoing {
    /// Whether the route leads anywhere but to the Router.
    fn by_route(&mut self, pair: &Pair, route: &Route<LinkHandle, ClassicHandle>, stanza: &[u8]) -> bool {
        match route {
            Route::Link { link, slot } => self.by_link(link, *slot, stanza),
            Route::Classic { stream } => self.by_classic(stream, pair, stanza),
            Route::Local(inside) => {
                inside.stanzas.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                push_for(&mut self.locals, &inside.entry, (0, stanza), 0);
            }
            Route::Moving => return false,
        }
        true
    }

    fn by_link(&mut self, link: &Arc<LinkHandle>, slot: Slot, stanza: &[u8]) {
        push_for(&mut self.links, link, (slot, stanza), self.room);
    }

    fn by_classic(&mut self, stream: &Arc<ClassicHandle>, pair: &Pair, stanza: &[u8]) {
        let bytes = Bytes::copy_from_slice(stanza);
        match self.classics.iter_mut().find(|(other, _)| other.id == stream.id) {
            Some((_, stanzas)) => stanzas.push((pair.clone(), bytes)),
            None => self.classics.push((Arc::clone(stream), vec![(pair.clone(), bytes)])),
        }
    }
}

/// Sorts one stanza. A pair that the Router still holds stanzas of goes on through the Router, so
/// that none overtakes another.
pub(super) fn route(
    shared: &Shared,
    (known, via_router): (&mut KnownRoutes<LinkHandle>, &mut HashMap<Pair, u64>),
    batch: u64,
    outgoing: &mut Outgoing,
    (from, to): (&str, &str),
    stanza: &[u8],
) {
    let key: &dyn heteronym_proto::pair::AsPair = &(from, to);
    let held = !via_router.is_empty() && via_router.contains_key(key);
    if !held && let Some((link, slot)) = known.find(&shared.routes, (from, to)) {
        return outgoing.by_link(link, slot, stanza);
    }
    if !held
        && let Some((pair, route)) = shared.routes.find(from, to)
        && outgoing.by_route(&pair, &route, stanza)
    {
        if let Route::Link { link, slot } = route {
            known.remember(&pair, link, slot);
        }
        return;
    }
    let parsed = (heteronym_proto::name::Name::parse(from), heteronym_proto::name::Name::parse(to));
    if let (Ok(local), Ok(remote)) = parsed {
        let pair = Pair { local, remote };
        via_router.insert(pair.clone(), batch);
        outgoing.router.push((pair, Bytes::copy_from_slice(stanza)));
    }
}
