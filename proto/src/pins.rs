//! Pins: remote domains that were activated lately do not fall back to classic S2S (protocol §2).
//!
//! Who can suppress a record could otherwise choose the weaker protocol. Clean answers without the
//! record for a day release the pin, so that a provider can go back.

use std::collections::HashMap;

use crate::name::Name;

/// Clean answers without the record for so long release a pin, in seconds.
const RELEASED_AFTER: u64 = 24 * 3600;
/// Domains remembered at once; of more, the oldest activations are forgotten. A pin is about 100 bytes.
const PINS: usize = 1 << 20;
/// Of so many, one is forgotten where there is no room: not one by one, since the oldest have to be found.
const FORGOTTEN: usize = 64;
/// A pin is as exact as this part of its life: it need not be written anew for every renewal.
const EXACT: u64 = 32;

/// When a domain was activated, and since when its record has been absent; seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The newest activation.
    pub activated: u64,
    /// The first of an unbroken row of clean answers without the record.
    pub absent_since: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub struct Pins {
    life: u64,
    pins: HashMap<Name, Pin>,
}

impl Pins {
    /// Pins that hold for `life` seconds after an activation.
    #[must_use]
    pub fn new(life: u64) -> Self {
        Self { life, pins: HashMap::new() }
    }

    /// Another life from now on, of all pins.
    pub fn set_life(&mut self, life: u64) {
        self.life = life;
    }

    /// A domain was activated; whether there is something new to be written.
    pub fn activated(&mut self, domain: &Name, now: u64) -> bool {
        if self.life == 0 {
            return false;
        }
        let known = self.pins.get(domain);
        if known.is_some_and(|pin| pin.absent_since.is_none() && now < pin.activated + self.life / EXACT) {
            return false;
        }
        if known.is_none() && self.pins.len() >= PINS {
            self.forget_oldest();
        }
        self.pins.insert(domain.clone(), Pin { activated: now, absent_since: None });
        true
    }

    /// A clean answer: whether the domain has the record. A look-up that failed says nothing. Whether there
    /// is something new to be written.
    pub fn looked_up(&mut self, domain: &Name, offered: bool, now: u64) -> bool {
        let Some(pin) = self.pins.get_mut(domain) else { return false };
        let before = *pin;
        pin.absent_since = if offered { None } else { Some(pin.absent_since.unwrap_or(now)) };
        let changed = *pin != before;
        if pin.absent_since.is_some_and(|since| now >= since + RELEASED_AFTER) {
            self.pins.remove(domain);
            return true;
        }
        changed
    }

    /// Whether the domain must not fall back.
    #[must_use]
    pub fn holds(&self, domain: &Name, now: u64) -> bool {
        self.pins.get(domain).is_some_and(|pin| now < pin.activated.saturating_add(self.life))
    }

    /// A line for each pin, for a file: the domain, when it was activated, and since when its record has
    /// been absent, where it has.
    #[must_use]
    pub fn to_text(&self, now: u64) -> String {
        let kept = self.pins.iter().filter(|(domain, _)| self.holds(domain, now));
        let line = |(domain, pin): (&Name, &Pin)| match pin.absent_since {
            Some(since) => format!("{domain} {} {since}\n", pin.activated),
            None => format!("{domain} {}\n", pin.activated),
        };
        let mut lines: Vec<_> = kept.map(line).collect();
        lines.sort_unstable();
        lines.concat()
    }

    /// Takes what [`Self::to_text`] wrote. A line that is none is left out; the result says how many were.
    pub fn read(&mut self, text: &str) -> usize {
        let mut unread = 0;
        for line in text.lines().take(PINS) {
            match parse(line) {
                Some((domain, pin)) => drop(self.pins.insert(domain, pin)),
                None => unread += 1,
            }
        }
        unread
    }

    fn forget_oldest(&mut self) {
        let mut activated: Vec<u64> = self.pins.values().map(|pin| pin.activated).collect();
        let (_, last, _) = activated.select_nth_unstable(PINS / FORGOTTEN);
        self.pins.retain(|_, pin| pin.activated > *last);
    }
}

fn parse(line: &str) -> Option<(Name, Pin)> {
    let mut words = line.split(' ');
    let domain = Name::parse(words.next()?).ok()?;
    let activated = words.next()?.parse().ok()?;
    let absent_since = words.next().map(str::parse).transpose().ok()?;
    words.next().is_none().then_some((domain, Pin { activated, absent_since }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn pinned() -> (Pins, Name) {
        let (mut pins, domain) = (Pins::new(30 * DAY), name("pessoa.lit"));
        pins.activated(&domain, 1000);
        (pins, domain)
    }

    #[test]
    fn a_pin_holds_for_its_life() {
        let (pins, domain) = pinned();
        assert!(pins.holds(&domain, 1000 + 30 * DAY - 1));
        assert!(!pins.holds(&domain, 1000 + 30 * DAY));
        assert!(!pins.holds(&name("campos.lit"), 1000));
    }

    #[test]
    fn a_day_of_clean_absence_releases() {
        let (mut pins, domain) = pinned();
        pins.looked_up(&domain, false, 2000);
        pins.looked_up(&domain, false, 2000 + DAY - 1);
        assert!(pins.holds(&domain, 2000 + DAY));
        pins.looked_up(&domain, false, 2000 + DAY);
        assert!(!pins.holds(&domain, 2000 + DAY));
    }

    #[test]
    fn the_record_coming_back_begins_the_day_anew() {
        let (mut pins, domain) = pinned();
        pins.looked_up(&domain, false, 2000);
        pins.looked_up(&domain, true, 3000);
        pins.looked_up(&domain, false, 2000 + DAY);
        assert!(pins.holds(&domain, 2000 + DAY));
        pins.activated(&domain, 2000 + DAY);
        pins.looked_up(&domain, false, 2000 + 2 * DAY);
        assert!(pins.holds(&domain, 2000 + 2 * DAY), "an activation begins it anew as well");
    }

    #[test]
    fn only_what_is_new_is_written() {
        let (mut pins, domain) = pinned();
        assert!(!pins.activated(&domain, 1000 + DAY / 2), "a renewal");
        assert!(pins.activated(&domain, 1000 + DAY));
        assert!(!pins.looked_up(&domain, true, 2000) && pins.looked_up(&domain, false, 2000));
        assert!(!pins.looked_up(&domain, false, 3000) && pins.looked_up(&domain, false, 2000 + DAY));
        assert!(!pins.looked_up(&domain, false, 2000 + DAY), "released already");
        let mut none = Pins::new(0);
        assert!(!none.activated(&domain, 1000) && !none.holds(&domain, 1000));
    }

    #[test]
    fn where_there_is_no_room_the_oldest_are_forgotten() {
        let mut pins = Pins::new(30 * DAY);
        let of = |n: usize| name(&format!("d{n}.lit"));
        for n in 0..PINS {
            pins.activated(&of(n), n as u64);
        }
        pins.activated(&of(PINS), PINS as u64);
        assert!(!pins.holds(&of(0), 0) && pins.holds(&of(PINS), 0) && pins.holds(&of(PINS / 2), 0));
        assert!(pins.pins.len() > PINS / 2);
    }

    #[test]
    fn pins_outlast_a_restart() {
        let (mut pins, domain) = pinned();
        pins.activated(&name("campos.lit"), 5);
        pins.looked_up(&domain, false, 2000);
        let text = pins.to_text(3000);
        assert_eq!(text, "campos.lit 5\npessoa.lit 1000 2000\n");
        let mut again = Pins::new(30 * DAY);
        assert_eq!(again.read(&format!("{text}nonsense\n::1 4\na.lit x\nb.lit 1 2 3\n")), 4);
        assert_eq!(again.to_text(3000), text);
        assert_eq!(again.to_text(40 * DAY), "", "what has ended is not kept");
    }
}
