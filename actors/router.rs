//! Router: the root. Knows every link and every local server, and finds the way for stanzas that
//! have none yet.
//!
//! Parent: none. Children: Registry and Crypto (shared), Listener, a LocalLink per `[[local]]`
//! entry, a HostConnection per connection to a peer host. Ends the process's work when it drains.
//! Stanzas of a pair wait here until its host is found and a link to it is chosen.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::SendError;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture,
};
use bytes::Bytes;
use futures_util::future::join_all;
use heteronym_net::random;
use heteronym_proto::checker::Scope;
use heteronym_proto::hosted::Entry;
use heteronym_proto::link_choice::{LinkAction, LinkChoice, LinkId};
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::pairs::PairState;
use heteronym_proto::registry::{Service, Target};
use heteronym_proto::routes::Route;
use heteronym_proto::stanza;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::status::{HostState, HostStatus, LocalState, PairStatus, Status, Via};
use heteronym_proto::waiting::WaitingRoom;
use tracing::{info, warn};

use crate::host_connection::{self, Decide, HostConnection, LinkHandle, OpenPair, Start, next_link_id};
use crate::listener::{Listener, StopAccepting};
use crate::local_link::{
    self, Deliver, Delivered, Finish, LocalHandle, LocalLink, Settled, StopReading, bounce_to_sender,
};
use crate::registry::LookUpHost;
use crate::{Gauge, Shared, Sockets, now};

/// How often waiting stanzas, probes and pauses are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long peer hosts get to end their streams when we drain.
const DRAIN: Duration = Duration::from_secs(5);

/// See the module.
pub struct Router {
    shared: Shared,
    sockets: Option<Sockets>,
    listener: Option<Addr<Listener>>,
    hosts: HashMap<Name, Host>,
    links: HashMap<LinkId, LinkEntry>,
    waiting: WaitingRoom,
    resolving: HashSet<Pair>,
    /// The last batch of a pair that waits here: its local link sends through us until it is settled.
    unsettled: HashMap<Pair, (Entry, u64)>,
    drain: Option<tokio::sync::oneshot::Sender<()>>,
}

/// A peer host, whether there is a link or not.
struct Host {
    choice: LinkChoice,
    target: Target,
    pairs: HashMap<Pair, Vec<Target>>,
    last_error: Option<String>,
}

struct LinkEntry {
    peer: Name,
    link: LinkHandle,
}

impl Router {
    /// The root of everything; `sockets` are served once it has started.
    #[must_use]
    pub fn new(shared: Shared, sockets: Sockets) -> Self {
        let limits = &shared.config.limits;
        let waiting = WaitingRoom::new(limits.pair_queue_bytes, limits.host_queue_bytes);
        let (hosts, links, resolving) = (HashMap::new(), HashMap::new(), HashSet::new());
        let unsettled = HashMap::new();
        Self {
            shared,
            sockets: Some(sockets),
            listener: None,
            hosts,
            links,
            waiting,
            resolving,
            unsettled,
            drain: None,
        }
    }

    fn start_local(&self, entry: Entry, router: Addr<Self>) {
        let (shared, gauge) = (self.shared.clone(), Arc::<Gauge>::default());
        let of_actor = Arc::clone(&gauge);
        let arbiter = self.shared.threads.next().clone();
        let addr = LocalLink::start_in_arbiter(&arbiter, move |_| LocalLink::new(entry, shared, router, of_actor));
        self.shared.locals.set(entry, LocalHandle { addr, gauge });
    }

    fn bounce(&self, stanzas: Vec<Bytes>, condition: Condition, text: &str) {
        for stanza in stanzas {
            bounce_to_sender(&self.shared, &stanza, condition, text);
        }
    }

    /// Sends everything that waits for a pair back to its senders.
    fn bounce_pair(&mut self, pair: &Pair, condition: Condition, text: &str) {
        let stanzas = self.waiting.take(pair);
        self.bounce(stanzas, condition, text);
        self.settle(pair);
    }

    /// Lets stanzas wait whose link has ended: they are older than what waits already.
    fn wait_again(&mut self, pair: &Pair, stanzas: Vec<Bytes>) {
        for stanza in stanzas {
            if let Some(stanza) = self.waiting.push_again(pair, stanza, now().instant) {
                let text = "the connection to the other host ended, and too much waits already";
                bounce_to_sender(&self.shared, &stanza, Condition::ResourceConstraint, text);
            }
        }
    }

    /// Nothing of the pair waits here any more: its local link may send directly. Comes after what
    /// was passed on, so that nothing overtakes it.
    fn settle(&mut self, pair: &Pair) {
        let Some((entry, batch)) = self.unsettled.remove(pair) else { return };
        if let Some(local) = self.shared.locals.get(entry) {
            let _ = local.addr.try_send(Settled { pair: pair.clone(), batch });
        }
    }

    /// The way for one pair's stanzas: inside, to a host that is known, or by a look-up.
    fn find_way(&mut self, pair: &Pair, ctx: &mut Context<Self>) {
        if let Some(entry) = self.shared.config.hosted.entry(pair.remote.as_str()) {
            return self.route_inside(pair, entry);
        }
        if self.shared.config.denied.contains(&pair.remote) {
            return self.bounce_pair(pair, Condition::RemoteServerNotFound, "the policy for this domain is \"off\"");
        }
        if !self.resolving.insert(pair.clone()) {
            return;
        }
        let question = self.shared.registry.send(LookUpHost(pair.remote.clone()));
        let pair = pair.clone();
        ctx.spawn(question.into_actor(self).map(move |answer, this, ctx| {
            this.resolving.remove(&pair);
            let service = answer.unwrap_or_else(|_| Service::Failed("the registry is gone".to_owned()));
            this.resolved(&pair, service, ctx);
        }));
    }

    fn route_inside(&mut self, pair: &Pair, entry: Entry) {
        let stanzas = self.waiting.take(pair);
        let route = Route::Local { entry, stanzas: (stanzas.len() as u64).into() };
        self.shared.routes.insert(pair.clone(), route);
        let deliver =
            Deliver { from: None, stanzas: stanzas.into_iter().map(|bytes| Delivered { n: 0, bytes }).collect() };
        let full = self.shared.locals.get(entry).and_then(|local| local.deliver(deliver).err());
        let left = full.map(|deliver| deliver.stanzas).unwrap_or_default();
        let left = left.into_iter().map(|stanza| stanza.bytes).collect();
        self.bounce(left, Condition::ResourceConstraint, "the domain's server does not read");
        self.settle(pair);
    }

    fn resolved(&mut self, pair: &Pair, service: Service, ctx: &mut Context<Self>) {
        match service {
            Service::Offered(targets) => self.wait_for_host(pair.clone(), targets, ctx),
            Service::Absent => {
                let domain = &pair.remote;
                warn!(%pair, "no _xmpp-federation._tcp record for {domain}: stanzas bounce (remote-server-not-found)");
                let text = format!("{domain} has no federation record");
                self.bounce_pair(pair, Condition::RemoteServerNotFound, &text);
            }
            Service::Failed(why) => {
                let text = format!("the look-up of {} failed: {why}", pair.remote);
                self.bounce_pair(pair, Condition::RemoteServerTimeout, &text);
            }
        }
    }

    /// Lets a pair wait for one of `targets`: one that has a link already goes before all, then the
    /// first that did not fail just now.
    fn wait_for_host(&mut self, pair: Pair, mut targets: Vec<Target>, ctx: &mut Context<Self>) {
        targets.retain(|target| target.host != self.shared.config.host);
        let instant = now().instant;
        let host = |target: &Target| self.hosts.get(&target.host);
        let linked = |target: &Target| host(target).is_some_and(|host| host.choice.chosen().is_some());
        let usable = |target: &Target| host(target).is_none_or(|host| host.choice.paused_until(instant).is_none());
        let first = targets.iter().position(linked).or_else(|| targets.iter().position(usable)).unwrap_or(0);
        if targets.is_empty() {
            warn!(%pair, "the federation record of {} names this host, which does not serve it", pair.remote);
            let text = "the domain's record leads back to this host";
            return self.bounce_pair(&pair, Condition::RemoteServerNotFound, text);
        }
        let target = targets.remove(first);
        let name = target.host.clone();
        let us = &self.shared.config.host;
        let host = self.hosts.entry(name.clone()).or_insert_with(|| Host {
            choice: LinkChoice::new(us, &name),
            target: target.clone(),
            pairs: HashMap::new(),
            last_error: None,
        });
        host.target = target;
        host.pairs.insert(pair, targets);
        match host.choice.chosen() {
            Some(link) => self.flush(&name, link, ctx),
            None => self.want_link(&name, ctx),
        }
    }

    fn want_link(&mut self, name: &Name, ctx: &mut Context<Self>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.choice.want(now().instant) == Some(LinkAction::Dial) {
            let start = Start::Dial(next_link_id(), host.target.clone());
            HostConnection::launch(&self.shared, &ctx.address(), start);
        }
    }

    /// Hands everything that waits for a host to its link. Of a link that has ended just now, it comes
    /// back as [`Stranded`].
    fn flush(&mut self, name: &Name, link: LinkId, ctx: &Context<Self>) {
        let Some(to) = self.links.get(&link).map(|entry| entry.link.addr.clone()) else { return };
        let Some(host) = self.hosts.get_mut(name) else { return };
        let pairs: Vec<Pair> = host.pairs.drain().map(|(pair, _)| pair).collect();
        for pair in pairs {
            let stanzas = self.waiting.take(&pair);
            let open = OpenPair { pair: pair.clone(), stanzas, router: ctx.address() };
            if !open.stanzas.is_empty()
                && let Err(SendError::Full(mut open)) = to.try_send(open)
            {
                let text = "the connection to the other host does not keep up";
                self.bounce(std::mem::take(&mut open.stanzas), Condition::ResourceConstraint, text);
            }
            self.settle(&pair);
        }
    }

    fn act(&mut self, name: &Name, actions: Vec<LinkAction>, ctx: &mut Context<Self>) {
        for action in actions {
            match action {
                LinkAction::Dial => self.want_link(name, ctx),
                LinkAction::Choose(link) => self.decide(link, Decide::Choose),
                LinkAction::Use(link) => {
                    info!(host = %name, link, "link chosen");
                    self.flush(name, link, ctx);
                }
                LinkAction::Probe(link) => self.decide(link, Decide::Probe),
                LinkAction::CloseConflict(link) => self.decide(link, Decide::Conflict),
                LinkAction::Drop(link) => self.decide(link, Decide::Drop),
            }
        }
    }

    fn decide(&self, link: LinkId, decide: Decide) {
        if let Some(entry) = self.links.get(&link) {
            let _ = entry.link.addr.try_send(decide);
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let instant = now().instant;
        let names: Vec<Name> = self.hosts.keys().cloned().collect();
        for name in names {
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            let actions = host.choice.handle_timeout(instant);
            let wanted = !host.pairs.is_empty();
            self.act(&name, actions, ctx);
            if wanted {
                self.want_link(&name, ctx);
            }
        }
        // A host that nothing waits for and nothing is known of is forgotten: names are not collected.
        self.hosts.retain(|_, host| {
            !host.choice.is_idle() || !host.pairs.is_empty() || host.choice.paused_until(instant).is_some()
        });
        let wait = self.shared.config.limits.stanza_wait;
        for (pair, stanzas) in self.waiting.take_overdue(instant, wait) {
            let why = self.why_waiting(&pair);
            warn!(%pair, why, "stanzas waited too long");
            self.bounce(stanzas, Condition::RemoteServerTimeout, &why);
            if !self.waiting.contains(&pair) {
                self.settle(&pair);
                self.hosts.values_mut().for_each(|host| drop(host.pairs.remove(&pair)));
            }
        }
    }

    fn why_waiting(&self, pair: &Pair) -> String {
        match self.hosts.iter().find(|(_, host)| host.pairs.contains_key(pair)) {
            Some((name, host)) => {
                let error = host.last_error.as_deref().unwrap_or("no answer yet");
                format!("the host {name} could not be reached: {error}")
            }
            None => format!("the look-up of {} has not ended", pair.remote),
        }
    }

    /// Our dial failed: pairs with another candidate try that one, the others wait for the next dial.
    fn dial_failed(&mut self, name: &Name, why: String, ctx: &mut Context<Self>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.choice.dial_failed(now().instant, random::bytes::<1>()[0]);
        host.last_error = Some(why);
        let movable: Vec<_> = host.pairs.extract_if(|_, targets| !targets.is_empty()).collect();
        for (pair, targets) in movable {
            self.wait_for_host(pair, targets, ctx);
        }
    }

    fn finish_drain(&mut self, ctx: &mut Context<Self>) {
        if let Some(done) = self.drain.take() {
            let locals: Vec<_> = self.shared.locals.all();
            let finished = join_all(locals.into_iter().map(|local| async move {
                let _ = local.addr.send(Finish).await;
                while local.addr.connected() {
                    actix_rt::time::sleep(Duration::from_millis(5)).await;
                }
            }));
            let finished = async { tokio::time::timeout(DRAIN, finished).await.is_ok() };
            ctx.spawn(finished.into_actor(self).map(|_, _, ctx| {
                let _ = done.send(());
                ctx.stop();
            }));
        }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Bounded by the local links: each has at most one unanswered batch per read, and by the
        // waiting room's bytes. This is never reached before those.
        ctx.set_mailbox_capacity(1 << 20);
        for entry in 0..self.shared.config.locals.len() {
            self.start_local(entry, ctx.address());
        }
        if let Some(sockets) = self.sockets.take() {
            let listener = Listener::new(sockets, self.shared.clone(), ctx.address());
            self.listener = Some(Listener::start_in_arbiter(self.shared.threads.next(), |_| listener));
        }
        ctx.run_interval(TICK, |this, ctx| this.tick(ctx));
    }
}

/// Stanzas of one read that have no route yet.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Unrouted {
    /// Whose they are.
    pub entry: Entry,
    /// The number of this batch; [`Settled`] names it.
    pub batch: u64,
    /// In order.
    pub stanzas: Vec<(Pair, Bytes)>,
}

impl Handler<Unrouted> for Router {
    type Result = ();

    fn handle(&mut self, unrouted: Unrouted, ctx: &mut Self::Context) {
        let Unrouted { entry, batch, stanzas } = unrouted;
        let instant = now().instant;
        let mut pairs: Vec<Pair> = Vec::new();
        for (pair, stanza) in stanzas {
            if let Some(stanza) = self.waiting.push(&pair, stanza, instant) {
                let text = format!("too much waits for {} already", pair.remote);
                bounce_to_sender(&self.shared, &stanza, Condition::ResourceConstraint, &text);
            }
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        for pair in pairs {
            self.unsettled.insert(pair.clone(), (entry, batch));
            self.find_way(&pair, ctx);
        }
    }
}

/// A link has authenticated.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkReady {
    /// The link.
    pub link: LinkHandle,
    /// To whom.
    pub peer: Name,
    /// Whether we dialled.
    pub ours: bool,
}

impl Handler<LinkReady> for Router {
    type Result = ();

    fn handle(&mut self, LinkReady { link, peer, ours }: LinkReady, ctx: &mut Self::Context) {
        let (id, us) = (link.id, &self.shared.config.host);
        let host = self.hosts.entry(peer.clone()).or_insert_with(|| Host {
            choice: LinkChoice::new(us, &peer),
            target: Target { host: peer.clone(), port: 5270 },
            pairs: HashMap::new(),
            last_error: None,
        });
        host.last_error = None;
        let actions = host.choice.ready(now().instant, id, ours);
        self.links.insert(id, LinkEntry { peer: peer.clone(), link });
        self.act(&peer, actions, ctx);
    }
}

/// The peer chose this link.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkChosen(pub LinkId);

impl Handler<LinkChosen> for Router {
    type Result = ();

    fn handle(&mut self, LinkChosen(id): LinkChosen, ctx: &mut Self::Context) {
        let Some(peer) = self.links.get(&id).map(|entry| entry.peer.clone()) else { return };
        let actions = self.hosts.get_mut(&peer).map(|host| host.choice.peer_chose(id));
        self.act(&peer, actions.unwrap_or_default(), ctx);
    }
}

/// A link answered its probe.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkAlive(pub LinkId);

impl Handler<LinkAlive> for Router {
    type Result = ();

    fn handle(&mut self, LinkAlive(id): LinkAlive, ctx: &mut Self::Context) {
        let Some(peer) = self.links.get(&id).map(|entry| entry.peer.clone()) else { return };
        let actions = self.hosts.get_mut(&peer).map(|host| host.choice.alive(id));
        self.act(&peer, actions.unwrap_or_default(), ctx);
    }
}

/// A connection ended, or never came about.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkEnded {
    /// Which.
    pub id: LinkId,
    /// To whom.
    pub peer: Name,
    /// Whether we dialled.
    pub ours: bool,
    /// Whether it had authenticated.
    pub was_up: bool,
    /// Why, for the operator.
    pub why: String,
    /// What was never written, by pair, in order.
    pub unsent: Vec<(Pair, Vec<Bytes>)>,
}

impl Handler<LinkEnded> for Router {
    type Result = ();

    fn handle(&mut self, ended: LinkEnded, ctx: &mut Self::Context) {
        let LinkEnded { id, peer, ours, was_up, why, unsent } = ended;
        self.links.remove(&id);
        if ours && !was_up {
            self.dial_failed(&peer, why, ctx);
        } else if let Some(host) = self.hosts.get_mut(&peer) {
            host.last_error = Some(why);
            host.choice.lost(now().instant, id, random::bytes::<1>()[0]);
            let actions = host.choice.ended(id);
            self.act(&peer, actions, ctx);
        }
        if self.drain.is_some() {
            let stanzas = unsent.into_iter().flat_map(|(_, stanzas)| stanzas).collect();
            self.bounce(stanzas, Condition::RemoteServerTimeout, "this router shuts down");
            if self.links.is_empty() {
                self.finish_drain(ctx);
            }
            return;
        }
        for (pair, stanzas) in unsent {
            self.wait_again(&pair, stanzas);
            self.find_way(&pair, ctx);
        }
    }
}

/// Stanzas that were on their way to a link when it ended, in order.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stranded(pub Vec<Bytes>);

impl Handler<Stranded> for Router {
    type Result = ();

    fn handle(&mut self, Stranded(stanzas): Stranded, ctx: &mut Self::Context) {
        if self.drain.is_some() {
            return self.bounce(stanzas, Condition::RemoteServerTimeout, "this router shuts down");
        }
        let mut pairs: Vec<Pair> = Vec::new();
        for stanza in stanzas {
            let Some(pair) = pair_of(&stanza) else { continue };
            self.wait_again(&pair, vec![stanza]);
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        for pair in pairs {
            self.find_way(&pair, ctx);
        }
    }
}

/// The pair of a stanza that one of our users sent.
fn pair_of(bytes: &[u8]) -> Option<Pair> {
    let stanza = stanza::read(bytes, &Scope::SERVER).ok()?;
    let (local, remote) = (Name::parse(stanza.from_domain()).ok()?, Name::parse(stanza.to_domain()).ok()?);
    Some(Pair { local, remote })
}

/// Ends everything in order: nothing is accepted any more, what may be sent is sent, streams end.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Handler<Drain> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Drain: Drain, ctx: &mut Self::Context) -> Self::Result {
        info!(links = self.links.len(), "draining");
        let (done, drained) = tokio::sync::oneshot::channel();
        self.drain = Some(done);
        if let Some(listener) = self.listener.take() {
            let _ = listener.try_send(StopAccepting);
        }
        let stops = self.shared.locals.all().into_iter().map(|local| async move {
            let _ = local.addr.send(StopReading).await;
        });
        ctx.spawn(join_all(stops).into_actor(self).map(|_, this, ctx| {
            let pairs: Vec<Pair> = this.waiting.pairs().cloned().collect();
            for pair in pairs {
                let stanzas = this.waiting.take(&pair);
                this.bounce(stanzas, Condition::RemoteServerTimeout, "this router shuts down");
            }
            for entry in this.links.values() {
                let _ = entry.link.addr.try_send(Decide::Drain);
            }
            if this.links.is_empty() {
                this.finish_drain(ctx);
            }
        }));
        ctx.run_later(DRAIN, |this, ctx| this.finish_drain(ctx));
        Box::pin(async {
            let _ = drained.await;
        })
    }
}

/// For the status page.
#[derive(Message)]
#[rtype(result = "Status")]
pub struct GetStatus;

impl Handler<GetStatus> for Router {
    type Result = ResponseFuture<Status>;

    fn handle(&mut self, GetStatus: GetStatus, _: &mut Self::Context) -> Self::Result {
        let links: Vec<_> = self.links.values().map(|entry| entry.link.addr.clone()).collect();
        let locals = self.shared.locals.all();
        let hosts: Vec<HostStatus> =
            self.hosts.iter().filter_map(|(name, host)| host_without_link(name, host)).collect();
        let waiting = self.waiting.pairs().map(|pair| waiting_pair(pair, self.why_waiting(pair)));
        let inside = self.shared.routes.local_pairs().into_iter().map(|(pair, stanzas)| local_pair(pair, stanzas));
        let pairs: Vec<PairStatus> = waiting.chain(inside).collect();
        Box::pin(async move {
            let mut status = Status { hosts, pairs, locals: Vec::new() };
            for answer in join_all(links.iter().map(|link| link.send(host_connection::GetStatus))).await {
                if let Ok(Some((host, pairs))) = answer {
                    status.hosts.push(host);
                    status.pairs.extend(pairs);
                }
            }
            let answers = join_all(locals.iter().map(|local| local.addr.send(local_link::GetStatus))).await;
            status.locals = answers.into_iter().filter_map(|answer| answer.ok().flatten()).collect();
            status.hosts.sort_by(|a, b| a.name.cmp(&b.name));
            status.pairs.sort_by(|a, b| {
                (a.pair.local.as_str(), a.pair.remote.as_str()).cmp(&(b.pair.local.as_str(), b.pair.remote.as_str()))
            });
            status
        })
    }
}

/// Why the router is not ready: what an operator waits for.
#[derive(Message)]
#[rtype(result = "Vec<String>")]
pub struct NotReady;

impl Handler<NotReady> for Router {
    type Result = ResponseFuture<Vec<String>>;

    fn handle(&mut self, NotReady: NotReady, _: &mut Self::Context) -> Self::Result {
        let (locals, draining) = (self.shared.locals.all(), self.drain.is_some());
        Box::pin(async move {
            let answers = join_all(locals.iter().map(|local| local.addr.send(local_link::GetStatus))).await;
            let dialled = answers.into_iter().filter_map(|answer| answer.ok().flatten());
            let mut reasons: Vec<String> = dialled
                .filter(|local| local.state == LocalState::Connecting)
                .map(|local| {
                    let error = local.last_error.as_deref().unwrap_or("no answer yet");
                    format!("local {}: the server we dial is not there: {error}", local.name)
                })
                .collect();
            if draining {
                reasons.push("draining".to_owned());
            }
            reasons
        })
    }
}

fn host_without_link(name: &Name, host: &Host) -> Option<HostStatus> {
    if host.choice.chosen().is_some() {
        return None;
    }
    let idle = host.choice.is_idle();
    if idle && host.pairs.is_empty() && host.last_error.is_none() {
        return None;
    }
    Some(HostStatus {
        name: name.to_string(),
        state: if idle { HostState::Waiting } else { HostState::Connecting },
        address: None,
        dialled_by_us: true,
        pairs_active: 0,
        stanzas_in: 0,
        stanzas_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        unacknowledged: 0,
        queued_bytes: 0,
        last_error: host.last_error.clone(),
    })
}

fn waiting_pair(pair: &Pair, why: String) -> PairStatus {
    PairStatus {
        pair: pair.clone(),
        host: None,
        state: PairState::Resolving,
        via: Via::Federation,
        stanzas_in: 0,
        stanzas_out: 0,
        activated_at: None,
        expires_at: None,
        last_error: Some(why),
    }
}

fn local_pair(pair: Pair, stanzas: u64) -> PairStatus {
    PairStatus {
        pair,
        host: None,
        state: PairState::Active,
        via: Via::Local,
        stanzas_in: 0,
        stanzas_out: stanzas,
        activated_at: None,
        expires_at: None,
        last_error: None,
    }
}
