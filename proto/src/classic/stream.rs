//! An open stream: pairs that may send, stanzas in both directions, dialback, acknowledgements.
//!
//! Both ends are alike here. What a domain may do was proved by a certificate before the stream opened,
//! or is proved by dialback on it (XEP-0220). A remote domain that is proved once may write to all of
//! our domains: servers answer on the stream that they have (Prosody does), and it is the same domain.

mod receiving;
mod timers;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::SERVER;
use crate::acks::{Ack, Unacknowledged};
use crate::checker::Scope;
use crate::dialback::{Dialback, DialbackSecret, Ends, Outcome};
use crate::hosted::{Entry, Hosted};
use crate::limits::{DIALBACK_WAIT, Limits, SENDING_PAIRS};
use crate::mux::{Mux, QueueFull, Slot};
use crate::name::Name;
use crate::pair::Pair;
use crate::stanza_error::Condition;
use crate::stream_error::{Condition as StreamCondition, StreamError, farewell};

/// Stanzas after which the other side is asked how far it is, where something still waits.
const ASK_AFTER: usize = 64;
/// Pairs that are looked at where there is room for no more, in search of one that has nothing under way.
const LOOKED_AT: usize = 64;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A remote server: speaks for remote domains, to ours.
    Remote,
    /// A server of ours, over loopback: speaks for the domains of its entry, to anybody.
    Own(Entry),
}

/// What the stream is told at its begin.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Who is at the other end.
    pub peer: Peer,
    /// Our domains.
    pub hosted: Arc<Hosted>,
    /// What keys for our side are made of.
    pub secret: DialbackSecret,
    /// Whether dialback may prove anybody.
    pub dialback: bool,
    /// Bounds of stanzas and queues.
    pub limits: Limits,
    /// The id of the stream, which the receiving side gave it.
    pub stream_id: String,
    /// What the other side's stanzas inherit.
    pub scope: Scope,
    /// The language that they inherit.
    pub lang: Option<String>,
    /// The largest stanza that the other side takes, in bytes (XEP-0478).
    pub max_bytes: Option<usize>,
}

/// What is to be done, in order. `O` is what the owner knows of a stanza.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<O = ()> {
    /// There is something to write.
    Write,
    /// A stanza of a remote server, for our server of this entry.
    Deliver(Entry, Bytes),
    /// A stanza of a server of ours, to be routed.
    Route(Bytes),
    /// An error for the other side's sender, by the way that stanzas take to it.
    Answer(Bytes),
    /// Find out whether `ends.from` is who it says, by its certificate or by asking its server about the
    /// key; then call [`ServerStream::checked`].
    Check(Ends, String),
    /// The authoritative server's answer to a question of ours.
    Verified(Ends, String, Outcome),
    /// Stanzas of this pair may be sent now.
    Up(Pair),
    /// They may not: why. What waited for the pair comes with it.
    Down(Pair, String, Vec<(Bytes, O)>),
    /// A stanza is not sent: why.
    Bounce(Bytes, O, Condition, String),
    /// A stanza of a pair that was told to be down: it came before that was heard of.
    Reroute(Bytes, O),
    /// A stanza of the other side went no further; it was answered where it may be.
    Refused(&'static str),
    /// Our side ends, behind what may be sent; the other side is heard until it has ended its own.
    End,
    /// The stream is over once what was queued is out. The error is what the other side said or is told.
    Close(Option<StreamError>),
}

/// How far the end of the stream is (RFC 6120 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    /// We have ended our side.
    Hearing,
    Over,
}

/// What a pair has sent and got on a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairTraffic {
    /// Whether either side may send.
    pub open: bool,
    /// Stanzas from the other side.
    pub stanzas_in: u64,
    /// Stanzas to it.
    pub stanzas_out: u64,
}

/// A pair on its way out.
#[derive(Debug)]
struct Sender {
    pair: Pair,
    state: Sending,
    stanzas: u64,
}

/// Whether a pair may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// Nobody has asked yet.
    New,
    /// It was refused; nobody asks again before [`ServerStream::want`].
    Refused,
    /// The other side was sent a key, and has until then.
    Asked(Instant),
    /// It may.
    Granted,
}

/// A stanza that was written, and that the other side has not said to have.
#[derive(Debug)]
struct Unheard<O> {
    slot: Slot,
    stanza: Bytes,
    origin: O,
    /// Since when it waits, for its turn and then for that.
    since: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct ServerStream<O = ()> {
    setting: Setting,
    slots: HashMap<Pair, Slot>,
    senders: Vec<Sender>,
    /// The pair that gives way first.
    oldest: Slot,
    mux: Mux<O>,
    /// The pairs that the other side was sent a key for, in that order; some have their verdict.
    asked: VecDeque<(Instant, Slot)>,
    /// When queues are looked through for stanzas that wait too long.
    look: Option<Instant>,
    proved: HashSet<Name>,
    /// Stanzas from the other side.
    received: HashMap<Pair, u64>,
    checking: HashSet<Ends>,
    unacknowledged: Option<Unacknowledged<Unheard<O>>>,
    unacknowledged_bytes: usize,
    since_asked: usize,
    counted: Option<u32>,
    both_ways: bool,
    ending: Ending,
}

impl<O: Clone> ServerStream<O> {
    /// A stream on which nobody is proved yet; `both_ways`: either side may send (XEP-0288).
    #[must_use]
    pub fn new(setting: Setting, both_ways: bool) -> Self {
        Self {
            mux: Mux::new(setting.limits.pair_queue_bytes, setting.limits.host_queue_bytes),
            setting,
            slots: HashMap::new(),
            senders: Vec::new(),
            oldest: 0,
            asked: VecDeque::new(),
            look: None,
            proved: HashSet::new(),
            received: HashMap::new(),
            checking: HashSet::new(),
            unacknowledged: None,
            unacknowledged_bytes: 0,
            since_asked: 0,
            counted: None,
            both_ways,
            ending: Ending::Open,
        }
    }

    /// Other domains of ours and other bounds count from now on. What was proved counts no more for a domain that
    /// is ours now, or of which `may_speak` says that it must not come by such a stream.
    pub fn reconfigure(
        &mut self,
        hosted: Arc<Hosted>,
        limits: Limits,
        dialback: bool,
        may_speak: impl Fn(&Name) -> bool,
    ) {
        self.mux.set_limits(limits.pair_queue_bytes, limits.host_queue_bytes);
        if self.setting.peer == Peer::Remote {
            self.proved.retain(|domain| may_speak(domain) && !hosted.contains(domain.as_str()));
        }
        (self.setting.hosted, self.setting.limits, self.setting.dialback) = (hosted, limits, dialback);
    }

    /// Our certificate proved `pair.local` to `pair.remote`: its stanzas may be sent.
    pub fn grant(&mut self, pair: Pair, actions: &mut Vec<Action<O>>) {
        let slot = self.slot(&pair);
        self.open(slot, actions);
    }

    fn open(&mut self, slot: Slot, actions: &mut Vec<Action<O>>) {
        let sender = &mut self.senders[slot as usize];
        sender.state = Sending::Granted;
        actions.push(Action::Up(sender.pair.clone()));
        self.mux.open(slot);
        if self.mux.is_ready() {
            actions.push(Action::Write);
        }
    }

    fn slot(&mut self, pair: &Pair) -> Slot {
        if let Some(slot) = self.slots.get(pair) {
            return *slot;
        }
        let slot = self.mux.add();
        self.senders.push(Sender { pair: pair.clone(), state: Sending::New, stanzas: 0 });
        self.slots.insert(pair.clone(), slot);
        slot
    }

    /// The other side proved to be `remote`, towards `local`.
    pub fn prove(&mut self, remote: Name, local: Name, actions: &mut Vec<Action<O>>) {
        self.proved.insert(remote.clone());
        let back = Pair { local, remote };
        if self.both_ways && !self.slots.contains_key(&back) {
            self.grant(back, actions);
        }
    }

    /// Whether the other side has proved anything.
    #[must_use]
    pub fn has_proved(&self) -> bool {
        !self.proved.is_empty()
    }

    /// Asks for acknowledgements, where the other side offered them.
    pub fn count(&mut self, actions: &mut Vec<Action<O>>) {
        self.unacknowledged = Some(Unacknowledged::default());
        self.push_own(Ack::Enable { resume: false }.to_element().to_bytes(SERVER), actions);
    }

    /// Makes room for one more pair on the one stream of a server of ours, which may live for months: one that has
    /// nothing under way is forgotten, and is asked for again when it has.
    fn make_room(&mut self, pair: &Pair) {
        let busy = self.unacknowledged.as_ref().is_some_and(|sent| !sent.is_empty());
        if self.setting.peer == Peer::Remote || !self.is_full(pair) || busy {
            return;
        }
        for _ in 0..LOOKED_AT {
            let slot = self.oldest;
            self.oldest = (slot + 1) % SENDING_PAIRS as Slot;
            let sender = &mut self.senders[slot as usize];
            if self.mux.oldest(slot).is_none() && !matches!(sender.state, Sending::Asked(_)) {
                self.mux.close(slot);
                let before = std::mem::replace(&mut sender.pair, pair.clone());
                (sender.state, sender.stanzas) = (Sending::New, 0);
                self.slots.remove(&before);
                self.slots.insert(pair.clone(), slot);
                return;
            }
        }
    }

    /// Asks for a pair, even if it was refused before; not where it is in, or was asked for already.
    pub fn want(&mut self, now: Instant, pair: &Pair, actions: &mut Vec<Action<O>>) {
        if self.is_full(pair) {
            return;
        }
        let slot = self.slot(pair);
        match self.senders[slot as usize].state {
            Sending::New | Sending::Refused => self.ask(now, pair, actions),
            Sending::Asked(_) | Sending::Granted => (),
        }
    }

    /// Whether there are so many pairs that this one cannot be one more.
    fn is_full(&self, pair: &Pair) -> bool {
        self.senders.len() >= SENDING_PAIRS && !self.slots.contains_key(pair)
    }

    fn is_refused(&self, pair: &Pair) -> bool {
        self.slots.get(pair).is_some_and(|slot| self.senders[*slot as usize].state == Sending::Refused)
    }

    /// Sends a stanza of `pair`, or lets it wait for the pair to be let in.
    pub fn send(&mut self, now: Instant, pair: &Pair, stanza: Bytes, origin: O, actions: &mut Vec<Action<O>>) {
        if self.is_refused(pair) {
            return actions.push(Action::Reroute(stanza, origin));
        }
        if self.setting.max_bytes.is_some_and(|max| stanza.len() > max) {
            let text = "the other server does not take stanzas of this size";
            return actions.push(Action::Bounce(stanza, origin, Condition::PolicyViolation, text.to_owned()));
        }
        self.make_room(pair);
        if self.is_full(pair) {
            let text = "too many pairs on one connection to the other server";
            return actions.push(Action::Bounce(stanza, origin, Condition::ResourceConstraint, text.to_owned()));
        }
        if self.unacknowledged_bytes > self.setting.limits.host_queue_bytes {
            let text = "the other server does not acknowledge what it was sent";
            return actions.push(Action::Bounce(stanza, origin, Condition::ResourceConstraint, text.to_owned()));
        }
        let slot = self.slot(pair);
        if let Err(QueueFull(full)) = self.mux.push(slot, stanza, origin, now) {
            let text = "too much waits for the other server already".to_owned();
            return actions.push(Action::Bounce(full.bytes, full.origin, Condition::ResourceConstraint, text));
        }
        self.look.get_or_insert(now + self.setting.limits.stanza_wait);
        match self.senders[slot as usize].state {
            Sending::New => self.ask(now, pair, actions),
            Sending::Asked(_) | Sending::Refused => (),
            Sending::Granted => actions.push(Action::Write),
        }
    }

    /// Sends our key for a pair (XEP-0220 §2.1.1).
    pub fn ask(&mut self, now: Instant, pair: &Pair, actions: &mut Vec<Action<O>>) {
        let ends = Ends { from: pair.local.clone(), to: pair.remote.clone() };
        let key = self.setting.secret.key(&ends, &self.setting.stream_id);
        let (slot, until) = (self.slot(pair), now + DIALBACK_WAIT);
        self.senders[slot as usize].state = Sending::Asked(until);
        self.asked.push_back((until, slot));
        self.push_own(Dialback::Result { ends, key }.to_bytes(), actions);
    }

    /// Asks the other side, as authoritative server of `ends.from`, about a key that came on stream `id`.
    pub fn verify(&mut self, ends: &Ends, id: String, key: String, actions: &mut Vec<Action<O>>) {
        self.push_own(Dialback::Verify { ends: ends.reversed(), id, key }.to_bytes(), actions);
    }

    /// The answer to [`Action::Check`].
    pub fn checked(&mut self, ends: Ends, outcome: Outcome, actions: &mut Vec<Action<O>>) {
        if !self.checking.remove(&ends) {
            return;
        }
        let is_ours = self.setting.peer == Peer::Remote && self.setting.hosted.contains(ends.from.as_str());
        let outcome = if is_ours { Outcome::Error(Condition::NotAllowed) } else { outcome };
        self.push_own(Dialback::Verdict { ends: ends.reversed(), outcome }.to_bytes(), actions);
        if outcome == Outcome::Valid {
            self.prove(ends.from, ends.to, actions);
        }
    }

    /// Ends the stream from our side, behind what may be sent; what the other side has under way is taken. Where
    /// it acknowledges, it is asked for the last time.
    pub fn end(&mut self, actions: &mut Vec<Action<O>>) {
        if self.ending == Ending::Open {
            self.ending = Ending::Hearing;
            let request = self.unacknowledged.is_some().then(|| Ack::Request.to_element().to_bytes(SERVER));
            let last = [request.unwrap_or_default(), farewell(None)].concat();
            self.mux.end(last.into(), false);
            actions.extend([Action::Write, Action::End]);
        }
    }

    /// Ends the stream with an error, at once: what was not written can be taken.
    pub fn fail(&mut self, error: StreamError, actions: &mut Vec<Action<O>>) {
        if self.ending != Ending::Over {
            self.ending = Ending::Over;
            self.mux.end(farewell(Some(&error)), true);
            actions.extend([Action::Write, Action::Close(Some(error))]);
        }
    }

    /// Queues an element of the stream itself: forgotten with it. A server that makes us answer and does
    /// not read the answers is not served any longer.
    fn push_own(&mut self, bytes: Bytes, actions: &mut Vec<Action<O>>) {
        self.mux.control(bytes);
        actions.push(Action::Write);
        if self.mux.control_bytes() > self.setting.limits.host_queue_bytes {
            let error = StreamError::new(StreamCondition::ResourceConstraint, "answers are not read");
            self.fail(error, actions);
        }
    }

    /// Appends what is to be written, `room` bytes or a stanza more.
    pub fn fill(&mut self, out: &mut BytesMut, room: usize) {
        let Self { mux, senders, unacknowledged, unacknowledged_bytes, since_asked, .. } = self;
        mux.fill(out, room, |slot, parcels| {
            senders[slot as usize].stanzas += parcels.train.count() as u64;
            let Some(sent) = unacknowledged else { return };
            for parcel in parcels.each() {
                *unacknowledged_bytes += parcel.bytes.len();
                sent.push(Unheard { slot, stanza: parcel.bytes, origin: parcel.origin, since: parcel.since });
                *since_asked += 1;
            }
        });
        let asks = *since_asked >= ASK_AFTER || (*since_asked > 0 && !mux.is_ready());
        if asks && !mux.has_ended() {
            *since_asked = 0;
            out.extend_from_slice(&Ack::Request.to_element().to_bytes(SERVER));
        }
    }

    /// Whether there is something to write.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.mux.is_ready()
    }

    /// Whether nothing that comes counts any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ending == Ending::Over
    }

    /// Bytes that wait to be written, for a verdict, or for an acknowledgement.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.mux.bytes() + self.mux.control_bytes() + self.unacknowledged_bytes
    }

    /// Takes every stanza that may not have arrived, by pair, each in order: not acknowledged, where the
    /// other side acknowledges; not written; waiting for a verdict.
    pub fn take_waiting(&mut self) -> Vec<(Pair, Vec<(Bytes, O)>)> {
        let mut left: Vec<Vec<(Bytes, O)>> = self.senders.iter().map(|_| Vec::new()).collect();
        let unacknowledged = self.unacknowledged.as_mut().map(Unacknowledged::take).unwrap_or_default();
        for Unheard { slot, stanza, origin, .. } in unacknowledged {
            left[slot as usize].push((stanza, origin));
        }
        for (slot, stanzas) in (0..).zip(&mut left) {
            stanzas.extend(self.mux.take(slot).into_iter().map(|parcel| (parcel.bytes, parcel.origin)));
        }
        self.unacknowledged_bytes = 0;
        let of_pairs = self.senders.iter().map(|sender| sender.pair.clone()).zip(left);
        of_pairs.filter(|(_, stanzas)| !stanzas.is_empty()).collect()
    }

    /// The pairs that may send here.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.senders.iter().filter(|sender| sender.state == Sending::Granted).map(|sender| &sender.pair)
    }

    /// The pairs that may send here, or have wanted to.
    pub fn senders(&self) -> impl Iterator<Item = &Pair> {
        self.senders.iter().map(|sender| &sender.pair)
    }

    /// What every pair has sent and got here.
    #[must_use]
    pub fn traffic(&self) -> HashMap<Pair, PairTraffic> {
        let mut all: HashMap<Pair, PairTraffic> = HashMap::new();
        for Sender { pair, state, stanzas } in &self.senders {
            let traffic = PairTraffic { open: *state == Sending::Granted, stanzas_in: 0, stanzas_out: *stanzas };
            all.insert(pair.clone(), traffic);
        }
        for (pair, stanzas) in &self.received {
            let traffic = all.entry(pair.clone()).or_default();
            (traffic.open, traffic.stanzas_in) = (true, *stanzas);
        }
        all
    }

    /// Every pair that stanzas wait for: how many, their bytes, and since when the oldest waits.
    pub fn queues(&self) -> impl Iterator<Item = (&Pair, usize, usize, Instant)> {
        (0..).zip(&self.senders).filter_map(|(slot, sender)| {
            let since = self.mux.oldest(slot)?;
            Some((&sender.pair, self.mux.pair_count(slot), self.mux.pair_bytes(slot), since))
        })
    }
}
