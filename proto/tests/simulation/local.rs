//! The server of one domain, and its users: what the LocalLink actor does, as far as order and fates go.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use heteronym_proto::control::UndeliveredReason;
use heteronym_proto::hosted::Entry;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;

use crate::agenda::{Actor, Context, Delivered, Message};
use crate::process::Shared;

/// See the module.
pub(crate) struct Local {
    entry: Entry,
    domain: Name,
    /// Its server is there.
    pub(crate) up: bool,
    /// It does not read.
    pub(crate) stuck: bool,
    waiting: VecDeque<(Instant, Delivered)>,
    via_router: HashMap<Pair, u64>,
    batches: u64,
}

impl Local {
    pub(crate) fn new(entry: Entry, domain: Name) -> Self {
        let (waiting, via_router) = (VecDeque::new(), HashMap::new());
        Self { entry, domain, up: true, stuck: false, waiting, via_router, batches: 0 }
    }

    /// Whether nothing waits here.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.waiting.is_empty() && self.via_router.is_empty()
    }

    pub(crate) fn deadline(&self, shared: &Shared) -> Option<Instant> {
        let (since, _) = self.waiting.front().filter(|_| !self.up)?;
        Some(*since + shared.config.limits.local_link_grace)
    }

    pub(crate) fn timeout(&mut self, shared: &mut Shared, cx: &mut Context<'_>) {
        let grace = shared.config.limits.local_link_grace;
        while !self.up {
            let Some((_, stanza)) = self.waiting.pop_front_if(|(since, _)| cx.now.instant >= *since + grace) else {
                return;
            };
            shared.waiting_for[self.entry] -= 1;
            cx.ledger.in_vain(&stanza.bytes);
            let link = Actor::Link(stanza.link);
            cx.post(link, Message::Undeliverable(stanza, UndeliveredReason::DomainUnavailable));
        }
    }

    pub(crate) fn handle(&mut self, message: Message, shared: &mut Shared, cx: &mut Context<'_>) {
        match message {
            Message::FromUser { to, stanzas } => self.user_sends(to, stanzas, shared, cx),
            Message::Deliver(stanzas) => {
                self.waiting.extend(stanzas.into_iter().map(|stanza| (cx.now.instant, stanza)));
                self.flow(shared, cx);
            }
            Message::Settled { pair, batch } => {
                if self.via_router.get(&pair) == Some(&batch) {
                    self.via_router.remove(&pair);
                }
            }
            other => unreachable!("a local link is not told {other:?}"),
        }
    }

    /// A pair that the Router still holds stanzas of goes on through the Router.
    fn user_sends(&mut self, to: Name, stanzas: Vec<Bytes>, shared: &Shared, cx: &mut Context<'_>) {
        let pair = Pair { local: self.domain.clone(), remote: to };
        let route = if self.via_router.contains_key(&pair) { None } else { shared.routes.get(&pair) };
        if let Some((link, slot)) = route {
            return cx.post(Actor::Link(*link), Message::Send(*slot, stanzas));
        }
        for stanza in stanzas {
            self.batches += 1;
            let (entry, batch, pair) = (self.entry, self.batches, pair.clone());
            self.via_router.insert(pair.clone(), batch);
            cx.post(Actor::Router, Message::Unrouted { entry, batch, pair, stanza });
        }
    }

    /// Gives the server what waits for it, if it reads.
    pub(crate) fn flow(&mut self, shared: &mut Shared, cx: &mut Context<'_>) {
        if !self.up || self.stuck {
            return;
        }
        let mut read: Vec<(u64, u64, u64)> = Vec::new();
        for (_, Delivered { link, serial, n, bytes, .. }) in self.waiting.drain(..) {
            shared.waiting_for[self.entry] -= 1;
            cx.ledger.deliver(&bytes);
            read.retain(|(of, ..)| *of != link);
            read.push((link, serial, n));
        }
        // Some servers take longer to say so than others.
        let longest = [20, 300, 3000][cx.dice.usize(0..3)];
        let delay = cx.within(Duration::from_millis(longest));
        for (link, serial, n) in read {
            cx.later(Actor::Link(link), delay, Message::HasRead { serial, entry: self.entry, n });
        }
    }
}
