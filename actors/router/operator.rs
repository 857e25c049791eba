//! What an operator asks for: the end of a connection, a pair, its end, a look at what waits.

use std::time::{Duration, Instant};

use actix::{Handler, Message, ResponseFuture};
use futures_util::future::join_all;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::registry::Target;
use heteronym_proto::routes::Route;
use heteronym_proto::status::{QueuePlace, QueueStatus};
use tracing::info;

use super::Router;
use crate::host_connection::{Decide, OfOperator};
use crate::registry::Forget;
use crate::{classic_stream, host_connection, local_link, now};

/// Closes the connections to a peer host, in order. How many there were.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct CloseHost(pub Name);

impl Handler<CloseHost> for Router {
    type Result = usize;

    fn handle(&mut self, CloseHost(host): CloseHost, _: &mut Self::Context) -> Self::Result {
        let links = self.links.values().filter(|entry| entry.peer == host);
        let closed = links.filter(|entry| entry.link.addr.try_send(Decide::Close).is_ok()).count();
        info!(%host, closed, "an operator closes the connection");
        closed
    }
}

/// Activates a pair, whether stanzas wait for it or not, and whatever has failed before; one that goes by
/// classic S2S goes over a link if its domain has a federation record by now. False: our domain is not served
/// here.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct ActivatePair(pub Pair);

impl Handler<ActivatePair> for Router {
    type Result = bool;

    fn handle(&mut self, ActivatePair(pair): ActivatePair, ctx: &mut Self::Context) -> Self::Result {
        if !self.shared.config().hosted.contains(pair.local.as_str()) {
            return false;
        }
        let route = self.shared.routes.of(&pair);
        if let Some(Route::Link { .. } | Route::Moving | Route::Local(_)) = route {
            return true;
        }
        info!(%pair, "an operator wants the pair");
        let _ = self.shared.registry.try_send(Forget(pair.remote.clone()));
        self.remotes.forget_pause(&pair.remote);
        let instant = now().instant;
        self.wanted.insert(pair.clone(), Wanted { since: instant, at_once: true });
        if route.is_some() {
            self.look_for_federation(instant, ctx);
        } else {
            self.find_way(&pair, ctx);
        }
        true
    }
}

/// Ends a pair; false: it was not active.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct DeactivatePair(pub Pair);

impl Handler<DeactivatePair> for Router {
    type Result = bool;

    fn handle(&mut self, DeactivatePair(pair): DeactivatePair, _: &mut Self::Context) -> Self::Result {
        self.wanted.remove(&pair);
        self.forget_resumable(&pair);
        let route = self.shared.routes.of(&pair);
        match route {
            Some(Route::Link { link, .. }) => {
                info!(%pair, "an operator ends the pair");
                link.addr.try_send(OfOperator::Deactivate(pair)).is_ok()
            }
            Some(Route::Classic { .. } | Route::Moving | Route::Local(_)) | None => false,
        }
    }
}

/// Everything that waits, here, on host streams, and for our own servers.
#[derive(Message)]
#[rtype(result = "Vec<QueueStatus>")]
pub struct GetQueues;

impl Handler<GetQueues> for Router {
    type Result = ResponseFuture<Vec<QueueStatus>>;

    fn handle(&mut self, GetQueues: GetQueues, _: &mut Self::Context) -> Self::Result {
        let mut queues = self.own_queues();
        let streams: Vec<_> = self.streams.values().map(|stream| stream.handle.addr.clone()).collect();
        let links: Vec<_> = self.links.values().map(|entry| entry.link.addr.clone()).collect();
        let locals = self.shared.locals.all();
        Box::pin(async move {
            let of_links = join_all(links.iter().map(|link| link.send(host_connection::GetQueues))).await;
            queues.extend(of_links.into_iter().filter_map(Result::ok).flatten());
            let of_streams = join_all(streams.iter().map(|stream| stream.send(classic_stream::GetQueues))).await;
            queues.extend(of_streams.into_iter().filter_map(Result::ok).flatten().map(classic_queue));
            let of_locals = join_all(locals.iter().map(|local| local.addr.send(local_link::GetQueue))).await;
            queues.extend(of_locals.into_iter().filter_map(|answer| answer.ok().flatten()));
            queues
        })
    }
}

fn classic_queue((pair, count, bytes, since): (Pair, usize, usize, Instant)) -> QueueStatus {
    let oldest = now().instant.saturating_duration_since(since);
    let why = "the other server does not read, or has not let the domain in yet".to_owned();
    QueueStatus { place: QueuePlace::Classic, name: None, pair: Some(pair), count, bytes, oldest, why }
}

/// A pair that an operator wants.
pub(super) struct Wanted {
    since: Instant,
    /// Its host is dialled without a pause.
    at_once: bool,
}

impl Router {
    /// The hosts of a remote domain may be dialled at once, where an operator wants that and they were not yet.
    pub(super) fn end_pauses(&mut self, remote: &Name, targets: &[Target]) {
        let of_remote = self.wanted.iter_mut().filter(|(pair, _)| pair.remote == *remote);
        let mut wanted = false;
        of_remote.for_each(|(_, of)| wanted |= std::mem::take(&mut of.at_once));
        if !wanted {
            return;
        }
        for target in targets {
            if let Some(host) = self.hosts.get_mut(&target.host) {
                host.choice.forget_failures();
            }
        }
    }

    fn own_queues(&self) -> Vec<QueueStatus> {
        let instant = now().instant;
        let queues = self.waiting.queues().map(|(pair, count, bytes, since)| QueueStatus {
            place: QueuePlace::Router,
            name: self.hosts.iter().find(|(_, host)| host.pairs.contains_key(pair)).map(|(name, _)| name.to_string()),
            pair: Some(pair.clone()),
            count,
            bytes,
            oldest: instant.saturating_duration_since(since),
            why: self.why_waiting(pair),
        });
        queues.collect()
    }

    /// A pair that an operator wanted and that did not come about in the time of a stanza is not
    /// wanted any longer.
    pub(super) fn give_up_wanted(&mut self, instant: Instant, wait: Duration) {
        let over: Vec<Pair> =
            self.wanted.extract_if(|_, wanted| instant >= wanted.since + wait).map(|(pair, _)| pair).collect();
        for pair in over.into_iter().filter(|pair| !self.waiting.contains(pair)) {
            self.hosts.values_mut().for_each(|host| drop(host.pairs.remove(&pair)));
        }
    }
}
