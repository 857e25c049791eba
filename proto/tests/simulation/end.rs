//! One end of a link: what the HostConnection actor does around its core.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use heteronym_proto::batch::Batch;
use heteronym_proto::control::Aid;
use heteronym_proto::crypto::{CryptoOp, CryptoResult};
use heteronym_proto::domain_pair::{DomainPair, PairAction, PairEvent};
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::host_stream::{Action, HostStream, Out, PairChange};
use heteronym_proto::hosted::Entry;
use heteronym_proto::limits::CONTROL_BYTES;
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::stream_error::{Condition, StreamError};

use crate::agenda::{Actor, Context, Delivered, LinkEnded, Message};
use crate::process::{Shared, domains_of};

const LINGER: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const HEADER: &[u8] =
    b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

/// See the module.
pub(crate) struct End {
    pub(crate) id: LinkId,
    pub(crate) peer: Name,
    pub(crate) stream: HostStream,
    /// The wire, and the side of it.
    pub(crate) wire: (usize, usize),
    /// It ends as soon as it is looked at.
    pub(crate) stopped: bool,
    /// Why the peer is told off.
    pub(crate) quarrel: Option<String>,
    framer: Framer,
    actors: HashMap<Slot, (Aid, DomainPair)>,
    ending: bool,
    hears_out: bool,
    linger: Option<Instant>,
    held: HashMap<Entry, HashSet<Name>>,
    look_again: Option<Instant>,
    /// Pairs whose stanzas may come in, as the core has told.
    live: HashSet<Pair>,
}

impl End {
    pub(crate) fn new(id: LinkId, stream: HostStream, wire: (usize, usize), shared: &Shared) -> Self {
        let mut framer = Framer::new(shared.config.limits.stanza_bytes.max(CONTROL_BYTES));
        framer.push(BytesMut::from(HEADER));
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
        Self {
            id,
            peer: stream.peer().clone(),
            stream,
            wire,
            stopped: false,
            quarrel: None,
            framer,
            actors: HashMap::new(),
            ending: false,
            hears_out: false,
            linger: None,
            held: HashMap::new(),
            look_again: None,
            live: HashSet::new(),
        }
    }

    /// Runs of pairs that have an actor.
    pub(crate) fn runs(&self) -> usize {
        self.actors.len()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.stream.deadline(), self.linger, self.look_again].into_iter().flatten().min()
    }

    pub(crate) fn timeout(&mut self, shared: &mut Shared, cx: &mut Context<'_>) {
        if self.linger.is_some_and(|at| at <= cx.now.instant) {
            self.stopped = true;
        }
        if self.look_again.take_if(|at| *at <= cx.now.instant).is_some() {
            self.look_again(shared, cx);
        }
        if self.stream.deadline().is_some_and(|at| at <= cx.now.instant) {
            let now = cx.now;
            self.with_core(shared, cx, |stream, out| stream.handle_timeout(now, out));
        }
    }

    pub(crate) fn handle(&mut self, message: Message, shared: &mut Shared, cx: &mut Context<'_>) {
        let now = cx.now;
        match message {
            Message::Choose => self.with_core(shared, cx, |stream, out| stream.choose(now, out)),
            Message::Probe => self.with_core(shared, cx, HostStream::probe),
            Message::Conflict => self.close(Some(&StreamError::new(Condition::Conflict, "another link")), cx),
            Message::Drop => self.stopped = true,
            Message::Close => self.close(None, cx),
            Message::Adopt(handover) => {
                self.with_core(shared, cx, |stream, out| stream.adopt(now, handover.take(), out));
                self.take_frames(shared, cx);
            }
            Message::Open(pair, stanzas) => {
                self.with_core(shared, cx, |stream, out| stream.open_pair(now, &pair, stanzas, out));
            }
            Message::Send(slot, stanzas) => {
                let batch: Batch<Slot> = stanzas.iter().map(|stanza| (slot, stanza)).collect();
                self.with_core(shared, cx, |stream, out| stream.send_batch(now, batch, out));
            }
            Message::HasRead { serial, entry, n } => {
                self.with_core(shared, cx, |stream, _| stream.has_read(serial, entry, n));
            }
            Message::Undeliverable(Delivered { serial, n, bytes, .. }, reason) => {
                self.with_core(shared, cx, |stream, out| {
                    stream.undeliverable(now, (serial, n), reason, &bytes, out);
                });
            }
            Message::Tell(slot, aid, event) => self.tell(slot, aid, *event, shared, cx),
            Message::Said(slot, aid, said) => {
                self.with_core(shared, cx, |stream, out| stream.pair_says(now, slot, aid, *said, out));
            }
            Message::Checked(identity, verdict) => {
                self.with_core(shared, cx, |stream, out| stream.identity_checked(&identity, verdict, out));
            }
            Message::Shown(question, own) => {
                self.with_core(shared, cx, |stream, out| stream.own_identity(question, own, out));
            }
            Message::Deactivate(pair, reason) => {
                self.with_core(shared, cx, |stream, out| stream.deactivate_pair(&pair, reason, out));
            }
            Message::WantNow(pair) => self.with_core(shared, cx, |stream, out| stream.want_now(now, &pair, out)),
            Message::Break(pair) => self.with_core(shared, cx, |stream, out| {
                let slot = stream.slot(&pair);
                stream.pair_broke(now, slot, out);
            }),
            other => unreachable!("a link is not told {other:?}"),
        }
    }

    /// Bytes of the peer's.
    pub(crate) fn read(&mut self, bytes: BytesMut, shared: &mut Shared, cx: &mut Context<'_>) {
        self.stream.heard(cx.now);
        if !self.ending || self.hears_out {
            self.framer.push(bytes);
            self.take_frames(shared, cx);
        }
    }

    /// Appends what is to be written; the link ends behind the end of the stream.
    pub(crate) fn fill(&mut self, out: &mut BytesMut, room: usize, cx: &Context<'_>) {
        self.stream.fill(cx.now, out, room);
        if self.ending && !self.hears_out && !self.stream.has_work() {
            self.stopped = true;
        }
    }

    /// Closes a link that is idle: what is under way still arrives.
    pub(crate) fn close_idle(&mut self, cx: &Context<'_>) {
        self.close(None, cx);
        self.hears_out = true;
    }

    fn close(&mut self, error: Option<&StreamError>, cx: &Context<'_>) {
        if std::mem::replace(&mut self.ending, true) {
            self.stopped |= self.hears_out;
            return;
        }
        self.stream.close(error, &mut Out::default());
        self.linger = Some(cx.now.instant + LINGER);
    }

    /// What the Router is told when it is over.
    pub(crate) fn into_ended(mut self) -> LinkEnded {
        let unsent = self.stream.take_waiting();
        let carried = self.stream.has_carried();
        let session = self.stream.detach();
        LinkEnded { link: self.id, peer: self.peer, carried, unsent, session }
    }

    fn with_core(&mut self, shared: &mut Shared, cx: &mut Context<'_>, call: impl FnOnce(&mut HostStream, &mut Out)) {
        let mut out = Out::default();
        call(&mut self.stream, &mut out);
        self.stream.tend(cx.now, &mut out);
        self.perform(out, shared, cx);
    }

    fn take_frames(&mut self, shared: &mut Shared, cx: &mut Context<'_>) {
        while (!self.ending || self.hears_out) && self.stream.takes_frames() {
            let mut out = Out::default();
            match self.stream.step(cx.now, &mut self.framer, &mut out) {
                Ok(true) => (),
                Ok(false) => break,
                Err(_) => return cx.ledger.fault(|| "what an honest peer sends cannot be framed".to_owned()),
            }
            let ends = matches!(out.actions.last(), Some(Action::Close(_)));
            self.perform(out, shared, cx);
            if ends {
                break;
            }
        }
        self.with_core(shared, cx, |_, _| ());
    }

    fn perform(&mut self, out: Out, shared: &mut Shared, cx: &mut Context<'_>) {
        let mut elsewhere = Vec::new();
        for action in out.actions {
            match action {
                Action::Pair(slot, event) => self.tell_pair(slot, event, cx),
                Action::EndPair(slot) => drop(self.actors.remove(&slot)),
                Action::CheckIdentity(op) => self.check(op, shared, cx),
                Action::ShowIdentity(question) => {
                    let own = shared.vault.own(&question.domain, cx.now.unix).map(Into::into);
                    let delay = shared.crypto_time(cx);
                    cx.later(Actor::Link(self.id), delay, Message::Shown(question, own));
                }
                Action::RouteUp { slot, .. } => {
                    let pair = self.stream.record(slot).pair.clone();
                    shared.routes.insert(pair, (self.id, slot));
                }
                Action::RouteDown(slot) => {
                    let pair = &self.stream.record(slot).pair;
                    if shared.routes.get(pair).is_some_and(|(link, _)| *link == self.id) {
                        shared.routes.remove(pair);
                    }
                }
                Action::Bounce { stanza, text, .. } => cx.ledger.bounce(&stanza, &text),
                Action::Reroute(stanza) => elsewhere.push(stanza),
                Action::Reply(error) => cx.post(Actor::Router, Message::Reply(error)),
                Action::Chosen => cx.post(Actor::Router, Message::Chosen(self.id)),
                Action::Alive => cx.post(Actor::Router, Message::Alive(self.id)),
                Action::Dead(_) => self.stopped = true,
                Action::SessionLost { in_doubt } => cx.ledger.in_doubt += in_doubt,
                Action::Changed(slot, change) => self.changed(slot, &change),
                Action::Close(error) => {
                    let timed_out = |error: &&StreamError| error.condition == Condition::ConnectionTimeout;
                    self.quarrel = error.as_ref().filter(|error| !timed_out(error)).map(ToString::to_string);
                    self.close(error.as_ref(), cx);
                }
                Action::SessionResumed(_)
                | Action::Write
                | Action::StanzaRefused(_)
                | Action::RequestRefused(_)
                | Action::PeerError(_) => (),
            }
        }
        if !elsewhere.is_empty() {
            cx.post(Actor::Router, Message::Stranded(elsewhere));
        }
        self.deliver(out.deliveries, shared, cx);
    }

    fn changed(&mut self, slot: Slot, change: &PairChange) {
        let pair = self.stream.record(slot).pair.clone();
        match change {
            PairChange::Activated { .. } | PairChange::Resumed { .. } => _ = self.live.insert(pair),
            PairChange::Deactivated(_) => _ = self.live.remove(&pair),
            PairChange::Requested | PairChange::Refused(_) | PairChange::RefusedPeer(_) => (),
        }
    }

    fn deliver(&mut self, deliveries: Vec<(Entry, Batch<u64>)>, shared: &mut Shared, cx: &mut Context<'_>) {
        for (entry, batch) in deliveries {
            let mut stanzas = Vec::new();
            for (n, bytes) in batch.copies() {
                cx.ledger.arrive(&bytes);
                self.expect_active(&bytes, cx);
                let (link, peer, serial) = (self.id, self.peer.clone(), self.stream.serial());
                stanzas.push(Delivered { link, peer, serial, n, bytes });
            }
            let domain = shared.domains[entry].clone();
            if shared.waiting_for[entry] > shared.hold_at && self.held.entry(entry).or_default().insert(domain.clone())
            {
                self.with_core(shared, cx, |stream, out| stream.ask_to_hold(domain, out));
                self.look_again.get_or_insert(cx.now.instant + LOOK_AGAIN);
            }
            shared.waiting_for[entry] += stanzas.len();
            cx.post(Actor::Local(entry), Message::Deliver(stanzas));
        }
    }

    /// Nothing is delivered before its pair is active, nor after.
    fn expect_active(&self, stanza: &[u8], cx: &mut Context<'_>) {
        let (remote, local) = domains_of(stanza);
        let pair = Pair { local, remote };
        if !self.live.contains(&pair) {
            cx.ledger
                .fault(|| format!("active: {} was delivered although {pair} is not active", stanza.escape_ascii()));
        }
    }

    /// Servers that keep up again may be sent to.
    fn look_again(&mut self, shared: &mut Shared, cx: &mut Context<'_>) {
        let free: Vec<Entry> =
            self.held.keys().copied().filter(|entry| shared.waiting_for[*entry] <= shared.hold_at / 2).collect();
        for domain in free.iter().flat_map(|entry| self.held.remove(entry).unwrap_or_default()).collect::<Vec<_>>() {
            self.with_core(shared, cx, |stream, out| stream.ask_to_go(domain, out));
        }
        self.look_again = Some(cx.now.instant + LOOK_AGAIN).filter(|_| !self.held.is_empty());
    }

    fn tell_pair(&mut self, slot: Slot, event: PairEvent, cx: &mut Context<'_>) {
        if let Some(aid) = event.begins() {
            let record = self.stream.record(slot);
            let actor = DomainPair::new(record.pair.clone(), self.stream.setting().clone(), record.stale_runs() > 0);
            self.actors.insert(slot, (aid, actor));
        }
        if let Some((aid, _)) = self.actors.get(&slot) {
            cx.post(Actor::Link(self.id), Message::Tell(slot, *aid, Box::new(event)));
        }
    }

    fn tell(&mut self, slot: Slot, aid: Aid, event: PairEvent, shared: &mut Shared, cx: &mut Context<'_>) {
        let Some((_, actor)) = self.actors.get_mut(&slot).filter(|(of, _)| *of == aid) else { return };
        let answer = |event| Message::Tell(slot, aid, Box::new(event));
        match actor.handle(event) {
            Some(PairAction::Crypto(op)) => {
                let result = shared.vault.perform(op, cx.now.unix);
                let delay = shared.crypto_time(cx);
                cx.later(Actor::Link(self.id), delay, answer(PairEvent::Crypto(result)));
            }
            Some(PairAction::CheckDelegation(_)) => {
                let delay = cx.within(Duration::from_millis(50));
                cx.later(Actor::Link(self.id), delay, answer(PairEvent::Delegation(shared.delegation.clone())));
            }
            Some(said) => cx.post(Actor::Link(self.id), Message::Said(slot, aid, Box::new(said))),
            None => (),
        }
    }

    fn check(&self, op: CryptoOp, shared: &Shared, cx: &mut Context<'_>) {
        let identity = op.checked_identity().expect("an identity to check").clone();
        let CryptoResult::CheckIdentity(result) = shared.vault.perform(op, cx.now.unix) else { unreachable!() };
        let delay = shared.crypto_time(cx);
        cx.later(Actor::Link(self.id), delay, Message::Checked(Box::new(identity), result));
    }

    /// A message that came when there was no link any more.
    pub(crate) fn missed(message: Message, cx: &mut Context<'_>) {
        let stranded = |stanzas: Vec<Bytes>| (!stanzas.is_empty()).then_some(Message::Stranded(stanzas));
        let back = match message {
            Message::Open(_, stanzas) | Message::Send(_, stanzas) => stranded(stanzas),
            Message::Undeliverable(of, reason) => Some(Message::HandedBack(of, reason)),
            _ => None,
        };
        if let Some(back) = back {
            cx.post(Actor::Router, back);
        }
    }

    /// Whether any bound was passed.
    pub(crate) fn expect_bounds(&self, shared: &Shared, cx: &mut Context<'_>) {
        let (limits, slack) = (&shared.config.limits, limits_slack(shared));
        let queued = self.stream.queued_bytes();
        if queued > limits.host_queue_bytes + slack {
            cx.ledger.fault(|| format!("bounds: {queued} bytes wait on one link"));
        }
        for (record, waiting) in self.stream.waiting() {
            if waiting.bytes > limits.pair_queue_bytes + slack {
                let (pair, bytes) = (&record.pair, waiting.bytes);
                cx.ledger.fault(|| format!("bounds: {bytes} bytes wait for {pair}"));
            }
        }
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "link {} to {}", self.id, self.peer)
    }
}

/// What comes back may be beyond the bound: as much as may be unacknowledged.
fn limits_slack(shared: &Shared) -> usize {
    shared.config.limits.host_queue_bytes / 2 + 4096
}
