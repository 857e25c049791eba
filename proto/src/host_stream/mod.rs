//! One authenticated host stream (protocol §3 to §7): the core of the HostConnection actor.
//!
//! It decides in stream order: what one frame changes is in force before the next is looked at.
//! Frames, stanzas to send, the words of the pairs' actors and the time come in; [`Out`] says what
//! is to be done; [`HostStream::fill`] gives the bytes for the socket.

mod activation;
mod control;
mod operator;
mod receive;
mod send;
mod timers;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::activation::Setting;
use crate::control::{Control, DeactivateReason};
use crate::crypto::CryptoOp;
use crate::domain_pair::{Failure, PairEvent};
use crate::hosted::{Entry, Hosted};
use crate::identities::Identities;
use crate::limits::Limits;
use crate::mux::{Mux, Slot};
use crate::name::Name;
use crate::now::Now;
use crate::pair::Pair;
use crate::pairs::{PairRecord, Pairs};
use crate::refusal::Refusal;
use crate::sent::{Sent, SentCopies};
use crate::stanza_error::Condition;
use crate::stream_error::{Condition as StreamCondition, StreamError, farewell};
use crate::traffic::Traffic;
use crate::transcript::Exporter;
use crate::way::Policies;

use timers::Timers;

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

/// What a host stream wants done, in order.
#[derive(Debug, Default)]
pub struct Out {
    /// Everything but stanzas for our local servers.
    pub actions: Vec<Action>,
    /// Stanzas for our local servers, in order.
    pub deliveries: Vec<Delivery>,
}

/// A stanza for a local server.
#[derive(Debug)]
pub struct Delivery {
    /// Whose.
    pub entry: Entry,
    /// Its number on this host stream, for [`HostStream::undeliverable`].
    pub n: u64,
    /// The stanza, right for any stream that declares its own namespace as the default.
    pub bytes: Bytes,
}

/// See [`Out`].
#[derive(Debug)]
pub enum Action {
    /// Tell the pair's actor, which is started where the event is `Open` or `Serve`.
    Pair(Slot, PairEvent),
    /// End the pair's actor: its run is over.
    EndPair(Slot),
    /// Perform [`CryptoOp::CheckIdentity`] and hand the result to [`HostStream::identity_checked`].
    CheckIdentity(CryptoOp),
    /// Perform [`CryptoOp::OwnIdentity`] and hand the result to [`HostStream::own_identity`].
    ShowIdentity(IdentityQuestion),
    /// The pair's stanzas go to this slot from now on.
    RouteUp(Slot),
    /// They do not any more.
    RouteDown(Slot),
    /// A stanza goes back to its sender, one of our local users.
    Bounce {
        /// As it was to be sent.
        stanza: Bytes,
        /// Why.
        condition: Condition,
        /// Why, in a word for the metrics.
        reason: &'static str,
        /// Why, in words.
        text: String,
    },
    /// A stanza goes to the link that has its pair now.
    Reroute(Bytes),
    /// For log, metrics and status.
    Changed(Slot, PairChange),
    /// The decider chose this link.
    Chosen,
    /// The link answered a probe.
    Alive,
    /// Something was queued: the writer has work.
    Write,
    /// A stanza was refused, for log and metrics.
    StanzaRefused(&'static str),
    /// A request of the peer's was refused before a run began, for the metrics.
    RequestRefused(Refusal),
    /// The peer ended the stream with an error of its own.
    PeerError(StreamError),
    /// The stream is to end; with an error, or because the peer closed it.
    Close(Option<StreamError>),
}

/// A question for the identity of one of our domains.
#[derive(Clone, Debug)]
pub struct IdentityQuestion {
    /// The question's id.
    pub id: String,
    /// Ours.
    pub domain: Name,
    /// The leaf that the asker knows already.
    pub have: Option<crate::suite::Fingerprint>,
}

/// What happened to a pair.
#[derive(Clone, Debug)]
pub enum PairChange {
    /// An activation is asked for.
    Requested,
    /// Active until then, Unix seconds.
    Activated {
        /// Whether we asked.
        initiated: bool,
        /// Unix seconds.
        expires: u64,
    },
    /// The activation failed, for now or for good.
    Refused(Failure),
    /// We refused to serve the peer's request.
    RefusedPeer(Failure),
    /// The activation ended.
    Deactivated(DeactivateReason),
}

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
    copies: SentCopies,
    timers: Timers,
    queued_runs: VecDeque<Slot>,
    our_runs: usize,
    their_runs: usize,
    /// Requests that the peer may still make.
    budget: Budget,
    /// Questions for identities that the peer may still ask: about one for each request.
    questions: Budget,
    received: u64,
    incoming: Traffic,
    outgoing: Traffic,
    pings: u64,
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
        random: Random,
        now: Now,
    ) -> Self {
        let setting = Setting { our_host: config.host.clone(), peer_host: peer.clone(), exporter };
        Self {
            mux: Mux::new(config.limits.pair_queue_bytes, config.limits.host_queue_bytes),
            copies: SentCopies::new(config.limits.host_queue_bytes),
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
            timers: Timers::default(),
            queued_runs: VecDeque::new(),
            our_runs: 0,
            their_runs: 0,
            received: 0,
            incoming: Traffic::default(),
            outgoing: Traffic::default(),
            pings: 0,
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
        self.received
    }

    /// Stanzas that were forwarded since this was asked last: from the peer, and to it.
    pub fn take_traffic(&mut self) -> (Traffic, Traffic) {
        (std::mem::take(&mut self.incoming), std::mem::take(&mut self.outgoing))
    }

    /// Stanzas that were written to it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.copies.count()
    }

    /// Time-outs that are set, for a look at what a link costs.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().into_iter().chain(self.choose_by).chain(self.certificate_end).min()
    }

    /// Appends about `room` bytes for the socket.
    pub fn fill(&mut self, out: &mut BytesMut, room: usize) {
        let Self { mux, pairs, outgoing, copies, .. } = self;
        mux.fill(out, room, |slot, parcel| {
            pairs.get_mut(slot).stanzas_out += 1;
            outgoing.count(&parcel.bytes);
            copies.push(Sent { slot: Some(slot), bytes: parcel.bytes, retried: parcel.retried });
        });
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

    /// Takes all stanzas that were never written, with their pairs, in order.
    pub fn take_waiting(&mut self) -> Vec<(Pair, Vec<Bytes>)> {
        let slots: Vec<(Slot, Pair)> = self.pairs.iter().map(|(slot, record)| (slot, record.pair.clone())).collect();
        let waiting = slots.into_iter().map(|(slot, pair)| {
            let stanzas = self.mux.take(slot).into_iter().map(|parcel| parcel.bytes).collect::<Vec<_>>();
            (pair, stanzas)
        });
        waiting.filter(|(_, stanzas)| !stanzas.is_empty()).collect()
    }

    fn control(&mut self, control: Control, out: &mut Out) {
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
