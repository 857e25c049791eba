//! The routers, the wires between them, and the time.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use fastrand::Rng;
use heteronym_proto::host_stream::{HostStream, Role};
use heteronym_proto::limits::Limits;
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::now::Now;
use heteronym_proto::transcript::Exporter;

use crate::agenda::{Actor, Address, Agenda, Context, Event, Message};
use crate::end::End;
use crate::ledger::Ledger;
use crate::process::{HOSTS, Process};
use crate::vault::{UNIX, name};

/// Time-outs at one instant beyond which a timer spins.
const SPINS: usize = 10_000;

/// One direction of a wire.
pub(crate) struct Pipe {
    latency: Duration,
    /// Of each byte, beyond the latency.
    per_byte: Duration,
    /// What may be under way.
    window: usize,
    under_way: usize,
    last: Instant,
}

/// A connection.
pub(crate) struct Wire {
    pub(crate) ends: [Address; 2],
    pub(crate) pipes: [Pipe; 2],
    /// When each side is ready.
    born_at: [Instant; 2],
    pub(crate) stalled_until: Option<Instant>,
    /// It takes what it is given, which goes nowhere.
    pub(crate) swallows: bool,
    /// It breaks when so many more bytes have arrived on this side.
    pub(crate) breaks: Option<(usize, usize)>,
    pub(crate) broken: bool,
}

/// See the module.
pub(crate) struct World {
    pub(crate) now: Instant,
    origin: Instant,
    pub(crate) dice: Rng,
    pub(crate) processes: Vec<Process>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) agenda: Agenda,
    pub(crate) ledger: Ledger,
    /// Dials that fail, and wires whose latency is long.
    pub(crate) unreachable: bool,
    pub(crate) turns: usize,
    pub(crate) trace: bool,
    /// What has happened, in a number: the same for the same seed.
    pub(crate) history: u64,
    links: LinkId,
    spins: usize,
}

impl World {
    pub(crate) fn new(seed: u64, origin: Instant, turns: usize) -> Self {
        let mut dice = Rng::with_seed(seed);
        let hosts = dice.usize(2..=3);
        let limits = if dice.u8(..) < 64 {
            // So tight that they are reached.
            Limits {
                stanza_bytes: 10_000,
                pair_queue_bytes: 8 << 10,
                host_queue_bytes: 24 << 10,
                stanza_wait: Duration::from_secs(30),
                ..Limits::default()
            }
        } else {
            Limits::default()
        };
        let life = Duration::from_secs([300, 3600, 12 * 3600][dice.usize(0..3)]);
        let processes = (0..hosts).map(|host| Process::new(host, limits.clone(), life)).collect();
        let mut agenda = Agenda::default();
        agenda.add(origin, Event::Turn);
        Self {
            now: origin,
            origin,
            dice,
            processes,
            wires: Vec::new(),
            agenda,
            ledger: Ledger::default(),
            unreachable: false,
            turns,
            trace: false,
            history: 0,
            links: 0,
            spins: 0,
        }
    }

    /// What a process takes for the time.
    fn now_of(&self, host: usize) -> Now {
        let elapsed = i64::try_from((self.now - self.origin).as_secs()).unwrap_or(i64::MAX);
        Now { instant: self.now, unix: UNIX.saturating_add_signed(elapsed + self.processes[host].skew) }
    }

    /// Lets a process do something.
    pub(crate) fn with<T>(&mut self, host: usize, act: impl FnOnce(&mut Process, &mut Context<'_>) -> T) -> T {
        let now = self.now_of(host);
        let Self { processes, agenda, dice, ledger, .. } = self;
        let process = &mut processes[host];
        let me = Address { host, life: process.life, actor: Actor::Router };
        act(process, &mut Context { now, me, agenda, dice, ledger })
    }

    /// The next thing happens; `false` where nothing will before `end`.
    pub(crate) fn step(&mut self, end: Instant) -> bool {
        let deadlines = self.processes.iter().filter(|process| process.up).map(|process| process.deadline(self.now));
        let next = deadlines.chain([self.agenda.first()]).flatten().min().filter(|next| *next <= end);
        let Some(next) = next else {
            self.now = end;
            return false;
        };
        self.spins = if next > self.now { 0 } else { self.spins + 1 };
        if self.spins > SPINS {
            self.ledger.fault(|| "rest: a timer spins".to_owned());
            return false;
        }
        self.now = self.now.max(next);
        match self.agenda.pop(self.now) {
            Some((number, event)) => self.happen(number, event),
            None => {
                for host in (0..self.processes.len()).filter(|host| self.processes[*host].up).collect::<Vec<_>>() {
                    self.with(host, Process::timeout);
                }
            }
        }
        self.write();
        self.ledger.broken.is_none()
    }

    #[expect(clippy::print_stderr, reason = "somebody reads a story step by step")]
    fn happen(&mut self, number: u64, event: Event) {
        if self.trace {
            eprintln!("{:>12?} {event:?}", self.now - self.origin);
        }
        match event {
            Event::Mail(to, message) => {
                if self.lives(to) {
                    self.with(to.host, |process, cx| process.handle(to.actor, message, cx));
                }
            }
            Event::Bytes { wire, side, bytes } => self.arrive(number, wire, side, bytes),
            Event::Over { wire, side } => self.hang_up(number, wire, side),
            Event::Connect { from, life, to } => self.connect(from, life, to),
            Event::Born(end) => self.born(*end),
            Event::Start(host) => {
                self.processes[host].up = true;
                self.processes[host].life += 1;
            }
            Event::Turn => self.turn(),
            Event::Heal(healed) => self.heal(healed),
        }
    }

    fn lives(&self, address: Address) -> bool {
        let process = &self.processes[address.host];
        process.up && process.life == address.life
    }

    fn arrive(&mut self, number: u64, wire: usize, side: usize, mut bytes: BytesMut) {
        let of = &mut self.wires[wire];
        if of.broken {
            return;
        }
        if let Some(until) = of.stalled_until.filter(|until| *until > self.now) {
            return self.agenda.put_off(until, number, Event::Bytes { wire, side, bytes });
        }
        if self.now < of.born_at[side] {
            return self.agenda.put_off(of.born_at[side], number, Event::Bytes { wire, side, bytes });
        }
        if of.swallows {
            of.pipes[1 - side].under_way -= bytes.len();
            return;
        }
        of.pipes[1 - side].under_way -= bytes.len();
        let mut breaks = false;
        if let Some((_, left)) = of.breaks.as_mut().filter(|(at, _)| *at == side) {
            breaks = *left <= bytes.len();
            bytes.truncate(*left);
            *left -= bytes.len();
        }
        let to = of.ends[side];
        let mark = bytes.len() as u64 ^ (self.now - self.origin).as_nanos() as u64;
        self.history = self.history.wrapping_mul(31).wrapping_add(mark);
        if self.lives(to) && !bytes.is_empty() {
            self.with(to.host, |process, cx| {
                if let Actor::Link(link) = to.actor
                    && let Some(end) = process.ends.get_mut(&link)
                {
                    end.read(bytes, &mut process.shared, cx);
                }
            });
        }
        if breaks {
            self.break_wire(wire);
        }
    }

    /// Both sides hear of it, each in its time.
    pub(crate) fn break_wire(&mut self, wire: usize) {
        if std::mem::replace(&mut self.wires[wire].broken, true) {
            return;
        }
        for side in 0..2 {
            let delay = Duration::from_millis(self.dice.u64(0..200));
            self.agenda.add(self.now + delay, Event::Over { wire, side });
        }
    }

    fn hang_up(&mut self, number: u64, wire: usize, side: usize) {
        let of = &self.wires[wire];
        if let Some(until) = of.stalled_until.filter(|until| *until > self.now && !of.broken) {
            return self.agenda.put_off(until, number, Event::Over { wire, side });
        }
        if self.now < of.born_at[side] {
            return self.agenda.put_off(of.born_at[side], number, Event::Over { wire, side });
        }
        if of.swallows && !of.broken {
            return;
        }
        let to = of.ends[side];
        if let (true, Actor::Link(link)) = (self.lives(to), to.actor)
            && let Some(end) = self.processes[to.host].ends.get_mut(&link)
        {
            end.stopped = true;
        }
    }

    fn connect(&mut self, from: usize, life: u32, to: usize) {
        if !self.processes[from].up || self.processes[from].life != life {
            return;
        }
        if self.unreachable || !self.processes[to].up {
            let peer = name(HOSTS[to].0);
            return self.with(from, |_, cx| cx.post(Actor::Router, Message::DialFailed { peer }));
        }
        let slow = self.dice.u8(..) < 32;
        let latency = Duration::from_micros(self.dice.u64(50..if slow { 800_000 } else { 50_000 }));
        let pipe = Pipe {
            latency,
            per_byte: if slow { Duration::from_micros(100) } else { Duration::from_nanos(10) },
            window: [2 << 10, 16 << 10, 256 << 10][self.dice.usize(0..3)],
            under_way: 0,
            last: self.now,
        };
        let (wire, exporter) = (self.wires.len(), self.dice.u64(..));
        let (mut ends, mut born_at) = (Vec::new(), [self.now; 2]);
        for (side, (host, peer)) in [(from, to), (to, from)].into_iter().enumerate() {
            let role = if side == 0 { Role::Dialled { counts: true } } else { Role::Accepted };
            self.links += 1;
            let link = self.links;
            let mut own = Rng::with_seed(self.dice.u64(..));
            let random = Box::new(move |out: &mut [u8]| own.fill(out));
            let exporter: Vec<u8> = exporter.to_be_bytes().repeat(8);
            let exporter: [u8; 64] = exporter.try_into().expect("64 bytes");
            let actor = Actor::Link(link);
            ends.push(Address { host, life: self.processes[host].life, actor });
            self.with(host, |process, cx| {
                let config = process.shared.config.clone();
                let exporter = Exporter::new(&exporter);
                let peer = name(HOSTS[peer].0);
                let stream = HostStream::new(config, peer, exporter, None, role, random, cx.now);
                let end = End::new(link, stream, (wire, side), &process.shared);
                // One of them is ready earlier, and goes on meanwhile.
                born_at[side] = cx.now.instant + cx.within(latency);
                cx.agenda.add(born_at[side], Event::Born(Box::new(end)));
            });
        }
        let other = Pipe { latency: pipe.latency, last: self.now, ..pipe };
        let ends: [Address; 2] = [ends[0], ends[1]];
        let (stalled_until, breaks) = (None, None);
        let pipes = [pipe, other];
        self.wires.push(Wire { ends, pipes, born_at, stalled_until, swallows: false, breaks, broken: false });
    }

    /// One side has authenticated the other; where the wire has broken before, there is nothing.
    fn born(&mut self, end: End) {
        let (wire, side) = end.wire;
        let of = &self.wires[wire];
        let (to, ours, broken) = (of.ends[side], side == 0, of.broken);
        if !self.lives(to) {
            return;
        }
        let (link, peer) = (end.id, end.peer.clone());
        self.with(to.host, |process, cx| {
            if broken && ours {
                cx.post(Actor::Router, Message::DialFailed { peer });
            } else if !broken {
                process.ends.insert(link, end);
                cx.post(Actor::Router, Message::Ready { link, peer, ours });
            }
        });
    }

    /// Whatever has something to write writes it, as far as there is room; links that are over go.
    fn write(&mut self) {
        for host in 0..self.processes.len() {
            if !self.processes[host].up {
                continue;
            }
            let ends = self.processes[host].ends.values().filter(|end| !end.stopped && end.stream.has_work());
            let has_room = |pipe: &Pipe| pipe.under_way < pipe.window;
            let ready = ends.filter(|end| has_room(&self.wires[end.wire.0].pipes[end.wire.1]));
            let flights: Vec<_> = ready.map(|end| (end.id, end.wire.0, end.wire.1)).collect();
            for (link, wire, side) in flights {
                self.fly(host, link, wire, side);
            }
            self.expect_peace(host);
            let over = self.with(host, Process::reap);
            for (wire, side) in over {
                let pipe = &self.wires[wire].pipes[side];
                let at = pipe.last.max(self.now + pipe.latency);
                self.agenda.add(at, Event::Over { wire, side: 1 - side });
            }
            self.with(host, |process, cx| {
                for end in process.ends.values() {
                    end.expect_bounds(&process.shared, cx);
                }
            });
        }
    }

    /// No honest peer is told off, but by what it said on a link that it has given up since.
    fn expect_peace(&mut self, host: usize) {
        let ends = self.processes[host].ends.values_mut();
        let quarrels: Vec<_> = ends.filter_map(|end| Some((end.wire, end.quarrel.take()?))).collect();
        for ((wire, side), quarrel) in quarrels {
            let other = self.wires[wire].ends[1 - side];
            let there = &self.processes[other.host].ends;
            if self.lives(other) && there.values().any(|end| end.wire.0 == wire && !end.stopped) {
                self.ledger.fault(|| format!("peace: an honest peer gets {quarrel}"));
            }
        }
    }

    /// What one end has to say gets on its way, in pieces.
    fn fly(&mut self, host: usize, link: LinkId, wire: usize, side: usize) {
        let pipe = &self.wires[wire].pipes[side];
        let room = pipe.window.saturating_sub(pipe.under_way);
        let mut bytes = BytesMut::new();
        self.with(host, |process, cx| {
            if let Some(end) = process.ends.get_mut(&link) {
                end.fill(&mut bytes, room, cx);
            }
        });
        while !bytes.is_empty() {
            let piece = if self.dice.u8(..) < 64 { self.dice.usize(1..=bytes.len()) } else { bytes.len() };
            let bytes = bytes.split_to(piece);
            let pipe = &mut self.wires[wire].pipes[side];
            pipe.under_way += bytes.len();
            pipe.last =
                pipe.last.max(self.now + pipe.latency) + pipe.per_byte * u32::try_from(piece).unwrap_or(u32::MAX);
            self.agenda.add(pipe.last, Event::Bytes { wire, side: 1 - side, bytes });
        }
    }
}
