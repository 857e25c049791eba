//! LocalLink: one of our own servers, by `[[local]]` entry, with the component link it has now.
//!
//! Parent: the Router, which starts one per entry and another should it break down. Children: none;
//! reading is a stream of this actor, writing a task. Ends with the process. The actor outlives its
//! links: while there is none, stanzas for its domains wait for the grace, then they are handed back.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::TcpStream as StdTcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture,
};
use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use heteronym_net::wire::{Reader, Source, Stream, pump, split};
use heteronym_proto::checker::Scope;
use heteronym_proto::component::{ComponentError, Dialled, Dialler};
use heteronym_proto::control::UndeliveredReason;
use heteronym_proto::framer::Framer;
use heteronym_proto::host_iq;
use heteronym_proto::hosted::Entry;
use heteronym_proto::local_stream::{LocalStream, Verdict};
use heteronym_proto::pair::Pair;
use heteronym_proto::routes::Route;
use heteronym_proto::stanza;
use heteronym_proto::stanza_error::{Condition, bounce};
use heteronym_proto::status::{LocalState, LocalStatus};
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::host_connection::{Batch, HostConnection, LinkHandle, Undeliverable};
use crate::router::{Router, Unrouted};
use crate::{Attach, Gauge, Shared};

/// Bytes that may wait for one local server; beyond it stanzas are handed back as `overflow`.
const QUEUE_BYTES: usize = 32 << 20;
/// How long reading pauses at most for a destination that is full; then its queue may overflow.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a link has to answer when another server wants its place.
const PROBE_WAIT: Duration = Duration::from_secs(5);
/// Between attempts to reach a server that we dial.
const REDIAL: Duration = Duration::from_secs(2);
/// How long the last bytes may take when a link is closed.
const LINGER: Duration = Duration::from_secs(2);

/// Reaches a local server.
#[derive(Clone)]
pub struct LocalHandle {
    /// Its actor.
    pub addr: Addr<LocalLink>,
    /// The bytes on their way to it.
    pub gauge: Arc<Gauge>,
}

impl LocalHandle {
    /// Hands stanzas over; gives them back where there is no room or no actor.
    pub fn deliver(&self, deliver: Deliver) -> Result<(), Deliver> {
        let bytes = deliver.bytes();
        if self.gauge.bytes() + bytes > QUEUE_BYTES {
            return Err(deliver);
        }
        self.gauge.posted(bytes);
        self.addr.try_send(deliver).map_err(|error| {
            self.gauge.received(bytes);
            error.into_inner()
        })
    }
}

/// Stanzas for our server. The result: nothing; what cannot be delivered is handed back later.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver {
    /// Who is told what could not be delivered; `None`: the sender is, by a stanza error.
    pub from: Option<Addr<HostConnection>>,
    /// In order.
    pub stanzas: Vec<Delivered>,
}

/// A stanza for our server.
pub struct Delivered {
    /// Its number on the host stream it came by; 0 where it came by none.
    pub n: u64,
    /// The stanza.
    pub bytes: Bytes,
}

impl Deliver {
    fn bytes(&self) -> usize {
        self.stanzas.iter().map(|stanza| stanza.bytes.len()).sum()
    }
}

/// Tells the sender of a stanza, one of our local users, that it was not delivered.
pub(crate) fn bounce_to_sender(shared: &Shared, bytes: &[u8], condition: Condition, text: &str) {
    let Ok(stanza) = stanza::read(bytes, &Scope::SERVER) else { return };
    let Some(error) = bounce(&stanza, condition, text) else {
        debug!(condition = condition.as_str(), "a stanza that may not be answered was dropped");
        return;
    };
    let entry = shared.config.hosted.entry(stanza.from_domain());
    let Some(local) = entry.and_then(|entry| shared.locals.get(entry)) else { return };
    let answer = Deliver { from: None, stanzas: vec![Delivered { n: 0, bytes: error }] };
    if local.deliver(answer).is_err() {
        warn!(domain = stanza.from_domain(), "an error for a local user was dropped: its server does not read");
    }
}

/// See the module.
pub struct LocalLink {
    entry: Entry,
    shared: Shared,
    router: Addr<Router>,
    gauge: Arc<Gauge>,
    core: LocalStream,
    link: Option<Link>,
    candidate: Option<Candidate>,
    generation: u64,
    draining: bool,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    via_router: HashMap<Pair, u64>,
    batches: u64,
    stanzas_in: u64,
    stanzas_out: u64,
    last_error: Option<String>,
}

/// The link there is now.
struct Link {
    generation: u64,
    framer: Framer,
    out: Rc<RefCell<OutQueue>>,
    wake: Rc<Notify>,
    gate: Gate,
}

/// A server that wants the place of the link there is.
struct Candidate {
    attach: AttachLink,
    until: Instant,
}

struct Waiting {
    since: Instant,
    /// Shared by all stanzas of one message.
    from: Option<Rc<Addr<HostConnection>>>,
    stanza: Delivered,
}

/// What reading waits for: a destination that was full when it was last written to.
type Gate = Rc<RefCell<Option<Arc<Gauge>>>>;

/// What is to be written to the server.
struct OutQueue {
    /// Goes out before the first stanza.
    greeting: Bytes,
    stanzas: VecDeque<Waiting>,
    raw: VecDeque<Bytes>,
    bytes: usize,
    closed: bool,
    gauge: Arc<Gauge>,
    written: u64,
}

impl Source for OutQueue {
    fn fill(&mut self, out: &mut BytesMut, room: usize) {
        let end = out.len() + room;
        out.extend_from_slice(&std::mem::take(&mut self.greeting));
        while out.len() < end {
            let Some(waiting) = self.stanzas.pop_front() else { break };
            self.bytes -= waiting.stanza.bytes.len();
            self.written += 1;
            out.extend_from_slice(&waiting.stanza.bytes);
        }
        if self.stanzas.is_empty() {
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

impl LocalLink {
    /// The actor of `entry`; it dials where the configuration says so.
    #[must_use]
    pub fn new(entry: Entry, shared: Shared, router: Addr<Router>, gauge: Arc<Gauge>) -> Self {
        let config = &shared.config;
        let core = LocalStream::new(config.host.clone(), Arc::clone(&config.hosted), entry, config.limits.stanza_bytes);
        Self {
            entry,
            shared,
            router,
            gauge,
            core,
            link: None,
            candidate: None,
            generation: 0,
            draining: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            via_router: HashMap::new(),
            batches: 0,
            stanzas_in: 0,
            stanzas_out: 0,
            last_error: None,
        }
    }

    fn name(&self) -> &str {
        self.shared.config.locals.get(self.entry).map_or("?", |local| local.name.as_str())
    }

    fn bring_up(&mut self, stream: Stream, framer: Framer, greeting: Bytes, ctx: &mut Context<Self>) {
        self.generation += 1;
        let generation = self.generation;
        let (reader, writer) = split(stream);
        let stanzas = std::mem::take(&mut self.waiting);
        let bytes = std::mem::take(&mut self.waiting_bytes);
        let gauge = Arc::clone(&self.gauge);
        let out = OutQueue { greeting, stanzas, raw: VecDeque::new(), bytes, closed: false, gauge, written: 0 };
        let (out, wake, gate) = (Rc::new(RefCell::new(out)), Rc::new(Notify::new()), Gate::default());
        let writing = pump(writer, Rc::clone(&out), Rc::clone(&wake));
        ctx.spawn(writing.into_actor(self).map(move |result, this, ctx| this.written(generation, result, ctx)));
        ctx.add_stream(reading(generation, reader, Rc::clone(&gate)));
        self.link = Some(Link { generation, framer, out, wake, gate });
        self.last_error = None;
        info!(local = self.name(), "local link up");
        self.take_frames(ctx);
    }

    /// The writer ended: because the link was closed, or because the connection died.
    fn written(&mut self, generation: u64, result: std::io::Result<()>, ctx: &mut Context<Self>) {
        if let Err(error) = result {
            self.lost(generation, &format!("writing failed: {error}"), ctx);
        } else {
            self.lost(generation, "closed", ctx);
        }
    }

    /// The link is gone: what was not written waits for the next one.
    fn lost(&mut self, generation: u64, why: &str, ctx: &mut Context<Self>) {
        let Some(link) = self.link.take_if(|link| link.generation == generation) else { return };
        let mut out = link.out.borrow_mut();
        out.closed = true;
        self.stanzas_out += out.written;
        self.waiting_bytes += out.bytes;
        self.waiting.extend(out.stanzas.drain(..));
        out.bytes = 0;
        drop(out);
        link.wake.notify_one();
        self.last_error.get_or_insert_with(|| why.to_owned());
        info!(local = self.name(), why, "local link down");
        if self.draining {
            self.hand_back_all();
            ctx.stop();
            return;
        }
        self.watch_waiting(ctx);
        match self.candidate.take() {
            Some(candidate) => self.accept(candidate.attach, ctx),
            None => self.dial_later(ctx),
        }
    }

    /// Ends the link from our side, behind what waits; with an error where there is one.
    fn end_link(&mut self, error: Option<&StreamError>, ctx: &mut Context<Self>) {
        let Some(link) = &self.link else { return };
        let last = error.map_or_else(|| Bytes::from_static(b"</stream:stream>"), StreamError::to_bytes);
        let mut out = link.out.borrow_mut();
        out.raw.push_back(last);
        out.closed = true;
        drop(out);
        link.wake.notify_one();
        let generation = link.generation;
        ctx.run_later(LINGER, move |this, ctx| this.lost(generation, "closed", ctx));
    }

    fn take_frames(&mut self, ctx: &mut Context<Self>) {
        let mut outgoing = Outgoing::default();
        let ended = self.route_frames(&mut outgoing);
        self.dispatch(outgoing);
        if let Some(error) = ended {
            self.end_link(error.as_ref(), ctx);
        }
    }

    /// Routes what is complete; `Some`: the link is to end.
    fn route_frames(&mut self, outgoing: &mut Outgoing) -> Option<Option<StreamError>> {
        while !self.draining {
            let frame = match self.link.as_mut()?.framer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => return Some(Some(self.faulty(error.stream_error()))),
            };
            match self.core.frame(&frame) {
                Verdict::Route(stanza, bytes) => {
                    self.stanzas_in += 1;
                    let (from, to) = (stanza.from_domain(), stanza.to_domain());
                    route(&self.shared, &mut self.via_router, self.batches + 1, outgoing, from, to, bytes);
                }
                Verdict::Answer(why, answer) => {
                    debug!(entry = self.entry, why, "a local stanza went no further");
                    outgoing.answers.extend(answer);
                }
                Verdict::Alive => self.is_alive(),
                Verdict::End(error) => {
                    self.last_error = error.map(|error| format!("our server ended the stream: {error}"));
                    return Some(None);
                }
                Verdict::Error(error) => return Some(Some(self.faulty(error))),
            }
        }
        None
    }

    fn faulty(&mut self, error: StreamError) -> StreamError {
        warn!(local = self.name(), %error, "our server sent what may not be forwarded; its link ends");
        self.last_error = Some(error.to_string());
        error
    }

    fn is_alive(&mut self) {
        if let Some(candidate) = self.candidate.take() {
            warn!(local = self.name(), "a second server wanted the link of this entry, and the first is alive");
            refuse(candidate.attach);
        }
    }

    fn dispatch(&mut self, outgoing: Outgoing) {
        self.batches += 1;
        let Outgoing { links, locals, router, answers } = outgoing;
        for (link, stanzas, bytes) in links {
            if link.gauge.bytes() > Gauge::HIGH
                && let Some(own) = &self.link
            {
                *own.gate.borrow_mut() = Some(Arc::clone(&link.gauge));
            }
            if let Err(stanzas) = link.send(stanzas, bytes, &self.shared.config.limits) {
                for (_, stanza) in stanzas {
                    let text = "the connection to the other host is full";
                    bounce_to_sender(&self.shared, &stanza, Condition::ResourceConstraint, text);
                }
            }
        }
        for (entry, stanzas) in locals {
            self.deliver_inside(entry, stanzas);
        }
        if !router.is_empty() {
            self.ask_router(router);
        }
        if !answers.is_empty() {
            let stanzas = answers.into_iter().map(|bytes| Delivered { n: 0, bytes });
            self.enqueue(None, stanzas.collect());
        }
    }

    fn deliver_inside(&mut self, entry: Entry, stanzas: Vec<Bytes>) {
        let stanzas = stanzas.into_iter().map(|bytes| Delivered { n: 0, bytes }).collect();
        let deliver = Deliver { from: None, stanzas };
        let full = match self.shared.locals.get(entry) {
            Some(local) => local.deliver(deliver).err(),
            None => Some(deliver),
        };
        for stanza in full.map(|deliver| deliver.stanzas).unwrap_or_default() {
            let text = "the domain's server does not read";
            bounce_to_sender(&self.shared, &stanza.bytes, Condition::ResourceConstraint, text);
        }
    }

    fn ask_router(&mut self, stanzas: Vec<(Pair, Bytes)>) {
        let batch = Unrouted { entry: self.entry, batch: self.batches, stanzas };
        if let Err(error) = self.router.try_send(batch) {
            for (pair, stanza) in error.into_inner().stanzas {
                self.via_router.remove(&pair);
                let text = "the router is busy";
                bounce_to_sender(&self.shared, &stanza, Condition::ResourceConstraint, text);
            }
        }
    }

    /// Queues stanzas for the link, or lets them wait for one.
    fn enqueue(&mut self, from: Option<Addr<HostConnection>>, stanzas: Vec<Delivered>) {
        let (now, from) = (crate::now().instant, from.map(Rc::new));
        let waiting = stanzas.into_iter().map(|stanza| Waiting { since: now, from: from.clone(), stanza });
        if let Some(link) = &self.link {
            let mut out = link.out.borrow_mut();
            for waiting in waiting {
                out.bytes += waiting.stanza.bytes.len();
                out.stanzas.push_back(waiting);
            }
            self.gauge.queued_is(out.bytes);
            drop(out);
            link.wake.notify_one();
            return;
        }
        for waiting in waiting {
            self.waiting_bytes += waiting.stanza.bytes.len();
            self.waiting.push_back(waiting);
        }
        self.gauge.queued_is(self.waiting_bytes);
    }

    /// Hands back what has waited longer than the grace, and looks again when the next has.
    fn watch_waiting(&mut self, ctx: &mut Context<Self>) {
        let (now, grace) = (crate::now().instant, self.shared.config.limits.local_link_grace);
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| now >= waiting.since + grace) {
            self.waiting_bytes -= waiting.stanza.bytes.len();
            hand_back(&self.shared, waiting, UndeliveredReason::DomainUnavailable);
        }
        self.gauge.queued_is(self.waiting_bytes);
        if let (Some(first), None) = (self.waiting.front(), &self.link) {
            let wait = (first.since + grace).saturating_duration_since(now) + Duration::from_millis(1);
            ctx.run_later(wait, |this, ctx| {
                if this.link.is_none() {
                    this.watch_waiting(ctx);
                }
            });
        }
    }

    /// Hands back everything that waits: there will be no other link.
    fn hand_back_all(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            hand_back(&self.shared, waiting, UndeliveredReason::DomainUnavailable);
        }
        self.waiting_bytes = 0;
        self.gauge.queued_is(0);
    }

    fn accept(&mut self, attach: AttachLink, ctx: &mut Context<Self>) {
        let AttachLink { stream, framer, greeting } = attach;
        match TcpStream::from_std(stream) {
            Ok(stream) => self.bring_up(Stream::Plain(stream), framer, greeting, ctx),
            Err(error) => warn!(local = self.name(), %error, "an accepted link could not be used"),
        }
    }

    /// Asks the link there is whether it is alive: an IQ ping, to which any answer counts.
    fn probe(&mut self, attach: AttachLink, ctx: &mut Context<Self>) {
        let Some(link) = &self.link else { return };
        let domain = self
            .shared
            .config
            .hosted
            .domains()
            .find(|domain| self.shared.config.hosted.entry(domain.as_str()) == Some(self.entry));
        if let Some(domain) = domain {
            let ping = host_iq::ping(&self.shared.config.host, domain, self.generation);
            link.out.borrow_mut().raw.push_back(ping);
            link.wake.notify_one();
        }
        let until = crate::now().instant + PROBE_WAIT;
        self.candidate = Some(Candidate { attach, until });
        ctx.run_later(PROBE_WAIT, |this, ctx| {
            let now = crate::now().instant;
            if let Some(candidate) = this.candidate.take_if(|candidate| candidate.until <= now) {
                warn!(local = this.name(), "the link was silent; a second server takes over");
                let generation = this.generation;
                this.candidate = None;
                this.last_error = Some("silent, replaced by another link".to_owned());
                this.lost(generation, "silent", ctx);
                this.accept(candidate.attach, ctx);
            }
        });
    }

    fn dial_later(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.attach(), Some(Attach::DialComponent { .. })) {
            ctx.run_later(REDIAL, |this, ctx| this.dial(ctx));
        }
    }

    fn attach(&self) -> Option<&Attach> {
        self.shared.config.locals.get(self.entry).map(|local| &local.attach)
    }

    fn dial(&mut self, ctx: &mut Context<Self>) {
        let Some(Attach::DialComponent { address, name, secret }) = self.attach() else { return };
        let dialler = Dialler::new(name, secret.clone());
        let (address, limits) = (*address, self.shared.config.limits.clone());
        let dialled = async move {
            let handshake = dial(address, dialler, limits.stanza_bytes);
            let late = || "no answer in time".to_owned();
            tokio::time::timeout(limits.connect_timeout, handshake).await.map_err(|_| late())?
        };
        ctx.spawn(dialled.into_actor(self).map(|result, this, ctx| match result {
            Ok((stream, framer)) => this.bring_up(stream, framer, Bytes::new(), ctx),
            Err(why) => {
                if this.last_error.as_ref() != Some(&why) {
                    warn!(local = this.name(), why, "our server cannot be reached");
                }
                this.last_error = Some(why);
                this.dial_later(ctx);
            }
        }));
    }
}

/// Attaches to a component port (XEP-0114, dialling side).
async fn dial(
    address: std::net::SocketAddr,
    (mut dialler, header): (Dialler, Bytes),
    stanza_bytes: usize,
) -> Result<(Stream, Framer), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = split(Stream::Plain(stream));
    let mut framer = Framer::new(stanza_bytes);
    let io = |error: std::io::Error| format!("{address}: {error}");
    writer.write(&header).await.map_err(io)?;
    loop {
        let frame = framer.next_frame().map_err(|error| error.stream_error().to_string())?;
        let Some(frame) = frame else {
            let read = reader.read().await.map_err(io)?.ok_or_else(|| ComponentError::Closed.to_string())?;
            framer.push(read);
            continue;
        };
        match dialler.frame(frame).map_err(|error| format!("{address}: {error}"))? {
            Dialled::Send(bytes) => writer.write(&bytes).await.map_err(io)?,
            Dialled::Up => break,
        }
    }
    let stream = heteronym_net::wire::join(reader, writer).ok_or("the connection is gone")?;
    Ok((Stream::Plain(stream), framer))
}

/// Reads batches; before each, waits for the destination that was full.
fn reading(
    generation: u64,
    reader: Reader,
    gate: Gate,
) -> impl futures_util::Stream<Item = (u64, std::io::Result<Option<BytesMut>>)> {
    unfold(Some(reader), move |reader| {
        let gate = Rc::clone(&gate);
        async move {
            let mut reader = reader?;
            let full = gate.borrow_mut().take();
            if let Some(full) = full {
                full.has_room(PAUSE).await;
            }
            let read = reader.read().await;
            let next = matches!(read, Ok(Some(_))).then_some(reader);
            Some(((generation, read), next))
        }
    })
}

/// Where the stanzas of one read go: one message per destination.
#[derive(Default)]
struct Outgoing {
    links: Vec<(LinkHandle, Batch, usize)>,
    locals: Vec<(Entry, Vec<Bytes>)>,
    router: Vec<(Pair, Bytes)>,
    answers: Vec<Bytes>,
}

/// Sorts one stanza. A pair that the Router still holds stanzas of goes on through the Router, so
/// that none overtakes another.
fn route(
    shared: &Shared,
    via_router: &mut HashMap<Pair, u64>,
    batch: u64,
    outgoing: &mut Outgoing,
    from: &str,
    to: &str,
    bytes: Bytes,
) {
    let key: &dyn heteronym_proto::pair::AsPair = &(from, to);
    let held = !via_router.is_empty() && via_router.contains_key(key);
    let found = if held { None } else { shared.routes.find(from, to) };
    match found.as_deref() {
        Some(Route::Link { link, slot }) => match outgoing.links.iter_mut().find(|(other, ..)| other.id == link.id) {
            Some((_, stanzas, total)) => {
                *total += bytes.len();
                stanzas.push((*slot, bytes));
            }
            None => {
                let total = bytes.len();
                outgoing.links.push((link.clone(), vec![(*slot, bytes)], total));
            }
        },
        Some(Route::Local { entry, stanzas }) => {
            stanzas.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match outgoing.locals.iter_mut().find(|(other, _)| other == entry) {
                Some((_, list)) => list.push(bytes),
                None => outgoing.locals.push((*entry, vec![bytes])),
            }
        }
        None => {
            let parsed = (heteronym_proto::name::Name::parse(from), heteronym_proto::name::Name::parse(to));
            if let (Ok(local), Ok(remote)) = parsed {
                let pair = Pair { local, remote };
                via_router.insert(pair.clone(), batch);
                outgoing.router.push((pair, bytes));
            }
        }
    }
}

fn hand_back(shared: &Shared, waiting: Waiting, reason: UndeliveredReason) {
    match waiting.from {
        Some(from) => {
            let _ = from.try_send(Undeliverable { n: waiting.stanza.n, reason });
        }
        None => {
            let text = "the domain's server is down";
            bounce_to_sender(shared, &waiting.stanza.bytes, Condition::RemoteServerTimeout, text);
        }
    }
}

/// Ends the stream of a server that may not have the link.
fn refuse(attach: AttachLink) {
    let AttachLink { stream, .. } = attach;
    let error = StreamError::new(StreamCondition::Conflict, "this entry has a link already, and it is alive");
    if let Ok(stream) = TcpStream::from_std(stream) {
        actix_rt::spawn(async move {
            let (_reader, mut writer) = split(Stream::Plain(stream));
            let _ = tokio::time::timeout(LINGER, async {
                writer.write(&error.to_bytes()).await?;
                writer.shutdown().await
            })
            .await;
        });
    }
}

impl Actor for LocalLink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bound of what waits here is the gauge's, in bytes; this one is never reached before it.
        ctx.set_mailbox_capacity(1 << 20);
        self.dial(ctx);
    }
}

impl StreamHandler<(u64, std::io::Result<Option<BytesMut>>)> for LocalLink {
    fn handle(&mut self, (generation, read): (u64, std::io::Result<Option<BytesMut>>), ctx: &mut Self::Context) {
        let Some(link) = self.link.as_mut().filter(|link| link.generation == generation) else { return };
        match read {
            Ok(Some(bytes)) => {
                link.framer.push(bytes);
                self.take_frames(ctx);
            }
            Ok(None) => self.lost(generation, "our server closed the connection", ctx),
            Err(error) => self.lost(generation, &format!("reading failed: {error}"), ctx),
        }
    }

    /// A link's stream has ended; the actor goes on without one.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Deliver> for LocalLink {
    type Result = ();

    fn handle(&mut self, deliver: Deliver, ctx: &mut Self::Context) {
        self.gauge.received(deliver.bytes());
        let was_empty = self.waiting.is_empty();
        self.enqueue(deliver.from, deliver.stanzas);
        if self.link.is_none() && was_empty {
            self.watch_waiting(ctx);
        }
    }
}

/// A server proved the secret of this entry and wants to be its link.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AttachLink {
    /// Its connection.
    pub stream: StdTcpStream,
    /// With what it sent already.
    pub framer: Framer,
    /// What it is told once it is the link.
    pub greeting: Bytes,
}

impl Handler<AttachLink> for LocalLink {
    type Result = ();

    fn handle(&mut self, attach: AttachLink, ctx: &mut Self::Context) {
        if self.draining || self.candidate.is_some() {
            refuse(attach);
        } else if self.link.is_some() {
            self.probe(attach, ctx);
        } else {
            self.accept(attach, ctx);
        }
    }
}

/// The Router has passed on, or bounced, what it got of these pairs up to this batch.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Settled {
    /// The pair.
    pub pair: Pair,
    /// The last batch of it.
    pub batch: u64,
}

impl Handler<Settled> for LocalLink {
    type Result = ();

    fn handle(&mut self, Settled { pair, batch }: Settled, _: &mut Self::Context) {
        if self.via_router.get(&pair).is_some_and(|last| *last <= batch) {
            self.via_router.remove(&pair);
        }
    }
}

/// Takes no more stanzas from the server; where there is none, what waits for it is handed back while
/// the host streams can still be told.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopReading;

impl Handler<StopReading> for LocalLink {
    type Result = ();

    fn handle(&mut self, StopReading: StopReading, _: &mut Self::Context) {
        self.draining = true;
        if self.link.is_none() {
            self.hand_back_all();
        }
    }
}

/// Flushes what waits, ends the stream, and stops.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Finish;

impl Handler<Finish> for LocalLink {
    type Result = ();

    fn handle(&mut self, Finish: Finish, ctx: &mut Self::Context) {
        self.draining = true;
        if self.link.is_some() {
            self.end_link(None, ctx);
        } else {
            ctx.stop();
        }
    }
}

/// For the status page.
#[derive(Message)]
#[rtype(result = "Option<LocalStatus>")]
pub struct GetStatus;

impl Handler<GetStatus> for LocalLink {
    type Result = Option<LocalStatus>;

    fn handle(&mut self, GetStatus: GetStatus, _: &mut Self::Context) -> Self::Result {
        let local = self.shared.config.locals.get(self.entry)?;
        let written = self.link.as_ref().map_or(0, |link| link.out.borrow().written);
        let state = match (&self.link, &local.attach) {
            (Some(_), _) => LocalState::Up,
            (None, Attach::DialComponent { .. }) => LocalState::Connecting,
            (None, Attach::Component { .. } | Attach::NotBuilt(_)) => LocalState::Down,
        };
        Some(LocalStatus {
            name: local.name.clone(),
            kind: local.attach.kind(),
            state,
            domains: local.domains,
            stanzas_in: self.stanzas_in,
            stanzas_out: self.stanzas_out + written,
            last_error: self.last_error.clone(),
        })
    }
}
