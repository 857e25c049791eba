//! What the two components do: they ask for every pair, send, and time echoes.
//!
//! Nothing here takes for ever: without any news for [`QUIET`] a phase ends with what is missing,
//! and so it does when its time is over.

mod arrivals;

use std::collections::HashMap;
use std::future::pending;
use std::rc::Rc;
use std::time::{Duration, Instant};

use heteronym_net::clock::Now;

use super::DemoError;
use super::cast::{Cast, Pair, Side};
use super::component::Component;
use super::ledger::Ledger;
use super::show::Phase;
use super::stanza::{self, Arrival};

use arrivals::{Arrivals, Link};

/// Pairs that are asked for at once: enough to keep every core at work, and so few that what is
/// measured is an activation and not a queue.
const AT_ONCE: usize = 16;
/// Bytes that a component writes at once.
const CHUNK: usize = 16 << 10;
/// Echoes that are timed, one after the other.
pub(super) const ECHOES: u32 = 1000;
/// Without any news for so long, nothing will come: longer than stanzas wait in these routers
/// before they are sent back.
const QUIET: Duration = Duration::from_secs(15);
/// The time that every phase has, and what it has besides for each pair or stanza.
const BASE: Duration = Duration::from_secs(60);
const FOR_PAIR: Duration = Duration::from_millis(50);
const FOR_STANZA: Duration = Duration::from_micros(500);

/// Both components, and the account of what they sent.
pub(super) struct Traffic {
    cast: Rc<Cast>,
    links: [Link; 2],
    arrivals: Arrivals,
    ledger: Ledger,
    stanzas: u32,
}

/// How the activations went.
#[derive(Debug, Default)]
pub(super) struct Activations {
    /// From the first stanza of a pair, handed to the router, to its arrival on the other side.
    pub(super) times: Vec<Duration>,
    /// Pairs whose first stanza did not arrive, with the reason if it came back.
    pub(super) missing: Vec<(Pair, Option<String>)>,
}

impl Traffic {
    /// Both components of `cast` are to send `stanzas` along each flow.
    pub(super) fn new(cast: Rc<Cast>, components: [Component; 2], stanzas: u32) -> Self {
        let ledger = Ledger::new(&cast, stanzas);
        let (links, arrivals) = arrivals::listen(&cast, components);
        Self { cast, links, arrivals, ledger, stanzas }
    }

    /// What became of what was sent.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Makes the routers activate every pair, by its first stanza. The very first goes alone: it
    /// brings the connection up, and two hosts that dial at once would make two, and end one.
    pub(super) async fn activate(&mut self, phase: &Phase) -> Result<Activations, DemoError> {
        let mut activations = Activations::default();
        let mut waiting = HashMap::new();
        let mut pairs = self.cast.pairs();
        self.arrivals.allow(BASE + FOR_PAIR * self.cast.pairs_total() as u32);
        loop {
            let at_once = if activations.times.is_empty() { 1 } else { AT_ONCE };
            self.ask(pairs.by_ref().take(at_once - waiting.len()), &mut waiting).await?;
            if waiting.is_empty() {
                return Ok(activations);
            }
            let Some(batch) = self.arrivals.next().await else {
                activations.missing.extend(waiting.into_keys().chain(pairs).map(|pair| (pair, None)));
                return Ok(activations);
            };
            for arrival in batch {
                self.note_activation(arrival, &mut waiting, &mut activations, phase)?;
            }
        }
    }

    /// Sends the first stanza of each of `pairs`.
    async fn ask(
        &self,
        pairs: impl Iterator<Item = Pair>,
        waiting: &mut HashMap<Pair, Instant>,
    ) -> Result<(), DemoError> {
        for pair in pairs {
            let mut first = String::new();
            let flow = pair.from(pair.initiator());
            stanza::write_message(&mut first, &self.cast, flow, 0, self.stanzas);
            waiting.insert(pair, now());
            self.links[flow.from.index()].send(&first).await?;
        }
        Ok(())
    }

    fn note_activation(
        &mut self,
        arrival: Arrival,
        waiting: &mut HashMap<Pair, Instant>,
        activations: &mut Activations,
        phase: &Phase,
    ) -> Result<(), DemoError> {
        match &arrival {
            Arrival::Message { flow, .. } => {
                if let Some(since) = waiting.remove(&flow.pair) {
                    activations.times.push(now() - since);
                    let (from, to) = self.cast.names(*flow);
                    phase.advance(1, &format!("{from} → {to}"));
                }
            }
            Arrival::Bounce { flow, reason, .. } => {
                waiting.remove(&flow.pair);
                activations.missing.push((flow.pair, Some(reason.clone())));
            }
            Arrival::Question { .. } | Arrival::Pong { .. } | Arrival::Unexpected(_) | Arrival::End => {}
        }
        self.account(arrival)
    }

    /// Sends everything else, both sides at once, until all of it has arrived or come back, or
    /// nothing more comes.
    pub(super) async fn send(&mut self, phase: &Phase) -> Result<(), DemoError> {
        let total = u32::try_from(self.ledger.total()).unwrap_or(u32::MAX);
        self.arrivals.allow(BASE + FOR_STANZA * total);
        let (cast, stanzas) = (Rc::clone(&self.cast), self.stanzas);
        let [mine, other] = self.links.clone();
        let sending = async {
            let both = tokio::try_join!(
                send_all(&mine, Side::Mine, &cast, stanzas),
                send_all(&other, Side::Other, &cast, stanzas)
            );
            match both {
                Ok(_) => pending().await,
                Err(error) => Err(error),
            }
        };
        tokio::select! {
            failed = sending => failed,
            settled = self.settle(phase) => settled,
        }
    }

    async fn settle(&mut self, phase: &Phase) -> Result<(), DemoError> {
        phase.reach(self.ledger.tally().settled());
        while !self.ledger.is_settled() {
            let Some(batch) = self.arrivals.next().await else { return Ok(()) };
            batch.into_iter().try_for_each(|arrival| self.account(arrival))?;
            phase.reach(self.ledger.tally().settled());
        }
        Ok(())
    }

    /// Times echoes, one at a time, over every pair and from either side in turn.
    pub(super) async fn time_echoes(&mut self, phase: &Phase) -> Result<Vec<Duration>, DemoError> {
        self.arrivals.allow(BASE);
        let cast = Rc::clone(&self.cast);
        let flows = cast.pairs().flat_map(|pair| Side::BOTH.map(|side| pair.from(side))).collect::<Vec<_>>();
        let mut times = Vec::with_capacity(ECHOES as usize);
        for (number, flow) in (0..ECHOES).zip(flows.into_iter().cycle()) {
            let ping = stanza::ping(&cast, flow, number);
            let since = now();
            self.links[flow.from.index()].send(&ping).await?;
            if !self.hear_echo(number).await? {
                let (from, to) = cast.names(flow);
                return Err(DemoError::NoEcho { from: from.to_owned(), to: to.to_owned() });
            }
            times.push(now() - since);
            phase.advance(1, "");
        }
        Ok(times)
    }

    async fn hear_echo(&mut self, number: u32) -> Result<bool, DemoError> {
        while let Some(batch) = self.arrivals.next().await {
            for arrival in batch {
                match arrival {
                    Arrival::Pong { number: heard, echoed } if heard == number => return Ok(echoed),
                    other => self.account(other)?,
                }
            }
        }
        Ok(false)
    }

    fn account(&mut self, arrival: Arrival) -> Result<(), DemoError> {
        match arrival {
            Arrival::Message { flow, number } => self.ledger.delivered(&self.cast, flow, number),
            Arrival::Bounce { flow, number, .. } => self.ledger.bounced(&self.cast, flow, number),
            Arrival::Question { .. } | Arrival::Pong { .. } => {}
            Arrival::Unexpected(what) => return Err(DemoError::Unexpected(what)),
            Arrival::End => return Err(DemoError::LinkEnded),
        }
        Ok(())
    }
}

/// Sends all of `side`'s stanzas: the first of every pair, the second of every pair, and so on,
/// without those that the activations have sent already.
async fn send_all(link: &Link, side: Side, cast: &Cast, stanzas: u32) -> Result<(), DemoError> {
    let mut chunk = String::with_capacity(2 * CHUNK);
    for number in 0..stanzas {
        for pair in cast.pairs().filter(|pair| number > 0 || pair.initiator() != side) {
            stanza::write_message(&mut chunk, cast, pair.from(side), number, stanzas);
            if chunk.len() >= CHUNK {
                link.send(&chunk).await?;
                chunk.clear();
            }
        }
    }
    link.send(&chunk).await
}

fn now() -> Instant {
    Now::read().instant
}
