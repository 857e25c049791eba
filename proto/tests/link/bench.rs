//! Two host streams on virtual time, with everything between and around them that actors would be.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use heteronym_proto::batch::Batch;
use heteronym_proto::control::{Aid, Control, UndeliveredReason};
use heteronym_proto::crypto::{CryptoOp, CryptoResult};
use heteronym_proto::domain_pair::{Delegation, DomainPair, PairAction, PairEvent};
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::host_stream::{
    Action, HostStream, HostStreamConfig, IdentityQuestion, Out, PairChange, Role, Session,
};
use heteronym_proto::hosted::Hosted;
use heteronym_proto::identity::Identity;
use heteronym_proto::limits::{CONTROL_BYTES, Limits};
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;
use heteronym_proto::now::Now;
use heteronym_proto::pair::Pair;
use heteronym_proto::pairs::PairRecord;
use heteronym_proto::refusal::Refusal;
use heteronym_proto::stanza_error::Condition;
use heteronym_proto::stream_error::StreamError;
use heteronym_proto::suite::KeyType;
use heteronym_proto::transcript::Exporter;
use heteronym_proto::way::{Policies, Policy};

use crate::vault::{Certificate, Vault};
pub(crate) use crate::vault::{UNIX, name};

/// The host with the smaller name, which decides.
pub(crate) const MINE: &str = "xmpp.my.isp";
/// The other one.
pub(crate) const OTHER: &str = "xmpp.other.isp";

pub(crate) const HEADER: &[u8] =
    b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

pub(crate) fn pair(local: &str, remote: &str) -> Pair {
    Pair { local: name(local), remote: name(remote) }
}

pub(crate) fn message(from: &str, to: &str, body: &str) -> String {
    format!("<message from='u@{from}/r' to='v@{to}'><body>{body}</body></message>")
}

/// What one host stream's shell does, and what came of it.
pub(crate) struct Side {
    pub(crate) stream: HostStream,
    pub(crate) vault: Vault,
    /// Answers to delegation questions; a domain that is not here is delegated.
    pub(crate) delegations: HashMap<Name, Delegation>,
    /// Crypto results and delegations are held back while this is set.
    pub(crate) frozen: bool,
    /// Of the stanzas that were delivered: number and bytes.
    pub(crate) delivered: Vec<(u64, String)>,
    /// The same by serial, number and server.
    pub(crate) delivered_as: Vec<(u64, u64, usize)>,
    pub(crate) bounced: Vec<(String, Condition)>,
    pub(crate) rerouted: Vec<String>,
    pub(crate) changes: Vec<(Pair, PairChange)>,
    pub(crate) refused: Vec<&'static str>,
    pub(crate) closed: Option<Option<StreamError>>,
    /// How often the core asked for that.
    pub(crate) closes: usize,
    pub(crate) peer_error: Option<StreamError>,
    pub(crate) chosen: usize,
    pub(crate) alive: usize,
    pub(crate) dead: bool,
    /// Stanzas that were sent again because they had not arrived, and those that may have arrived.
    pub(crate) again: usize,
    pub(crate) in_doubt: usize,
    /// Errors of ours for remote senders.
    pub(crate) replies: Vec<String>,
    /// The session that the link goes on with, and what was never written on the one before.
    pub(crate) session: Option<Box<Session>>,
    unsent: Vec<(Pair, Vec<Bytes>)>,
    config: HostStreamConfig,
    links: u32,
    now: Now,
    /// Operations are performed one by one, whatever they lead to; not as a router does it.
    pub(crate) one_by_one: bool,
    /// Names of the crypto operations and look-ups, in order.
    pub(crate) operations: Vec<&'static str>,
    routes: HashMap<Slot, bool>,
    actors: HashMap<Slot, (Aid, DomainPair)>,
    work: VecDeque<Work>,
    slow: VecDeque<Work>,
    framer: Framer,
}

enum Work {
    Tell(Slot, Aid, PairEvent),
    Crypto(Slot, Aid, CryptoOp),
    Delegation(Slot, Aid, Name),
    Check(CryptoOp),
    Show(IdentityQuestion),
}

/// How a side is made.
pub(crate) struct Setup {
    pub(crate) host: &'static str,
    pub(crate) domains: Vec<Certificate>,
    pub(crate) limits: Limits,
    pub(crate) lifetime: Duration,
    pub(crate) denied: Vec<&'static str>,
    pub(crate) exporter: [u8; 64],
    pub(crate) role: Role,
    pub(crate) session: Option<Box<Session>>,
}

impl Setup {
    pub(crate) fn new(host: &'static str, domains: Vec<Certificate>) -> Self {
        let lifetime = Duration::from_secs(12 * 3600);
        let role = if host == MINE { Role::Dialled { counts: false } } else { Role::Accepted };
        let (denied, exporter, session) = (Vec::new(), [7; 64], None);
        Self { host, domains, limits: Limits::default(), lifetime, denied, exporter, role, session }
    }

    /// Our host, with two domains; the first has an RSA key.
    pub(crate) fn mine() -> Self {
        let domains =
            vec![Certificate::new("saramago.lit", KeyType::Rsa), Certificate::new("camoes.lit", KeyType::P256)];
        Self::new(MINE, domains)
    }

    /// The other host, with two domains of P-256 keys.
    pub(crate) fn other() -> Self {
        let domains =
            vec![Certificate::new("pessoa.lit", KeyType::P256), Certificate::new("sophia.lit", KeyType::P256)];
        Self::new(OTHER, domains)
    }
}

/// The policy is off for these domains.
pub(crate) fn policies(denied: &[&str]) -> Arc<Policies> {
    let off = denied.iter().map(|domain| (name(domain), Policy::Off));
    Arc::new(Policies::new(Policy::Prefer, off))
}

impl Side {
    pub(crate) fn new(setup: Setup, peer: &str, now: Now) -> Self {
        let host = name(setup.host);
        let hosted: Hosted = (0..).zip(&setup.domains).map(|(at, domain)| (domain.domain().clone(), at)).collect();
        let config = HostStreamConfig {
            host: host.clone(),
            hosted: Arc::new(hosted),
            limits: setup.limits,
            activation_lifetime: setup.lifetime,
            policies: policies(&setup.denied),
        };
        let framer = framer(&config);
        let random = seeded(setup.host);
        let stream =
            HostStream::new(config.clone(), name(peer), Exporter::new(&setup.exporter), None, setup.role, random, now);
        Self {
            stream,
            vault: Vault::new(&host, setup.domains),
            delegations: HashMap::new(),
            frozen: false,
            delivered: Vec::new(),
            delivered_as: Vec::new(),
            bounced: Vec::new(),
            rerouted: Vec::new(),
            changes: Vec::new(),
            refused: Vec::new(),
            closed: None,
            closes: 0,
            peer_error: None,
            chosen: 0,
            alive: 0,
            dead: false,
            again: 0,
            in_doubt: 0,
            replies: Vec::new(),
            session: setup.session,
            unsent: Vec::new(),
            config,
            links: 1,
            now,
            one_by_one: false,
            operations: Vec::new(),
            routes: HashMap::new(),
            actors: HashMap::new(),
            work: VecDeque::new(),
            slow: VecDeque::new(),
            framer,
        }
    }

    /// Lets the core do something, and performs what it wants done.
    pub(crate) fn act<T>(&mut self, now: Now, act: impl FnOnce(&mut HostStream, &mut Out) -> T) -> T {
        let mut out = Out::default();
        self.now = now;
        let result = act(&mut self.stream, &mut out);
        if !self.stream.takes_frames() {
            self.stream.adopt(now, self.session.take(), &mut out);
            for (pair, stanzas) in std::mem::take(&mut self.unsent) {
                self.stream.open_pair(now, &pair, stanzas, &mut out);
            }
        }
        self.stream.tend(now, &mut out);
        self.perform(out);
        self.settle(now);
        result
    }

    /// The link is gone; another one has this exporter and nobody has chosen it.
    pub(crate) fn reconnect(&mut self, now: Now, role: Role, exporter: [u8; 64]) {
        let waiting = self.stream.take_waiting();
        // What came back from a link that was never used goes before nothing.
        self.unsent.extend(waiting);
        self.session = self.stream.detach().or(self.session.take());
        let random = seeded(&format!("{} {}", self.config.host, self.links));
        let peer = self.stream.peer().clone();
        self.stream = HostStream::new(self.config.clone(), peer, Exporter::new(&exporter), None, role, random, now);
        self.links += 1;
        self.framer = framer(&self.config);
        self.actors.clear();
        self.routes.clear();
        (self.work, self.slow) = (VecDeque::new(), VecDeque::new());
        (self.closed, self.closes, self.dead) = (None, 0, false);
    }

    /// A stanza from one of our users.
    pub(crate) fn send(&mut self, now: Now, local: &str, remote: &str, body: &str) {
        let stanza = Bytes::from(message(local, remote, body));
        if !self.stream.is_adopted() {
            let (of, mut known) = (pair(local, remote), self.unsent.iter_mut());
            return match known.find(|(known, _)| *known == of) {
                Some((_, stanzas)) => stanzas.push(stanza),
                None => self.unsent.push((of, vec![stanza])),
            };
        }
        self.act(now, |stream, out| {
            let slot = stream.slot(&pair(local, remote));
            stream.send(now, slot, [stanza], out);
        });
    }

    /// Stanzas from our users that come to the stream in one message.
    pub(crate) fn send_together(
        &mut self,
        now: Now,
        local: &str,
        remote: &str,
        bodies: impl IntoIterator<Item = String>,
    ) {
        if !self.stream.is_adopted() {
            return bodies.into_iter().for_each(|body| self.send(now, local, remote, &body));
        }
        self.act(now, |stream, out| {
            let slot = stream.slot(&pair(local, remote));
            let stanzas: Batch<Slot> = bodies.into_iter().map(|body| (slot, message(local, remote, &body))).collect();
            stream.send_batch(now, stanzas, out);
        });
    }

    /// Bytes from the peer.
    pub(crate) fn feed(&mut self, now: Now, bytes: &[u8], tap: &mut dyn FnMut(Frame) -> Vec<Frame>) {
        self.framer.push(BytesMut::from(bytes));
        while let Some(frame) = self.framer.next_frame().expect("what we send can be framed") {
            for frame in tap(frame) {
                self.act(now, |stream, out| stream.frame(now, frame, out));
            }
        }
    }

    /// Bytes from a peer that nobody watches.
    pub(crate) fn hear(&mut self, now: Now, xml: &str) {
        self.feed(now, xml.as_bytes(), &mut |frame| vec![frame]);
    }

    /// What is written now.
    pub(crate) fn written(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        self.stream.fill(self.now, &mut out, 1 << 20);
        out
    }

    /// What is written now, as text.
    pub(crate) fn says(&mut self) -> String {
        String::from_utf8(self.written().to_vec()).expect("UTF-8")
    }

    pub(crate) fn timeout(&mut self, now: Now) {
        self.act(now, |stream, out| stream.handle_timeout(now, out));
    }

    pub(crate) fn record(&mut self, local: &str, remote: &str) -> &PairRecord {
        let slot = self.stream.slot(&pair(local, remote));
        self.stream.record(slot)
    }

    pub(crate) fn is_active(&mut self, local: &str, remote: &str) -> bool {
        self.record(local, remote).active.is_some()
    }

    /// Whether stanzas of the pair come to the stream directly.
    pub(crate) fn is_routed(&mut self, local: &str, remote: &str) -> bool {
        let slot = self.stream.slot(&pair(local, remote));
        self.routes.get(&slot).copied().unwrap_or_default()
    }

    /// Actors of pairs that have not ended.
    pub(crate) fn actors(&self) -> usize {
        self.actors.len()
    }

    /// Whether a run of the pair in `slot` has an actor.
    pub(crate) fn has_actor(&self, slot: Slot) -> bool {
        self.actors.contains_key(&slot)
    }

    pub(crate) fn bodies(&self) -> Vec<&str> {
        self.delivered.iter().filter_map(|(_, text)| body(text)).collect()
    }

    pub(crate) fn bounced_bodies(&self) -> Vec<&str> {
        self.bounced.iter().filter_map(|(text, _)| body(text)).collect()
    }

    /// Refusals by which our runs ended.
    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        let refusal = |(_, change): &(Pair, PairChange)| match change {
            PairChange::Refused(failure) => Some(failure.refusal),
            PairChange::RefusedPeer(_)
            | PairChange::Requested
            | PairChange::Activated { .. }
            | PairChange::Resumed { .. }
            | PairChange::Deactivated(_) => None,
        };
        self.changes.iter().filter_map(refusal).collect()
    }

    pub(crate) fn conditions(&self) -> Vec<Condition> {
        self.bounced.iter().map(|(_, condition)| *condition).collect()
    }

    pub(crate) fn config(&self) -> &HostStreamConfig {
        &self.config
    }

    /// Our server does not take the last stanza that was delivered.
    pub(crate) fn hand_back(&mut self, now: Now, reason: UndeliveredReason) {
        let (_, stanza) = self.delivered.pop().expect("something was delivered");
        let (serial, n, _) = self.delivered_as.pop().expect("something was delivered");
        self.act(now, |stream, out| stream.undeliverable(now, (serial, n), reason, stanza.as_bytes(), out));
    }

    /// Our servers have read everything that was delivered.
    pub(crate) fn has_read(&mut self, now: Now) {
        let all = self.delivered_as.clone();
        self.act(now, |stream, _| {
            for (serial, n, entry) in all {
                stream.has_read(serial, entry, n);
            }
        });
    }

    /// Lets crypto and look-ups go on.
    pub(crate) fn thaw(&mut self, now: Now) {
        self.frozen = false;
        self.work.append(&mut self.slow);
        self.settle(now);
    }

    fn perform(&mut self, out: Out) {
        for (entry, stanzas) in out.deliveries {
            for (n, stanza) in stanzas.iter() {
                self.delivered.push((n, String::from_utf8(stanza.to_vec()).expect("UTF-8")));
                self.delivered_as.push((self.stream.serial(), n, entry));
            }
        }
        for action in out.actions {
            self.perform_action(action);
        }
    }

    fn perform_action(&mut self, action: Action) {
        match action {
            Action::Pair(slot, event) => self.tell(slot, event),
            Action::EndPair(slot) => drop(self.actors.remove(&slot)),
            Action::CheckIdentity(op) => self.slow.push_back(Work::Check(op)),
            Action::ShowIdentity(question) => self.slow.push_back(Work::Show(question)),
            Action::RouteUp { slot, .. } => drop(self.routes.insert(slot, true)),
            Action::RouteDown(slot) => drop(self.routes.insert(slot, false)),
            Action::Bounce { stanza, condition, .. } => {
                self.bounced.push((String::from_utf8(stanza.to_vec()).expect("UTF-8"), condition));
            }
            Action::Reply(stanza) => self.replies.push(String::from_utf8(stanza.to_vec()).expect("UTF-8")),
            Action::Reroute(stanza) => self.rerouted.push(String::from_utf8(stanza.to_vec()).expect("UTF-8")),
            Action::Changed(slot, change) => self.changes.push((self.stream.record(slot).pair.clone(), change)),
            Action::Chosen => self.chosen += 1,
            Action::Alive => self.alive += 1,
            Action::Dead(_) => self.dead = true,
            Action::SessionResumed(again) => self.again += again,
            Action::SessionLost { in_doubt } => self.in_doubt += in_doubt,
            Action::Write | Action::RequestRefused(_) => (),
            Action::StanzaRefused(reason) => self.refused.push(reason),
            Action::PeerError(error) => self.peer_error = Some(error),
            Action::Close(error) => {
                self.closes += 1;
                self.closed.get_or_insert(error);
            }
        }
    }

    fn tell(&mut self, slot: Slot, event: PairEvent) {
        if let Some(aid) = event.begins() {
            let record = self.stream.record(slot);
            let actor = DomainPair::new(record.pair.clone(), self.stream.setting().clone(), record.stale_runs() > 0);
            self.actors.insert(slot, (aid, actor));
        }
        if let Some((aid, _)) = self.actors.get(&slot) {
            self.work.push_back(Work::Tell(slot, *aid, event));
        }
    }

    fn settle(&mut self, now: Now) {
        loop {
            if !self.frozen {
                self.work.append(&mut self.slow);
            }
            let Some(work) = self.work.pop_front() else { return };
            self.do_work(now, work);
        }
    }

    fn do_work(&mut self, now: Now, work: Work) {
        match work {
            Work::Tell(slot, aid, event) => {
                // What is meant for an actor that has ended does not reach its successor.
                let Some((_, actor)) = self.actors.get_mut(&slot).filter(|(other, _)| *other == aid) else { return };
                let wanted = actor.handle(event);
                self.wanted(now, (slot, aid), wanted);
            }
            Work::Crypto(slot, aid, op) if self.one_by_one => {
                self.operations.push(operation(&op));
                let result = self.vault.perform(op, now.unix);
                self.work.push_back(Work::Tell(slot, aid, PairEvent::Crypto(result)));
            }
            Work::Crypto(slot, aid, op) => {
                let Some((_, actor)) = self.actors.get_mut(&slot).filter(|(other, _)| *other == aid) else { return };
                let (vault, delegations, done) = (&self.vault, &self.delegations, RefCell::new(Vec::new()));
                let perform = |op| {
                    done.borrow_mut().push(operation(&op));
                    vault.perform(op, now.unix)
                };
                let delegates = |domain: &Name| {
                    let known = !delegations.contains_key(domain);
                    done.borrow_mut().extend(known.then_some("look up"));
                    known
                };
                let wanted = actor.compute(op, perform, delegates);
                self.operations.append(&mut done.into_inner());
                self.wanted(now, (slot, aid), wanted);
            }
            Work::Delegation(slot, aid, domain) => {
                self.operations.push("look up");
                let delegation = self.delegations.get(&domain).cloned().unwrap_or(Delegation::Delegated);
                self.work.push_back(Work::Tell(slot, aid, PairEvent::Delegation(delegation)));
            }
            Work::Check(op) => self.check(now, op),
            Work::Show(question) => self.show(now, question),
        }
    }

    fn wanted(&mut self, now: Now, (slot, aid): (Slot, Aid), wanted: Option<PairAction>) {
        match wanted {
            Some(PairAction::Crypto(op)) => self.slow.push_back(Work::Crypto(slot, aid, op)),
            Some(PairAction::CheckDelegation(domain)) => self.slow.push_back(Work::Delegation(slot, aid, domain)),
            Some(said) => {
                let mut out = Out::default();
                self.stream.pair_says(now, slot, aid, said, &mut out);
                self.perform(out);
            }
            None => (),
        }
    }

    fn check(&mut self, now: Now, op: CryptoOp) {
        self.operations.push(operation(&op));
        let identity: Identity = op.checked_identity().expect("an identity to check").clone();
        let CryptoResult::CheckIdentity(result) = self.vault.perform(op, now.unix) else { unreachable!() };
        let mut out = Out::default();
        self.stream.identity_checked(&identity, result, &mut out);
        self.perform(out);
    }

    fn show(&mut self, now: Now, question: IdentityQuestion) {
        let own = self.vault.own(&question.domain, now.unix).map(Arc::new);
        let mut out = Out::default();
        self.stream.own_identity(question, own, &mut out);
        self.perform(out);
    }
}

/// Behind the header.
fn framer(config: &HostStreamConfig) -> Framer {
    let mut framer = Framer::new(config.limits.stanza_bytes.max(CONTROL_BYTES));
    framer.push(BytesMut::from(HEADER));
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
    framer
}

fn body(stanza: &str) -> Option<&str> {
    stanza.split("<body>").nth(1)?.split("</body>").next()
}

fn operation(op: &CryptoOp) -> &'static str {
    match op {
        CryptoOp::OwnIdentity { .. } => "own",
        CryptoOp::CheckIdentity { .. } => "check",
        CryptoOp::Sign { .. } => "sign",
        CryptoOp::Verify { .. } => "verify",
        CryptoOp::Seal { .. } => "seal",
        CryptoOp::Open { .. } => "open",
    }
}

/// Random bytes that are the same in every run of a test, and different for every side.
fn seeded(seed: &str) -> heteronym_proto::host_stream::Random {
    use sha2::{Digest, Sha256};
    let (seed, mut count) = (seed.to_owned(), 0_u64);
    Box::new(move |out: &mut [u8]| {
        for chunk in out.chunks_mut(32) {
            count += 1;
            let block = Sha256::digest(format!("{seed} {count}"));
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    })
}

/// The local name of an element without a prefix.
pub(crate) fn element_name(text: &str) -> &str {
    text.trim_start_matches('<').split([' ', '/', '>']).next().unwrap_or_default()
}

/// A control element as text.
pub(crate) fn xml(control: &Control) -> String {
    String::from_utf8(control.to_bytes().to_vec()).expect("UTF-8")
}

/// The beginning of every test.
pub(crate) fn start() -> Now {
    at(*ORIGIN)
}

pub(crate) fn later(now: Now, by: Duration) -> Now {
    at(now.instant + by)
}

/// The wall clock goes with the virtual one, in whole seconds.
fn at(instant: Instant) -> Now {
    Now { instant, unix: UNIX + instant.duration_since(*ORIGIN).as_secs() }
}

#[expect(clippy::disallowed_methods, reason = "an origin is needed; from there on time is virtual")]
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
