//! Router: the root. Knows every link and every local server, and finds the way for stanzas that
//! have none yet.
//!
//! Parent: none. Children: Registry (shared), Listener, a LocalLink per `[[local]]`
//! entry, a HostConnection per connection to a peer host. Ends the process's work when it drains.
//! Stanzas of a pair wait here until its host is found and a link to it is chosen.

mod classic;
mod draining;
mod links;
mod moving;
mod operator;
mod reload;
mod sessions;
mod status;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use bytes::Bytes;
use heteronym_proto::classic::remotes::Remotes;
use heteronym_proto::hosted::Entry;
use heteronym_proto::link_choice::{LinkChoice, LinkId};
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::registry::{self, Found, Reach, Service, Target};
use heteronym_proto::routes::{Inside, Route};
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::traffic::Traffic;
use heteronym_proto::waiting::WaitingRoom;
use heteronym_proto::way::{Instead, Policy, Way};
use tracing::{error, warn};

use crate::host_connection::LinkHandle;
use crate::listener::Listener;
use crate::local_link::{Deliver, LocalHandle, LocalLink, Origin, Settled, bounce_to_sender};
use crate::metrics::Direction;
use crate::registry::LookUpHost;
use crate::{Gauge, Shared, Sockets, now};

use classic::Streams;
use moving::Move;
use operator::Wanted;
use sessions::Place;

pub use classic::{ClassicDown, ClassicEnded, ClassicOpen, ClassicUp, Ending, FindShared, Reply, Shares};
pub use draining::Drain;
pub use links::{LinkAlive, LinkChosen, LinkEnded, LinkReady, Stranded};
pub use moving::PairArrived;
pub use operator::{ActivatePair, CloseHost, DeactivatePair, GetQueues};
pub use reload::Reload;
pub use sessions::HandedBack;
pub use status::{GetStatus, GetTotals, NotReady};

/// The error that a sender gets, and a word for the metrics.
type Why = (Condition, &'static str);

/// How often waiting stanzas, probes and pauses are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often pins are written, where there are new ones.
const SAVE: Duration = Duration::from_secs(60);
/// How long an answer counts that nobody gave.
const LATER: Duration = Duration::from_secs(3600);

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
    /// Pairs that an operator wants, whether stanzas wait for them or not, and since when.
    wanted: HashMap<Pair, Wanted>,
    /// Which classic stream serves whom.
    remotes: Remotes,
    /// The classic streams that are open.
    streams: Streams,
    /// Pairs that wait for a classic stream, by remote domain, each with why it takes no link.
    for_classic: HashMap<Name, HashMap<Pair, Arc<Instead>>>,
    /// Pairs that wait for their classic stream to end: then they go over a link.
    moving: HashMap<Pair, Move>,
    drain: Option<tokio::sync::oneshot::Sender<()>>,
    /// From the order to drain until the end.
    draining: bool,
}

/// A peer host, whether there is a link or not.
struct Host {
    choice: LinkChoice,
    target: Target,
    /// The pairs that wait for it, with all hosts that would do.
    pairs: HashMap<Pair, Vec<Target>>,
    /// The domains that it serves, and that are reached by classic S2S until there is a link.
    movers: HashSet<Name>,
    session: Place,
    /// Where it was when we dialled it last.
    reached_at: Option<SocketAddr>,
    last_error: Option<String>,
}

impl Host {
    fn new(us: &Name, target: Target) -> Self {
        let (pairs, movers) = (HashMap::new(), HashSet::new());
        let (choice, session) = (LinkChoice::new(us, &target.host), Place::Home(None));
        Self { choice, target, pairs, movers, session, reached_at: None, last_error: None }
    }
}

struct LinkEntry {
    peer: Name,
    link: Arc<LinkHandle>,
}

impl Router {
    /// The root of everything; `sockets` are served once it has started.
    #[must_use]
    pub fn new(shared: Shared, sockets: Sockets) -> Self {
        let limits = &shared.config().limits;
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
            wanted: HashMap::new(),
            remotes: Remotes::default(),
            streams: Streams::new(),
            for_classic: HashMap::new(),
            moving: HashMap::new(),
            drain: None,
            draining: false,
        }
    }

    fn start_local(&self, entry: Entry, router: Addr<Self>) {
        let (shared, gauges) = (self.shared.clone(), (Arc::<Gauge>::default(), Arc::<Gauge>::default()));
        let of_actor = gauges.clone();
        let arbiter = self.shared.threads.next().clone();
        let addr = LocalLink::start_in_arbiter(&arbiter, move |_| LocalLink::new(entry, shared, router, of_actor));
        let (gauge, intake) = gauges;
        self.shared.locals.set(entry, LocalHandle { addr, gauge, intake });
    }

    fn bounce(&self, stanzas: Vec<Bytes>, why: Why, text: &str) {
        for stanza in stanzas {
            bounce_to_sender(&self.shared, &stanza, why, text);
        }
    }

    /// Sends everything that waits for a pair back to its senders.
    fn bounce_pair(&mut self, pair: &Pair, why: Why, text: &str) {
        self.wanted.remove(pair);
        let stanzas = self.waiting.take(pair);
        self.bounce(stanzas, why, text);
        self.settle(pair);
    }

    /// Nothing of the pair waits here any more: its local link may send directly. Comes after what
    /// was passed on, so that nothing overtakes it.
    fn settle(&mut self, pair: &Pair) {
        let Some((entry, batch)) = self.unsettled.remove(pair) else { return };
        if let Some(local) = self.shared.locals.get(entry) {
            let _ = local.addr.try_send(Settled { pair: pair.clone(), batch });
        }
    }

    /// The way for one pair's stanzas: the link that has the pair, inside, or by a look-up.
    fn find_way(&mut self, pair: &Pair, ctx: &mut Context<Self>) {
        if self.moving.contains_key(pair) {
            return;
        }
        match self.shared.routes.of(pair) {
            Some(Route::Link { link, slot }) => return self.send_by(&link, slot, pair),
            Some(Route::Classic { stream, .. }) if self.streams.contains_key(&stream.id) => {
                return self.hand_to_stream(stream.id, pair);
            }
            Some(Route::Classic { .. } | Route::Moving | Route::Local(_)) | None => (),
        }
        if let Some(entry) = self.shared.config().hosted.entry(pair.remote.as_str()) {
            return self.route_inside(pair, entry);
        }
        if self.shared.config().policy(&pair.remote) == Policy::Off {
            let found = Found { service: Service::Absent, until: now().instant + LATER };
            return self.resolved(pair, found, ctx);
        }
        if !self.resolving.insert(pair.clone()) {
            return;
        }
        let question = LookUpHost { domain: pair.remote.clone(), asker: pair.local.clone() };
        let question = self.shared.registry.send(question);
        let pair = pair.clone();
        ctx.spawn(question.into_actor(self).map(move |answer, this, ctx| {
            this.resolving.remove(&pair);
            let found = answer.unwrap_or_else(|_| Found::failed("the registry is gone", now().instant));
            this.resolved(&pair, found, ctx);
        }));
    }

    /// Sends what waits for a pair by the link that has it.
    fn send_by(&mut self, link: &LinkHandle, slot: Slot, pair: &Pair) {
        let stanzas = self.waiting.take(pair).into_iter().map(|stanza| (slot, stanza)).collect();
        if let Err(full) = link.send(stanzas, &self.shared.config().limits) {
            let stanzas = full.copies().map(|(_, stanza)| stanza).collect();
            self.bounce(
                stanzas,
                (Condition::ResourceConstraint, "host-queue-full"),
                "the connection to the other host is full",
            );
        }
        self.settle(pair);
    }

    fn route_inside(&mut self, pair: &Pair, entry: Entry) {
        let stanzas = self.waiting.take(pair);
        let mut traffic = Traffic::default();
        stanzas.iter().for_each(|stanza| traffic.count(stanza));
        self.shared.metrics.traffic(Direction::Local, traffic);
        let route = Route::Local(Arc::new(Inside { entry, stanzas: (stanzas.len() as u64).into() }));
        self.shared.routes.insert(pair.clone(), route);
        let deliver =
            Deliver { from: Origin::Inside, stanzas: stanzas.into_iter().map(|stanza| (0, stanza)).collect() };
        let full = self.shared.locals.get(entry).and_then(|local| local.deliver(deliver).err());
        let left = full.unwrap_or_default();
        let left = left.copies().map(|(_, stanza)| stanza).collect();
        self.bounce(left, (Condition::ResourceConstraint, "local-queue-full"), "the domain's server does not read");
        self.settle(pair);
    }

    fn resolved(&mut self, pair: &Pair, found: Found, ctx: &mut Context<Self>) {
        match self.shared.circumstances(&pair.remote).way(found.service) {
            Way::Federation(targets) => self.wait_for_host(pair.clone(), targets, ctx),
            Way::Classic(instead) => {
                self.by_classic(pair, instead.into(), ctx);
                self.remotes.look_at(&pair.remote, found.until);
            }
            Way::Back(condition, why) => {
                warn!(%pair, why, "stanzas bounce ({condition})");
                self.bounce_pair(pair, (condition, "no-way"), &format!("{}: {why}", pair.remote));
            }
        }
    }

    /// Lets a pair wait for the host of one of `targets`.
    fn wait_for_host(&mut self, pair: Pair, mut targets: Vec<Target>, ctx: &mut Context<Self>) {
        let us = self.shared.config().host.clone();
        targets.retain(|target| target.host != us);
        self.end_pauses(&pair.remote, &targets);
        let instant = now().instant;
        let reach = |name: &Name| self.hosts.get(name).map_or(Reach::Open, |host| host.choice.reach(instant));
        let Some(first) = registry::choose(&targets, reach) else {
            warn!(%pair, "the federation record of {} names this host, which does not serve it", pair.remote);
            let text = "the domain's record leads back to this host";
            return self.bounce_pair(&pair, (Condition::RemoteServerNotFound, "leads-back"), text);
        };
        let (target, paused) = (targets[first].clone(), reach(&targets[first].host).paused());
        let unreached = self.hosts.get(&target.host).is_some_and(|host| host.choice.is_unreached());
        for target in &targets {
            self.hosts.get_mut(&target.host).map(|host| host.pairs.remove(&pair));
        }
        let name = target.host.clone();
        if let Some(until) = paused.filter(|_| unreached) {
            let why = self.why_unreachable(&name, &targets);
            if let Way::Classic(instead) = self.shared.circumstances(&pair.remote).instead(&why) {
                warn!(%pair, why, "the host cannot be reached: classic S2S is tried");
                self.by_classic(&pair, instead.into(), ctx);
                return self.remotes.look_at(&pair.remote, until);
            }
        }
        let host = self.hosts.entry(name.clone()).or_insert_with(|| Host::new(&us, target.clone()));
        host.target = target;
        host.pairs.insert(pair, targets);
        match host.choice.chosen() {
            Some(link) => self.flush(&name, link, ctx),
            None => self.want_link(&name, ctx),
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.draining {
            return;
        }
        let instant = now().instant;
        let names: Vec<Name> = self.hosts.keys().cloned().collect();
        for name in names {
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            let actions = host.choice.handle_timeout(instant);
            let wanted = host.wants_link();
            self.act(&name, actions, ctx);
            if wanted {
                self.want_link(&name, ctx);
            }
        }
        // A host that nothing waits for and nothing is known of is forgotten: names are not collected.
        self.hosts.retain(|_, host| {
            let wanted = host.wants_link() || host.waiting_session().is_some();
            wanted || !host.choice.is_idle() || host.choice.paused_until(instant).is_some()
        });
        self.give_up_old_sessions(instant);
        self.remotes.forget_old(instant);
        self.look_for_federation(instant, ctx);
        let wait = self.shared.config().limits.stanza_wait;
        self.give_up_wanted(instant, wait);
        for (pair, stanzas) in self.waiting.take_overdue(instant, wait) {
            let why = self.why_waiting(&pair);
            warn!(%pair, why, "stanzas waited too long");
            self.bounce(stanzas, (Condition::RemoteServerTimeout, "overdue"), &why);
            if !self.waiting.contains(&pair) {
                self.settle(&pair);
                self.hosts.values_mut().for_each(|host| drop(host.pairs.remove(&pair)));
                self.for_classic.values_mut().for_each(|pairs| drop(pairs.remove(&pair)));
            }
        }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Bounded by the local links: each has at most one unanswered batch per read, and by the
        // waiting room's bytes. This is never reached before those.
        ctx.set_mailbox_capacity(1 << 20);
        for entry in 0..self.shared.config().locals.len() {
            self.start_local(entry, ctx.address());
        }
        if let Some(sockets) = self.sockets.take() {
            let listener = Listener::new(sockets, self.shared.clone(), ctx.address());
            self.listener = Some(Listener::start_in_arbiter(self.shared.threads.next(), |_| listener));
        }
        ctx.run_interval(TICK, |this, ctx| this.tick(ctx));
        ctx.run_interval(SAVE, |this, _| {
            let pinned = Arc::clone(&this.shared.pinned);
            drop(actix_rt::task::spawn_blocking(move || pinned.save()));
        });
    }
}

/// The actor of an entry broke down: another one takes its place, and its server dials again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LocalBroke(pub Entry);

impl Handler<LocalBroke> for Router {
    type Result = ();

    fn handle(&mut self, LocalBroke(entry): LocalBroke, ctx: &mut Self::Context) {
        let config = self.shared.config();
        let local = config.locals.get(entry).map_or("?", |local| local.name.as_str());
        error!(local, "the actor of a local server broke down; another one is started");
        ctx.run_later(TICK, move |this, ctx| this.start_local(entry, ctx.address()));
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
                bounce_to_sender(&self.shared, &stanza, (Condition::ResourceConstraint, "waiting-full"), &text);
            }
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        for pair in pairs {
            self.unsettled.insert(pair.clone(), (entry, batch));
            if self.draining {
                self.bounce_pair(&pair, (Condition::RemoteServerTimeout, "shutdown"), "this router shuts down");
            } else {
                self.find_way(&pair, ctx);
            }
        }
    }
}
