//! Two host streams, and an enemy between them: elements are lost, doubled, changed and made up, in any order.

mod forged;
mod proofs;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use heteronym_proto::acks::Ack;
use heteronym_proto::checker::Scope;
use heteronym_proto::control::{Aid, Control, DeactivateReason, UndeliveredReason};
use heteronym_proto::domain_pair::Delegation;
use heteronym_proto::element::Element;
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::host_stream::Role;
use heteronym_proto::now::Now;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza;

use crate::bench::{HEADER, MINE, OTHER, Setup, Side, later, name, pair, start};
use crate::choices::Choices;
use forged::Seen;
use proofs::Proofs;

const OURS: [&str; 2] = ["saramago.lit", "camoes.lit"];
const THEIRS: [&str; 2] = ["pessoa.lit", "sophia.lit"];
/// More pairs than there are names for.
const RECORDS: usize = 64;
/// Time-outs that may be due while time stands still.
const AT_ONCE: usize = 200;
/// In seconds: of probes, of a run, of a failure's memory, of a session, of an activation.
const PAUSES: [u64; 7] = [0, 1, 6, 14, 31, 61, 310];
const LIFETIME: Duration = Duration::from_secs(300);
const REASONS: [UndeliveredReason; 2] = [UndeliveredReason::DomainUnavailable, UndeliveredReason::Overflow];

/// Elements that a stream does not expect, but for the last two.
const STRAY: [&str; 14] = [
    "<message from='u@sophia.lit' to='v@camoes.lit'/>",
    "<message from='u@impostor.lit' to='v@saramago.lit'/>",
    "<message from='u@camoes.lit' to='v@saramago.lit'/>",
    "<message from='u@pessoa.lit'/>",
    "<message from='u@pessoa.lit' to='v@saramago.lit'><a:b/></message>",
    "<x:message xmlns:x='jabber:server' from='u@pessoa.lit' to='v@saramago.lit'/>",
    "<request xmlns='urn:xmpp:federation:0' aid='AQEBAQEBAQEBAQEBAQEBAQ=='/>",
    "<nothing xmlns='urn:xmpp:federation:0'/>",
    "<nothing xmlns='urn:xmpp:sm:3'/>",
    "<nothing/>",
    "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    "<&/>",
    "<iq from='xmpp.other.isp' to='xmpp.my.isp' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<message from='u@pessoa.lit' to='v@saramago.lit'><body>forged</body></message>",
];

/// One end: a host, and what is under way from it.
struct End {
    side: Side,
    framer: Framer,
    under_way: VecDeque<Bytes>,
    proofs: Proofs,
}

struct Run<'a> {
    choices: Choices<'a>,
    now: Now,
    /// Ours and the other's.
    ends: [End; 2],
    seen: Seen,
    links: u64,
    sent: usize,
}

/// Does what `data` says.
///
/// # Panics
/// If something is delivered or active that nobody has proved, a bound is passed, a stream ends twice, or what is
/// written cannot be read.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (counts, now) = (choices.below(4) != 0, start());
    let ours = Setup { role: Role::Dialled { counts }, ..limited(Setup::mine()) };
    let ends = [End::new(ours, OTHER, now), End::new(limited(Setup::other()), MINE, now)];
    let mut run = Run { choices, now, ends, seen: Seen::default(), links: 1, sent: 0 };
    run.choose();
    while let Some(byte) = run.choices.next() {
        run.step(byte);
        run.check();
    }
}

fn limited(mut setup: Setup) -> Setup {
    (setup.limits.pair_queue_bytes, setup.limits.host_queue_bytes) = (1000, 8000);
    setup.limits.activations_per_second = 5;
    Setup { lifetime: LIFETIME, ..setup }
}

impl End {
    fn new(setup: Setup, peer: &str, now: Now) -> Self {
        let side = Side::new(setup, peer, now);
        Self { side, framer: framer(), under_way: VecDeque::new(), proofs: Proofs::default() }
    }

    /// Cuts what was written, which has to be what a host may send.
    fn write(&mut self, seen: &mut Seen) {
        let written = self.side.written();
        self.framer.push(written);
        while let Some(frame) = self.framer.next_frame().expect("what we write can be framed") {
            let bytes = match frame {
                Frame::Element(bytes) => bytes,
                Frame::End => continue,
                Frame::Header(_) | Frame::TooLarge { .. } => panic!("{frame:?}"),
            };
            if stanza::read(&bytes, &Scope::SERVER).is_err() {
                let element = Element::parse(&bytes, &Scope::SERVER).expect("what we write is well-formed");
                match (Control::read(&element), Ack::read(&element)) {
                    (Ok(control), _) => {
                        self.proofs.wrote(&control);
                        seen.control(control);
                    }
                    (Err(_), Some(ack)) => seen.ack(&ack),
                    (Err(_), None) => assert!(element.name() == "error", "{element:?}"),
                }
            }
            self.under_way.push_back(bytes);
        }
    }

    /// A frame arrives; a stanza goes on only where its pair is active, and only what the other host has said
    /// (`may_activate`) makes a pair active.
    fn hear(&mut self, now: Now, frame: Frame, may_activate: bool) {
        let Self { side, .. } = self;
        let may_pass = match &frame {
            Frame::Element(bytes) if side.closed.is_none() => is_of_active_pair(side, now, bytes),
            _ => false,
        };
        let (before, active) = (side.delivered.len(), active(side));
        side.act(now, |stream, out| stream.frame(now, frame, out));
        assert!(may_activate || self::active(side).is_subset(&active), "an enemy's element makes a pair active");
        assert!(side.delivered.len() <= before + usize::from(may_pass), "{:?}", side.delivered.last());
    }

    /// The connection ends, as its shell ends it.
    fn end(&mut self, now: Now, seen: &mut Seen) {
        let Some(error) = self.side.closed.clone() else { return };
        self.write(seen);
        self.side.act(now, |stream, out| stream.close(error.as_ref(), out));
        let last = self.side.says();
        let is_told = last.matches("<stream:error").count() == usize::from(error.is_some());
        assert!(is_told && last.ends_with("</stream:stream>"), "{last}");
        assert!(!self.side.stream.has_work() && self.side.written().is_empty(), "nothing is behind the end");
    }
}

fn framer() -> Framer {
    let mut framer = Framer::new(1 << 20);
    framer.push(BytesMut::from(HEADER));
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
    framer
}

/// The activations that are in force.
fn active(side: &Side) -> HashSet<Aid> {
    side.stream.records().filter_map(|record| record.active.as_ref()).map(heteronym_proto::pairs::Active::aid).collect()
}

fn is_of_active_pair(side: &Side, now: Now, bytes: &Bytes) -> bool {
    let Ok(stanza) = stanza::read(bytes, &Scope::SERVER) else { return false };
    let is_it = |pair: &Pair| (pair.local.as_str(), pair.remote.as_str()) == (stanza.to_domain(), stanza.from_domain());
    let mut records = side.stream.records();
    records.any(|record| is_it(&record.pair) && record.active.as_ref().is_some_and(|active| active.expires > now.unix))
}

impl Run<'_> {
    fn step(&mut self, byte: u8) {
        let (from, byte) = (usize::from(byte & 1), byte >> 1);
        match byte % 16 {
            0 | 1 => self.send(from),
            2..=4 => self.carry(from),
            5 => self.run_on(),
            6 => self.tamper(from),
            7 | 8 => {
                let vault = &self.ends[from].side.vault;
                let forged = self.seen.forge(&mut self.choices, self.now.unix, vault);
                self.arrive(from, Frame::Element(forged));
            }
            9 => {
                let forged = self.seen.forge_ack(&mut self.choices);
                self.arrive(from, Frame::Element(forged));
            }
            10 => self.stray(from),
            11 => self.advance(),
            12 => self.cut(from),
            13 => self.serve(from),
            14 => self.operate(from),
            _ => self.keys(from),
        }
    }

    fn pair_of(&mut self, from: usize) -> (&'static str, &'static str) {
        let (ours, theirs) = (self.choices.of(&OURS), self.choices.of(&THEIRS));
        if from == 0 { (ours, theirs) } else { (theirs, ours) }
    }

    fn send(&mut self, from: usize) {
        let (local, remote) = self.pair_of(from);
        self.sent += 1;
        self.ends[from].side.send(self.now, local, remote, &self.sent.to_string());
    }

    /// A frame arrives at the end that is not `from`.
    fn arrive(&mut self, from: usize, frame: Frame) {
        let may_activate = self.ends[from].proofs.may_activate(&frame);
        self.ends[1 - from].hear(self.now, frame, may_activate);
    }

    fn carry(&mut self, from: usize) {
        self.ends[from].write(&mut self.seen);
        while let Some(element) = self.ends[from].under_way.pop_front() {
            self.arrive(from, Frame::Element(element));
        }
    }

    /// Both say what they have to say.
    fn run_on(&mut self) {
        for _ in 0..8 {
            self.carry(0);
            self.carry(1);
        }
    }

    /// Something happens to one element that is under way.
    fn tamper(&mut self, from: usize) {
        let end = &mut self.ends[from];
        end.write(&mut self.seen);
        let at = self.choices.below(end.under_way.len().max(1));
        let Some(mut element) = end.under_way.remove(at) else { return };
        match self.choices.below(5) {
            0 => (),
            1 => end.under_way.push_back(element),
            2 => end.under_way.extend([element.clone(), element]),
            3 => self.arrive(from, Frame::TooLarge { head: element.split_to(element.len() / 2), bytes: 1 << 20 }),
            _ => {
                let place = usize::from(self.choices.next().unwrap_or_default()) * 3 % element.len();
                let mut changed = element.to_vec();
                changed[place] = self.choices.of(b"0AaZ=' <>\xff");
                self.arrive(from, Frame::Element(changed.into()));
            }
        }
    }

    fn stray(&mut self, from: usize) {
        let frame = match self.choices.below(STRAY.len() + 2) {
            0 => Frame::End,
            1 => Frame::Header(Bytes::from_static(HEADER)),
            n => Frame::Element(Bytes::from_static(STRAY[n - 2].as_bytes())),
        };
        self.arrive(from, frame);
    }

    /// Lets time pass, with every time-out at its moment; meanwhile elements arrive, or do not.
    fn advance(&mut self) {
        let (pause, carried) = (self.choices.of(&PAUSES), self.choices.below(2) == 0);
        let end = self.now.instant + Duration::from_secs(pause);
        let mut at_once = 0;
        loop {
            let deadlines = self.ends.iter().filter(|end| end.side.closed.is_none());
            let next = deadlines.filter_map(|end| end.side.stream.deadline()).min().filter(|next| *next <= end);
            let moment = next.unwrap_or(end).max(self.now.instant);
            at_once = if moment == self.now.instant { at_once + 1 } else { 0 };
            assert!(at_once < AT_ONCE, "time stands still");
            self.now = later(self.now, moment - self.now.instant);
            if next.is_none() {
                return;
            }
            self.ends.iter_mut().for_each(|end| end.side.timeout(self.now));
            if carried {
                self.carry(0);
                self.carry(1);
            }
        }
    }

    /// The link ends, with what is under way, and there is another.
    fn cut(&mut self, dialler: usize) {
        self.links += 1;
        let mut exporter = [0; 64];
        exporter[..8].copy_from_slice(&self.links.to_be_bytes());
        let counts = self.choices.below(8) != 0;
        for (n, end) in self.ends.iter_mut().enumerate() {
            end.end(self.now, &mut self.seen);
            let role = if n == dialler { Role::Dialled { counts } } else { Role::Accepted };
            end.side.reconnect(self.now, role, exporter);
            end.under_way.clear();
            end.framer = framer();
        }
        if self.choices.below(8) != 0 {
            self.choose();
        }
    }

    fn choose(&mut self) {
        let now = self.now;
        self.ends[0].side.act(now, |stream, out| stream.choose(now, out));
    }

    /// Servers read what they were sent, or do not; crypto takes its time.
    fn serve(&mut self, from: usize) {
        let side = &mut self.ends[from].side;
        match self.choices.below(4) {
            0 => side.has_read(self.now),
            1 if !side.delivered.is_empty() => side.hand_back(self.now, self.choices.of(&REASONS)),
            2 => side.frozen = true,
            _ => side.thaw(self.now),
        }
    }

    /// What operators and shells do.
    fn operate(&mut self, from: usize) {
        let (local, remote) = self.pair_of(from);
        let (now, side) = (self.now, &mut self.ends[from].side);
        if !side.stream.is_adopted() {
            return;
        }
        let (of, domain) = (pair(local, remote), name(local));
        let slot = side.stream.slot(&of);
        match self.choices.below(8) {
            0 => side.act(now, |stream, out| stream.deactivate(slot, DeactivateReason::Idle, out)),
            1 => side.act(now, |stream, out| stream.deactivate_pair(&of, DeactivateReason::KeyCompromise, out)),
            2 if side.has_actor(slot) => side.act(now, |stream, out| stream.pair_broke(now, slot, out)),
            3 => side.act(now, |stream, out| stream.ask_to_hold(domain, out)),
            4 => side.act(now, |stream, out| stream.ask_to_go(domain, out)),
            5 => side.act(now, |stream, out| stream.want_now(now, &of, out)),
            6 => side.act(now, |stream, out| stream.probe(out)),
            _ => side.act(now, |stream, out| stream.moved(&of, out)),
        }
    }

    /// Certificates, keys and records change.
    fn keys(&mut self, from: usize) {
        let (local, remote) = self.pair_of(from);
        let side = &mut self.ends[from].side;
        match self.choices.below(6) {
            0 => side.vault.replace(side.vault.certificate(local).renewed()),
            1 => side.vault.rotate_kems(),
            2 => side.vault.renew_kems(),
            3 => drop(side.delegations.insert(name(remote), Delegation::Elsewhere("elsewhere".to_owned()))),
            4 => drop(side.delegations.insert(name(remote), Delegation::Unknown("SERVFAIL".to_owned()))),
            _ => side.delegations.clear(),
        }
    }

    fn check(&self) {
        let [ours, theirs] = &self.ends;
        for (end, other) in [(ours, theirs), (theirs, ours)] {
            end.proofs.expect_of(&other.proofs, &end.side);
            let stream = &end.side.stream;
            let records = stream.records().count();
            assert!(records <= RECORDS && end.side.actors() <= records, "{records} records");
            assert!(stream.timers() <= 8 * (records + 1), "{} timers", stream.timers());
            let limits = &end.side.config().limits;
            // What comes back is not refused.
            let bound = 2 * limits.host_queue_bytes;
            assert!(stream.queued_bytes() <= bound, "{} bytes wait", stream.queued_bytes());
            assert!(end.side.closes <= 1, "a stream ends once");
        }
    }
}
