//! Pins: remote domains that were activated lately do not fall back to classic S2S (protocol §2).
//!
//! Who can suppress a record could otherwise choose the weaker protocol. Clean answers without the
//! record for a day release the pin, so that a provider can go back.

use std::collections::HashMap;

use crate::name::Name;

/// Clean answers without the record for so long release a pin, in seconds.
const RELEASED_AFTER: u64 = 24 * 3600;
/// Domains remembered at once; of more, the oldest activation is forgotten. A pin is about 100 bytes.
const PINS: usize = 1 << 20;

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

    /// A domain was activated.
    pub fn activated(&mut self, domain: &Name, now: u64) {
        if self.pins.len() >= PINS && !self.pins.contains_key(domain) {
            self.forget_oldest();
        }
        self.pins.insert(domain.clone(), Pin { activated: now, absent_since: None });
    }

    /// A clean answer: whether the domain has the record. A look-up that failed says nothing.
    pub fn looked_up(&mut self, domain: &Name, offered: bool, now: u64) {
        let Some(pin) = self.pins.get_mut(domain) else { return };
        pin.absent_since = if offered { None } else { Some(pin.absent_since.unwrap_or(now)) };
        if pin.absent_since.is_some_and(|since| now >= since + RELEASED_AFTER) {
            self.pins.remove(domain);
        }
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
        let oldest = self.pins.iter().min_by_key(|(_, pin)| pin.activated).map(|(domain, _)| domain.clone());
        oldest.map(|domain| self.pins.remove(&domain));
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
