//! A server that attaches by loopback S2S: the one stream that it gets its stanzas by, and those that it
//! dials, one for each pair of domains as servers do. Each is a child of this actor.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{ActorContext, AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use heteronym_proto::batch::Batch;
use heteronym_proto::checker::Scope;
use heteronym_proto::classic::remotes::StreamId;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza;
use tracing::{info, warn};

use super::queue::Waiting;
use super::routing::Outgoing;
use super::{Delivered, LocalLink, Origin};
use crate::classic_stream::{ClassicHandle, ClassicStream, EndStream, Parent, Reconfigure, Start};
use crate::shell::Gate;
use crate::{Loopback, now};

/// Between attempts to reach a server that we dial.
pub(super) const REDIAL: Duration = Duration::from_secs(2);

/// The streams with a server.
#[derive(Default)]
pub(super) struct Servers {
    /// The one that it gets its stanzas by, once it may send.
    pub(super) out: Option<ClassicHandle>,
    /// The same, until then.
    dialling: Option<StreamId>,
    /// Those that it has dialled, and ours.
    open: HashMap<StreamId, ClassicHandle>,
}

impl Servers {
    pub(super) fn reconfigure(&self) {
        for stream in self.open.values() {
            let _ = stream.addr.try_send(Reconfigure);
        }
    }
}

impl LocalLink {
    /// Dials the server's S2S port, where it is attached that way.
    pub(super) fn attach_by_s2s(&mut self, loopback: &Loopback, ctx: &mut Context<Self>) {
        if self.servers.out.is_some() || self.servers.dialling.is_some() {
            return;
        }
        let config = self.shared.config();
        let Some(domain) = config.hosted.first_of(self.entry) else { return };
        let pair = Pair { local: config.own_name(), remote: domain.clone() };
        let start = Start::Attach { address: loopback.address, pair };
        let parent = Parent::Local(self.entry, self.own_handle(ctx));
        let id = ClassicStream::launch_for(&self.shared, Some(parent), Arc::clone(&self.gauge), start);
        self.servers.dialling = Some(id);
    }

    /// Hands stanzas to the stream that the server gets them by.
    pub(super) fn send_to_server(&self, stream: &ClassicHandle, origin: &Arc<Origin>, stanzas: &Batch<u64>) {
        let by_pair = |(n, bytes): (u64, Bytes)| {
            let read = stanza::read(&bytes, &Scope::SERVER).ok()?;
            let (local, remote) = (Name::parse(read.from_domain()).ok()?, Name::parse(read.to_domain()).ok()?);
            Some((Pair { local, remote }, Delivered { n, bytes }))
        };
        stream.send_to_server(Arc::clone(origin), stanzas.copies().filter_map(by_pair).collect());
    }

    /// Ends all streams of the server in order.
    pub(super) fn end_streams(&mut self) {
        for stream in self.servers.open.values() {
            let _ = stream.addr.try_send(EndStream);
        }
    }

    /// Whether nothing is left of what the server is attached by.
    pub(super) fn is_detached(&self) -> bool {
        self.link.is_none() && self.servers.open.is_empty() && self.servers.dialling.is_none()
    }

    fn wait_for_server(&mut self, at: usize, origin: &Arc<Origin>, (n, stanza): (u64, Bytes)) {
        let stanzas = [(n, stanza)].into_iter().collect();
        let waiting = Waiting { since: now().instant, tries: 0, from: Arc::clone(origin), stanzas };
        self.waiting_bytes += waiting.cost();
        self.waiting.insert(at.min(self.waiting.len()), waiting);
    }
}

/// A stream with the server is open.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ServerOpen(pub ClassicHandle);

impl Handler<ServerOpen> for LocalLink {
    type Result = ();

    fn handle(&mut self, ServerOpen(stream): ServerOpen, _: &mut Self::Context) {
        self.servers.open.insert(stream.id, stream);
    }
}

/// The stream that we have dialled may send: the server has found our key right.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ServerUp(pub StreamId);

impl Handler<ServerUp> for LocalLink {
    type Result = ();

    fn handle(&mut self, ServerUp(id): ServerUp, _: &mut Self::Context) {
        let Some(stream) = self.servers.open.get(&id).filter(|_| self.servers.dialling == Some(id)).cloned() else {
            return;
        };
        self.servers.dialling = None;
        self.last_error = None;
        info!(local = self.name(), "local link up");
        self.returned = 0;
        self.waiting_bytes = 0;
        self.gauge.queued_is(0);
        for Waiting { from, stanzas, .. } in std::mem::take(&mut self.waiting) {
            self.send_to_server(&stream, &from, &stanzas);
        }
        self.servers.out = Some(stream);
    }
}

/// A stream with the server has ended, or was never open.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ServerEnded {
    /// Which.
    pub id: StreamId,
    /// Why, for people.
    pub why: String,
    /// What was not written, in order.
    pub unsent: Vec<(Bytes, (Arc<Origin>, u64))>,
}

impl Handler<ServerEnded> for LocalLink {
    type Result = ();

    fn handle(&mut self, ServerEnded { id, why, unsent }: ServerEnded, ctx: &mut Self::Context) {
        self.servers.open.remove(&id);
        let dialled = self.servers.dialling.take_if(|dialling| *dialling == id).is_some();
        let was_out = self.servers.out.take_if(|out| out.id == id).is_some();
        if dialled || was_out {
            if self.last_error.as_ref() != Some(&why) {
                warn!(local = self.name(), why, "our server cannot be reached");
            }
            self.last_error = Some(why);
            for (bytes, (origin, n)) in unsent {
                self.wait_for_server(self.returned, &origin, (n, bytes));
                self.returned += 1;
            }
            self.gauge.queued_is(self.waiting_bytes);
        }
        if self.draining {
            if self.is_detached() {
                self.hand_back_all();
                ctx.stop();
            }
            return;
        }
        if dialled || was_out {
            self.watch_waiting(ctx);
            ctx.run_later(REDIAL, |this, ctx| this.dial(ctx));
        }
    }
}

/// Stanzas that were on their way to the stream when it ended, in order.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ServerStranded {
    /// Who is told what could not be delivered.
    pub origin: Arc<Origin>,
    /// In order.
    pub stanzas: Vec<Delivered>,
}

impl Handler<ServerStranded> for LocalLink {
    type Result = ();

    fn handle(&mut self, ServerStranded { origin, stanzas }: ServerStranded, ctx: &mut Self::Context) {
        if let Some(stream) = &self.servers.out {
            return self.send_to_server(stream, &origin, &stanzas.into_iter().map(|one| (one.n, one.bytes)).collect());
        }
        for Delivered { n, bytes } in stanzas {
            self.wait_for_server(self.returned, &origin, (n, bytes));
            self.returned += 1;
        }
        self.gauge.queued_is(self.waiting_bytes);
        if self.draining {
            return self.hand_back_all();
        }
        self.watch_waiting(ctx);
    }
}

/// Stanzas that the server has sent by a stream of its own.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ToRoute {
    stanzas: Vec<Bytes>,
    pub(super) bytes: usize,
    gate: Gate,
}

impl ToRoute {
    /// In order, right for a host stream; where they find a queue full, the stream pauses at this gate.
    pub(crate) fn new(stanzas: Vec<Bytes>, gate: Gate) -> Self {
        let bytes = stanzas.iter().map(Bytes::len).sum();
        Self { stanzas, bytes, gate }
    }
}

impl Handler<ToRoute> for LocalLink {
    type Result = ();

    fn handle(&mut self, ToRoute { stanzas, bytes, gate }: ToRoute, _: &mut Self::Context) {
        self.intake.passed_on(bytes);
        let mut outgoing = Outgoing::default();
        for stanza in &stanzas {
            if let Some(verdict) = self.core.by_loopback(stanza) {
                // A stream of its own ends what is no stanza.
                let _ = self.follow(verdict, &mut outgoing);
            }
        }
        self.dispatch(outgoing, Some(&gate));
    }
}

/// An error for one of the server's users, who sent what may not be forwarded.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AnswerServer(pub Bytes);

impl Handler<AnswerServer> for LocalLink {
    type Result = ();

    fn handle(&mut self, AnswerServer(error): AnswerServer, _: &mut Self::Context) {
        self.dispatch(Outgoing { answers: vec![error], ..Outgoing::default() }, None);
    }
}

/// Answered when everything that came before is on its way.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Barrier;

impl Handler<Barrier> for LocalLink {
    type Result = ();

    fn handle(&mut self, Barrier: Barrier, _: &mut Self::Context) {}
}
