//! What users do, and what goes wrong.

use std::time::{Duration, Instant};

use heteronym_proto::control::DeactivateReason;
use heteronym_proto::domain_pair::Delegation;
use heteronym_proto::limits::SESSION_LIFE;
use heteronym_proto::pair::Pair;

use crate::agenda::{Actor, Event, Healed, Message};
use crate::process::HOSTS;
use crate::vault::name;
use crate::world::World;

/// Everything has an outcome after this: nothing waits longer, for a stanza, a session, or a refusal.
const PATIENCE: Duration = Duration::from_secs(2 * SESSION_LIFE.as_secs());

/// How often, a second apart, it is looked whether everything rests.
const LOOKS: usize = 100;

impl World {
    /// Runs until the turns are over and everything has come to an end, and judges.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let far = self.now + Duration::from_secs(1 << 32);
        while self.turns > 0 && self.step(far) {}
        self.make_good();
        let end = self.now + PATIENCE;
        while self.step(end) {}
        self.ledger.close();
        self.expect_rest();
        self.expect_nothing_left();
        self.ledger.broken.take().map_or(Ok(()), Err)
    }

    /// Users send, most of the time; something goes wrong, some of the time.
    pub(crate) fn turn(&mut self) {
        let Some(left) = self.turns.checked_sub(1) else { return };
        self.turns = left;
        if self.dice.u8(..) < 100 {
            self.something_goes_wrong();
        } else if self.dice.u8(..) < 8 {
            let pair = self.any_pair();
            self.send(pair, 60, 1000);
        } else {
            (0..self.dice.usize(1..8)).for_each(|_| self.somebody_sends());
        }
        let pause = match self.dice.u8(..) {
            0..4 => self.dice.u64(60_000..400_000),
            4..30 => self.dice.u64(2_000..60_000),
            30.. => self.dice.u64(0..800),
        };
        self.agenda.add(self.now + Duration::from_millis(pause), Event::Turn);
    }

    fn any_host(&mut self) -> usize {
        self.dice.usize(0..self.processes.len())
    }

    /// A host, one of its domains, another host, and one of its.
    fn any_pair(&mut self) -> (usize, usize, usize, usize) {
        let from = self.any_host();
        let to = (from + self.dice.usize(1..self.processes.len())) % self.processes.len();
        (from, self.dice.usize(0..2), to, self.dice.usize(0..2))
    }

    fn somebody_sends(&mut self) {
        let pair = self.any_pair();
        let size = if self.dice.u8(..) < 20 { self.dice.usize(0..3000) } else { 10 };
        let count = if self.dice.u8(..) < 100 { self.dice.usize(2..6) } else { 1 };
        self.send(pair, count, size);
    }

    /// Users of one domain send so many stanzas to another, which come in one message.
    fn send(&mut self, (from, entry, to, other): (usize, usize, usize, usize), count: usize, size: usize) {
        if !self.processes[from].up || !self.processes[from].locals[entry].up {
            return;
        }
        let (local, remote) = (HOSTS[from].1[entry], HOSTS[to].1[other]);
        let body = "x".repeat(size);
        let stanzas = (0..count).map(|_| {
            let number = self.ledger.accept(from, to, (local, remote));
            format!("<message from='u@{local}/r' to='v@{remote}' id='{number}'><body>{body}</body></message>").into()
        });
        let message = Message::FromUser { to: name(remote), stanzas: stanzas.collect() };
        self.with(from, |_, cx| cx.post(Actor::Local(entry), message));
    }

    fn something_goes_wrong(&mut self) {
        match self.dice.u8(0..40) {
            0..10 => self.break_any_wire(),
            10..13 => self.stall_any_wire(),
            13 => self.swallow_any_wire(),
            14 | 15 => self.kill_any_process(),
            16 | 17 => self.close_any_link(),
            18..21 => self.server_goes(),
            21..24 => self.server_sticks(),
            24..28 => self.pair_ends(),
            28 => self.pair_breaks(),
            29 | 30 => self.certificate_is_renewed(),
            31 => self.kem_keys_are_renewed(),
            32 => self.trust_ends(),
            33 => self.look_ups_fail(),
            34 => self.nobody_is_reached(),
            35 | 36 => self.crypto_takes_its_time(),
            37 => self.somebody_asks(),
            38 => self.clock_jumps(),
            _ => self.link_is_idle(),
        }
    }

    fn live_wires(&self) -> Vec<usize> {
        (0..self.wires.len()).filter(|wire| !self.wires[*wire].broken).collect()
    }

    fn any_wire(&mut self) -> Option<usize> {
        let wires = self.live_wires();
        let last = wires.len().checked_sub(1)?;
        Some(wires[self.dice.usize(last.saturating_sub(2)..=last)])
    }

    /// At any byte of what is under way, or will be.
    fn break_any_wire(&mut self) {
        let Some(wire) = self.any_wire() else { return };
        let most = [1, 100, 3000][self.dice.usize(0..3)];
        let (side, after) = (self.dice.usize(0..2), self.dice.usize(0..most));
        if after == 0 {
            return self.break_wire(wire);
        }
        self.wires[wire].breaks = Some((side, after));
    }

    fn stall_any_wire(&mut self) {
        let Some(wire) = self.any_wire() else { return };
        let stall = Duration::from_millis(self.dice.u64(100..20_000));
        let until = self.now + stall;
        let stalled = &mut self.wires[wire].stalled_until;
        *stalled = (*stalled).max(Some(until));
    }

    fn swallow_any_wire(&mut self) {
        if let Some(wire) = self.any_wire() {
            self.wires[wire].swallows = true;
        }
    }

    fn kill_any_process(&mut self) {
        let host = self.any_host();
        if !self.processes[host].up {
            return;
        }
        self.ledger.kill(host);
        self.processes[host].restart();
        self.processes[host].up = false;
        for wire in self.live_wires() {
            if self.wires[wire].ends.iter().any(|end| end.host == host) {
                self.break_wire(wire);
            }
        }
        let down = Duration::from_millis(self.dice.u64(10..20_000));
        self.agenda.add(self.now + down, Event::Start(host));
    }

    fn close_any_link(&mut self) {
        self.tell_any_link(|_| Message::Close);
    }

    fn tell_any_link(&mut self, message: impl FnOnce(Pair) -> Message) {
        let (host, entry, to, other) = self.any_pair();
        let pair = Pair { local: name(HOSTS[host].1[entry]), remote: name(HOSTS[to].1[other]) };
        let links: Vec<_> = self.processes[host].ends.values().filter(|end| end.peer.as_str() == HOSTS[to].0).collect();
        // Only of the one that is in use.
        let Some(end) = links.into_iter().find(|end| end.stream.is_adopted()) else { return };
        let link = end.id;
        self.with(host, |_, cx| cx.post(Actor::Link(link), message(pair)));
    }

    fn link_is_idle(&mut self) {
        let host = self.any_host();
        self.with(host, |process, cx| {
            if let Some(end) = process.ends.values_mut().next() {
                end.close_idle(cx);
            }
        });
    }

    fn server_goes(&mut self) {
        let (host, entry, ..) = self.any_pair();
        self.processes[host].locals[entry].up = false;
        self.heals(Healed::Server { host, entry }, 30_000);
    }

    fn server_sticks(&mut self) {
        let (host, entry, ..) = self.any_pair();
        self.processes[host].locals[entry].stuck = true;
        self.heals(Healed::Server { host, entry }, 30_000);
    }

    fn heals(&mut self, healed: Healed, longest: u64) {
        let after = Duration::from_millis(self.dice.u64(100..longest));
        self.agenda.add(self.now + after, Event::Heal(healed));
    }

    fn pair_ends(&mut self) {
        let reasons = [DeactivateReason::Idle, DeactivateReason::KeyCompromise, DeactivateReason::Idle];
        let reason = reasons[self.dice.usize(0..3)];
        self.tell_any_link(|pair| Message::Deactivate(pair, reason));
    }

    fn pair_breaks(&mut self) {
        self.tell_any_link(Message::Break);
    }

    fn somebody_asks(&mut self) {
        self.tell_any_link(Message::WantNow);
    }

    fn certificate_is_renewed(&mut self) {
        let (host, entry, ..) = self.any_pair();
        let vault = &mut self.processes[host].shared.vault;
        let renewed = vault.certificate(HOSTS[host].1[entry]).renewed();
        vault.replace(renewed);
    }

    fn kem_keys_are_renewed(&mut self) {
        let (host, keeps) = (self.any_host(), self.dice.bool());
        let vault = &mut self.processes[host].shared.vault;
        if keeps { vault.rotate_kems() } else { vault.renew_kems() }
    }

    fn trust_ends(&mut self) {
        let (host, _, to, other) = self.any_pair();
        self.processes[host].shared.vault.untrusted.insert(name(HOSTS[to].1[other]));
        self.heals(Healed::Trust(host), 100_000);
    }

    fn look_ups_fail(&mut self) {
        let host = self.any_host();
        let elsewhere = Delegation::Elsewhere("elsewhere".to_owned());
        let unknown = Delegation::Unknown("SERVFAIL".to_owned());
        self.processes[host].shared.delegation = if self.dice.bool() { elsewhere } else { unknown };
        self.heals(Healed::Delegation(host), 60_000);
    }

    /// No dial succeeds, for longer than a session lives at times.
    fn nobody_is_reached(&mut self) {
        self.unreachable = true;
        let longest = if self.dice.u8(..) < 40 { 700_000 } else { 40_000 };
        self.heals(Healed::Reach, longest);
    }

    fn crypto_takes_its_time(&mut self) {
        let host = self.any_host();
        self.processes[host].shared.slow_crypto = true;
        self.heals(Healed::Crypto(host), 60_000);
    }

    /// By up to two hours, forth or back.
    fn clock_jumps(&mut self) {
        let (host, by) = (self.any_host(), self.dice.i64(-7200..=7200));
        self.processes[host].skew += by;
    }

    pub(crate) fn heal(&mut self, healed: Healed) {
        match healed {
            Healed::Server { host, entry } => self.with(host, |process, cx| {
                let local = &mut process.locals[entry];
                (local.up, local.stuck) = (true, false);
                local.flow(&mut process.shared, cx);
            }),
            Healed::Trust(host) => self.processes[host].shared.vault.untrusted.clear(),
            Healed::Delegation(host) => self.processes[host].shared.delegation = Delegation::Delegated,
            Healed::Reach => self.unreachable = false,
            Healed::Crypto(host) => self.processes[host].shared.slow_crypto = false,
        }
    }

    /// Nothing is wrong any more.
    fn make_good(&mut self) {
        self.turns = 0;
        self.heal(Healed::Reach);
        for host in 0..self.processes.len() {
            self.processes[host].skew = 0;
            self.heal(Healed::Trust(host));
            self.heal(Healed::Delegation(host));
            self.heal(Healed::Crypto(host));
            if self.processes[host].up {
                (0..2).for_each(|entry| self.heal(Healed::Server { host, entry }));
            }
        }
    }

    fn unrest(&self) -> Vec<String> {
        self.processes.iter().flat_map(|process| process.unrest()).collect()
    }

    /// Between living routers nothing is under way any more, but for a renewal now and then.
    fn expect_rest(&mut self) {
        for _ in 0..LOOKS {
            if self.unrest().is_empty() {
                return;
            }
            let end = self.now + Duration::from_secs(1);
            while self.step(end) {}
        }
        let unrest = self.unrest();
        self.ledger.fault(|| unrest.join("; "));
    }

    /// Links end when they are idle, sessions when nobody comes for them: then nothing is left.
    fn expect_nothing_left(&mut self) {
        for host in 0..self.processes.len() {
            self.with(host, |process, cx| process.ends.values_mut().for_each(|end| end.close_idle(cx)));
        }
        let end: Instant = self.now + PATIENCE;
        while self.step(end) {}
        for (host, (name, _)) in HOSTS.iter().enumerate().take(self.processes.len()) {
            let left = self.with(host, |process, cx| {
                process.router.tick(&process.shared, cx);
                process.router.leftovers()
            });
            if !left.is_empty() {
                self.ledger.fault(|| format!("rest: {name} keeps {}", left.join(", ")));
            }
        }
    }
}
