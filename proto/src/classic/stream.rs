//! An open stream: pairs that may send, stanzas in both directions, dialback, acknowledgements.
//!
//! Both ends are alike here. What a domain may do was proved by a certificate before the stream opened,
//! or is proved by dialback on it (XEP-0220). A remote domain that is proved once may write to all of
//! our domains: servers answer on the stream that they have (Prosody does), and it is the same domain.

mod receiving;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::SERVER;
use crate::acks::{Ack, Unacknowledged};
use crate::checker::Scope;
use crate::dialback::{Dialback, DialbackSecret, Ends, Outcome};
use crate::hosted::{Entry, Hosted};
use crate::limits::DIALBACK_WAIT;
use crate::name::Name;
use crate::pair::Pair;
use crate::stanza_error::Condition;
use crate::stream_error::{StreamError, farewell};

/// Stanzas after which the other side is asked how far it is, where something still waits.
const ASK_AFTER: usize = 64;

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
    /// Bytes of a stanza that we take.
    pub stanza_bytes: usize,
    /// Bytes that may wait for one pair.
    pub pair_queue_bytes: usize,
    /// The id of the stream, which the receiving side gave it.
    pub stream_id: String,
    /// What the other side's stanzas inherit.
    pub scope: Scope,
    /// The language that they inherit.
    pub lang: Option<String>,
    /// The largest stanza that the other side takes, in bytes (XEP-0478).
    pub max_bytes: Option<usize>,
}

/// What is to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// There is something to write.
    Write,
    /// A stanza for our side: of a remote server, for the server of `entry`; of a server of ours, `entry`
    /// is its own, and the stanza is to be routed.
    Deliver(Entry, Bytes),
    /// Find out whether `ends.from` is who it says, by its certificate or by asking its server about the
    /// key; then call [`ServerStream::checked`].
    Check(Ends, String),
    /// The authoritative server's answer to a question of ours.
    Verified(Ends, String, Outcome),
    /// Stanzas of this pair may be sent now.
    Up(Pair),
    /// They may not: why. What waited for the pair comes with it.
    Down(Pair, String, Vec<Bytes>),
    /// A stanza goes back to its sender on our side.
    Bounce(Bytes, Condition, String),
    /// A stanza of the other side went no further; it was answered where it may be.
    Refused(&'static str),
    /// The stream ends; what was queued before goes out. The error is what the other side said or is told.
    Close(Option<StreamError>),
}

/// Whether a pair may send.
#[derive(Debug)]
enum Sending {
    /// The other side was sent a key; what waits for its verdict.
    Asked { until: Instant, waiting: VecDeque<Bytes>, bytes: usize },
    /// It may.
    Granted,
}

/// See the module.
#[derive(Debug)]
pub struct ServerStream {
    setting: Setting,
    sending: HashMap<Pair, Sending>,
    proved: HashSet<Name>,
    checking: HashSet<Ends>,
    out: VecDeque<Item>,
    out_bytes: usize,
    unacknowledged: Option<Unacknowledged<(Pair, Bytes)>>,
    since_asked: usize,
    counted: Option<u32>,
    both_ways: bool,
    over: bool,
}

/// What waits to be written.
#[derive(Debug)]
enum Item {
    Stanza(Pair, Bytes),
    /// Of the stream itself: forgotten with it.
    Own(Bytes),
}

impl ServerStream {
    /// A stream on which nobody is proved yet; `both_ways`: either side may send (XEP-0288).
    #[must_use]
    pub fn new(setting: Setting, both_ways: bool) -> Self {
        Self {
            setting,
            sending: HashMap::new(),
            proved: HashSet::new(),
            checking: HashSet::new(),
            out: VecDeque::new(),
            out_bytes: 0,
            unacknowledged: None,
            since_asked: 0,
            counted: None,
            both_ways,
            over: false,
        }
    }

    /// Our certificate proved `pair.local` to `pair.remote`: its stanzas may be sent.
    pub fn grant(&mut self, pair: Pair, actions: &mut Vec<Action>) {
        self.sending.insert(pair.clone(), Sending::Granted);
        actions.push(Action::Up(pair));
    }

    /// The other side proved to be `remote`, towards `local`.
    pub fn prove(&mut self, remote: Name, local: Name, actions: &mut Vec<Action>) {
        self.proved.insert(remote.clone());
        let back = Pair { local, remote };
        if self.both_ways && !self.sending.contains_key(&back) {
            self.grant(back, actions);
        }
    }

    /// Asks for acknowledgements, where the other side offered them.
    pub fn count(&mut self, actions: &mut Vec<Action>) {
        self.unacknowledged = Some(Unacknowledged::default());
        self.push_own(Ack::Enable.to_element().to_bytes(SERVER), actions);
    }

    /// Whether stanzas of `pair` can be sent here, or could be after dialback.
    #[must_use]
    pub fn carries(&self, pair: &Pair) -> bool {
        !self.over && (self.sending.contains_key(pair) || self.setting.dialback)
    }

    /// Sends a stanza of `pair`, or lets it wait for the pair to be let in.
    pub fn send(&mut self, now: Instant, pair: &Pair, stanza: Bytes, actions: &mut Vec<Action>) {
        if self.setting.max_bytes.is_some_and(|max| stanza.len() > max) {
            let text = "the other server does not take stanzas of this size";
            return actions.push(Action::Bounce(stanza, Condition::PolicyViolation, text.to_owned()));
        }
        match self.sending.get_mut(pair) {
            Some(Sending::Granted) => {
                self.out_bytes += stanza.len();
                self.out.push_back(Item::Stanza(pair.clone(), stanza));
                actions.push(Action::Write);
            }
            Some(Sending::Asked { waiting, bytes, .. }) => {
                if *bytes + stanza.len() > self.setting.pair_queue_bytes {
                    let text = "too much waits for the other server already".to_owned();
                    return actions.push(Action::Bounce(stanza, Condition::ResourceConstraint, text));
                }
                *bytes += stanza.len();
                waiting.push_back(stanza);
            }
            None => {
                self.ask(now, pair, actions);
                self.send(now, pair, stanza, actions);
            }
        }
    }

    /// Sends our key for a pair (XEP-0220 §2.1.1).
    pub fn ask(&mut self, now: Instant, pair: &Pair, actions: &mut Vec<Action>) {
        let ends = Ends { from: pair.local.clone(), to: pair.remote.clone() };
        let key = self.setting.secret.key(&ends, &self.setting.stream_id);
        let asked = Sending::Asked { until: now + DIALBACK_WAIT, waiting: VecDeque::new(), bytes: 0 };
        self.sending.insert(pair.clone(), asked);
        self.push_own(Dialback::Result { ends, key }.to_bytes(), actions);
    }

    /// Asks the other side, as authoritative server of `ends.from`, about a key that came on stream `id`.
    pub fn verify(&mut self, ends: &Ends, id: String, key: String, actions: &mut Vec<Action>) {
        self.push_own(Dialback::Verify { ends: ends.reversed(), id, key }.to_bytes(), actions);
    }

    /// The answer to [`Action::Check`].
    pub fn checked(&mut self, ends: Ends, outcome: Outcome, actions: &mut Vec<Action>) {
        if !self.checking.remove(&ends) {
            return;
        }
        self.push_own(Dialback::Verdict { ends: ends.reversed(), outcome }.to_bytes(), actions);
        if outcome == Outcome::Valid {
            self.prove(ends.from, ends.to, actions);
        }
    }

    /// Ends the stream from our side: behind what may be sent.
    pub fn close(&mut self, error: Option<StreamError>, actions: &mut Vec<Action>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.push_own(farewell(error.as_ref()), actions);
        actions.push(Action::Close(error));
    }

    fn push_own(&mut self, bytes: Bytes, actions: &mut Vec<Action>) {
        self.out_bytes += bytes.len();
        self.out.push_back(Item::Own(bytes));
        actions.push(Action::Write);
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let until = |sending: &Sending| match sending {
            Sending::Asked { until, .. } => Some(*until),
            Sending::Granted => None,
        };
        self.sending.values().filter_map(until).min()
    }

    /// Gives up on verdicts that did not come.
    pub fn handle_timeout(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let late = |_: &Pair, sending: &mut Sending| matches!(sending, Sending::Asked { until, .. } if *until <= now);
        let late: Vec<_> = self.sending.extract_if(late).collect();
        for (pair, sending) in late {
            let waiting = match sending {
                Sending::Asked { waiting, .. } => waiting.into(),
                Sending::Granted => Vec::new(),
            };
            let why = format!("no verdict on our dialback key within {} s", DIALBACK_WAIT.as_secs());
            actions.push(Action::Down(pair, why, waiting));
        }
    }

    /// Appends what is to be written, `room` bytes or a stanza more.
    pub fn fill(&mut self, out: &mut BytesMut, room: usize) {
        let end = out.len() + room;
        while out.len() < end {
            let Some(item) = self.out.pop_front() else { break };
            match item {
                Item::Own(bytes) => {
                    self.out_bytes -= bytes.len();
                    out.extend_from_slice(&bytes);
                }
                Item::Stanza(pair, bytes) => {
                    self.out_bytes -= bytes.len();
                    out.extend_from_slice(&bytes);
                    if let Some(sent) = &mut self.unacknowledged {
                        sent.push((pair, bytes));
                        self.since_asked += 1;
                    }
                }
            }
            let asks = self.since_asked >= ASK_AFTER || (self.since_asked > 0 && self.out.is_empty());
            if asks && !self.over {
                self.since_asked = 0;
                out.extend_from_slice(&Ack::Request.to_element().to_bytes(SERVER));
            }
        }
    }

    /// Whether there is something to write.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether the stream has ended, from either side.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Bytes that wait to be written, or for a verdict.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let waiting = |sending: &Sending| match sending {
            Sending::Asked { bytes, .. } => *bytes,
            Sending::Granted => 0,
        };
        self.out_bytes + self.sending.values().map(waiting).sum::<usize>()
    }

    /// Takes every stanza that may not have arrived, by pair, each in order: not acknowledged, where the
    /// other side acknowledges; not written; waiting for a verdict.
    pub fn take_waiting(&mut self) -> HashMap<Pair, Vec<Bytes>> {
        let mut left: HashMap<Pair, Vec<Bytes>> = HashMap::new();
        let unacknowledged = self.unacknowledged.as_mut().map(Unacknowledged::take).unwrap_or_default();
        let queued = std::mem::take(&mut self.out).into_iter().filter_map(|item| match item {
            Item::Stanza(pair, bytes) => Some((pair, bytes)),
            Item::Own(_) => None,
        });
        for (pair, stanza) in unacknowledged.into_iter().chain(queued) {
            left.entry(pair).or_default().push(stanza);
        }
        for (pair, sending) in self.sending.drain() {
            if let Sending::Asked { waiting, .. } = sending {
                left.entry(pair).or_default().extend(waiting);
            }
        }
        self.out_bytes = 0;
        left
    }

    /// The pairs that may send here.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.sending.iter().filter(|(_, sending)| matches!(sending, Sending::Granted)).map(|(pair, _)| pair)
    }
}
