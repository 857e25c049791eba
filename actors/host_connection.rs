//! HostConnection: one connection to a peer host, from the dial or the accept to its end.
//!
//! Parent: the Router, which is told when the link is ready and when it ends. Children: a
//! DomainPair for each run under way. Ends with the connection; a panic ends it as well, and the
//! Router dials again where stanzas wait. What was never written goes back to the Router.

mod choosing;
mod connecting;
mod delivering;
mod link_handle;
mod operator;
mod routing;
mod runs;
mod status;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture,
};
use bytes::{Bytes, BytesMut};
use heteronym_net::wire::{Source, pump};
use heteronym_proto::control::Aid;
use heteronym_proto::framer::Framer;
use heteronym_proto::host_stream::{Action, HostStream, HostStreamConfig, Out};
use heteronym_proto::hosted::Entry;
use heteronym_proto::limits::{CONTROL_BYTES, UNAUTHENTICATED_BYTES};
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::crypto::system_random;
use crate::domain_pair::DomainPair;
use crate::local_link::bounce_to_sender;
use crate::metrics::{Direction, Metrics};
use crate::router::{LinkAlive, LinkChosen, LinkEnded, LinkReady, Reply, Router};
use crate::shell::{Alarm, Gate, reading};
use crate::{Config, Gauge, Shared, now};
use connecting::{Connected, connect};
use routing::remove_route;

pub use choosing::{Adopt, Decide, Handover};
pub use connecting::Start;
pub use delivering::{HasRead, Undeliverable, Undelivered};
pub(crate) use link_handle::strand;
pub use link_handle::{LinkHandle, OpenPair, PairMoved, SendStanzas, next_link_id};
pub use operator::{GetQueues, OfOperator};
pub use routing::TakePair;
pub use runs::{PairEnded, PairSaid};
pub use status::{GetStatus, GetTotals, LinkTotals};

/// How long the last bytes, and the peer's end, may take when a link is closed.
const LINGER: Duration = Duration::from_secs(2);

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
    alarm: Alarm,
    address: Option<SocketAddr>,
    bytes_in: u64,
    idle_mark: u64,
    ending: bool,
    /// We have ended the stream, and take what is under way until the peer ends it (RFC 6120 §4.4).
    hears_out: bool,
    /// Everything of ours is written.
    said_all: bool,
    /// The peer has closed the connection.
    heard_all: bool,
    draining: bool,
    why_ended: Option<String>,
    held: HashMap<Entry, HashSet<Name>>,
    /// When the runs under way began.
    begun: HashMap<Slot, Instant>,
}

/// The stream, shared with the writer.
struct Link {
    wired: Rc<RefCell<Wired>>,
    wake: Rc<Notify>,
    /// What the routes of its pairs share.
    handle: Arc<LinkHandle>,
}

struct Wired {
    stream: HostStream,
    closed: bool,
    bytes_out: u64,
    gauge: Arc<Gauge>,
    metrics: Arc<Metrics>,
}

impl Wired {
    /// Adds what was forwarded since the last batch to the counters of the whole router.
    fn count(&mut self) {
        let (incoming, outgoing) = self.stream.take_traffic();
        for (direction, traffic) in [(Direction::In, incoming), (Direction::Out, outgoing)] {
            if traffic.bytes > 0 {
                self.metrics.traffic(direction, traffic);
            }
        }
    }
}

impl Source for Wired {
    fn fill(&mut self, out: &mut BytesMut, room: usize) {
        let before = out.len();
        self.stream.fill(now(), out, room);
        self.bytes_out += (out.len() - before) as u64;
        self.gauge.queued_is(self.stream.queued_bytes());
        self.count();
    }

    fn is_closed(&self) -> bool {
        self.closed && !self.stream.has_work()
    }
}

impl HostConnection {
    /// Starts a connection on the next I/O thread.
    pub fn launch(shared: &Shared, router: &Addr<Router>, start: Start) -> Addr<Self> {
        let (shared, router) = (shared.clone(), router.clone());
        let arbiter = shared.threads.next().clone();
        Self::start_in_arbiter(&arbiter, move |_| Self::new(shared, router, start))
    }

    fn new(shared: Shared, router: Addr<Router>, start: Start) -> Self {
        let (id, dialled, address) = match &start {
            Start::Dial(id, target, _) => (*id, Some(target.host.clone()), None),
            Start::Accepted(stream, _) => (next_link_id(), None, stream.peer_addr().ok()),
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
            alarm: Alarm::default(),
            address,
            bytes_in: 0,
            idle_mark: 0,
            ending: false,
            hears_out: false,
            said_all: false,
            heard_all: false,
            draining: false,
            why_ended: None,
            held: HashMap::new(),
            begun: HashMap::new(),
        }
    }

    fn connected(&mut self, connected: Connected, ctx: &mut Context<Self>) {
        let Connected { reader, writer, mut framer, exporter, address, peer, lang, role, certified_until } = connected;
        let config = self.shared.config();
        framer.set_max_bytes(config.limits.stanza_bytes.max(CONTROL_BYTES));
        let (config, now) = (stream_config(&config), now());
        let mut stream = HostStream::new(config, peer.clone(), exporter, lang, role, system_random(), now);
        stream.end_with_certificate(now, certified_until);
        let (gauge, metrics) = (Arc::clone(&self.gauge), Arc::clone(&self.shared.metrics));
        let wired = Wired { stream, closed: false, bytes_out: 0, gauge, metrics };
        let (wired, wake) = (Rc::new(RefCell::new(wired)), Rc::new(Notify::new()));
        let writing = pump(writer, Rc::clone(&wired), Rc::clone(&wake));
        ctx.spawn(writing.into_actor(self).map(|result, this, ctx| this.written(result, ctx)));
        ctx.add_stream(reading(reader, Gate::default()));
        let handle = self.link_handle(ctx);
        self.link = Some(Link { wired, wake, handle: Arc::clone(&handle) });
        self.framer = framer;
        self.address = Some(address);
        info!(%peer, %address, dialled = self.dialled.is_some(), "host stream authenticated");
        let dialled = self.dialled.as_ref().map(|_| address);
        let ready = LinkReady { link: handle, peer, dialled };
        if self.router.try_send(ready).is_err() {
            ctx.stop();
        }
        self.take_frames(ctx);
    }

    fn failed(&mut self, why: String, ctx: &mut Context<Self>) {
        match &self.dialled {
            Some(peer) => warn!(%peer, why, "the host could not be reached"),
            None => info!(address = self.address.map(tracing::field::display), why, "a host was not let in"),
        }
        self.why_ended = Some(why);
        ctx.stop();
    }

    fn written(&mut self, result: std::io::Result<()>, ctx: &mut Context<Self>) {
        match result {
            Ok(()) if self.hears_out && !self.heard_all => self.said_all = true,
            Ok(()) => ctx.stop(),
            Err(error) => {
                self.why_ended.get_or_insert_with(|| format!("writing failed: {error}"));
                ctx.stop();
            }
        }
    }

    /// Calls the core and performs what it wants, then sees to its timer.
    fn with_core(&mut self, ctx: &mut Context<Self>, call: impl FnOnce(&mut HostStream, &mut Out)) {
        let mut out = Out::default();
        let Some(link) = &self.link else { return };
        let mut wired = link.wired.borrow_mut();
        call(&mut wired.stream, &mut out);
        wired.stream.tend(now(), &mut out);
        drop(wired);
        self.perform(out, ctx);
        self.arm(ctx);
    }

    fn take_frames(&mut self, ctx: &mut Context<Self>) {
        let mut out = Out::default();
        let mut fatal = None;
        if let Some(link) = &self.link {
            let (mut wired, now) = (link.wired.borrow_mut(), now());
            while (!self.ending || self.hears_out) && wired.stream.takes_frames() {
                match wired.stream.step(now, &mut self.framer, &mut out) {
                    Ok(true) => (),
                    Ok(false) => break,
                    Err(error) => {
                        fatal = Some(error.stream_error());
                        break;
                    }
                }
                if matches!(out.actions.last(), Some(Action::Close(_))) {
                    break;
                }
            }
            wired.stream.tend(now, &mut out);
            wired.count();
        }
        self.perform(out, ctx);
        if let Some(error) = fatal {
            self.close(Some(error), ctx);
        }
        self.arm(ctx);
    }

    fn perform(&mut self, out: Out, ctx: &mut Context<Self>) {
        let (mut write, mut elsewhere) = (false, Vec::new());
        for action in out.actions {
            match action {
                Action::Pair(slot, event) => self.tell_pair(slot, event, ctx),
                Action::EndPair(slot) => self.end_pair(slot),
                Action::CheckIdentity(op) => self.check_identity(op, ctx),
                Action::ShowIdentity(question) => self.show_identity(question, ctx),
                Action::RouteUp { slot, resumed } => self.route_up(slot, resumed, ctx),
                Action::RouteDown(slot) => self.route_down(slot),
                Action::Bounce { stanza, condition, reason, text } => {
                    bounce_to_sender(&self.shared, &stanza, (condition, reason), &text);
                }
                Action::Changed(slot, change) => self.changed(slot, &change),
                Action::Reroute(stanza) => elsewhere.push(stanza),
                Action::Reply(error) => reply(&self.router, error),
                Action::Chosen => self.tell_router(LinkChosen(self.id), ctx),
                Action::Alive => self.tell_router(LinkAlive(self.id), ctx),
                Action::Dead(silence) => self.dead(silence, ctx),
                Action::SessionResumed(again) => info!(link = self.id, again, "the session goes on"),
                Action::SessionLost { in_doubt } => self.session_lost(in_doubt),
                Action::Write => write = true,
                Action::StanzaRefused(reason) => self.shared.metrics.stanza_error("undelivered", reason),
                Action::RequestRefused(refusal) => self.shared.metrics.activation(false, refusal.reason(), None),
                Action::PeerError(error) => {
                    log_end(self.id, "the peer host ended the stream", &error);
                    self.why_ended = Some(format!("the peer host ended the stream: {error}"));
                }
                Action::Close(error) => self.close(error, ctx),
            }
        }
        strand(&self.router, elsewhere);
        self.deliver(out.deliveries, ctx);
        if let (true, Some(link)) = (write, &self.link) {
            self.gauge.queued_is(link.wired.borrow().stream.queued_bytes());
            link.wake.notify_one();
        }
    }

    pub(super) fn tell_router<M>(&mut self, message: M, ctx: &mut Context<Self>)
    where
        M: Message<Result = ()> + Send + 'static,
        Router: Handler<M>,
    {
        if self.router.try_send(message).is_err() {
            warn!(link = self.id, "the router is gone or does not keep up; the link ends");
            ctx.stop();
        }
    }

    /// Ends the stream: behind what waits, and with an error where there is one.
    fn close(&mut self, error: Option<StreamError>, ctx: &mut Context<Self>) {
        let Some(link) = &self.link else { return ctx.stop() };
        if std::mem::replace(&mut self.ending, true) {
            // The end that was still to be heard, or one that nobody has to hear.
            if self.hears_out {
                ctx.stop();
            }
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

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.link.as_ref().and_then(|link| link.wired.borrow().stream.deadline());
        self.alarm.set(deadline, ctx, |this, ctx| {
            this.alarm.rang();
            this.with_core(ctx, |stream, out| stream.handle_timeout(now(), out));
        });
    }

    /// Closes a link that carried nothing since the last look.
    fn watch_idle(&mut self, ctx: &mut Context<Self>) {
        let limit = self.shared.config().limits.idle_timeout;
        ctx.run_interval(limit, |this, ctx| {
            let Some(link) = &this.link else { return };
            let carried = link.wired.borrow().stream.activity();
            if std::mem::replace(&mut this.idle_mark, carried) == carried {
                info!(link = this.id, "idle");
                this.close(None, ctx);
                this.hears_out = true;
            }
        });
    }
}

/// A remote sender is told, by whichever way there is, that a stanza was not delivered.
fn reply(router: &Addr<Router>, error: Bytes) {
    if router.try_send(Reply(error)).is_err() {
        warn!("an error for a remote sender is lost: the router is gone");
    }
}

fn stream_config(config: &Config) -> HostStreamConfig {
    HostStreamConfig {
        host: config.host.clone(),
        hosted: Arc::clone(&config.hosted),
        limits: config.limits.clone(),
        activation_lifetime: config.activation_lifetime,
        policies: Arc::clone(&config.policies),
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
        let (mut unsent, mut session, mut carried) = (Vec::new(), None, false);
        let mut peer = self.dialled.clone();
        if let Some(mut wired) = self.link.as_ref().and_then(|link| link.wired.try_borrow_mut().ok()) {
            for record in wired.stream.records() {
                remove_route(&self.shared, self.id, &record.pair);
            }
            unsent = wired.stream.take_waiting();
            carried = wired.stream.has_carried();
            session = wired.stream.detach();
            peer = Some(wired.stream.peer().clone());
            wired.closed = true;
        }
        let Some(peer) = peer else { return };
        let why = self.why_ended.take().unwrap_or_else(|| "closed".to_owned());
        if self.link.is_some() {
            info!(%peer, why, "host connection ended");
        }
        let (id, ours, was_up) = (self.id, self.dialled.is_some(), self.link.is_some());
        let ended = LinkEnded { id, peer, ours, was_up, why, carried, unsent, session };
        if let Err(error) = self.router.try_send(ended) {
            let LinkEnded { unsent, session, .. } = error.into_inner();
            let in_doubt = session.map(|session| session.give_up()).unwrap_or_default();
            for stanza in in_doubt.into_iter().chain(unsent.into_iter().flat_map(|(_, stanzas)| stanzas)) {
                let condition = heteronym_proto::stanza_error::Condition::RemoteServerTimeout;
                let text = "the connection to the other host ended";
                bounce_to_sender(&self.shared, &stanza, (condition, "link-ended"), text);
            }
        }
    }
}

impl StreamHandler<std::io::Result<Option<BytesMut>>> for HostConnection {
    fn handle(&mut self, read: std::io::Result<Option<BytesMut>>, ctx: &mut Self::Context) {
        match read {
            Ok(Some(bytes)) => {
                self.bytes_in += bytes.len() as u64;
                if let Some(link) = &self.link {
                    link.wired.borrow_mut().stream.heard(now());
                }
                // What comes behind the end is read, so that the peer can read ours, and not kept.
                if !self.ending || self.hears_out {
                    self.framer.push(bytes);
                    self.take_frames(ctx);
                }
            }
            // What we have to say is still on its way out; `written` is told.
            Ok(None) if self.ending && !self.said_all => self.heard_all = true,
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
