//! ClassicStream: one stream of classic S2S with a remote server, whoever dialled it.
//!
//! Parent: the Router, which dials for pairs without federation; the Listener starts those that come
//! in. Children: none. Ends with its connection; what was not written, or not acknowledged where the
//! other side acknowledges, goes back to the Router.

mod checking;
mod classic_handle;
mod connecting;
mod delivering;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture,
};
use bytes::BytesMut;
use heteronym_net::wire::{Source, pump};
use heteronym_proto::classic::remotes::StreamId;
use heteronym_proto::classic::stream::{Action, Peer, ServerStream, Setting};
use heteronym_proto::framer::Framer;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::routes::Route;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::host_connection::next_link_id;
use crate::local_link::bounce_to_sender;
use crate::router::{ClassicDown, ClassicEnded, ClassicOpen, ClassicUp, Reply, Router};
use crate::shell::{Alarm, Gate, reading};
use crate::{Gauge, Shared, now};
use connecting::{Connected, How, connect};

pub use classic_handle::{ClassicHandle, SendClassic};
pub use connecting::Start;
pub use delivering::NotDelivered;

/// How long the last bytes, and the other side's end, may take when a stream is closed.
const LINGER: Duration = Duration::from_secs(2);

/// See the module.
pub struct ClassicStream {
    id: StreamId,
    start: Option<Start>,
    /// The pair that it was dialled for.
    dialled: Option<Pair>,
    shared: Shared,
    router: Addr<Router>,
    gauge: Arc<Gauge>,
    link: Option<Link>,
    framer: Framer,
    chain: Vec<Vec<u8>>,
    stream_id: String,
    address: Option<SocketAddr>,
    gate: Gate,
    alarm: Alarm,
    idle_mark: u64,
    carried: u64,
    /// Nothing that remote servers say counts before somebody is proved.
    proved: bool,
    ending: bool,
    why_ended: Option<String>,
    /// What senders are told where the stream was never open.
    condition: Condition,
}

/// The stream, shared with the writer.
struct Link {
    wired: Rc<RefCell<Wired>>,
    wake: Rc<Notify>,
}

struct Wired {
    stream: ServerStream,
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

impl ClassicStream {
    /// Starts a stream on the next I/O thread.
    pub fn launch(shared: &Shared, router: &Addr<Router>, start: Start) -> StreamId {
        let (id, shared, router) = (next_link_id(), shared.clone(), router.clone());
        let arbiter = shared.threads.next().clone();
        Self::start_in_arbiter(&arbiter, move |_| Self::new(id, shared, router, start));
        id
    }

    fn new(id: StreamId, shared: Shared, router: Addr<Router>, start: Start) -> Self {
        let dialled = match &start {
            Start::Dial(pair) => Some(pair.clone()),
            Start::Accepted(..) => None,
        };
        Self {
            id,
            start: Some(start),
            dialled,
            shared,
            router,
            gauge: Arc::default(),
            link: None,
            framer: Framer::new(0),
            chain: Vec::new(),
            stream_id: String::new(),
            address: None,
            gate: Gate::default(),
            alarm: Alarm::default(),
            idle_mark: 0,
            carried: 0,
            proved: false,
            ending: false,
            why_ended: None,
            condition: Condition::RemoteServerTimeout,
        }
    }

    fn connected(&mut self, connected: Connected, ctx: &mut Context<Self>) {
        let Connected { reader, writer, framer, address, chain, stream_id, scope, lang, both_ways, how } = connected;
        let config = self.shared.config();
        (self.framer, self.chain, self.address) = (framer, chain, Some(address));
        self.stream_id.clone_from(&stream_id);
        self.framer.set_max_bytes(config.limits.stanza_bytes);
        let max_bytes = match &how {
            How::Dialled { features, .. } => features.max_bytes,
            How::Accepted { .. } => None,
        };
        let setting = Setting {
            peer: Peer::Remote,
            hosted: Arc::clone(&config.hosted),
            secret: self.shared.dialback.clone(),
            dialback: config.classic.dialback,
            limits: config.limits.clone(),
            stream_id,
            scope,
            lang,
            max_bytes,
        };
        let stream = ServerStream::new(setting, both_ways);
        let wired = Wired { stream, closed: false, bytes_out: 0, gauge: Arc::clone(&self.gauge) };
        let (wired, wake) = (Rc::new(RefCell::new(wired)), Rc::new(Notify::new()));
        let writing = pump(writer, Rc::clone(&wired), Rc::clone(&wake));
        ctx.spawn(writing.into_actor(self).map(|result, this, ctx| this.written(result, ctx)));
        ctx.add_stream(reading(reader, self.gate.clone()));
        self.link = Some(Link { wired, wake });
        info!(stream = self.id, %address, dialled = self.dialled.is_some(), "classic stream open");
        let open = ClassicOpen(self.reached_by(ctx));
        self.tell(open, ctx);
        self.begin(how, ctx);
    }

    /// Says what was proved so far, and asks for the rest.
    fn begin(&mut self, how: How, ctx: &mut Context<Self>) {
        match how {
            How::Dialled { authenticated, proved, features } => {
                let Some(pair) = self.dialled.clone() else { return };
                self.with_core(ctx, |stream, actions| {
                    if features.sm && authenticated {
                        stream.count(actions);
                    }
                    if authenticated {
                        stream.grant(pair.clone(), actions);
                    } else {
                        stream.ask(now().instant, &pair, actions);
                    }
                    if proved {
                        stream.prove(pair.remote, pair.local, actions);
                    }
                });
            }
            How::Accepted { authenticated, first } => {
                self.proved = authenticated.is_some();
                self.watch_unproved(ctx);
                self.with_core(ctx, |stream, actions| {
                    if let Some((remote, local)) = authenticated {
                        stream.prove(remote, local, actions);
                    }
                    if let Some(first) = first {
                        stream.frame(&first, actions);
                    }
                });
            }
        }
        self.take_frames(ctx);
    }

    /// Ends a stream on which nobody was proved in time (RFC 6120 §4.9.3.1: `connection-timeout`).
    fn watch_unproved(&mut self, ctx: &mut Context<Self>) {
        let limit = self.shared.config().limits.connect_timeout + heteronym_proto::limits::DIALBACK_WAIT;
        ctx.run_later(limit, |this, ctx| {
            if !this.proved {
                let error = StreamError::new(StreamCondition::ConnectionTimeout, "no domain was proved in time");
                this.close(Some(error), ctx);
            }
        });
    }

    /// Calls the core and performs what it wants, then sees to its timer.
    fn with_core(&mut self, ctx: &mut Context<Self>, call: impl FnOnce(&mut ServerStream, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        let Some(link) = &self.link else { return };
        call(&mut link.wired.borrow_mut().stream, &mut actions);
        self.perform(actions, ctx);
        self.arm(ctx);
    }

    fn take_frames(&mut self, ctx: &mut Context<Self>) {
        let mut actions = Vec::new();
        let mut fatal = None;
        if let Some(link) = &self.link {
            let mut wired = link.wired.borrow_mut();
            while !self.ending && !wired.stream.is_over() {
                match self.framer.next_frame() {
                    Ok(Some(frame)) => wired.stream.frame(&frame, &mut actions),
                    Ok(None) => break,
                    Err(error) => {
                        fatal = Some(error.stream_error());
                        break;
                    }
                }
            }
        }
        self.perform(actions, ctx);
        if let Some(error) = fatal {
            self.close(Some(error), ctx);
        }
        self.arm(ctx);
    }

    fn perform(&mut self, actions: Vec<Action>, ctx: &mut Context<Self>) {
        let (mut deliveries, mut write) = (Vec::new(), false);
        for action in actions {
            match action {
                Action::Write => write = true,
                Action::Deliver(entry, bytes) => deliveries.push((entry, bytes)),
                Action::Route(pair, _) => debug!(stream = self.id, %pair, "a stanza of a server of ours"),
                Action::Answer(error) => self.tell(Reply(error), ctx),
                Action::Check(ends, key) => self.check(ends, key, ctx),
                Action::Verified(ends, ..) => debug!(stream = self.id, from = %ends.from, "an answer nobody asked for"),
                Action::Up(pair) => self.up(pair, ctx),
                Action::Down(pair, why, waiting) => {
                    warn!(stream = self.id, %pair, why, "a pair was refused by the other server");
                    let waiting = waiting.into_iter().map(|(stanza, ())| stanza).collect();
                    self.tell(ClassicDown { id: self.id, pair, why, waiting }, ctx);
                }
                Action::Bounce(stanza, (), condition, text) => {
                    bounce_to_sender(&self.shared, &stanza, (condition, "classic"), &text);
                }
                Action::Refused(why) => self.shared.metrics.stanza_error("not-forwarded", why),
                Action::Close(error) => {
                    if let Some(error) = &error {
                        warn!(stream = self.id, %error, "a classic stream ends");
                        self.why_ended.get_or_insert_with(|| error.to_string());
                    }
                    self.linger(ctx);
                }
            }
        }
        self.deliver(deliveries, ctx);
        if let (true, Some(link)) = (write, &self.link) {
            self.gauge.queued_is(link.wired.borrow().stream.queued_bytes());
            link.wake.notify_one();
        }
    }

    fn up(&mut self, pair: Pair, ctx: &mut Context<Self>) {
        self.proved = true;
        info!(stream = self.id, %pair, "pair may send");
        let grows = self.dialled.is_some() && self.shared.config().classic.dialback;
        let stream = self.reached_by(ctx);
        self.tell(ClassicUp { stream, pair, grows }, ctx);
    }

    fn reached_by(&self, ctx: &Context<Self>) -> ClassicHandle {
        let (addr, gauge, router) = (ctx.address(), Arc::clone(&self.gauge), self.router.clone());
        ClassicHandle { id: self.id, addr, gauge, router }
    }

    fn tell<M>(&mut self, message: M, ctx: &mut Context<Self>)
    where
        M: Message<Result = ()> + Send + 'static,
        Router: Handler<M>,
    {
        if self.router.try_send(message).is_err() {
            warn!(stream = self.id, "the router is gone or does not keep up; the stream ends");
            ctx.stop();
        }
    }

    fn written(&mut self, result: std::io::Result<()>, ctx: &mut Context<Self>) {
        if let Err(error) = result {
            self.why_ended.get_or_insert_with(|| format!("writing failed: {error}"));
        }
        ctx.stop();
    }

    /// Ends the stream: behind what may be sent, with an error where there is one.
    fn close(&mut self, error: Option<StreamError>, ctx: &mut Context<Self>) {
        if self.link.is_none() {
            return ctx.stop();
        }
        self.with_core(ctx, |stream, actions| stream.close(error, actions));
    }

    fn linger(&mut self, ctx: &mut Context<Self>) {
        let Some(link) = &self.link else { return };
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        link.wired.borrow_mut().closed = true;
        link.wake.notify_one();
        ctx.run_later(LINGER, |_, ctx| ctx.stop());
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.link.as_ref().and_then(|link| link.wired.borrow().stream.deadline());
        self.alarm.set(deadline, ctx, |this, ctx| {
            this.alarm.rang();
            this.with_core(ctx, |stream, actions| stream.handle_timeout(now().instant, actions));
        });
    }

    /// Closes a stream that carried nothing since the last look.
    fn watch_idle(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(self.shared.config().limits.idle_timeout, |this, ctx| {
            let Some(link) = &this.link else { return };
            let carried = this.carried + link.wired.borrow().bytes_out;
            if std::mem::replace(&mut this.idle_mark, carried) == carried {
                this.close(None, ctx);
            }
        });
    }
}

impl Actor for ClassicStream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bound of what waits here is the gauge's, in bytes; this one is never reached before it.
        ctx.set_mailbox_capacity(1 << 20);
        self.watch_idle(ctx);
        let Some(start) = self.start.take() else { return ctx.stop() };
        let connecting = connect(self.shared.clone(), start);
        ctx.spawn(connecting.into_actor(self).map(|result, this, ctx| match result {
            Ok(connected) => this.connected(connected, ctx),
            Err((condition, why)) => {
                info!(stream = this.id, dialled = this.dialled.is_some(), why, "no classic stream");
                (this.condition, this.why_ended) = (condition, Some(why));
                ctx.stop();
            }
        }));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let id = self.id;
        self.shared.routes.remove_all(|_, route| match route {
            Route::Classic { stream, .. } => stream.id == id,
            Route::Link { .. } | Route::Local { .. } => false,
        });
        let mut unsent = Vec::new();
        let mut remotes: Vec<Name> = self.dialled.iter().map(|pair| pair.remote.clone()).collect();
        if let Some(mut wired) = self.link.as_ref().and_then(|link| link.wired.try_borrow_mut().ok()) {
            remotes.extend(wired.stream.pairs().map(|pair| pair.remote.clone()));
            let left = wired.stream.take_waiting().into_iter();
            unsent.extend(left.map(|(pair, left)| (pair, left.into_iter().map(|(stanza, ())| stanza).collect())));
            wired.closed = true;
        }
        let why = self.why_ended.take().unwrap_or_else(|| "closed".to_owned());
        let dialled = self.dialled.take();
        let why = (self.condition, why);
        let ended = ClassicEnded { id, dialled, remotes, why, unsent };
        if let Err(error) = self.router.try_send(ended) {
            for stanza in error.into_inner().unsent.into_iter().flat_map(|(_, stanzas)| stanzas) {
                let why = (Condition::RemoteServerTimeout, "link-ended");
                bounce_to_sender(&self.shared, &stanza, why, "the connection to the other server ended");
            }
        }
    }
}

impl StreamHandler<std::io::Result<Option<BytesMut>>> for ClassicStream {
    fn handle(&mut self, read: std::io::Result<Option<BytesMut>>, ctx: &mut Self::Context) {
        match read {
            Ok(Some(_)) if self.ending => (),
            Ok(Some(bytes)) => {
                self.carried += bytes.len() as u64;
                self.framer.push(bytes);
                self.take_frames(ctx);
            }
            Ok(None) => {
                self.why_ended.get_or_insert_with(|| "the other server closed the connection".to_owned());
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

/// Ends the stream, behind what may be sent.
#[derive(Message)]
#[rtype(result = "()")]
pub struct EndStream;

impl Handler<EndStream> for ClassicStream {
    type Result = ();

    fn handle(&mut self, EndStream: EndStream, ctx: &mut Self::Context) {
        self.close(None, ctx);
    }
}

/// For the status page: the pairs that may send here.
#[derive(Message)]
#[rtype(result = "Vec<Pair>")]
pub struct GetPairs;

impl Handler<GetPairs> for ClassicStream {
    type Result = Vec<Pair>;

    fn handle(&mut self, GetPairs: GetPairs, _: &mut Self::Context) -> Self::Result {
        self.link.as_ref().map(|link| link.wired.borrow().stream.pairs().cloned().collect()).unwrap_or_default()
    }
}
