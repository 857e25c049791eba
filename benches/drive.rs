//! The load: pre-built stanzas through a subject, counted and checked at the other end.

pub mod draw;
pub mod ledger;
mod receiver;
mod sender;
mod takers;
mod wires;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use heteronym_net::clock::Now;

use crate::Failure;
use crate::ground::Ground;
use crate::progress::Bar;
use crate::stanzas::Stanzas;
use crate::subject::Running;
use draw::Draw;
pub use receiver::Take;
use receiver::receive;
use sender::Sender;
pub(crate) use sender::wake_precisely;
pub use sender::{Pace, Schedule, Until};
use takers::{Count, Echo, Refuse};
use wires::Wires;

/// A subject that hands on nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(30);
/// How often who waits looks around.
const LOOK: Duration = Duration::from_millis(50);

/// Which way stanzas take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the first side to the second.
    There,
    /// There, where each is answered, and back.
    AndBack,
}

/// What came of one run.
pub struct Sent {
    /// How many arrived: all.
    pub stanzas: u64,
    /// From the first sent to the last arrived.
    pub time: Duration,
    /// In nanoseconds, from the moment at which each was to be sent; of an open loop, and of one whose window is 1.
    pub latency: Histogram<u64>,
}

/// Everything that is needed to send through a subject.
pub struct Load {
    wires: Wires,
    there: Stanzas,
    back: Stanzas,
    pairs: usize,
    next: u64,
    patience: Duration,
}

impl Load {
    /// Attaches to both sides, for `pairs` pairs and stanzas of `bytes` bytes.
    ///
    /// # Errors
    /// If a component is not let in, or the bytes are too few.
    pub fn attach(running: &Running, ground: &Ground, pairs: usize, bytes: usize) -> Result<Self, Failure> {
        let places = places(ground, pairs)?;
        let name = |side: usize, place: usize| ground.domains[side][place].as_str();
        let there = places.iter().map(|(near, far)| (name(0, *near), name(1, *far)));
        let back = places.iter().map(|(near, far)| (name(1, *far), name(0, *near)));
        let (there, back) = (Stanzas::new(there, bytes)?, Stanzas::new(back, bytes)?);
        Ok(Self { wires: Wires::attach(running, ground, &places)?, there, back, pairs, next: 0, patience: SILENCE })
    }

    /// How many pairs it has.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// One stanza over each pair, `window` at once: they are active then.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn activate(&mut self, window: u64, bar: &Bar) -> Result<Sent, Failure> {
        let (all, pairs) = (Draw::even(self.pairs), self.pairs as u64);
        // Numbers go on where they were, which is no multiple of the pairs; each has its turn all the same.
        self.send(&all, Way::There, Pace::Window(window), Until::Stanzas(pairs), bar)
    }

    /// One stanza over each of these pairs, in this order.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_over(&mut self, pairs: &[u32], window: u64, bar: &Bar) -> Result<Sent, Failure> {
        let draw = Draw::listed(self.next, pairs.iter().copied());
        self.send(&draw, Way::There, Pace::Window(window), Until::Stanzas(pairs.len() as u64), bar)
    }

    /// Sends, and waits until the last has arrived: all, once, in the order of their pair.
    ///
    /// # Errors
    /// If one is lost, doubled, altered, returned or out of order, or nothing arrives for 30 seconds.
    pub fn send(&mut self, draw: &Draw, way: Way, pace: Pace, until: Until, bar: &Bar) -> Result<Sent, Failure> {
        let first = self.next;
        let start = Now::read().instant;
        // The window of one has no rate: each is due when it is sent, which the receiver cannot know.
        let rate = if let Pace::Rate(rate) = pace { rate } else { f64::INFINITY };
        let schedule = Schedule { start, first, rate };
        let state = State::new(self.wires.links[usize::from(way == Way::There)].len(), first, self.patience);
        let (sent, ledgers) = std::thread::scope(|scope| {
            let mut counting = Vec::new();
            for side in [0, 1] {
                for link in &self.wires.links[side] {
                    let (here, state) = (&*self, &state);
                    counting.push(scope.spawn(move || here.listen(link, side, draw, way, state, schedule, pace)));
                }
            }
            let sent = self.push(&state, draw, pace, &schedule, until, bar);
            state.over.store(true, Ordering::Release);
            let ledgers = counting.into_iter().filter_map(|thread| thread.join().ok().flatten());
            (sent, ledgers.collect::<Vec<_>>())
        });
        let failed = state.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut all = Count::new(self.pairs, first, None);
        let added = ledgers.iter().try_for_each(|count| all.add(count));
        let (end, time) = match (failed, sent) {
            (Some(failed), _) => return Err(failed.into()),
            (None, Ok(sent)) => sent,
            // Which are missing says more than that nothing comes.
            (None, Err(Stopped { end, error })) => {
                all.ledger.close(end)?;
                return Err(error);
            }
        };
        added?;
        all.ledger.close(end)?;
        self.next = end;
        Ok(Sent { stanzas: end - first, time, latency: all.latency })
    }

    /// What the thread of one link does, until the run is over.
    #[expect(clippy::too_many_arguments, reason = "a thread's whole world")]
    fn listen(
        &self,
        link: &std::net::TcpStream,
        side: usize,
        draw: &Draw,
        way: Way,
        state: &State,
        schedule: Schedule,
        pace: Pace,
    ) -> Option<Count> {
        let timed = matches!(pace, Pace::Rate(_)).then_some(schedule);
        let mut count = Count::new(self.pairs, schedule.first, timed);
        match (side, way) {
            (1, Way::There) => receive(link, (&self.there, draw), state, true, &mut count),
            (0, Way::AndBack) => receive(link, (&self.back, draw), state, true, &mut count),
            (1, Way::AndBack) => {
                receive(link, (&self.there, draw), state, false, &mut Echo::new(link, &self.back));
                return None;
            }
            _ => {
                receive(link, (&self.back, draw), state, false, &mut Refuse);
                return None;
            }
        }
        Some(count)
    }

    fn push(
        &self,
        state: &State,
        draw: &Draw,
        pace: Pace,
        schedule: &Schedule,
        until: Until,
        bar: &Bar,
    ) -> Result<(u64, Duration), Stopped> {
        let first = schedule.first;
        let mut sender = Sender::new(&self.wires.links[0], &self.wires.of_pair[0], &self.there, draw);
        let sent = match pace {
            Pace::Window(window) => sender.closed(state, first, window, until, bar),
            Pace::Rate(_) => sender.open(state, schedule, until, bar),
        };
        let end = sent.map_err(|error| Stopped { end: sender.next.max(first), error })?;
        state.wait_until(end).map_err(|error| Stopped { end, error })?;
        Ok((end, Now::read().instant - schedule.start))
    }
}

/// A run that did not come to its end.
struct Stopped {
    /// The number behind the last that was sent.
    end: u64,
    error: Failure,
}

/// The places of the domains of the first `pairs` pairs in the lists of either side.
fn places(ground: &Ground, pairs: usize) -> Result<Vec<(usize, usize)>, Failure> {
    let [near, far] = [&ground.domains[0], &ground.domains[1]].map(|domains| domains.len());
    if pairs > near * far {
        return Err(format!("{near} and {far} domains make {} pairs, not {pairs}", near * far).into());
    }
    Ok((0..pairs).map(|pair| (pair / far, pair % far)).collect())
}

/// What the threads of one run share.
struct State {
    /// Links on which what counts arrives.
    links: usize,
    first: u64,
    received: AtomicU64,
    over: AtomicBool,
    failure: Mutex<Option<String>>,
    sender: Thread,
    patience: Duration,
}

impl State {
    fn new(links: usize, first: u64, patience: Duration) -> Self {
        Self {
            links,
            first,
            received: AtomicU64::new(0),
            over: AtomicBool::new(false),
            failure: Mutex::new(None),
            sender: std::thread::current(),
            patience,
        }
    }

    fn add(&self, count: u64) {
        self.received.fetch_add(count, Ordering::AcqRel);
        self.sender.unpark();
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The first failure is kept; the sender hears of it.
    fn fail(&self, error: &Failure) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| error.to_string());
        self.over.store(true, Ordering::Release);
        self.sender.unpark();
    }

    fn check(&self) -> Result<(), Failure> {
        if self.is_over() { Err("a receiver stopped".into()) } else { Ok(()) }
    }

    /// Waits until as many stanzas as there are numbers before `n` have arrived.
    fn wait_until(&self, n: u64) -> Result<(), Failure> {
        let wanted = n.saturating_sub(self.first);
        let mut heard = (self.received(), Now::read().instant);
        while heard.0 < wanted {
            self.check()?;
            std::thread::park_timeout(LOOK);
            let received = self.received();
            let now: Instant = Now::read().instant;
            if received > heard.0 {
                heard = (received, now);
            } else if now - heard.1 > self.patience {
                return Err(format!("nothing arrived for {} s", self.patience.as_secs()).into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
