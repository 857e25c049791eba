//! Whatever happens in whatever order: every stanza arrives once and in order, or its sender is told.

use std::collections::HashMap;
use std::time::Duration;

use heteronym_proto::control::{Control, DeactivateReason};
use heteronym_proto::domain_pair::Delegation;
use sha2::{Digest, Sha256};

use crate::bench::{MINE, OTHER, Side, name, pair, xml};
use crate::wire::Link;

const OURS: [&str; 2] = ["saramago.lit", "camoes.lit"];
const THEIRS: [&str; 2] = ["pessoa.lit", "sophia.lit"];
const SEEDS: u64 = 40;
const STEPS: usize = 150;

/// Numbers that are the same for a seed in every run.
struct Dice {
    seed: u64,
    count: u64,
}

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.count += 1;
        let hash = Sha256::digest(format!("{} {}", self.seed, self.count));
        usize::from(u16::from_be_bytes([hash[0], hash[1]])) % below
    }
}

struct Chaos {
    link: Link,
    dice: Dice,
    sent: usize,
    /// Links break.
    cuts: bool,
}

impl Chaos {
    /// The link breaks, at any byte of what is under way; the next one may as well.
    fn cut(&mut self) {
        for from in [MINE, OTHER] {
            let lost = self.link.lose(from);
            let arrives = self.dice.roll(lost.len() + 1);
            let arrives = (arrives..=lost.len()).find(|at| lost.is_char_boundary(*at)).unwrap_or_default();
            let to = if from == MINE { &mut self.link.other } else { &mut self.link.mine };
            to.hear(self.link.now, &lost[..arrives]);
        }
        let dialler = [MINE, OTHER][self.dice.roll(2)];
        self.link.break_off(dialler);
        self.link.choose();
    }

    fn step(&mut self) {
        let (ours, theirs) = (OURS[self.dice.roll(2)], THEIRS[self.dice.roll(2)]);
        let now = self.link.now;
        if self.cuts && self.dice.roll(12) == 0 {
            return self.cut();
        }
        match self.dice.roll(24) {
            0..=6 => self.send(ours, theirs),
            7..=10 => drop(self.link.carry(MINE)),
            11..=14 => drop(self.link.carry(OTHER)),
            15 => self.side().frozen = true,
            16 | 17 => self.side().thaw(now),
            18 => self.advance(),
            19 => self.deactivate(ours, theirs),
            20 => self.break_down(ours, theirs),
            21 => self.hold_or_go(ours, theirs),
            22 => self.renew_certificate(ours, theirs),
            _ => self.look_up_differently(ours, theirs),
        }
    }

    /// Either side, with its domain first.
    fn side(&mut self) -> &mut Side {
        if self.dice.roll(2) == 0 { &mut self.link.mine } else { &mut self.link.other }
    }

    fn ends<'a>(&mut self, ours: &'a str, theirs: &'a str) -> (&mut Side, &'a str, &'a str) {
        if self.dice.roll(2) == 0 { (&mut self.link.mine, ours, theirs) } else { (&mut self.link.other, theirs, ours) }
    }

    fn send(&mut self, ours: &str, theirs: &str) {
        let (now, number) = (self.link.now, self.sent.to_string());
        self.sent += 1;
        let (side, local, remote) = self.ends(ours, theirs);
        side.send(now, local, remote, &number);
    }

    fn advance(&mut self) {
        // What is under way does not take as long.
        self.link.run();
        let seconds = [1, 3, 6, 31, 61, 9 * 3600, 12 * 3600][self.dice.roll(7)];
        self.link.advance(Duration::from_secs(seconds));
    }

    fn deactivate(&mut self, ours: &str, theirs: &str) {
        let (now, reasons) = (self.link.now, [DeactivateReason::Idle, DeactivateReason::KeyCompromise]);
        let reason = reasons[self.dice.roll(2)];
        let (side, local, remote) = self.ends(ours, theirs);
        if !side.stream.is_adopted() {
            return;
        }
        let slot = side.stream.slot(&pair(local, remote));
        side.act(now, |stream, out| stream.deactivate(slot, reason, out));
    }

    fn break_down(&mut self, ours: &str, theirs: &str) {
        let now = self.link.now;
        let (side, local, remote) = self.ends(ours, theirs);
        if !side.stream.is_adopted() {
            return;
        }
        let slot = side.stream.slot(&pair(local, remote));
        if side.has_actor(slot) {
            side.act(now, |stream, out| stream.pair_broke(now, slot, out));
        }
    }

    fn hold_or_go(&mut self, ours: &str, theirs: &str) {
        let (now, hold) = (self.link.now, self.dice.roll(3) == 0);
        let (side, local, _) = self.ends(ours, theirs);
        if side.stream.is_adopted() {
            let domain = name(local);
            side.act(
                now,
                |stream, out| {
                    if hold { stream.ask_to_hold(domain, out) } else { stream.ask_to_go(domain, out) }
                },
            );
        }
    }

    fn renew_certificate(&mut self, ours: &str, theirs: &str) {
        let (side, local, _) = self.ends(ours, theirs);
        let renewed = side.vault.certificate(local).renewed();
        side.vault.replace(renewed);
    }

    fn look_up_differently(&mut self, ours: &str, theirs: &str) {
        let answer = match self.dice.roll(3) {
            0 => Delegation::Elsewhere("elsewhere".to_owned()),
            1 => Delegation::Unknown("SERVFAIL".to_owned()),
            _ => Delegation::Delegated,
        };
        let (side, _, remote) = self.ends(ours, theirs);
        side.delegations.insert(name(remote), answer);
    }

    /// Lets everything come to an end.
    fn settle(&mut self) {
        let now = self.link.now;
        for side in [&mut self.link.mine, &mut self.link.other] {
            side.delegations.clear();
            side.thaw(now);
        }
        self.link.run();
        for (ours, theirs) in OURS.into_iter().zip(THEIRS) {
            self.link.mine.hear(now, &xml(&Control::Go(name(theirs))));
            self.link.other.hear(now, &xml(&Control::Go(name(ours))));
        }
        self.link.run();
        self.link.advance(Duration::from_secs(180));
    }

    fn expect_all_is_well(&mut self) {
        let Link { mine, other, .. } = &mut self.link;
        assert_eq!((&mine.closed, &other.closed), (&None, &None));
        assert_eq!((mine.stream.sent(), other.stream.sent()), (other.stream.received(), mine.stream.received()));
        assert_eq!((mine.actors(), other.actors()), (0, 0));
        assert!(mine.stream.records().chain(other.stream.records()).all(|record| record.run().is_none()));
        assert_eq!((mine.stream.queued_bytes(), other.stream.queued_bytes()), (0, 0));
        let mut fates: HashMap<&str, usize> = HashMap::new();
        for side in [&*mine, &*other] {
            for body in side.bodies().into_iter().chain(side.bounced_bodies()) {
                *fates.entry(body).or_default() += 1;
            }
        }
        assert_eq!((mine.in_doubt, other.in_doubt), (0, 0));
        assert_eq!((mine.stream.unacknowledged(), other.stream.unacknowledged()), (0, 0));
        for number in 0..self.sent {
            assert_eq!(fates.get(number.to_string().as_str()), Some(&1), "stanza {number}");
        }
        for side in [&*mine, &*other] {
            assert_in_order(side);
        }
        for (ours, theirs) in OURS.into_iter().flat_map(|ours| THEIRS.map(|theirs| (ours, theirs))) {
            self.link.expect_usable(ours, theirs);
        }
    }
}

fn assert_in_order(side: &Side) {
    let mut last: HashMap<String, usize> = HashMap::new();
    for ((_, stanza), body) in side.delivered.iter().zip(side.bodies()) {
        let addresses = stanza.split("<body>").next().unwrap_or_default().to_owned();
        let number: usize = body.parse().expect("a number");
        let before = last.insert(addresses, number);
        assert!(before.is_none_or(|before| before < number), "{before:?} before {number}");
    }
}

fn expect_order(link: fn() -> Link, cuts: bool, seeds: u64) {
    for seed in 0..seeds {
        let mut chaos = Chaos { link: link(), dice: Dice { seed, count: 0 }, sent: 0, cuts };
        // Whatever comes between two operations makes no difference.
        (chaos.link.mine.one_by_one, chaos.link.other.one_by_one) = (seed % 2 == 0, seed % 3 == 0);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                chaos.step();
            }
            chaos.settle();
            chaos.expect_all_is_well();
        }));
        assert!(run.is_ok(), "seed {seed}");
    }
}

#[test]
fn no_stanza_is_lost_or_doubled_whatever_happens() {
    expect_order(Link::new, false, SEEDS);
}

#[test]
fn no_stanza_is_lost_or_doubled_although_links_break() {
    let link = || {
        let mut link = Link::counted();
        link.mine.delivered.clear();
        link.other.delivered.clear();
        link
    };
    expect_order(link, true, SEEDS);
}
