//! What becomes of stanzas at the end of their way.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::ledger::{Fault, Ledger};
use super::{Schedule, Take};
use crate::Failure;
use crate::stanzas::Stanzas;

/// Latencies are told to three digits; one of more than a minute counts as a minute.
const DIGITS: u8 = 3;
const LONGEST: u64 = 60_000_000_000;

/// An empty histogram of latencies in nanoseconds.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST, DIGITS).expect("bounds that a histogram takes")
}

/// Counts, and takes the time where there is a schedule.
pub(super) struct Count {
    pub(super) ledger: Ledger,
    pub(super) latency: Histogram<u64>,
    schedule: Option<Schedule>,
}

impl Count {
    pub(super) fn new(pairs: usize, first: u64, schedule: Option<Schedule>) -> Self {
        Self { ledger: Ledger::new(pairs, first), latency: latencies(), schedule }
    }

    /// Adds what another receiver has.
    pub(super) fn add(&mut self, other: &Self) -> Result<(), Fault> {
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
        self.ledger.add(&other.ledger)
    }
}

impl Take for Count {
    fn take(&mut self, n: u64, pair: usize, at: Instant) -> Result<(), Failure> {
        if let Some(schedule) = &self.schedule {
            let latency = at.saturating_duration_since(schedule.due(n)).as_nanos();
            self.latency.saturating_record(u64::try_from(latency).unwrap_or(LONGEST));
        }
        Ok(self.ledger.take(pair, n)?)
    }
}

/// Answers each stanza on the link that it came by.
pub(super) struct Echo<'a> {
    link: &'a TcpStream,
    back: &'a Stanzas,
    answers: Vec<u8>,
}

impl<'a> Echo<'a> {
    pub(super) fn new(link: &'a TcpStream, back: &'a Stanzas) -> Self {
        Self { link, back, answers: Vec::new() }
    }
}

impl Take for Echo<'_> {
    fn take(&mut self, n: u64, pair: usize, _: Instant) -> Result<(), Failure> {
        self.back.append(&mut self.answers, pair, n);
        Ok(())
    }

    fn taken(&mut self) -> Result<(), Failure> {
        self.link.write_all(&self.answers)?;
        self.answers.clear();
        Ok(())
    }
}

/// Nothing is to arrive here.
pub(super) struct Refuse;

impl Take for Refuse {
    fn take(&mut self, n: u64, _: usize, _: Instant) -> Result<(), Failure> {
        Err(format!("stanza {n} arrived on the wrong side").into())
    }
}
