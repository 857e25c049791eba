//! Sends: as fast as they arrive within a window, or at a rate.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use heteronym_net::clock::Now;

use super::State;
use super::draw::Draw;
use crate::Failure;
use crate::progress::Bar;
use crate::stanzas::Stanzas;

/// Bytes of one batch over all links.
const BATCH: usize = 128 << 10;

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After so many stanzas.
    Stanzas(u64),
    /// After so much time.
    Time(Duration),
}

/// When stanzas are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: so many under way at most.
    Window(u64),
    /// Open loop: so many a second, whatever arrives.
    Rate(f64),
}

/// When each number of an open loop is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When the first is.
    pub start: Instant,
    /// The first number.
    pub first: u64,
    /// Stanzas a second.
    pub rate: f64,
}

impl Schedule {
    /// When `n` is to be sent.
    #[must_use]
    pub fn due(&self, n: u64) -> Instant {
        self.start + Duration::from_secs_f64(n.saturating_sub(self.first) as f64 / self.rate)
    }

    /// How many are due at `now`, counted from the first.
    #[must_use]
    pub fn due_at(&self, now: Instant) -> u64 {
        let at_least = (now.saturating_duration_since(self.start).as_secs_f64() * self.rate) as u64;
        // Division and multiplication round: due() decides.
        (at_least.saturating_sub(1)..).find(|count| self.due(self.first + count) > now).unwrap_or(at_least)
    }
}

/// The sending ends of all links, with what is gathered for each.
pub(super) struct Sender<'a> {
    links: &'a [TcpStream],
    of_pair: &'a [u32],
    stanzas: &'a Stanzas,
    draw: &'a Draw,
    gathered: Vec<Vec<u8>>,
    /// The number behind the last that was gathered.
    pub(super) next: u64,
}

impl<'a> Sender<'a> {
    pub(super) fn new(links: &'a [TcpStream], of_pair: &'a [u32], stanzas: &'a Stanzas, draw: &'a Draw) -> Self {
        Self { links, of_pair, stanzas, draw, gathered: vec![Vec::new(); links.len()], next: 0 }
    }

    /// Gathers `n`.
    pub(super) fn add(&mut self, n: u64) {
        if let Some(pair) = self.draw.pair(n) {
            self.stanzas.append(&mut self.gathered[self.of_pair[pair] as usize], pair, n);
        }
    }

    /// Writes what was gathered.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        for (mut link, gathered) in self.links.iter().zip(&mut self.gathered) {
            if !gathered.is_empty() {
                link.write_all(gathered)?;
                gathered.clear();
            }
        }
        Ok(())
    }

    /// Sends from `first` on, within `window`: the number behind the last.
    pub(super) fn closed(
        &mut self,
        state: &State,
        first: u64,
        window: u64,
        until: Until,
        bar: &Bar,
    ) -> Result<u64, Failure> {
        let batch = (window / 8).clamp(1, (BATCH / self.stanzas.bytes()).max(1) as u64);
        let start = Now::read().instant;
        self.next = first;
        loop {
            let next = self.next;
            let end = match until {
                Until::Stanzas(count) => (first + count).min(next + batch),
                Until::Time(time) if Now::read().instant - start < time => next + batch,
                Until::Time(_) => next,
            };
            if end == next {
                return Ok(next);
            }
            state.wait_until(end.saturating_sub(window))?;
            (next..end).for_each(|n| self.add(n));
            self.next = end;
            self.flush()?;
            bar.reach(end - first);
        }
    }

    /// Sends by the schedule: the number behind the last. At low rates each goes alone.
    pub(super) fn open(&mut self, state: &State, schedule: &Schedule, until: Until, bar: &Bar) -> Result<u64, Failure> {
        wake_precisely();
        let most = (BATCH / self.stanzas.bytes()).max(1) as u64;
        let end = schedule.first
            + match until {
                Until::Stanzas(count) => count,
                Until::Time(time) => schedule.due_at(schedule.start + time),
            };
        self.next = schedule.first;
        while self.next < end {
            state.check()?;
            let next = self.next;
            let now = Now::read().instant;
            let due = (schedule.first + schedule.due_at(now)).min(end).min(next + most);
            if due <= next {
                std::thread::sleep(schedule.due(next) - now);
                continue;
            }
            (next..due).for_each(|n| self.add(n));
            self.next = due;
            self.flush()?;
            bar.reach(due - schedule.first);
        }
        Ok(end)
    }
}

/// Asks the system to end sleeps of this thread when they are over, and not 50 µs later. Where it does not, figures
/// are worse by that.
pub(crate) fn wake_precisely() {
    if let Ok(thread) = std::fs::read_link("/proc/thread-self")
        && let Some(id) = thread.file_name()
    {
        let _ = std::fs::write(std::path::Path::new("/proc").join(id).join("timerslack_ns"), "1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(rate: f64) -> Schedule {
        Schedule { start: Now::read().instant, first: 1000, rate }
    }

    #[test]
    fn each_number_has_its_time() {
        let at = schedule(100.0);
        assert_eq!(at.due(1000), at.start);
        assert_eq!(at.due(1100) - at.start, Duration::from_secs(1));
        assert_eq!(at.due(1001) - at.start, Duration::from_millis(10));
    }

    #[test]
    fn what_is_due_is_what_has_its_time() {
        for rate in [0.3, 3.0, 100.0, 3000.0, 1_000_000.0] {
            let at = schedule(rate);
            for n in [1000, 1001, 1002, 1017, 4000] {
                let due = at.due(n);
                assert_eq!(at.due_at(due), n - 1000 + 1, "{n} at {rate}/s");
                assert_eq!(at.due_at(due - Duration::from_nanos(2)), n - 1000, "{n} at {rate}/s, a moment before");
            }
        }
    }

    #[test]
    fn who_is_late_sends_all_that_was_due() {
        let at = schedule(1000.0);
        assert_eq!(at.due_at(at.start + Duration::from_secs(2)), 2001);
    }
}
