//! LocalLink: one of our own servers, by `[[local]]` entry, with the component link it has now.
//!
//! Parent: the Router, which starts one per entry and another should it break down. Children: the
//! ClassicStreams of a server that attaches by loopback S2S; of a component link, reading is a stream of
//! this actor, and writing a task. Ends with the process. The actor outlives its
//! links: while there is none, stanzas for its domains wait for the grace, then they are handed back.

mod dialling;
mod jabberd2;
mod local_handle;
mod operator;
mod queue;
mod reading;
mod routing;
mod servers;
mod status;
mod takeover;
mod unread;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, StreamHandler,
    WrapFuture,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use heteronym_net::wire::{pump, split};
use heteronym_proto::acks::Ack;
use heteronym_proto::checker::Shapes;
use heteronym_proto::component::NAMESPACE as COMPONENT;
use heteronym_proto::framer::Framer;
use heteronym_proto::hosted::Entry;
use heteronym_proto::local_stream::LocalStream;
use heteronym_proto::pair::Pair;
use heteronym_proto::routes::KnownRoutes;
use heteronym_proto::stream_error::{StreamError, farewell};
use tokio::sync::Notify;
use tracing::info;

use crate::host_connection::LinkHandle;
use crate::router::{LocalBroke, Router};
use crate::shell::{Gate, reading};
use crate::{Attach, Config, Gauge, Shared};
use dialling::Established;
use jabberd2::Protocol;
use queue::{OutQueue, Waiting};
use servers::Servers;
use takeover::Candidate;
use unread::Unread;

pub use dialling::{try_component, try_jabberd2};
pub(crate) use local_handle::bounce_to_sender;
pub use local_handle::{Deliver, Delivered, HostOrigin, LocalHandle, Origin};
pub use operator::{GetQueue, Reconfigure};
pub(crate) use queue::hand_back;
pub use servers::{AnswerServer, Barrier, ServerEnded, ServerOpen, ServerStranded, ServerUp, ToRoute};
pub use status::GetStatus;
pub use takeover::AttachLink;

/// How long the last bytes may take when a link is closed.
const LINGER: Duration = Duration::from_secs(2);

/// See the module.
pub struct LocalLink {
    entry: Entry,
    shared: Shared,
    router: Addr<Router>,
    gauge: Arc<Gauge>,
    intake: Arc<Gauge>,
    core: LocalStream,
    link: Option<Link>,
    servers: Servers,
    candidate: Option<Candidate>,
    generation: u64,
    draining: bool,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// How many of the first had left already, by loopback S2S, and came back.
    returned: usize,
    /// The server has answered a ping, on this link or an earlier one.
    answers_pings: bool,
    known: KnownRoutes<LinkHandle>,
    via_router: HashMap<Pair, u64>,
    batches: u64,
    stanzas_in: u64,
    stanzas_out: u64,
    last_error: Option<String>,
}

/// The link there is now.
struct Link {
    generation: u64,
    protocol: Protocol,
    framer: Framer,
    /// What the server's stanzas look like.
    shapes: Shapes,
    out: Rc<RefCell<OutQueue>>,
    wake: Rc<Notify>,
    gate: Gate,
    reading: SpawnHandle,
    /// Its end is written, or about to be: what the server still sends does not count.
    ending: bool,
    /// The server has ended its stream in order: it reads what there is until it has read the end of ours.
    heard_end: bool,
    /// The server has ended its stream with an error: it has not read what came behind what it did not like.
    failed: bool,
    /// How many stanzas of the server's were taken, where it wants to know.
    taken: Option<u32>,
}

impl Link {
    /// Says how far we are, behind what waits.
    fn say(&self, ack: &Ack) {
        self.out.borrow_mut().raw.push_back(ack.to_element().to_bytes(COMPONENT));
        self.wake.notify_one();
    }
}

impl LocalLink {
    /// The actor of `entry`; it dials where the configuration says so.
    #[must_use]
    pub fn new(entry: Entry, shared: Shared, router: Addr<Router>, (gauge, intake): (Arc<Gauge>, Arc<Gauge>)) -> Self {
        let core = core(&shared.config(), entry);
        Self {
            entry,
            shared,
            router,
            gauge,
            intake,
            core,
            link: None,
            servers: Servers::default(),
            candidate: None,
            generation: 0,
            draining: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            returned: 0,
            answers_pings: false,
            known: KnownRoutes::default(),
            via_router: HashMap::new(),
            batches: 0,
            stanzas_in: 0,
            stanzas_out: 0,
            last_error: None,
        }
    }

    fn name(&self) -> String {
        self.shared.config().locals.get(self.entry).map_or_else(|| "?".to_owned(), |local| local.name.clone())
    }

    fn own_handle(&self, ctx: &Context<Self>) -> LocalHandle {
        LocalHandle { addr: ctx.address(), gauge: Arc::clone(&self.gauge), intake: Arc::clone(&self.intake) }
    }

    fn bring_up(&mut self, protocol: Protocol, established: Established, greeting: Bytes, ctx: &mut Context<Self>) {
        let (stream, mut framer) = established;
        self.generation += 1;
        let generation = self.generation;
        let (reader, writer) = split(stream);
        let waiting = std::mem::take(&mut self.waiting);
        let bytes = std::mem::take(&mut self.waiting_bytes);
        let gauge = Arc::clone(&self.gauge);
        let in_routes = protocol.name().map(|name| (name, self.shared.clone()));
        let (raw, unread) = (VecDeque::new(), self.unread_of(&protocol));
        let out = OutQueue { greeting, waiting, raw, bytes, closed: false, gauge, written: 0, in_routes, unread };
        framer.set_max_bytes(protocol.frame_bytes(&self.shared.config().limits));
        let (out, wake, gate) = (Rc::new(RefCell::new(out)), Rc::new(Notify::new()), Gate::default());
        let writing = pump(writer, Rc::clone(&out), Rc::clone(&wake));
        ctx.spawn(writing.into_actor(self).map(move |result, this, ctx| this.written(generation, result, ctx)));
        let reads = reading(reader, gate.clone()).map(move |read| (generation, read));
        let reading = ctx.add_stream(reads);
        self.link = Some(Link {
            generation,
            protocol,
            framer,
            shapes: Shapes::default(),
            out,
            wake,
            gate,
            reading,
            ending: false,
            heard_end: false,
            failed: false,
            taken: None,
        });
        self.last_error = None;
        info!(local = self.name(), "local link up");
        self.compare_domains_later(ctx);
        self.take_frames(ctx);
    }

    /// The writer ended: because the link was closed, or because the connection died.
    fn written(&mut self, generation: u64, result: std::io::Result<()>, ctx: &mut Context<Self>) {
        match result {
            // Closed with bytes unread, the connection would be reset, and what was written lost with it.
            Ok(()) if self.draining => (),
            Ok(()) => {
                if let Some(link) = self.link.as_ref().filter(|link| link.heard_end) {
                    link.out.borrow_mut().was_read();
                }
                self.lost(generation, "closed", ctx);
            }
            Err(error) => self.lost(generation, &format!("writing failed: {error}"), ctx),
        }
    }

    /// The link is gone: what was not written waits for the next one.
    fn lost(&mut self, generation: u64, why: &str, ctx: &mut Context<Self>) {
        let Some(link) = self.link.take_if(|link| link.generation == generation) else { return };
        let mut out = link.out.borrow_mut();
        out.closed = true;
        self.stanzas_out += out.written;
        let kept = out.take_all();
        drop(out);
        self.keep(kept);
        link.wake.notify_one();
        // For as long as the server may need to read our end; then the connection is closed, whatever it sends.
        ctx.run_later(LINGER, move |_, ctx| {
            ctx.cancel_future(link.reading);
        });
        self.last_error.get_or_insert_with(|| why.to_owned());
        info!(local = self.name(), why, "local link down");
        if self.draining {
            if self.is_detached() {
                self.hand_back_all();
                ctx.stop();
            }
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
        let Some(link) = self.link.as_mut().filter(|link| !link.ending) else { return };
        link.ending = true;
        if let Some(taken) = link.taken {
            link.say(&Ack::Answer(taken));
        }
        let mut out = link.out.borrow_mut();
        out.raw.push_back(farewell(error));
        out.closed = true;
        drop(out);
        link.wake.notify_one();
        let generation = link.generation;
        ctx.run_later(LINGER, move |this, ctx| this.lost(generation, "closed", ctx));
    }
}

impl LocalLink {
    /// A server that dialled us answers in its stream; one that we dial, and jabberd2's router, send the answer to
    /// a ping wherever it leads.
    fn unread_of(&self, protocol: &Protocol) -> Option<Unread> {
        let config = self.shared.config();
        let component = config.locals.get(self.entry).is_some_and(|of| matches!(of.attach, Attach::Component { .. }));
        match protocol {
            Protocol::Component if component => config
                .hosted
                .first_of(self.entry)
                .map(|domain| Unread::new(config.host.clone(), domain.clone(), self.answers_pings)),
            Protocol::Component | Protocol::Jabberd2(_) => None,
        }
    }
}

/// What judges the stanzas of an entry's server.
fn core(config: &Config, entry: Entry) -> LocalStream {
    let (host, hosted) = (config.host.clone(), Arc::clone(&config.hosted));
    let core = LocalStream::new(host, hosted, entry, config.limits.stanza_bytes);
    match config.locals.get(entry).map(|local| &local.attach) {
        Some(Attach::S2s(_) | Attach::DialComponent { s2s: Some(_), .. } | Attach::Jabberd2 { .. }) => {
            core.that_loops()
        }
        Some(Attach::Component { .. } | Attach::DialComponent { s2s: None, .. } | Attach::Gone) | None => core,
    }
}

impl Actor for LocalLink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bound of what waits here is the gauge's, in bytes; this one is never reached before it.
        ctx.set_mailbox_capacity(1 << 20);
        self.watch_unread(ctx);
        self.dial(ctx);
    }

    /// After a drain there is nothing left to do; otherwise the actor broke down.
    fn stopped(&mut self, _: &mut Self::Context) {
        if self.draining {
            return;
        }
        if let Some(mut out) = self.link.as_ref().and_then(|link| link.out.try_borrow_mut().ok()) {
            out.closed = true;
            self.waiting.extend(out.take_all());
        }
        self.hand_back_all();
        let _ = self.router.try_send(LocalBroke(self.entry));
    }
}

impl StreamHandler<(u64, std::io::Result<Option<BytesMut>>)> for LocalLink {
    fn handle(&mut self, (generation, read): (u64, std::io::Result<Option<BytesMut>>), ctx: &mut Self::Context) {
        let Some(link) = self.link.as_mut().filter(|link| link.generation == generation) else { return };
        match read {
            Ok(Some(_)) if link.ending => (),
            Ok(None) if link.ending => {
                if !link.failed {
                    link.out.borrow_mut().was_read();
                }
                self.lost(generation, "closed", ctx);
            }
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

/// Sends the stanzas that still come from the server back to their senders; where there is no server, what waits for it is handed back while
/// the host streams can still be told.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopReading;

impl Handler<StopReading> for LocalLink {
    type Result = ();

    fn handle(&mut self, StopReading: StopReading, _: &mut Self::Context) {
        self.draining = true;
        if self.link.is_none() && self.servers.out.is_none() {
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
        self.end_streams();
        self.end_link(None, ctx);
        if self.is_detached() {
            ctx.stop();
        }
    }
}
