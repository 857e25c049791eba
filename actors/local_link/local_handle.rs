//! The way in for stanzas: the handle of a local server, and the errors that its users get.

use std::sync::Arc;

use actix::{Addr, Message};
use bytes::Bytes;
use heteronym_proto::batch::Batch;
use heteronym_proto::checker::Scope;
use heteronym_proto::limits::LOCAL_QUEUE_BYTES;
use heteronym_proto::name::Name;
use heteronym_proto::stanza;
use heteronym_proto::stanza_error::{Condition, bounce};
use tracing::{debug, warn};

use super::{LocalLink, ToRoute};
use crate::host_connection::HostConnection;
use crate::router::Router;
use crate::{Gauge, Shared};

/// Reaches a local server.
#[derive(Clone)]
pub struct LocalHandle {
    /// Its actor.
    pub addr: Addr<LocalLink>,
    /// The bytes on their way to its server.
    pub gauge: Arc<Gauge>,
    /// The bytes on their way from its server by loopback S2S.
    pub intake: Arc<Gauge>,
}

impl LocalHandle {
    /// Hands over what a stream of the server has brought; whether there is an actor to take it.
    pub(crate) fn route(&self, stanzas: ToRoute) -> bool {
        let bytes = stanzas.bytes;
        self.intake.posted(bytes);
        self.addr.try_send(stanzas).is_ok()
    }

    /// Hands stanzas over; gives them back where there is no room or no actor.
    pub fn deliver(&self, mut deliver: Deliver) -> Result<(), Batch<u64>> {
        deliver.stanzas.shrink();
        let bytes = deliver.bytes();
        if self.gauge.bytes() + bytes > LOCAL_QUEUE_BYTES {
            return Err(deliver.stanzas);
        }
        self.gauge.posted(bytes);
        self.addr.try_send(deliver).map_err(|error| {
            self.gauge.received(bytes);
            error.into_inner().stanzas
        })
    }
}

/// Stanzas for our server. The result: nothing; what cannot be delivered is handed back later.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver {
    /// Who is told what could not be delivered.
    pub from: Origin,
    /// In order, by their numbers on the host stream that they came by; 0 where they came by none.
    pub stanzas: Batch<u64>,
}

/// Where stanzas come from, and how their senders learn that they were not delivered.
#[derive(Clone)]
pub enum Origin {
    /// A host stream: it tells the number.
    Host(HostOrigin),
    /// A classic stream, which may have ended meanwhile: the Router finds the way for a stanza error.
    Classic(Addr<Router>),
    /// One of our own servers: the sender gets a stanza error.
    Inside,
}

/// The host stream that a stanza came by.
#[derive(Clone)]
pub struct HostOrigin {
    /// Its link then.
    pub link: Addr<HostConnection>,
    /// Who knows what has taken that link's place.
    pub router: Addr<Router>,
    /// The peer host.
    pub peer: Name,
    /// The session that the number is of.
    pub serial: u64,
}

/// A stanza for our server, by itself.
pub struct Delivered {
    /// Its number on the host stream it came by; 0 where it came by none.
    pub n: u64,
    /// The stanza.
    pub bytes: Bytes,
}

/// What a stanza costs beyond its bytes while it waits: many small ones are no way round the bound.
const OVERHEAD: usize = 128;

/// Bytes by which stanzas count.
pub(super) fn cost(stanzas: &Batch<u64>) -> usize {
    stanzas.as_bytes().len() + OVERHEAD * stanzas.len()
}

impl Deliver {
    pub(super) fn bytes(&self) -> usize {
        cost(&self.stanzas)
    }
}

/// Tells the sender of a stanza, one of our local users, that it was not delivered.
///
/// `why` is the error that the sender gets, and a word for the metrics.
pub(crate) fn bounce_to_sender(shared: &Shared, bytes: &[u8], why: (Condition, &'static str), text: &str) {
    let (condition, reason) = why;
    shared.metrics.stanza_error(condition.as_str(), reason);
    let Ok(stanza) = stanza::read(bytes, &Scope::SERVER) else { return };
    let (config, condition_shown) = (shared.config(), condition.as_str());
    let (from, to) = (stanza.from(), stanza.to());
    let (from, to) = (config.jids.show(&from), config.jids.show(&to));
    debug!(%from, %to, condition = condition_shown, why = text, "a stanza goes back to its sender");
    let Some(error) = bounce(&stanza, condition, text) else {
        debug!(%from, %to, condition = condition_shown, "a stanza that may not be answered was dropped");
        return;
    };
    let entry = config.hosted.entry(stanza.from_domain());
    let Some(local) = entry.and_then(|entry| shared.locals.get(entry)) else { return };
    let answer = Deliver { from: Origin::Inside, stanzas: [(0, error)].into_iter().collect() };
    if local.deliver(answer).is_err() {
        warn!(domain = stanza.from_domain(), "an error for a local user was dropped: its server does not read");
    }
}
