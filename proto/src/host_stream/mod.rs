//! One authenticated host stream (protocol §3 to §7): the core of the HostConnection actor.
//!
//! It decides in stream order: what one frame changes is in force before the next is looked at.
//! Frames, stanzas to send, the words of the pairs' actors and the time come in; [`Out`] says what
//! is to be done; [`HostStream::fill`] gives the bytes for the socket.

mod acks;
mod activation;
mod control;
mod counting;
mod opening;
mod operator;
mod out;
mod receive;
mod renewals;
mod resuming;
mod send;
mod session;
mod timers;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::acks::Ack;
use crate::activation::Setting;
use crate::control::Control;
use crate::hosted::Hosted;
use crate::identities::Identities;
use crate::limits::Limits;
use crate::mux::{Express, Mux, Parcels, Slot};
use crate::name::Name;
use crate::now::Now;
use crate::pair::Pair;
use crate::pairs::{PairRecord, Pairs};
use crate::stanza_error::Condition;
use crate::stream_error::{Condition as StreamCondition, StreamError, farewell};
use crate::traffic::Traffic;
use crate::transcript::Exporter;
use crate::way::Policies;

use opening::Pings;
use receive::Incoming;
use session::{Counting, Sm};
use timers::Timers;

pub use out::{Action, IdentityQuestion, Out, PairChange};
pub use session::{Role, Session};

/// What is configured, the same for every host stream.
#[derive(Clone, Debug)]
pub struct HostStreamConfig {
    /// Our host's name.
    pub host: Name,
    /// The domains that we host.
    pub hosted: Arc<Hosted>,
    /// The bounds.
    pub limits: Limits,
    /// Life of an activation.
    pub activation_lifetime: Duration,
    /// Where it is off, a domain is not federated with.
    pub policies: Arc<Policies>,
}

/// A source of random bytes: the system's, or a seeded one in tests.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// See the module.
pub struct HostStream {
    config: HostStreamConfig,
    peer: Name,
    setting: Setting,
    random: Random,
    chosen: bool,
    /// When a link that nobody has chosen ends.
    choose_by: Option<Instant>,
    /// When the certificate ends that the peer host showed.
    certificate_end: Option<Instant>,
    closing: bool,
    /// The end was asked for: what the peer sends does not count any more.
    over: bool,
    pairs: Pairs,
    /// Slots of pairs that the peer asked for, the oldest first; those that were proved are dropped late.
    unproven: VecDeque<Slot>,
    identities: Identities,
    mux: Mux,
    sm: Sm,
    /// Control elements that were sent or came.
    controls: u64,
    timers: Timers,
    queued_runs: VecDeque<Slot>,
    our_runs: usize,
    their_runs: usize,
    /// Requests that the peer may still make.
    budget: Budget,
    /// Questions for identities that the peer may still ask: about one for each request.
    questions: Budget,
    incoming: Incoming,
    outgoing: Traffic,
    pings: Pings,
    held: HashSet<Name>,
    peer_lang: Option<String>,
}

impl HostStream {
    /// The stream to `peer`, negotiated on a channel with this exporter; nothing is chosen yet.
    #[must_use]
    pub fn new(
        config: HostStreamConfig,
        peer: Name,
        exporter: Exporter,
        peer_lang: Option<String>,
        role: Role,
        mut random: Random,
        now: Now,
    ) -> Self {
        let serial = random_number(&mut random);
        let setting = Setting { our_host: config.host.clone(), peer_host: peer.clone(), exporter };
        Self {
            mux: Mux::new(config.limits.pair_queue_bytes, config.limits.host_queue_bytes),
            sm: Sm::new(role, serial, config.limits.host_queue_bytes, now),
            controls: 0,
            identities: Identities::new(peer.clone()),
            choose_by: Some(now.instant + config.limits.connect_timeout),
            budget: Budget::new(config.limits.activations_per_second, now.instant),
            questions: Budget::new(config.limits.activations_per_second, now.instant),
            config,
            peer,
            setting,
            random,
            chosen: false,
            certificate_end: None,
            closing: false,
            over: false,
            pairs: Pairs::default(),
            unproven: VecDeque::new(),
            timers: Timers::new(now.instant),
            queued_runs: VecDeque::new(),
            our_runs: 0,
            their_runs: 0,
            incoming: Incoming::default(),
            outgoing: Traffic::default(),
            pings: Pings::default(),
            held: HashSet::new(),
            peer_lang,
        }
    }

    /// The certificate that the peer host showed is good until then, Unix seconds, and the link as long
    /// (RFC 6120 §13.7.2.3).
    pub fn end_with_certificate(&mut self, now: Now, unix: u64) {
        self.certificate_end = Some(now.at_unix(unix.saturating_add(1)));
    }

    fn end_unless_certified(&mut self, now: Now, out: &mut Out) {
        if self.certificate_end.take_if(|end| *end <= now.instant).is_some() {
            let text = format!("the certificate of {} has ended", self.peer);
            self.end(StreamError::new(StreamCondition::Reset, text), out);
        }
    }

    /// Whether our host is the one that chooses the link: the smaller name, in byte order.
    #[must_use]
    pub fn decides(&self) -> bool {
        self.config.host < self.peer
    }

    /// Chooses this link: says so, and lets everything pass.
    pub fn choose(&mut self, now: Now, out: &mut Out) {
        self.control(Control::Chosen, out);
        self.become_chosen(now, out);
    }

    fn become_chosen(&mut self, now: Now, out: &mut Out) {
        self.choose_by = None;
        if !std::mem::replace(&mut self.chosen, true) {
            self.start_runs(now, out);
        }
    }

    /// A link that nobody chooses is of no use, and keeps us from dialling another.
    fn end_unless_chosen(&mut self, now: Now, out: &mut Out) {
        if self.choose_by.take_if(|until| *until <= now.instant).is_some() {
            self.end(StreamError::new(StreamCondition::ConnectionTimeout, "the link was not chosen in time"), out);
        }
    }

    /// Whether the link was chosen.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        self.chosen
    }

    /// The peer host.
    #[must_use]
    pub fn peer(&self) -> &Name {
        &self.peer
    }

    /// What a pair's actor needs to know of the channel.
    #[must_use]
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// The record in `slot`.
    #[must_use]
    pub fn record(&self, slot: Slot) -> &PairRecord {
        self.pairs.get(slot)
    }

    /// Whether the pair in `slot` is active.
    #[must_use]
    pub fn is_active(&self, slot: Slot) -> bool {
        self.pairs.get(slot).active.is_some()
    }

    /// All pairs of the link.
    pub fn records(&self) -> impl Iterator<Item = &PairRecord> {
        self.pairs.iter().map(|(_, record)| record)
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.mux.bytes()
    }

    /// Stanzas that were taken from the stream, of any fate.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.sm.counts.taken.received()
    }

    /// Tells the numbers of this stream's stanzas from those of another session of the same hosts.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.sm.counts.serial
    }

    /// Stanzas that were written and are not acknowledged by a peer that does.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        let before = self.sm.before.as_ref().map_or(0, |counts| counts.copies.len());
        before + if self.is_counted() { self.sm.counts.copies.len() } else { 0 }
    }

    /// Whether the link has carried anything that the peer acknowledged.
    #[must_use]
    pub fn has_carried(&self) -> bool {
        self.sm.carried
    }

    /// Stanzas that were forwarded since this was asked last: from the peer, and to it.
    pub fn take_traffic(&mut self) -> (Traffic, Traffic) {
        (std::mem::take(&mut self.incoming.traffic), std::mem::take(&mut self.outgoing))
    }

    /// Stanzas that were written to it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sm.counts.copies.count()
    }

    /// A number that changes with everything but acknowledgements: a stream where it stays is idle.
    #[must_use]
    pub fn activity(&self) -> u64 {
        self.controls + self.received() + self.sent()
    }

    /// Time-outs that are set, for a look at what a link costs.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let link = self.choose_by.into_iter().chain(self.certificate_end).chain(self.resume_deadline());
        let counting = self.sm.asking.deadline().chain(self.sm.counts.taken.deadline());
        self.timers.first().into_iter().chain(link).chain(counting).min()
    }

    /// Appends about `room` bytes for the socket.
    pub fn fill(&mut self, now: Now, out: &mut BytesMut, room: usize) {
        let Self { mux, pairs, outgoing, sm: Sm { counts, asking, .. }, .. } = self;
        let end = out.len().saturating_add(room);
        let is_out = mux.fill_express(out, room, |Express { stanzas, seq, .. }| {
            stanzas.iter().for_each(|(_, stanza)| outgoing.count(stanza));
            asking.wrote(stanzas.len() as u64, stanzas.as_bytes().len());
            let mut written = counts.copies.count();
            for of_pair in stanzas.marks().chunk_by(|one, next| one.0 == next.0) {
                written += of_pair.len() as u64;
                let record = pairs.get_mut(of_pair[0].0);
                (record.stanzas_out, record.last_sent) = (record.stanzas_out + of_pair.len() as u64, written);
            }
            counts.copies.push_batch(stanzas, seq);
        });
        if is_out {
            mux.fill(out, end.saturating_sub(out.len()), |slot, parcels| {
                let Parcels { train, retried, seq, .. } = parcels;
                train.iter().for_each(|stanza| outgoing.count(stanza));
                asking.wrote(train.count() as u64, train.length());
                let record = pairs.get_mut(slot);
                record.stanzas_out += train.count() as u64;
                counts.copies.push_train(Some(slot), train, retried, seq);
                record.last_sent = counts.copies.count();
            });
        }
        self.ask_behind(now, out);
        self.see_to_gate();
    }

    /// Whether there is anything to write now.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.mux.is_ready()
    }

    /// Ends the stream from our side: behind the stanzas of active pairs, or at once with `error`.
    ///
    /// [`Self::has_work`] is false once all of it was handed out; what still waits then can be taken.
    pub fn close(&mut self, error: Option<&StreamError>, out: &mut Out) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        if self.sm.state == Counting::On {
            // What comes from now on is not taken: the peer sends it again on the next link.
            self.sm.counts.taken.take_over_all();
            let answer = Ack::Answer(self.sm.counts.taken.answer());
            self.mux.control(answer.to_element().to_bytes("jabber:server"));
        }
        self.mux.end(farewell(error), error.is_some());
        out.actions.push(Action::Write);
    }

    /// Sends back what waits for pairs that are not active: nobody will activate them any more.
    pub fn drain(&mut self, out: &mut Out) {
        let slots = self.pairs.iter().map(|(slot, _)| slot).filter(|slot| !self.mux.is_open(*slot));
        for slot in slots.collect::<Vec<_>>() {
            for parcel in self.mux.take(slot) {
                let (condition, reason) = (Condition::RemoteServerTimeout, "shutdown");
                let text = "this router shuts down".to_owned();
                out.actions.push(Action::Bounce { stanza: parcel.bytes, condition, reason, text });
            }
        }
    }

    /// Takes all stanzas that were never written, with their pairs, in order. Those that came back stay with the
    /// session, where there is one: they are older than what the next link is to send again.
    pub fn take_waiting(&mut self) -> Vec<(Pair, Vec<Bytes>)> {
        let slots: Vec<(Slot, Pair)> = self.pairs.iter().map(|(slot, record)| (slot, record.pair.clone())).collect();
        let waiting = slots.into_iter().map(|(slot, pair)| {
            let counted = self.is_counted() || self.sm.before.is_some();
            let waiting = if counted { self.mux.take_unwritten(slot) } else { self.mux.take(slot) };
            let stanzas = waiting.into_iter().map(|parcel| parcel.bytes).collect::<Vec<_>>();
            (pair, stanzas)
        });
        waiting.filter(|(_, stanzas)| !stanzas.is_empty()).collect()
    }

    fn control(&mut self, control: Control, out: &mut Out) {
        self.controls += 1;
        self.mux.control(control.to_bytes());
        self.control_queued(out);
    }

    /// A peer that makes us answer and does not read the answers is not served any longer.
    fn control_queued(&mut self, out: &mut Out) {
        out.actions.push(Action::Write);
        if self.mux.control_bytes() > self.config.limits.host_queue_bytes {
            self.end(StreamError::new(StreamCondition::ResourceConstraint, "answers are not read"), out);
        }
    }

    /// The stream is to end with `error`; nothing that comes behind counts.
    fn end(&mut self, error: StreamError, out: &mut Out) {
        if !std::mem::replace(&mut self.over, true) {
            out.actions.push(Action::Close(Some(error)));
        }
    }
}

fn random_number(random: &mut Random) -> u64 {
    let mut bytes = [0; 8];
    random(&mut bytes);
    u64::from_be_bytes(bytes)
}

impl std::fmt::Debug for HostStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostStream").field("peer", &self.peer).field("pairs", &self.pairs.len()).finish_non_exhaustive()
    }
}

/// A token bucket: activations that the peer may still ask for; the burst is five seconds' worth.
#[derive(Debug)]
struct Budget {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Budget {
    const BURST_SECONDS: f64 = 5.0;

    fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, tokens: per_second * Self::BURST_SECONDS, at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(self.per_second * Self::BURST_SECONDS);
        self.at = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}
