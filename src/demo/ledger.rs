//! What was sent and what became of it, stanza by stanza.

use super::cast::{Cast, Flow};

/// Which numbered stanzas of every flow arrived or came back.
#[derive(Debug)]
pub(super) struct Ledger {
    stanzas: u32,
    flows: Vec<Entry>,
    tally: Tally,
}

/// One flow.
#[derive(Clone, Debug)]
struct Entry {
    /// A bit for each stanza that is accounted for.
    settled: Box<[u64]>,
    /// The number behind the highest that was delivered.
    next: u32,
}

/// The sums over all flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Arrived, each counted once.
    pub(super) delivered: u64,
    /// Came back as an error.
    pub(super) bounced: u64,
    /// Arrived or came back more often than they were sent.
    pub(super) duplicated: u64,
    /// Arrived behind one that was sent later.
    pub(super) disordered: u64,
}

impl Tally {
    /// How many stanzas are accounted for.
    pub(super) fn settled(self) -> u64 {
        self.delivered + self.bounced
    }
}

impl Ledger {
    /// Expects `stanzas` stanzas, numbered from 0, in each direction of each pair.
    pub(super) fn new(cast: &Cast, stanzas: u32) -> Self {
        let words = (stanzas as usize).div_ceil(u64::BITS as usize);
        let entry = Entry { settled: vec![0; words].into(), next: 0 };
        Self { stanzas, flows: vec![entry; cast.pairs_total() * 2], tally: Tally::default() }
    }

    /// How many stanzas there are in all.
    pub(super) fn total(&self) -> u64 {
        self.flows.len() as u64 * u64::from(self.stanzas)
    }

    /// Where it stands.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether every stanza arrived or came back.
    pub(super) fn is_settled(&self) -> bool {
        self.tally.settled() == self.total()
    }

    /// The stanza of that number arrived.
    pub(super) fn delivered(&mut self, cast: &Cast, flow: Flow, number: u32) {
        if !self.settle(cast, flow, number) {
            return;
        }
        self.tally.delivered += 1;
        let entry = self.entry(cast, flow);
        if number < entry.next {
            self.tally.disordered += 1;
        } else {
            entry.next = number + 1;
        }
    }

    /// The stanza of that number came back to its sender.
    pub(super) fn bounced(&mut self, cast: &Cast, flow: Flow, number: u32) {
        if self.settle(cast, flow, number) {
            self.tally.bounced += 1;
        }
    }

    /// The flows that lack something, with the number of stanzas that they lack.
    pub(super) fn missing(&self, cast: &Cast) -> Vec<(Flow, u32)> {
        let flows = cast.pairs().flat_map(|pair| super::cast::Side::BOTH.map(|side| pair.from(side)));
        let lacking = flows.map(|flow| {
            let settled: u32 = self.flows[index(cast, flow)].settled.iter().map(|word| word.count_ones()).sum();
            (flow, self.stanzas - settled)
        });
        lacking.filter(|(_, missing)| *missing > 0).collect()
    }

    /// Marks it; `false` if it was marked, or if no such stanza was ever sent.
    fn settle(&mut self, cast: &Cast, flow: Flow, number: u32) -> bool {
        let known = number < self.stanzas;
        let (word, bit) = ((number / u64::BITS) as usize, 1 << (number % u64::BITS));
        let new = known && self.entry(cast, flow).settled[word] & bit == 0;
        if new {
            self.entry(cast, flow).settled[word] |= bit;
        } else {
            self.tally.duplicated += 1;
        }
        new
    }

    fn entry(&mut self, cast: &Cast, flow: Flow) -> &mut Entry {
        &mut self.flows[index(cast, flow)]
    }
}

fn index(cast: &Cast, flow: Flow) -> usize {
    cast.number(flow.pair) * 2 + flow.from.index()
}

#[cfg(test)]
mod tests {
    use super::super::cast::Side;
    use super::*;

    /// One pair, and the flow from our side.
    fn flow() -> (Cast, Flow) {
        let cast = Cast::new(1);
        let flow = cast.pairs().next().unwrap().from(Side::Mine);
        (cast, flow)
    }

    #[test]
    fn what_arrives_in_order_is_delivered() {
        let (cast, flow) = flow();
        let mut ledger = Ledger::new(&cast, 100);
        (0..100).for_each(|n| ledger.delivered(&cast, flow, n));
        assert_eq!(ledger.tally(), Tally { delivered: 100, ..Tally::default() });
        assert!(!ledger.is_settled(), "the other direction");
        let back = flow.pair.from(Side::Other);
        assert_eq!(ledger.missing(&cast), [(back, 100)]);
        (0..100).for_each(|n| ledger.bounced(&cast, back, n));
        assert!(ledger.is_settled());
        assert_eq!(ledger.tally().bounced, 100);
    }

    #[test]
    fn a_second_arrival_is_a_duplicate() {
        let (cast, flow) = flow();
        let mut ledger = Ledger::new(&cast, 2);
        ledger.delivered(&cast, flow, 0);
        ledger.delivered(&cast, flow, 0);
        ledger.bounced(&cast, flow, 0);
        assert_eq!(ledger.tally(), Tally { delivered: 1, duplicated: 2, ..Tally::default() });
    }

    #[test]
    fn a_late_arrival_is_disorder_and_a_gap_is_none() {
        let (cast, flow) = flow();
        let mut ledger = Ledger::new(&cast, 70);
        for number in [0, 66, 65] {
            ledger.delivered(&cast, flow, number);
        }
        assert_eq!(ledger.tally(), Tally { delivered: 3, disordered: 1, ..Tally::default() });
        assert_eq!(ledger.missing(&cast)[0], (flow, 67));
    }

    #[test]
    fn what_was_never_sent_does_not_count_as_delivered() {
        let (cast, flow) = flow();
        let mut ledger = Ledger::new(&cast, 3);
        ledger.delivered(&cast, flow, 3);
        assert_eq!(ledger.tally(), Tally { duplicated: 1, ..Tally::default() });
    }
}
