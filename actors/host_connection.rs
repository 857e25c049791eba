//! HostConnection: one connection to a peer host, from the dial or the accept to its end.
//!
//! Parent: the Router, which is told when the link is ready and when it ends. Children: a
//! DomainPair for each run under way. Ends with the connection; a panic ends it as well, and the
//! Router dials again where stanzas wait. What was never written goes back to the Router.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::SendError;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, StreamHandler,
    WrapFuture,
};
use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use heteronym_net::dial;
use heteronym_net::listen::first_byte_is_tls;
use heteronym_net::random;
use heteronym_net::tls::Secured;
use heteronym_net::wire::{Reader, Source, Stream, Writer, join, pump, split};
use heteronym_proto::checker::Scope;
use heteronym_proto::control::{Aid, UndeliveredReason};
use heteronym_proto::crypto::{CryptoOp, CryptoResult};
use heteronym_proto::domain_pair::{DomainPair as PairCore, PairAction, PairEvent};
use heteronym_proto::framer::Framer;
use heteronym_proto::host_stream::{Action, Delivery, HostStream, HostStreamConfig, IdentityQuestion, Out, PairChange};
use heteronym_proto::hosted::Entry;
use heteronym_proto::limits::{CONTROL_BYTES, Limits, UNAUTHENTICATED_BYTES};
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;
use heteronym_proto::negotiation::{Negotiation, Output};
use heteronym_proto::pair::Pair;
use heteronym_proto::pairs::{PairRecord, PairState};
use heteronym_proto::registry::Target;
use heteronym_proto::routes::Route;
use heteronym_proto::stanza;
use heteronym_proto::status::{HostState, HostStatus, PairStatus, Via};
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use heteronym_proto::transcript::Exporter;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tracing::{debug, info, warn};

use crate::crypto::{JudgeChain, Perform, system_random};
use crate::domain_pair::{DomainPair, Stop, Tell};
use crate::listener::hex;
use crate::local_link::{Deliver, Delivered, bounce_to_sender};
use crate::registry::LookUpAddresses;
use crate::router::{LinkAlive, LinkChosen, LinkEnded, LinkReady, Router, Stranded};
use crate::{Gauge, Shared, now};

/// How long the last bytes, and the peer's end, may take when a link is closed.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes on their way to one of our servers from which the peer is asked to hold; the difference to
/// the bound of that queue is for what the peer has sent before it hears of it.
const HOLD_BYTES: usize = 4 << 20;
/// How long until a server that is held is looked at again, whatever its gauge says.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A new name for a connection.
#[must_use]
pub fn next_link_id() -> LinkId {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// Reaches a link from the data path.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    /// Which.
    pub id: LinkId,
    /// Its actor.
    pub addr: Addr<HostConnection>,
    /// The bytes on their way to it.
    pub gauge: Arc<Gauge>,
    /// Who finds another way for what the link does not take any more.
    pub router: Addr<Router>,
}

/// Stanzas of one message, by the slot of their pair.
pub type Batch = Vec<(Slot, Bytes)>;

impl LinkHandle {
    /// Hands stanzas over; gives them back where there is no room. Where there is no actor any more,
    /// the Router finds another way.
    pub(crate) fn send(&self, stanzas: Batch, bytes: usize, limits: &Limits) -> Result<(), Batch> {
        if self.gauge.bytes() + bytes > limits.host_queue_bytes {
            return Err(stanzas);
        }
        self.gauge.posted(bytes);
        let message = SendStanzas { stanzas, bytes, router: self.router.clone() };
        match self.addr.try_send(message) {
            Ok(()) => Ok(()),
            Err(SendError::Closed(ended)) => {
                drop(ended);
                Ok(())
            }
            Err(SendError::Full(mut message)) => {
                self.gauge.received(bytes);
                Err(std::mem::take(&mut message.stanzas))
            }
        }
    }
}

/// How a connection begins.
pub enum Start {
    /// We dial.
    Dial(LinkId, Target),
    /// Somebody dialled us; the permit counts handshakes.
    Accepted(StdTcpStream, OwnedSemaphorePermit),
}

/// See the module.
pub struct HostConnection {
    id: LinkId,
    start: Option<Start>,
    dialled: Option<Name>,
    shared: Shared,
    router: Addr<Router>,
    gauge: Arc<Gauge>,
    link: Option<Link>,
    framer: Framer,
    children: HashMap<Slot, (Aid, Addr<DomainPair>)>,
    timer: Option<(Instant, SpawnHandle)>,
    address: Option<SocketAddr>,
    bytes_in: u64,
    idle_mark: u64,
    ending: bool,
    draining: bool,
    why_ended: Option<String>,
    held: HashMap<Entry, HashSet<Name>>,
}

/// The stream, shared with the writer.
struct Link {
    wired: Rc<RefCell<Wired>>,
    wake: Rc<Notify>,
}

struct Wired {
    stream: HostStream,
    closed: bool,
    bytes_out: u64,
    gauge: Arc<Gauge>,
}

impl Source for Wired {
    fn fill(&mut self, out: &mut BytesMut, room: usize) {
        let before = out.len();
        self.stream.fill(out, room);
        self.bytes_out += (out.len() - before) as u64;
        self.gauge.queued_is(self.stream.queued_bytes());
    }

    fn is_closed(&self) -> bool {
        self.closed && !self.stream.has_work()
    }
}

/// An authenticated connection.
struct Connected {
    reader: Reader,
    writer: Writer,
    framer: Framer,
    exporter: Exporter,
    address: SocketAddr,
    peer: Name,
    lang: Option<String>,
}

impl HostConnection {
    /// Starts a connection on the next I/O thread.
    pub fn launch(shared: &Shared, router: &Addr<Router>, start: Start) -> Addr<Self> {
        let (shared, router) = (shared.clone(), router.clone());
        let arbiter = shared.threads.next().clone();
        Self::start_in_arbiter(&arbiter, move |_| Self::new(shared, router, start))
    }

    fn new(shared: Shared, router: Addr<Router>, start: Start) -> Self {
        let (id, dialled) = match &start {
            Start::Dial(id, target) => (*id, Some(target.host.clone())),
            Start::Accepted(..) => (next_link_id(), None),
        };
        Self {
            id,
            start: Some(start),
            dialled,
            shared,
            router,
            gauge: Arc::default(),
            link: None,
            framer: Framer::new(UNAUTHENTICATED_BYTES),
            children: HashMap::new(),
            timer: None,
            address: None,
            bytes_in: 0,
            idle_mark: 0,
            ending: false,
            draining: false,
            why_ended: None,
            held: HashMap::new(),
        }
    }

    fn connected(&mut self, connected: Connected, ctx: &mut Context<Self>) {
        let Connected { reader, writer, mut framer, exporter, address, peer, lang } = connected;
        let config = &self.shared.config;
        framer.set_max_bytes(config.limits.stanza_bytes.max(CONTROL_BYTES));
        let stream_config = HostStreamConfig {
            host: config.host.clone(),
            hosted: Arc::clone(&config.hosted),
            limits: config.limits.clone(),
            activation_lifetime: config.activation_lifetime,
            denied: Arc::clone(&config.denied),
        };
        let stream = HostStream::new(stream_config, peer.clone(), exporter, lang, system_random(), now());
        let wired = Wired { stream, closed: false, bytes_out: 0, gauge: Arc::clone(&self.gauge) };
        let (wired, wake) = (Rc::new(RefCell::new(wired)), Rc::new(Notify::new()));
        let writing = pump(writer, Rc::clone(&wired), Rc::clone(&wake));
        ctx.spawn(writing.into_actor(self).map(|result, this, ctx| this.written(result, ctx)));
        ctx.add_stream(reading(reader));
        self.link = Some(Link { wired, wake });
        self.framer = framer;
        self.address = Some(address);
        info!(%peer, %address, dialled = self.dialled.is_some(), "host stream authenticated");
        let link = self.link_handle(ctx);
        let ready = LinkReady { link, peer, ours: self.dialled.is_some() };
        if self.router.try_send(ready).is_err() {
            ctx.stop();
        }
        self.take_frames(ctx);
    }

    fn failed(&mut self, why: String, ctx: &mut Context<Self>) {
        match &self.dialled {
            Some(peer) => warn!(%peer, why, "the host could not be reached"),
            None => info!(address = ?self.address, why, "a host was not let in"),
        }
        self.why_ended = Some(why);
        ctx.stop();
    }

    fn written(&mut self, result: std::io::Result<()>, ctx: &mut Context<Self>) {
        if let Err(error) = result {
            self.why_ended.get_or_insert_with(|| format!("writing failed: {error}"));
        }
        ctx.stop();
    }

    /// Calls the core and performs what it wants, then sees to its timer.
    fn with_core(&mut self, ctx: &mut Context<Self>, call: impl FnOnce(&mut HostStream, &mut Out)) {
        let mut out = Out::default();
        let Some(link) = &self.link else { return };
        call(&mut link.wired.borrow_mut().stream, &mut out);
        self.perform(out, ctx);
        self.arm(ctx);
    }

    fn take_frames(&mut self, ctx: &mut Context<Self>) {
        let mut out = Out::default();
        let mut fatal = None;
        if let Some(link) = &self.link {
            let (mut wired, now) = (link.wired.borrow_mut(), now());
            while !self.ending {
                match self.framer.next_frame() {
                    Ok(Some(frame)) => wired.stream.frame(now, frame, &mut out),
                    Ok(None) => break,
                    Err(error) => {
                        fatal = Some(error.stream_error());
                        break;
                    }
                }
                if matches!(out.actions.last(), Some(Action::Close(_))) {
                    break;
                }
            }
        }
        self.perform(out, ctx);
        if let Some(error) = fatal {
            self.close(Some(error), ctx);
        }
        self.arm(ctx);
    }

    fn perform(&mut self, out: Out, ctx: &mut Context<Self>) {
        let mut write = false;
        for action in out.actions {
            match action {
                Action::Pair(slot, event) => self.tell_pair(slot, event, ctx),
                Action::EndPair(slot) => self.end_pair(slot),
                Action::CheckIdentity(op) => self.check_identity(op, ctx),
                Action::ShowIdentity(question) => self.show_identity(question, ctx),
                Action::RouteUp(slot) => self.route_up(slot, ctx),
                Action::RouteDown(slot) => self.route_down(slot),
                Action::Bounce { stanza, condition, text } => {
                    bounce_to_sender(&self.shared, &stanza, condition, &text);
                }
                Action::Changed(slot, change) => self.log_change(slot, &change),
                Action::Chosen => self.tell_router(LinkChosen(self.id), ctx),
                Action::Alive => self.tell_router(LinkAlive(self.id), ctx),
                Action::Write => write = true,
                Action::StanzaRefused(reason) => debug!(link = self.id, reason, "a stanza was refused"),
                Action::PeerError(error) => {
                    log_end(self.id, "the peer host ended the stream", &error);
                    self.why_ended = Some(format!("the peer host ended the stream: {error}"));
                }
                Action::Close(error) => self.close(error, ctx),
            }
        }
        self.deliver(out.deliveries, ctx);
        if let (true, Some(link)) = (write, &self.link) {
            self.gauge.queued_is(link.wired.borrow().stream.queued_bytes());
            link.wake.notify_one();
        }
    }

    fn tell_router<M>(&mut self, message: M, ctx: &mut Context<Self>)
    where
        M: Message<Result = ()> + Send + 'static,
        Router: Handler<M>,
    {
        if self.router.try_send(message).is_err() {
            warn!(link = self.id, "the router is gone or does not keep up; the link ends");
            ctx.stop();
        }
    }

    /// Hands stanzas to our servers, one message per server and read.
    fn deliver(&mut self, deliveries: Vec<Delivery>, ctx: &mut Context<Self>) {
        let mut by_entry: Vec<(Entry, Vec<Delivered>)> = Vec::new();
        for Delivery { entry, n, bytes } in deliveries {
            let delivered = Delivered { n, bytes };
            match by_entry.iter_mut().find(|(other, _)| *other == entry) {
                Some((_, list)) => list.push(delivered),
                None => by_entry.push((entry, vec![delivered])),
            }
        }
        for (entry, stanzas) in by_entry {
            let local = self.shared.locals.get(entry);
            if let Some(local) = local.as_ref().filter(|local| local.gauge.bytes() > HOLD_BYTES) {
                self.hold(entry, &stanzas, Arc::clone(&local.gauge), ctx);
            }
            let deliver = Deliver { from: Some(ctx.address()), stanzas };
            let full = match local {
                Some(local) => local.deliver(deliver).err(),
                None => Some(deliver),
            };
            for stanza in full.map(|deliver| deliver.stanzas).unwrap_or_default() {
                let reason = UndeliveredReason::Overflow;
                self.with_core(ctx, |stream, out| stream.undeliverable(stanza.n, reason, out));
            }
        }
    }

    /// A server of ours does not keep up: the peer is to hold what it has for these domains, and
    /// everything else on the stream goes on (protocol §7).
    fn hold(&mut self, entry: Entry, stanzas: &[Delivered], gauge: Arc<Gauge>, ctx: &mut Context<Self>) {
        let first = !self.held.contains_key(&entry);
        for stanza in stanzas {
            let Ok(stanza) = stanza::read(&stanza.bytes, &Scope::SERVER) else { continue };
            let held = self.held.entry(entry).or_default();
            if held.contains(stanza.to_domain()) {
                continue;
            }
            let Ok(domain) = Name::parse(stanza.to_domain()) else { continue };
            held.insert(domain.clone());
            info!(%domain, "the domain's server does not keep up: the peer is asked to hold");
            self.with_core(ctx, |stream, out| stream.ask_to_hold(domain, out));
        }
        if first {
            self.go_when_there_is_room(entry, gauge, ctx);
        }
    }

    fn go_when_there_is_room(&mut self, entry: Entry, gauge: Arc<Gauge>, ctx: &mut Context<Self>) {
        let waiting = async move {
            gauge.has_room(LOOK_AGAIN).await;
            gauge
        };
        ctx.spawn(waiting.into_actor(self).map(move |gauge, this, ctx| {
            if gauge.bytes() > Gauge::HIGH {
                return this.go_when_there_is_room(entry, gauge, ctx);
            }
            for domain in this.held.remove(&entry).unwrap_or_default() {
                info!(%domain, "the domain's server keeps up again");
                this.with_core(ctx, |stream, out| stream.ask_to_go(domain, out));
            }
        }));
    }

    fn tell_pair(&mut self, slot: Slot, event: PairEvent, ctx: &mut Context<Self>) {
        match &event {
            PairEvent::Open(aid, _) => self.start_pair(slot, *aid, ctx),
            PairEvent::Serve(request, _) => self.start_pair(slot, request.aid, ctx),
            PairEvent::Crypto(_) | PairEvent::PeerIdentity(_) | PairEvent::Delegation(_) | PairEvent::Response(_) => (),
        }
        if let Some((_, child)) = self.children.get(&slot) {
            // A child that is gone has told so, or will: `PairEnded` ends its run.
            let _ = child.try_send(Tell(event));
        }
    }

    fn start_pair(&mut self, slot: Slot, aid: Aid, ctx: &mut Context<Self>) {
        let Some(link) = &self.link else { return };
        let wired = link.wired.borrow();
        let record = wired.stream.record(slot);
        let core = PairCore::new(record.pair.clone(), wired.stream.setting().clone(), record.stale_runs > 0);
        let peer = wired.stream.peer().clone();
        let child = DomainPair::new(core, slot, aid, peer, ctx.address(), self.shared.clone()).start();
        self.children.insert(slot, (aid, child));
    }

    fn end_pair(&mut self, slot: Slot) {
        if let Some((_, child)) = self.children.remove(&slot) {
            let _ = child.try_send(Stop);
        }
    }

    fn check_identity(&mut self, op: CryptoOp, ctx: &mut Context<Self>) {
        let Some(identity) = op.checked_identity().cloned() else { return };
        let checked = self.shared.crypto.send(Perform(op));
        ctx.spawn(checked.into_actor(self).map(move |result, this, ctx| {
            let verdict = match result {
                Ok(Some(CryptoResult::CheckIdentity(verdict))) => verdict,
                Ok(_) | Err(_) => Err("the check broke down; see the log".to_owned()),
            };
            this.with_core(ctx, |stream, out| stream.identity_checked(&identity, verdict, out));
        }));
    }

    fn show_identity(&mut self, question: IdentityQuestion, ctx: &mut Context<Self>) {
        let shown = self.shared.crypto.send(Perform(CryptoOp::OwnIdentity { domain: question.domain.clone() }));
        ctx.spawn(shown.into_actor(self).map(move |result, this, ctx| {
            let own = match result {
                Ok(Some(CryptoResult::OwnIdentity(own))) => own,
                Ok(_) | Err(_) => Err("the crypto pool broke down; see the log".to_owned()),
            };
            if let Err(why) = &own {
                warn!(domain = %question.domain, why, "a domain of ours cannot be shown to a peer");
            }
            this.with_core(ctx, |stream, out| stream.own_identity(question, own, out));
        }));
    }

    fn link_handle(&self, ctx: &Context<Self>) -> LinkHandle {
        let (addr, gauge, router) = (ctx.address(), Arc::clone(&self.gauge), self.router.clone());
        LinkHandle { id: self.id, addr, gauge, router }
    }

    fn pair_of(&self, slot: Slot) -> Option<Pair> {
        self.link.as_ref().map(|link| link.wired.borrow().stream.record(slot).pair.clone())
    }

    fn route_up(&mut self, slot: Slot, ctx: &mut Context<Self>) {
        let link = self.link_handle(ctx);
        if let Some(pair) = self.pair_of(slot) {
            self.shared.routes.insert(pair, Route::Link { link, slot });
        }
    }

    fn route_down(&mut self, slot: Slot) {
        if let Some(pair) = self.pair_of(slot) {
            remove_route(&self.shared, self.id, &pair);
        }
    }

    fn log_change(&self, slot: Slot, change: &PairChange) {
        let Some(pair) = self.pair_of(slot) else { return };
        match change {
            PairChange::Requested => debug!(%pair, "activation asked for"),
            PairChange::Activated { initiated, expires } => info!(%pair, initiated, expires, "pair active"),
            PairChange::Refused(failure) => warn!(%pair, why = failure.text, "pair refused"),
            PairChange::RefusedPeer(failure) => warn!(%pair, why = failure.text, "refused the peer's request"),
            PairChange::Deactivated(reason) => info!(%pair, reason = reason.as_str(), "pair ended"),
        }
    }

    /// Ends the stream: behind what waits, and with an error where there is one.
    fn close(&mut self, error: Option<StreamError>, ctx: &mut Context<Self>) {
        let Some(link) = &self.link else { return ctx.stop() };
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        if let Some(error) = &error {
            log_end(self.id, "the host stream ends", error);
            self.why_ended.get_or_insert_with(|| error.to_string());
        }
        let mut wired = link.wired.borrow_mut();
        wired.stream.close(error.as_ref(), &mut Out::default());
        wired.closed = true;
        drop(wired);
        link.wake.notify_one();
        ctx.run_later(LINGER, |_, ctx| ctx.stop());
    }

    /// Keeps one timer, for the core's next deadline.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.link.as_ref().and_then(|link| link.wired.borrow().stream.deadline());
        if self.timer.as_ref().map(|(at, _)| *at) == deadline {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = deadline {
            let wait = at.saturating_duration_since(now().instant) + Duration::from_millis(1);
            let timer = ctx.run_later(wait, |this, ctx| {
                this.timer = None;
                this.with_core(ctx, |stream, out| stream.handle_timeout(now(), out));
            });
            self.timer = Some((at, timer));
        }
    }

    /// Closes a link that carried nothing since the last look.
    fn watch_idle(&mut self, ctx: &mut Context<Self>) {
        let limit = self.shared.config.limits.idle_timeout;
        ctx.run_interval(limit, |this, ctx| {
            let Some(link) = &this.link else { return };
            let carried = this.bytes_in + link.wired.borrow().bytes_out;
            if std::mem::replace(&mut this.idle_mark, carried) == carried {
                info!(link = this.id, "idle");
                this.close(None, ctx);
            }
        });
    }
}

/// `conflict` is how one of two links ends where both hosts dialled at once: nobody has to act.
fn log_end(link: LinkId, what: &str, error: &StreamError) {
    if error.condition == StreamCondition::Conflict {
        info!(link, %error, "{what}");
    } else {
        warn!(link, %error, "{what}");
    }
}

fn remove_route(shared: &Shared, id: LinkId, pair: &Pair) {
    shared.routes.remove_if(pair, |route| match route {
        Route::Link { link, .. } => link.id == id,
        Route::Local { .. } => false,
    });
}

fn reading(reader: Reader) -> impl futures_util::Stream<Item = std::io::Result<Option<BytesMut>>> {
    unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        let read = reader.read().await;
        let next = matches!(read, Ok(Some(_))).then_some(reader);
        Some((read, next))
    })
}

/// Reaches the host, secures the connection and negotiates the stream.
async fn connect(shared: Shared, start: Start) -> Result<Connected, String> {
    match start {
        Start::Dial(_, target) => dial_host(&shared, target).await,
        Start::Accepted(stream, permit) => {
            let limit = shared.config.limits.connect_timeout;
            let accepted = tokio::time::timeout(limit, accept_host(&shared, stream)).await;
            drop(permit);
            accepted.map_err(|_| "no host stream within the time for connecting".to_owned())?
        }
    }
}

async fn dial_host(shared: &Shared, target: Target) -> Result<Connected, String> {
    let limit = shared.config.limits.connect_timeout;
    let Target { host, port } = target;
    let addresses = match shared.config.peers.get(&host) {
        Some(addresses) if !addresses.is_empty() => addresses.clone(),
        Some(_) | None => {
            let question = LookUpAddresses { host: host.clone(), port };
            shared.registry.send(question).await.map_err(|_| "the registry is gone")??
        }
    };
    let tcp = dial::race(&addresses, &shared.config.source, dial::STAGGER, limit).await.map_err(|e| e.to_string())?;
    let address = tcp.peer_addr().map_err(|error| error.to_string())?;
    let negotiated = async {
        let secured = shared.tls.connect(tcp, host.as_str()).await.map_err(|error| error.to_string())?;
        judge(shared, &secured, &host).await?;
        let (negotiation, outputs) = Negotiation::dial(shared.config.host.clone(), host.clone());
        negotiate(shared, secured, negotiation, outputs).await
    };
    let late = || "no host stream within the time for connecting".to_owned();
    let result = tokio::time::timeout(limit, negotiated).await.map_err(|_| late()).and_then(|result| result);
    result.map_err(|why| format!("{host} at {address}: {why}"))
}

async fn judge(shared: &Shared, secured: &Secured, host: &Name) -> Result<(), String> {
    verdict(shared, secured.peer_chain.clone(), host.clone())
        .await
        .map_err(|why| format!("the certificate of {host} is not trusted: {why}"))
}

async fn verdict(shared: &Shared, chain: Vec<Vec<u8>>, name: Name) -> Result<(), String> {
    let judged = shared.crypto.send(JudgeChain { chain, name }).await;
    judged.ok().flatten().unwrap_or_else(|| Err("the check broke down; see the log".to_owned()))
}

async fn accept_host(shared: &Shared, stream: StdTcpStream) -> Result<Connected, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut tcp = TcpStream::from_std(stream).map_err(text)?;
    if !first_byte_is_tls(&tcp).await.map_err(text)? {
        tcp = start_tls(shared, tcp).await?;
    }
    let secured = shared.tls.accept(tcp).await.map_err(|error| error.to_string())?;
    let negotiation = Negotiation::accept_secured(shared.config.host.clone(), stream_id());
    negotiate(shared, secured, negotiation, Vec::new()).await
}

fn stream_id() -> String {
    hex(&random::bytes::<16>())
}

/// The part of the negotiation that comes before STARTTLS; afterwards the peer speaks TLS.
async fn start_tls(shared: &Shared, tcp: TcpStream) -> Result<TcpStream, String> {
    let (reader, writer) = split(Stream::Plain(tcp));
    let mut talk = Talk { reader, writer, framer: Framer::new(UNAUTHENTICATED_BYTES), chain: Vec::new() };
    let negotiation = Negotiation::accept_plain(shared.config.host.clone(), stream_id());
    match talk.run(shared, negotiation, Vec::new()).await? {
        Ended::StartTls if talk.framer.buffered() == 0 => {
            join(talk.reader, talk.writer).ok_or_else(|| "the connection is gone".to_owned())
        }
        Ended::StartTls => Err("bytes behind <starttls/> that TLS does not protect".to_owned()),
        Ended::Established(..) => Err("a host stream without TLS".to_owned()),
    }
}

async fn negotiate(
    shared: &Shared,
    secured: Secured,
    negotiation: Negotiation,
    outputs: Vec<Output>,
) -> Result<Connected, String> {
    let address = secured.stream.peer_addr().map_err(|error| error.to_string())?;
    let exporter = Exporter::new(&secured.exporter);
    let (reader, writer) = split(secured.stream);
    let framer = Framer::new(UNAUTHENTICATED_BYTES);
    let mut talk = Talk { reader, writer, framer, chain: secured.peer_chain };
    match talk.run(shared, negotiation, outputs).await? {
        Ended::Established(peer, lang) => {
            let Talk { reader, writer, framer, .. } = talk;
            Ok(Connected { reader, writer, framer, exporter, address, peer, lang })
        }
        Ended::StartTls => Err("STARTTLS inside TLS".to_owned()),
    }
}

/// A negotiation with its connection.
struct Talk {
    reader: Reader,
    writer: Writer,
    framer: Framer,
    chain: Vec<Vec<u8>>,
}

enum Ended {
    Established(Name, Option<String>),
    StartTls,
}

impl Talk {
    async fn run(&mut self, shared: &Shared, negotiation: Negotiation, outputs: Vec<Output>) -> Result<Ended, String> {
        let mut negotiation = Some(negotiation);
        let mut outputs = outputs;
        loop {
            for output in std::mem::take(&mut outputs) {
                match output {
                    Output::Send(bytes) => self.writer.write(&bytes).await.map_err(|error| error.to_string())?,
                    Output::Restart => self.framer.restart(),
                    Output::StartTls => return Ok(Ended::StartTls),
                    Output::Established { peer, lang } => return Ok(Ended::Established(peer, lang)),
                    Output::Close(why) => {
                        let _ = self.writer.shutdown().await;
                        return Err(format!("the peer was told {why}"));
                    }
                    Output::Judge(name) => {
                        let verdict = verdict(shared, self.chain.clone(), name).await;
                        let state = negotiation.take().ok_or("negotiation ended")?;
                        let step = state.judged(verdict);
                        let (next, more) = self.stepped(step).await?;
                        negotiation = Some(next);
                        outputs = more;
                    }
                }
            }
            if outputs.is_empty() {
                let frame = self.frame().await?;
                let state = negotiation.take().ok_or("negotiation ended")?;
                let step = state.frame(frame);
                let (next, more) = self.stepped(step).await?;
                negotiation = Some(next);
                outputs = more;
            }
        }
    }

    async fn stepped(
        &mut self,
        step: Result<(Negotiation, Vec<Output>), heteronym_proto::negotiation::NegotiationError>,
    ) -> Result<(Negotiation, Vec<Output>), String> {
        match step {
            Ok(step) => Ok(step),
            Err(error) => {
                let _ = self.writer.write(&error.farewell()).await;
                let _ = self.writer.shutdown().await;
                Err(error.to_string())
            }
        }
    }

    async fn frame(&mut self) -> Result<heteronym_proto::framer::Frame, String> {
        loop {
            match self.framer.next_frame() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => (),
                Err(error) => {
                    let error = error.stream_error();
                    let _ = self.writer.write(&error.to_bytes()).await;
                    return Err(error.to_string());
                }
            }
            let read =
                self.reader.read().await.map_err(|error| heteronym_net::tls::TlsError::from_io(error).to_string())?;
            self.framer.push(read.ok_or("the peer closed the connection during negotiation")?);
        }
    }
}

impl Actor for HostConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bound of what waits here is the gauge's, in bytes; this one is never reached before it.
        ctx.set_mailbox_capacity(1 << 20);
        self.watch_idle(ctx);
        let Some(start) = self.start.take() else { return ctx.stop() };
        let connecting = connect(self.shared.clone(), start);
        ctx.spawn(connecting.into_actor(self).map(|result, this, ctx| match result {
            Ok(connected) => this.connected(connected, ctx),
            Err(why) => this.failed(why, ctx),
        }));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let mut unsent = Vec::new();
        let mut peer = self.dialled.clone();
        if let Some(mut wired) = self.link.as_ref().and_then(|link| link.wired.try_borrow_mut().ok()) {
            for record in wired.stream.records() {
                remove_route(&self.shared, self.id, &record.pair);
            }
            unsent = wired.stream.take_waiting();
            peer = Some(wired.stream.peer().clone());
            wired.closed = true;
        }
        let Some(peer) = peer else { return };
        let why = self.why_ended.take().unwrap_or_else(|| "closed".to_owned());
        if self.link.is_some() {
            info!(%peer, why, "host connection ended");
        }
        let (id, ours, was_up) = (self.id, self.dialled.is_some(), self.link.is_some());
        let ended = LinkEnded { id, peer, ours, was_up, why, unsent };
        if let Err(error) = self.router.try_send(ended) {
            for stanza in error.into_inner().unsent.into_iter().flat_map(|(_, stanzas)| stanzas) {
                let condition = heteronym_proto::stanza_error::Condition::RemoteServerTimeout;
                bounce_to_sender(&self.shared, &stanza, condition, "the connection to the other host ended");
            }
        }
    }
}

impl StreamHandler<std::io::Result<Option<BytesMut>>> for HostConnection {
    fn handle(&mut self, read: std::io::Result<Option<BytesMut>>, ctx: &mut Self::Context) {
        match read {
            Ok(Some(bytes)) => {
                self.bytes_in += bytes.len() as u64;
                self.framer.push(bytes);
                self.take_frames(ctx);
            }
            Ok(None) if self.ending => ctx.stop(),
            Ok(None) => {
                self.why_ended.get_or_insert_with(|| "the peer host closed the connection".to_owned());
                ctx.stop();
            }
            Err(error) => {
                self.why_ended.get_or_insert_with(|| format!("reading failed: {error}"));
                ctx.stop();
            }
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

/// Stanzas of active pairs, from a local link. Where the link ends before it takes them, they go back
/// to the Router.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SendStanzas {
    /// By slot, in order.
    pub stanzas: Batch,
    /// Their bytes, as the gauge was told.
    pub bytes: usize,
    /// Where they go back to.
    pub router: Addr<Router>,
}

impl Drop for SendStanzas {
    fn drop(&mut self) {
        strand(&self.router, self.stanzas.drain(..).map(|(_, stanza)| stanza).collect());
    }
}

impl Handler<SendStanzas> for HostConnection {
    type Result = ();

    fn handle(&mut self, mut message: SendStanzas, ctx: &mut Self::Context) {
        self.gauge.received(message.bytes);
        let (stanzas, now) = (std::mem::take(&mut message.stanzas), now());
        self.with_core(ctx, |stream, out| {
            for (slot, stanza) in stanzas {
                stream.send(now, slot, [stanza], out);
            }
        });
    }
}

/// Stanzas of a pair that this link is to serve, from the Router, to which they go back where the
/// link ends before it takes them.
#[derive(Message)]
#[rtype(result = "()")]
pub struct OpenPair {
    /// The pair.
    pub pair: Pair,
    /// What waits for it, in order.
    pub stanzas: Vec<Bytes>,
    /// Where it goes back to.
    pub router: Addr<Router>,
}

impl Drop for OpenPair {
    fn drop(&mut self) {
        strand(&self.router, std::mem::take(&mut self.stanzas));
    }
}

/// Sends stanzas back to the Router that a link has not taken before it ended.
fn strand(router: &Addr<Router>, stanzas: Vec<Bytes>) {
    if !stanzas.is_empty() && router.try_send(Stranded(stanzas)).is_err() {
        warn!("stanzas for a link that ended are lost: the router is gone");
    }
}

impl Handler<OpenPair> for HostConnection {
    type Result = ();

    fn handle(&mut self, mut open: OpenPair, ctx: &mut Self::Context) {
        let stanzas = std::mem::take(&mut open.stanzas);
        self.with_core(ctx, |stream, out| {
            let slot = stream.slot(&open.pair);
            stream.send(now(), slot, stanzas, out);
        });
    }
}

/// A pair's actor wants something done.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PairSaid {
    /// The pair's place.
    pub slot: Slot,
    /// Its run.
    pub aid: Aid,
    /// What.
    pub said: PairAction,
}

impl Handler<PairSaid> for HostConnection {
    type Result = ();

    fn handle(&mut self, PairSaid { slot, aid, said }: PairSaid, ctx: &mut Self::Context) {
        self.with_core(ctx, |stream, out| stream.pair_says(now(), slot, aid, said, out));
    }
}

/// A pair's actor ended; where its run is not over, it broke down.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PairEnded {
    /// The pair's place.
    pub slot: Slot,
    /// Its run.
    pub aid: Aid,
}

impl Handler<PairEnded> for HostConnection {
    type Result = ();

    fn handle(&mut self, PairEnded { slot, aid }: PairEnded, ctx: &mut Self::Context) {
        if self.children.get(&slot).is_some_and(|(of, _)| *of == aid) {
            warn!(link = self.id, "a pair's actor broke down; its run ends");
            self.children.remove(&slot);
            self.with_core(ctx, |stream, out| stream.pair_broke(now(), slot, out));
        }
    }
}

/// A local link could not deliver stanza `n`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Undeliverable {
    /// Its number on the stream.
    pub n: u64,
    /// Why.
    pub reason: UndeliveredReason,
}

impl Handler<Undeliverable> for HostConnection {
    type Result = ();

    fn handle(&mut self, Undeliverable { n, reason }: Undeliverable, ctx: &mut Self::Context) {
        self.with_core(ctx, |stream, out| stream.undeliverable(n, reason, out));
    }
}

/// What the Router decided about the link (protocol §3).
#[derive(Message)]
#[rtype(result = "()")]
pub enum Decide {
    /// Say `<chosen/>`.
    Choose,
    /// Ask whether the peer is alive.
    Probe,
    /// Close with `conflict`: another link was chosen.
    Conflict,
    /// Close: replaced or silent.
    Drop,
    /// An operator wants it closed.
    Close,
    /// Flush what may be sent, bounce the rest, end.
    Drain,
}

impl Handler<Decide> for HostConnection {
    type Result = ();

    fn handle(&mut self, decide: Decide, ctx: &mut Self::Context) {
        match decide {
            Decide::Choose => self.with_core(ctx, |stream, out| stream.choose(now(), out)),
            Decide::Probe => self.with_core(ctx, HostStream::probe),
            Decide::Conflict => {
                let error = StreamError::new(StreamCondition::Conflict, "another link between these hosts is in use");
                self.close(Some(error), ctx);
            }
            Decide::Drop | Decide::Close => self.close(None, ctx),
            Decide::Drain => {
                self.draining = true;
                self.with_core(ctx, |stream, out| stream.drain(out));
                self.close(None, ctx);
            }
        }
    }
}

/// For the status page: the connection and its pairs.
#[derive(Message)]
#[rtype(result = "Option<(HostStatus, Vec<PairStatus>)>")]
pub struct GetStatus;

impl Handler<GetStatus> for HostConnection {
    type Result = Option<(HostStatus, Vec<PairStatus>)>;

    fn handle(&mut self, GetStatus: GetStatus, _: &mut Self::Context) -> Self::Result {
        let link = self.link.as_ref()?;
        let mut wired = link.wired.borrow_mut();
        let (stanzas_in, stanzas_out) = (wired.stream.received(), wired.stream.sent());
        let stream = &wired.stream;
        let host = stream.peer().to_string();
        let pairs: Vec<_> = stream.records().map(|record| pair_status(record, &host)).collect();
        let state = match (self.draining || self.ending, stream.is_chosen()) {
            (true, _) => HostState::Draining,
            (false, true) => HostState::Active,
            (false, false) => HostState::Negotiating,
        };
        let status = HostStatus {
            name: host,
            state,
            address: self.address.map(|address| address.to_string()),
            dialled_by_us: self.dialled.is_some(),
            pairs_active: pairs.iter().filter(|pair| pair.state == PairState::Active).count(),
            stanzas_in,
            stanzas_out,
            bytes_in: self.bytes_in,
            bytes_out: wired.bytes_out,
            unacknowledged: 0,
            queued_bytes: self.gauge.bytes(),
            last_error: self.why_ended.clone(),
        };
        Some((status, pairs))
    }
}

fn pair_status(record: &PairRecord, host: &str) -> PairStatus {
    PairStatus {
        pair: record.pair.clone(),
        host: Some(host.to_owned()),
        state: record.state(),
        via: Via::Federation,
        stanzas_in: record.stanzas_in,
        stanzas_out: record.stanzas_out,
        activated_at: record.active.as_ref().map(|active| active.since),
        expires_at: record.active.as_ref().map(|active| active.expires),
        last_error: record.last_error.as_deref().map(str::to_owned),
    }
}
