//! Pairs without federation: which stream of classic S2S carries them, and what streams tell.

use std::sync::Arc;

use actix::{Addr, AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use heteronym_net::random;
use heteronym_proto::classic::remotes::{Next, StreamId};
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::routes::Route;
use heteronym_proto::stanza_error::Condition;
use tracing::info;

use super::Router;
use super::links::pair_of;
use crate::classic_stream::{ClassicHandle, ClassicStream, Start};
use crate::local_link::bounce_to_sender;
use crate::now;

impl Router {
    /// Hands a pair's stanzas to a stream, or lets them wait for one. `instead` says why not to a link.
    pub(super) fn by_classic(&mut self, pair: &Pair, instead: Arc<str>, ctx: &mut Context<Self>) {
        match self.remotes.next(pair, now().instant) {
            Next::Use(id) => self.hand_to_stream(id, pair),
            Next::Dial => {
                info!(%pair, "no federation: dialling by classic S2S");
                let id = ClassicStream::launch(&self.shared, &ctx.address(), Start::Dial(pair.clone()));
                self.remotes.dialling(&pair.remote, id);
                self.wait_for_stream(pair, instead);
            }
            Next::Wait => {
                self.wait_for_stream(pair, instead);
            }
            Next::Pause(_, condition, why) => self.unreachable(pair, &instead, condition, &why),
        }
    }

    fn hand_to_stream(&mut self, id: StreamId, pair: &Pair) {
        let Some(stream) = self.streams.get(&id) else { return };
        let stanzas = self.waiting.take(pair).into_iter().map(|stanza| (pair.clone(), stanza)).collect();
        if let Err(full) = stream.send(stanzas, &self.shared.config().limits) {
            let stanzas = full.into_iter().map(|(_, stanza)| stanza).collect();
            let text = "the connection to the other server is full";
            self.bounce(stanzas, (Condition::ResourceConstraint, "classic-queue-full"), text);
        }
        self.settle(pair);
    }

    fn wait_for_stream(&mut self, pair: &Pair, instead: Arc<str>) {
        self.for_classic.entry(pair.remote.clone()).or_default().insert(pair.clone(), instead);
    }

    fn unreachable(&mut self, pair: &Pair, instead: &str, condition: Condition, why: &str) {
        let text = format!("{}: {instead}, and classic S2S failed: {why}", pair.remote);
        self.bounce_pair(pair, (condition, "classic"), &text);
    }

    /// The pairs that wait for a stream to `remote` look again.
    fn look_again(&mut self, remote: &Name, ctx: &mut Context<Self>) {
        for (pair, instead) in self.for_classic.remove(remote).unwrap_or_default() {
            self.by_classic(&pair, instead, ctx);
        }
    }
}

/// A stream is open.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ClassicOpen(pub ClassicHandle);

impl Handler<ClassicOpen> for Router {
    type Result = ();

    fn handle(&mut self, ClassicOpen(stream): ClassicOpen, _: &mut Self::Context) {
        self.streams.insert(stream.id, stream);
    }
}

/// A pair may send on a stream.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ClassicUp {
    /// The stream.
    pub stream: ClassicHandle,
    /// The pair.
    pub pair: Pair,
    /// Whether further pairs may be let in there, by dialback.
    pub grows: bool,
}

impl Handler<ClassicUp> for Router {
    type Result = ();

    fn handle(&mut self, ClassicUp { stream, pair, grows }: ClassicUp, ctx: &mut Self::Context) {
        self.remotes.opened(&pair, stream.id, grows);
        let found = self.shared.routes.find(pair.local.as_str(), pair.remote.as_str());
        if !matches!(found.as_deref(), Some(Route::Link { .. })) {
            self.shared.routes.insert(pair.clone(), Route::Classic { stream, pair: pair.clone() });
        }
        self.look_again(&pair.remote, ctx);
    }
}

/// A pair was not let in on a stream.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ClassicDown {
    /// The stream.
    pub id: StreamId,
    /// The pair.
    pub pair: Pair,
    /// Why, for people.
    pub why: String,
    /// What waited for it, in order.
    pub waiting: Vec<Bytes>,
}

impl Handler<ClassicDown> for Router {
    type Result = ();

    fn handle(&mut self, ClassicDown { id, pair, why, waiting }: ClassicDown, ctx: &mut Self::Context) {
        let text = format!("{}: classic S2S failed: {why}", pair.remote);
        self.bounce(waiting, (Condition::RemoteServerTimeout, "classic"), &text);
        if self.streams.get(&id).is_some_and(|_| self.remotes.is_dialling(&pair.remote, id)) {
            self.remotes.ended(
                &pair.remote,
                id,
                (Condition::RemoteServerTimeout, &why),
                now().instant,
                random::bytes::<1>()[0],
            );
            self.look_again(&pair.remote, ctx);
        }
    }
}

/// A stream has ended, or was never open.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ClassicEnded {
    /// Which.
    pub id: StreamId,
    /// The pair that we dialled it for.
    pub dialled: Option<Pair>,
    /// The remote domains that it served.
    pub remotes: Vec<Name>,
    /// Why: for senders, where it was never open, and for the operator.
    pub why: (Condition, String),
    /// What may not have arrived, by pair, in order.
    pub unsent: Vec<(Pair, Vec<Bytes>)>,
}

impl Handler<ClassicEnded> for Router {
    type Result = ();

    fn handle(&mut self, ended: ClassicEnded, ctx: &mut Self::Context) {
        let ClassicEnded { id, dialled, mut remotes, why, unsent } = ended;
        self.streams.remove(&id);
        remotes.extend(dialled.map(|pair| pair.remote));
        remotes.sort();
        remotes.dedup();
        for remote in &remotes {
            self.remotes.ended(remote, id, (why.0, &why.1), now().instant, random::bytes::<1>()[0]);
        }
        if self.drain.is_some() {
            let stanzas = unsent.into_iter().flat_map(|(_, stanzas)| stanzas).collect();
            self.bounce(stanzas, (Condition::RemoteServerTimeout, "shutdown"), "this router shuts down");
            return self.finish_drain_if_done(ctx);
        }
        for (pair, stanzas) in unsent {
            self.wait_again(&pair, stanzas);
            self.find_way(&pair, ctx);
        }
        for remote in &remotes {
            self.look_again(remote, ctx);
        }
    }
}

/// An error that answers a stanza from outside, on its way back.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reply(pub Bytes);

impl Handler<Reply> for Router {
    type Result = ();

    fn handle(&mut self, Reply(error): Reply, ctx: &mut Self::Context) {
        let Some(pair) = pair_of(&error) else { return };
        if let Some(error) = self.waiting.push(&pair, error, now().instant) {
            return bounce_to_sender(&self.shared, &error, (Condition::ResourceConstraint, "waiting-full"), "");
        }
        self.find_way(&pair, ctx);
    }
}

/// The streams that there are, by id.
pub(super) type Streams = std::collections::HashMap<StreamId, ClassicHandle>;

/// Ends every stream, behind what may be sent.
pub(super) fn end_all(streams: &Streams) {
    for stream in streams.values() {
        let addr: &Addr<ClassicStream> = &stream.addr;
        let _ = addr.try_send(crate::classic_stream::EndStream);
    }
}
