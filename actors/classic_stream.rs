//! ClassicStream: one stream of classic S2S, with a remote server or, over loopback, with one of our own,
//! whoever dialled it.
//!
//! Parent: the Router, which dials for pairs without federation, or the LocalLink of the server that is at
//! the other end; the Listener starts those that come in. Children: none. Ends with its connection; what
//! was not written, or not acknowledged where the other side acknowledges, goes back to the parent.

mod checking;
mod classic_handle;
mod connecting;
mod delivering;
mod dialling;
mod ending;
mod parent;
mod status;
mod talk;

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
use heteronym_proto::limits::{UNAUTHENTICATED_BYTES, UNAUTHENTICATED_TOTAL};
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::routes::Route;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use heteronym_proto::way::Admission;
use tokio::sync::Notify;
use tracing::debug;

use crate::host_connection::{LinkHandle, next_link_id};
use crate::listener::Place;
use crate::local_link::Origin;
use crate::router::{Ending, Router};
use crate::shell::{Alarm, Gate, reading};
use crate::{Gauge, Shared, now};
use connecting::{Connected, How, connect};

pub use classic_handle::{ClassicHandle, SendClassic, SendToServer};
pub use connecting::Start;
pub use ending::EndStream;
pub(crate) use parent::Parent;
pub use status::{GetPairs, GetQueues};

/// How long the last bytes, and the other side's end, may take when a stream is closed.
const LINGER: Duration = Duration::from_secs(2);

/// What is known of a stanza that is sent: who gets it back, and its number there.
type Consigner = (Arc<Origin>, u64);

/// See the module.
pub struct ClassicStream {
    id: StreamId,
    start: Option<Start>,
    /// The pair that it was dialled for.
    dialled: Option<Pair>,
    shared: Shared,
    /// Nobody's, until a server of ours has said who it is.
    parent: Option<Parent>,
    gauge: Arc<Gauge>,
    link: Option<Link>,
    framer: Framer,
    chain: Vec<Vec<u8>>,
    stream_id: String,
    address: Option<SocketAddr>,
    gate: Gate,
    alarm: Alarm,
    quiet: u32,
    idle_mark: u64,
    carried: u64,
    /// Held until the other side has proved a domain: nobody gets many of them.
    place: Option<Place>,
    trusted: bool,
    /// Whether further pairs may be let in by dialback.
    grows: bool,
    ending: bool,
    why_ended: Option<String>,
    /// How it ended, where it was never open.
    unopened: Option<Ending>,
    inside: Arc<Origin>,
}

/// The stream, shared with the writer.
struct Link {
    wired: Rc<RefCell<Wired>>,
    wake: Rc<Notify>,
}

struct Wired {
    stream: ServerStream<Consigner>,
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
    /// Starts a stream with a remote server, or one that a server of ours has dialled, on the next I/O
    /// thread.
    pub fn launch(shared: &Shared, router: &Addr<Router>, start: Start) -> StreamId {
        let parent = match &start {
            Start::Dial { .. } | Start::Accepted(..) => Some(Parent::Router(router.clone())),
            Start::Attach { .. } | Start::AcceptedOwn(..) => None,
        };
        Self::launch_for(shared, parent, Arc::default(), start)
    }

    /// Starts a stream for `parent`; `gauge` is that of what is sent.
    pub(crate) fn launch_for(shared: &Shared, parent: Option<Parent>, gauge: Arc<Gauge>, start: Start) -> StreamId {
        let (id, shared) = (next_link_id(), shared.clone());
        let arbiter = shared.threads.next().clone();
        Self::start_in_arbiter(&arbiter, move |_| Self::new(id, shared, parent, gauge, start));
        id
    }

    fn new(id: StreamId, shared: Shared, parent: Option<Parent>, gauge: Arc<Gauge>, start: Start) -> Self {
        let dialled = match &start {
            Start::Dial { pair, .. } | Start::Attach { pair, .. } => Some(pair.clone()),
            Start::Accepted(..) | Start::AcceptedOwn(..) => None,
        };
        Self {
            id,
            start: Some(start),
            dialled,
            shared,
            parent,
            gauge,
            link: None,
            framer: Framer::new(UNAUTHENTICATED_BYTES),
            chain: Vec::new(),
            stream_id: String::new(),
            address: None,
            gate: Gate::default(),
            alarm: Alarm::default(),
            quiet: 0,
            idle_mark: 0,
            carried: 0,
            place: None,
            trusted: false,
            grows: false,
            ending: false,
            why_ended: None,
            unopened: None,
            inside: Arc::new(Origin::Inside),
        }
    }

    fn connected(&mut self, connected: Connected, ctx: &mut Context<Self>) {
        let Connected { reader, writer, framer, address, chain, stream_id, scope, lang, both_ways, how } = connected;
        let config = self.shared.config();
        (self.framer, self.chain, self.address) = (framer, chain, Some(address));
        self.stream_id.clone_from(&stream_id);
        let (max_bytes, idle) = how.bounds();
        self.grows = how.grows();
        let Some(peer) = self.peer(&how) else { return ctx.stop() };
        let setting = Setting {
            peer,
            hosted: Arc::clone(&config.hosted),
            secret: self.shared.dialback.clone(),
            dialback: config.classic.dialback || peer != Peer::Remote,
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
        self.watch_idle(idle, ctx);
        debug!(stream = self.id, %address, dialled = self.dialled.is_some(), "classic stream open");
        self.tell_open(&how, ctx);
        self.begin(how, ctx);
    }

    /// Who is at the other end; one of our own servers' streams have its actor as their parent.
    fn peer(&mut self, how: &How) -> Option<Peer> {
        if let How::AcceptedOwn { entry, .. } = how {
            self.parent = self.shared.locals.get(*entry).map(|local| Parent::Local(*entry, local));
        }
        match self.parent.as_ref()? {
            Parent::Local(entry, _) => Some(Peer::Own(*entry)),
            Parent::Router(_) => Some(Peer::Remote),
        }
    }

    /// Says what was proved so far, and asks for the rest.
    fn begin(&mut self, how: How, ctx: &mut Context<Self>) {
        let dialled = self.dialled.clone();
        self.with_core(ctx, |stream, actions| match (how, dialled) {
            (How::Dialled { authenticated, proved, features, .. }, Some(pair)) => {
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
            }
            (How::Attached, Some(pair)) => stream.ask(now().instant, &pair, actions),
            (How::Accepted { authenticated, first }, _) => {
                if let Some((remote, local)) = authenticated {
                    stream.prove(remote, local, actions);
                }
                first.iter().for_each(|first| stream.frame(first, actions));
            }
            (How::AcceptedOwn { first, .. }, _) => first.iter().for_each(|first| stream.frame(first, actions)),
            (How::Dialled { .. } | How::Attached, None) => (),
        });
        self.watch_unproved(ctx);
        self.take_frames(ctx);
    }

    /// Calls the core and performs what it wants, then sees to its timer.
    fn with_core(
        &mut self,
        ctx: &mut Context<Self>,
        call: impl FnOnce(&mut ServerStream<Consigner>, &mut Vec<Action<Consigner>>),
    ) {
        let mut actions = Vec::new();
        let Some(link) = &self.link else { return };
        call(&mut link.wired.borrow_mut().stream, &mut actions);
        self.perform(actions, ctx);
        self.arm(ctx);
    }

    fn take_frames(&mut self, ctx: &mut Context<Self>) {
        let mut fatal = None;
        while let (None, Some(link)) = (&fatal, &self.link) {
            let mut actions = Vec::new();
            let mut wired = link.wired.borrow_mut();
            while !wired.stream.is_over() && (self.trusted || !wired.stream.has_proved()) {
                match self.framer.next_frame() {
                    Ok(Some(frame)) => wired.stream.frame(&frame, &mut actions),
                    Ok(None) => break,
                    Err(error) => {
                        fatal = Some(error.stream_error());
                        break;
                    }
                }
            }
            let goes_on = wired.stream.has_proved() && !self.trusted;
            drop(wired);
            self.perform(actions, ctx);
            if !goes_on {
                break;
            }
        }
        if let Some(error) = fatal {
            self.fail(error, ctx);
        }
        self.arm(ctx);
    }

    /// Somebody was proved: the bounds are those of everybody from now on.
    fn trust(&mut self) {
        let proved = self.link.as_ref().is_some_and(|link| link.wired.borrow().stream.has_proved());
        if proved && !self.trusted {
            self.trusted = true;
            if let Some(place) = self.place.take() {
                place.established();
            }
            self.framer.set_max_bytes(self.shared.config().limits.stanza_bytes);
        }
    }

    fn perform(&mut self, actions: Vec<Action<Consigner>>, ctx: &mut Context<Self>) {
        self.trust();
        let (mut deliveries, mut routed, mut elsewhere, mut write) = (Vec::new(), Vec::new(), Vec::new(), false);
        for action in actions {
            match action {
                Action::Write => write = true,
                Action::Deliver(entry, bytes) => deliveries.push((entry, bytes)),
                Action::Route(bytes) => routed.push(bytes),
                Action::Answer(error) => self.tell_answer(error, ctx),
                Action::Check(ends, key) => self.check(ends, key, ctx),
                Action::Verified(ends, ..) => debug!(stream = self.id, from = %ends.from, "an answer nobody asked for"),
                Action::Up(pair) => self.tell_up(pair, ctx),
                Action::Down(pair, why, waiting) => self.tell_down(pair, why, waiting, ctx),
                Action::Bounce(stanza, consigner, condition, text) => {
                    self.give_back(&stanza, &consigner, condition, &text);
                }
                Action::Reroute(stanza, _) => elsewhere.push(stanza),
                Action::Refused(why) => self.shared.metrics.stanza_error("not-forwarded", why),
                Action::End => self.linger(),
                Action::Close(error) => self.over(error, ctx),
            }
        }
        self.deliver(deliveries);
        self.reroute(elsewhere);
        self.route(routed, ctx);
        if let (true, Some(link)) = (write, &self.link) {
            self.gauge.queued_is(link.wired.borrow().stream.queued_bytes());
            link.wake.notify_one();
        }
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.link.as_ref().and_then(|link| link.wired.borrow().stream.deadline());
        self.alarm.set(deadline, ctx, |this, ctx| {
            this.alarm.rang();
            this.with_core(ctx, |stream, actions| stream.handle_timeout(now().instant, actions));
        });
    }
}

impl Actor for ClassicStream {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bound of what waits here is the gauge's, in bytes; this one is never reached before it.
        ctx.set_mailbox_capacity(1 << 20);
        let Some(start) = self.start.take() else { return ctx.stop() };
        let (connecting, place) = connect(self.shared.clone(), self.parent.clone(), start);
        self.place = place;
        ctx.spawn(connecting.into_actor(self).map(|result, this, ctx| {
            match result {
                Ok(connected) => return this.connected(connected, ctx),
                Err(why) => this.unopened(why),
            }
            ctx.stop();
        }));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let id = self.id;
        let ours = |route: &Route<LinkHandle, ClassicHandle>| match route {
            Route::Classic { stream, .. } => stream.id == id,
            Route::Link { .. } | Route::Moving | Route::Local(_) => false,
        };
        let (mut unsent, mut pairs) = (Vec::new(), Vec::new());
        if let Some(mut wired) = self.link.as_ref().and_then(|link| link.wired.try_borrow_mut().ok()) {
            pairs.extend(wired.stream.pairs().cloned());
            wired.stream.senders().for_each(|pair| self.shared.routes.remove_if(pair, ours));
            unsent = wired.stream.take_waiting();
            wired.closed = true;
        }
        let why = self.why_ended.take().unwrap_or_else(|| "closed".to_owned());
        let why = self.unopened.take().unwrap_or(Ending::Ended(Condition::RemoteServerTimeout, why));
        self.tell_ended(why, pairs, unsent);
    }
}

impl StreamHandler<std::io::Result<Option<BytesMut>>> for ClassicStream {
    fn handle(&mut self, read: std::io::Result<Option<BytesMut>>, ctx: &mut Self::Context) {
        match read {
            Ok(Some(bytes)) => {
                self.carried += bytes.len() as u64;
                if !self.trusted && self.dialled.is_none() && self.carried > UNAUTHENTICATED_TOTAL {
                    let text = "too much before a domain was proved";
                    return self.fail(StreamError::new(StreamCondition::PolicyViolation, text), ctx);
                }
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

/// Another configuration counts from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconfigure;

impl Handler<Reconfigure> for ClassicStream {
    type Result = ();

    fn handle(&mut self, Reconfigure: Reconfigure, ctx: &mut Self::Context) {
        let config = self.shared.config();
        let (hosted, limits) = (Arc::clone(&config.hosted), config.limits.clone());
        let dialback = config.classic.dialback || matches!(self.parent, Some(Parent::Local(..)));
        if self.trusted {
            self.framer.set_max_bytes(limits.stanza_bytes);
        }
        let shared = self.shared.clone();
        let may_speak = |domain: &Name| !matches!(shared.circumstances(domain).admission(), Admission::Never(_));
        self.with_core(ctx, |stream, _| stream.reconfigure(hosted, limits, dialback, may_speak));
    }
}
