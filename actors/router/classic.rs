//! Pairs without federation: which stream of classic S2S carries them, and what streams tell.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, Message, MessageResult};
use bytes::Bytes;
use heteronym_net::random;
use heteronym_proto::classic::remotes::{Failure, Next, StreamId};
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::routes::Route;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::way::Instead;
use tracing::info;

use super::Router;
use super::links::pair_of;
use crate::classic_stream::{ClassicHandle, ClassicStream, EndStream, Start};
use crate::local_link::bounce_to_sender;
use crate::now;

/// A stream that is open.
pub(super) struct StreamEntry {
    pub(super) handle: Arc<ClassicHandle>,
    /// Where its server is, if further domains of that server may share it.
    shares: Option<(SocketAddr, Shares)>,
}

/// What decides whether another domain may share a stream (XEP-0220: target multiplexing).
#[derive(Clone, Debug)]
pub struct Shares {
    /// The server's certificates, leaf first.
    pub chain: Arc<Vec<Vec<u8>>>,
    /// They proved the domain that the stream was dialled for: then they have to prove the other one too.
    pub certified: bool,
}

impl Router {
    /// Hands a pair's stanzas to a stream, or lets them wait for one.
    pub(super) fn by_classic(&mut self, pair: &Pair, instead: Arc<Instead>, ctx: &mut Context<Self>) {
        if let Some(Route::Link { link, slot }) = self.shared.routes.of(pair) {
            // Its host has activated it while a stream was dialled.
            return self.send_by(&link, slot, pair);
        }
        match self.remotes.next(pair, now().instant) {
            Next::Use(id) if self.streams.contains_key(&id) => self.hand_to_stream(id, pair),
            Next::Use(id) => {
                // It has ended, and was not told apart.
                self.remotes.retire(id);
                self.by_classic(pair, instead, ctx);
            }
            Next::Dial => {
                let again = self.waiting.came_back(&pair.remote);
                let may_dial = self.remotes.may_dial(pair, again, now().instant, random::bytes::<1>()[0]);
                if let Err(failure) = may_dial {
                    return self.unreachable(pair, &instead, &failure);
                }
                info!(%pair, why = instead.why, "dialling by classic S2S");
                let start = Start::Dial { pair: pair.clone(), alone: false };
                self.dial_stream(pair, start, ctx);
                self.wait_for_stream(pair, instead);
            }
            Next::Wait => self.wait_for_stream(pair, instead),
            Next::Pause(failure) => self.unreachable(pair, &instead, &failure),
        }
    }

    fn dial_stream(&mut self, pair: &Pair, start: Start, ctx: &Context<Self>) {
        let id = ClassicStream::launch(&self.shared, &ctx.address(), start);
        self.remotes.dialling(&pair.remote, id);
    }

    pub(super) fn hand_to_stream(&mut self, id: StreamId, pair: &Pair) {
        let Some(StreamEntry { handle, .. }) = self.streams.get(&id) else { return };
        let (stream, limits) = (Arc::clone(handle), &self.shared.config().limits);
        if let Err(full) = stream.open(pair, self.waiting.take(pair), limits) {
            let stanzas = full.into_iter().map(|(_, stanza)| stanza).collect();
            let text = "the connection to the other server is full";
            self.bounce(stanzas, (Condition::ResourceConstraint, "classic-queue-full"), text);
        }
        let route = Route::Classic { stream };
        self.shared.routes.insert_unless(pair.clone(), route, |before| match before {
            Route::Link { .. } | Route::Moving => true,
            Route::Classic { .. } | Route::Local(_) => false,
        });
        self.settle(pair);
    }

    fn wait_for_stream(&mut self, pair: &Pair, instead: Arc<Instead>) {
        self.for_classic.entry(pair.remote.clone()).or_default().insert(pair.clone(), instead);
    }

    fn unreachable(&mut self, pair: &Pair, instead: &Instead, failure: &Failure) {
        let condition = match failure.condition {
            Condition::RemoteServerNotFound => instead.not_found,
            other => other,
        };
        let text = format!("{}: {}, and classic S2S failed: {}", pair.remote, instead.why, failure.why);
        self.bounce_pair(pair, (condition, "classic"), &text);
    }

    /// Remembers how a stream has ended, for the pairs that it carried or was dialled for.
    fn note_end(&mut self, id: StreamId, why: &Ending, dialled: Option<&Pair>, pairs: &[Pair]) {
        let instant = now().instant;
        match (why, dialled) {
            (Ending::Shared(other), Some(pair)) => self.remotes.shared(pair, id, *other, instant),
            (Ending::Refused(why), Some(pair)) => {
                self.remotes.refused(pair, id, (Condition::RemoteServerTimeout, why), instant);
            }
            (Ending::Shared(_) | Ending::Refused(_), None) => (),
            (Ending::Ended(condition, text), _) => {
                for pair in pairs {
                    self.remotes.ended(pair, id, (*condition, text), instant, random::bytes::<1>()[0]);
                }
            }
        }
    }

    /// Ends a stream that carries no pair, and that no other will share.
    fn end_unless_of_use(&self, id: StreamId) {
        let Some(StreamEntry { handle, shares: None }) = self.streams.get(&id) else { return };
        if !self.remotes.is_used(id) {
            let _ = handle.addr.try_send(EndStream);
        }
    }

    /// The pairs that wait for a stream to `remote` look again.
    fn look_again(&mut self, remote: &Name, ctx: &mut Context<Self>) {
        for (pair, instead) in self.for_classic.remove(remote).unwrap_or_default() {
            self.by_classic(&pair, instead, ctx);
        }
    }

    /// Why a pair that waits for a classic stream has none yet.
    pub(super) fn why_no_stream(&self, pair: &Pair) -> Option<String> {
        let instead = self.for_classic.get(&pair.remote)?.get(pair)?;
        Some(format!("{}; its server is being dialled by classic S2S", instead.why))
    }
}

/// A stream is open.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ClassicOpen {
    /// The stream.
    pub stream: Arc<ClassicHandle>,
    /// Where its server is, and what that server has shown, where further domains of it may share the stream.
    pub shares: Option<(SocketAddr, Shares)>,
}

impl Handler<ClassicOpen> for Router {
    type Result = ();

    fn handle(&mut self, ClassicOpen { stream, shares }: ClassicOpen, _: &mut Self::Context) {
        self.streams.insert(stream.id, StreamEntry { handle: stream, shares });
    }
}

/// Is there a stream to one of these addresses that another domain may share?
#[derive(Message)]
#[rtype(result = "Option<(StreamId, Shares)>")]
pub struct FindShared(pub Vec<SocketAddr>);

impl Handler<FindShared> for Router {
    type Result = MessageResult<FindShared>;

    fn handle(&mut self, FindShared(addresses): FindShared, _: &mut Self::Context) -> Self::Result {
        let found = self.streams.iter().find_map(|(id, entry)| {
            let (address, shares) = entry.shares.as_ref()?;
            addresses.contains(address).then(|| (*id, shares.clone()))
        });
        MessageResult(found)
    }
}

/// A pair may send on a stream.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ClassicUp {
    /// The stream.
    pub id: StreamId,
    /// The pair.
    pub pair: Pair,
    /// Whether further pairs may be let in there, by dialback.
    pub grows: bool,
}

impl Handler<ClassicUp> for Router {
    type Result = ();

    fn handle(&mut self, ClassicUp { id, pair, grows }: ClassicUp, ctx: &mut Self::Context) {
        // Of a stream that carries nothing more, nobody needs to know.
        if self.moving.values().any(|moving| moving.stream == id) {
            return;
        }
        self.remotes.opened(&pair, id, grows, now().instant);
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
    /// The stream was dialled for another remote domain of the same server.
    pub guest: bool,
    /// Why, for people.
    pub why: String,
    /// What waited for it, in order.
    pub waiting: Vec<Bytes>,
}

impl Handler<ClassicDown> for Router {
    type Result = ();

    fn handle(&mut self, ClassicDown { id, pair, guest, why, waiting }: ClassicDown, ctx: &mut Self::Context) {
        self.shared.routes.remove_if(&pair, |route| match route {
            Route::Classic { stream, .. } => stream.id == id,
            Route::Link { .. } | Route::Moving | Route::Local(_) => false,
        });
        if guest {
            // It may have a stream of its own.
            self.remotes.retire_for(&pair.remote, id);
            self.wait_again(&pair, waiting);
            let instead = Instead { why: why.clone(), not_found: Condition::RemoteServerTimeout };
            self.wait_for_stream(&pair, instead.into());
            if !self.remotes.is_dialling(&pair.remote) {
                self.dial_stream(&pair, Start::Dial { pair: pair.clone(), alone: true }, ctx);
            }
            return;
        }
        let text = format!("{}: classic S2S failed: {why}", pair.remote);
        self.bounce(waiting, (Condition::RemoteServerTimeout, "classic"), &text);
        self.remotes.refused(&pair, id, (Condition::RemoteServerTimeout, &why), now().instant);
        self.end_unless_of_use(id);
        self.look_again(&pair.remote, ctx);
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
    /// The pairs that it served.
    pub pairs: Vec<Pair>,
    /// How.
    pub why: Ending,
    /// What may not have arrived, by pair, in order.
    pub unsent: Vec<(Pair, Vec<Bytes>)>,
}

/// How a stream ended.
pub enum Ending {
    /// There was one to share already: it was not opened.
    Shared(StreamId),
    /// What senders are told, where it was never open, and for the operator.
    Ended(Condition, String),
    /// It was not opened, since the server does not want our domain: why.
    Refused(String),
}

impl Handler<ClassicEnded> for Router {
    type Result = ();

    fn handle(&mut self, ended: ClassicEnded, ctx: &mut Self::Context) {
        let ClassicEnded { id, dialled, mut pairs, why, unsent } = ended;
        self.streams.remove(&id);
        pairs.extend(dialled.clone());
        if let (Ending::Shared(other), Some(pair)) = (&why, &dialled)
            && !self.streams.contains_key(other)
        {
            // The other one has ended meanwhile.
            return self.dial_stream(pair, Start::Dial { pair: pair.clone(), alone: true }, ctx);
        }
        self.note_end(id, &why, dialled.as_ref(), &pairs);
        if self.draining {
            let stanzas = unsent.into_iter().flat_map(|(_, stanzas)| stanzas).collect();
            self.bounce(stanzas, (Condition::RemoteServerTimeout, "shutdown"), "this router shuts down");
            return self.finish_drain_if_done(ctx);
        }
        for (pair, stanzas) in &unsent {
            self.wait_again(pair, stanzas.clone());
        }
        self.moved(id, ctx);
        for (pair, _) in &unsent {
            self.find_way(pair, ctx);
        }
        let mut remotes: Vec<Name> = pairs.into_iter().map(|pair| pair.remote).collect();
        remotes.sort();
        remotes.dedup();
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
pub(super) type Streams = HashMap<StreamId, StreamEntry>;

/// Ends every stream, behind what may be sent.
pub(super) fn end_all(streams: &Streams) {
    for stream in streams.values() {
        let _ = stream.handle.addr.try_send(EndStream);
    }
}
