//! What the Router actor does: the choice of links, the sessions between them, and who waits for what.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use heteronym_proto::host_stream::Session;
use heteronym_proto::hosted::Entry;
use heteronym_proto::limits::{Limits, READY_LINKS, SESSION_LIFE};
use heteronym_proto::link_choice::{LinkAction, LinkChoice, LinkId};
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza_error::bounce_bytes;
use heteronym_proto::waiting::WaitingRoom;

use crate::agenda::{Actor, Context, Event, Handover, LinkEnded, Message};
use crate::process::{Shared, domains_of, index_of};

/// Where a host's session is.
enum Place {
    Home(Option<(Box<Session>, Instant)>),
    With(LinkId, Handover),
}

struct Host {
    choice: LinkChoice,
    /// Those that wait for it.
    pairs: Vec<Pair>,
    session: Place,
}

impl Host {
    fn waiting_session(&self) -> Option<&Session> {
        match &self.session {
            Place::Home(session) => session.as_ref().map(|(session, _)| &**session),
            Place::With(..) => None,
        }
    }

    fn wants_link(&self) -> bool {
        !self.pairs.is_empty() || self.waiting_session().is_some_and(Session::is_owed)
    }
}

/// See the module.
pub(crate) struct Router {
    us: Name,
    hosts: BTreeMap<Name, Host>,
    /// The links that are there, and to whom.
    links: BTreeMap<LinkId, Name>,
    waiting: WaitingRoom,
    unsettled: HashMap<Pair, (Entry, u64)>,
}

impl Router {
    pub(crate) fn new(us: Name, limits: &Limits) -> Self {
        let waiting = WaitingRoom::new(limits.pair_queue_bytes, limits.host_queue_bytes);
        Self { us, hosts: BTreeMap::new(), links: BTreeMap::new(), waiting, unsettled: HashMap::new() }
    }

    /// Whether nothing is left of anything.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let hosts = self.hosts.keys().map(|name| format!("host {name}"));
        let links = self.links.keys().map(|link| format!("link {link}"));
        let waiting = self.waiting.pairs().map(|pair| format!("stanzas for {pair}"));
        let unsettled = self.unsettled.keys().map(|pair| format!("unsettled {pair}"));
        hosts.chain(links).chain(waiting).chain(unsettled).collect()
    }

    pub(crate) fn handle(&mut self, message: Message, shared: &mut Shared, cx: &mut Context<'_>) {
        let instant = cx.now.instant;
        match message {
            Message::Ready { link, peer, ours } => self.ready(link, &peer, ours, cx),
            Message::DialFailed { peer } => {
                let jitter = cx.dice.u8(..);
                if let Some(host) = self.hosts.get_mut(&peer) {
                    host.choice.dial_failed(cx.now.instant, jitter);
                }
            }
            Message::Chosen(link) => self.choose(link, cx, |choice| choice.peer_chose(instant, link)),
            Message::Alive(link) => self.choose(link, cx, |choice| choice.alive(link)),
            Message::Ended(ended) => self.ended(*ended, cx),
            Message::Unrouted { entry, batch, pair, stanza } => {
                if let Some(stanza) = self.waiting.push(&pair, stanza, cx.now.instant) {
                    cx.ledger.bounce(&stanza, "too much waits");
                }
                self.unsettled.insert(pair.clone(), (entry, batch));
                self.find_way(&pair, shared, cx);
            }
            Message::Stranded(stanzas) => self.stranded(stanzas, shared, cx),
            Message::HandedBack(of, reason) => {
                let told = match self.hosts.get_mut(&of.peer).map(|host| &mut host.session) {
                    Some(Place::With(link, _)) => {
                        return cx.post(Actor::Link(*link), Message::Undeliverable(of, reason));
                    }
                    Some(Place::Home(Some((session, _)))) => session.undeliverable((of.serial, of.n), reason),
                    Some(Place::Home(None)) | None => false,
                };
                let (condition, text) = reason.told();
                if let Some(error) = bounce_bytes(&of.bytes, condition, text).filter(|_| !told) {
                    self.reply(error, shared, cx);
                }
            }
            Message::Reply(error) => self.reply(error, shared, cx),
            other => unreachable!("the Router is not told {other:?}"),
        }
    }

    /// An error for a remote sender goes the way of any stanza.
    fn reply(&mut self, error: Bytes, shared: &mut Shared, cx: &mut Context<'_>) {
        let pair = pair_of(&error);
        if let Some(error) = self.waiting.push(&pair, error, cx.now.instant) {
            cx.ledger.bounce(&error, "too much waits");
        }
        self.find_way(&pair, shared, cx);
    }

    fn ready(&mut self, link: LinkId, peer: &Name, ours: bool, cx: &mut Context<'_>) {
        let us = &self.us;
        let host = self.hosts.entry(peer.clone()).or_insert_with(|| Host::new(us, peer));
        let actions = host.choice.ready(cx.now.instant, link, ours);
        self.links.insert(link, peer.clone());
        self.act(peer, actions, cx);
        let links = self.links.values().filter(|name| *name == peer).count();
        if links > READY_LINKS + 3 {
            cx.ledger.fault(|| format!("bounds: {links} links to {peer}"));
        }
    }

    fn choose(&mut self, link: LinkId, cx: &mut Context<'_>, decide: impl FnOnce(&mut LinkChoice) -> Vec<LinkAction>) {
        let Some(peer) = self.links.get(&link).cloned() else { return };
        let actions = self.hosts.get_mut(&peer).map(|host| decide(&mut host.choice));
        self.act(&peer, actions.unwrap_or_default(), cx);
    }

    fn act(&mut self, name: &Name, actions: Vec<LinkAction>, cx: &mut Context<'_>) {
        for action in actions {
            match action {
                LinkAction::Dial => self.want_link(name, cx),
                LinkAction::Choose(link) => cx.post(Actor::Link(link), Message::Choose),
                LinkAction::Use(link) => self.hand_over(name, link, cx),
                LinkAction::Probe(link) => cx.post(Actor::Link(link), Message::Probe),
                LinkAction::CloseConflict(link) => cx.post(Actor::Link(link), Message::Conflict),
                LinkAction::Drop(link) => cx.post(Actor::Link(link), Message::Drop),
            }
        }
    }

    fn want_link(&mut self, name: &Name, cx: &mut Context<'_>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.choice.want(cx.now.instant) == Some(LinkAction::Dial) {
            let (from, life, to) = (cx.me.host, cx.me.life, index_of(name));
            let delay = cx.within(std::time::Duration::from_millis(300));
            cx.agenda.add(cx.now.instant + delay, Event::Connect { from, life, to });
        }
    }

    /// The chosen link goes on with the session, as soon as the link before has given it back.
    fn hand_over(&mut self, name: &Name, link: LinkId, cx: &mut Context<'_>) {
        let Some(host) = self.hosts.get_mut(name).filter(|_| self.links.contains_key(&link)) else { return };
        let Place::Home(session) = &mut host.session else { return };
        let handover: Handover = Rc::default();
        handover.replace(session.take().map(|(session, _)| session));
        cx.post(Actor::Link(link), Message::Adopt(Rc::clone(&handover)));
        host.session = Place::With(link, handover);
        self.flush(name, link, cx);
    }

    /// Hands everything that waits for a host to its link.
    fn flush(&mut self, name: &Name, link: LinkId, cx: &mut Context<'_>) {
        if !self.links.contains_key(&link) {
            return;
        }
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !matches!(&host.session, Place::With(with, _) if *with == link) {
            return;
        }
        for pair in std::mem::take(&mut host.pairs) {
            let stanzas = self.waiting.take(&pair);
            if !stanzas.is_empty() {
                cx.post(Actor::Link(link), Message::Open(pair.clone(), stanzas));
            }
            self.settle(&pair, cx);
        }
    }

    fn settle(&mut self, pair: &Pair, cx: &mut Context<'_>) {
        if let Some((entry, batch)) = self.unsettled.remove(pair) {
            cx.post(Actor::Local(entry), Message::Settled { pair: pair.clone(), batch });
        }
    }

    fn find_way(&mut self, pair: &Pair, shared: &Shared, cx: &mut Context<'_>) {
        if let Some((link, slot)) = shared.routes.get(pair) {
            let stanzas = self.waiting.take(pair);
            if !stanzas.is_empty() {
                cx.post(Actor::Link(*link), Message::Send(*slot, stanzas));
            }
            return self.settle(pair, cx);
        }
        let name = shared.host_of(&pair.remote);
        let us = &self.us;
        let host = self.hosts.entry(name.clone()).or_insert_with(|| Host::new(us, &name));
        host.add(pair);
        match host.choice.chosen() {
            Some(link) => self.flush(&name, link, cx),
            None => self.want_link(&name, cx),
        }
    }

    fn wait_again(&mut self, pair: &Pair, stanzas: Vec<Bytes>, cx: &mut Context<'_>) {
        for stanza in stanzas {
            if let Some(stanza) = self.waiting.push_again(pair, stanza, cx.now.instant) {
                cx.ledger.bounce(&stanza, "too much waits already");
            }
        }
    }

    fn stranded(&mut self, stanzas: Vec<Bytes>, shared: &Shared, cx: &mut Context<'_>) {
        let mut pairs: Vec<Pair> = Vec::new();
        for stanza in stanzas {
            let pair = pair_of(&stanza);
            self.wait_again(&pair, vec![stanza], cx);
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        for pair in pairs {
            self.find_way(&pair, shared, cx);
        }
    }

    fn ended(&mut self, ended: LinkEnded, cx: &mut Context<'_>) {
        let LinkEnded { link, peer, carried, unsent, session } = ended;
        self.links.remove(&link);
        let Some(host) = self.hosts.get_mut(&peer) else { return };
        if let Place::With(with, handover) = &host.session
            && *with == link
        {
            let session = session.or_else(|| handover.take());
            host.session = Place::Home(session.map(|session| (session, cx.now.instant)));
        }
        for (pair, stanzas) in unsent {
            self.wait_again(&pair, stanzas, cx);
            if let Some(host) = self.hosts.get_mut(&peer) {
                host.add(&pair);
            }
        }
        let Some(host) = self.hosts.get_mut(&peer) else { return };
        host.choice.lost(cx.now.instant, link, carried, cx.dice.u8(..));
        let actions = host.choice.ended(link);
        let next = host.choice.chosen();
        self.act(&peer, actions, cx);
        if let Some(next) = next {
            self.hand_over(&peer, next, cx);
        }
        if self.hosts.get(&peer).is_some_and(Host::wants_link) {
            self.want_link(&peer, cx);
        }
    }

    pub(crate) fn deadline(&self, now: Instant, limits: &Limits) -> Option<Instant> {
        let hosts = self.hosts.values().flat_map(|host| {
            let pause = host.choice.paused_until(now).filter(|_| host.wants_link() && host.choice.is_idle());
            let life = match &host.session {
                Place::Home(Some((_, since))) => Some(*since + SESSION_LIFE),
                Place::Home(None) | Place::With(..) => None,
            };
            [host.choice.deadline(), pause, life]
        });
        let overdue = self.waiting.queues().map(|(.., since)| Some(since + limits.stanza_wait));
        hosts.chain(overdue).flatten().min()
    }

    /// Does what the time has come for.
    pub(crate) fn tick(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        let instant = cx.now.instant;
        for name in self.hosts.keys().cloned().collect::<Vec<_>>() {
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            let actions = host.choice.handle_timeout(instant);
            let wanted = host.wants_link();
            self.act(&name, actions, cx);
            if wanted {
                self.want_link(&name, cx);
            }
        }
        self.give_up_old_sessions(cx);
        let mut overdue = self.waiting.take_overdue(instant, shared.config.limits.stanza_wait);
        overdue.sort_by_key(|(pair, _)| pair.to_string());
        for (pair, stanzas) in overdue {
            for stanza in stanzas {
                cx.ledger.bounce(&stanza, "waited too long for the host");
            }
            if !self.waiting.contains(&pair) {
                self.settle(&pair, cx);
                self.hosts.values_mut().for_each(|host| host.pairs.retain(|of| *of != pair));
            }
        }
        self.hosts.retain(|_, host| {
            let wanted = host.wants_link() || host.waiting_session().is_some();
            wanted || !host.choice.is_idle() || host.choice.paused_until(instant).is_some()
        });
    }

    fn give_up_old_sessions(&mut self, cx: &mut Context<'_>) {
        for (name, host) in &mut self.hosts {
            let Place::Home(session) = &mut host.session else { continue };
            if let Some((session, _)) = session.take_if(|(_, since)| *since + SESSION_LIFE <= cx.now.instant) {
                cx.ledger.give_up(cx.me.host, index_of(name));
                let stanzas = session.give_up();
                cx.ledger.in_doubt += stanzas.len();
                stanzas.iter().for_each(|stanza| cx.ledger.bounce(stanza, "in doubt"));
            }
        }
    }
}

impl Host {
    fn new(us: &Name, peer: &Name) -> Self {
        Self { choice: LinkChoice::new(us, peer), pairs: Vec::new(), session: Place::Home(None) }
    }

    fn add(&mut self, pair: &Pair) {
        if !self.pairs.contains(pair) {
            self.pairs.push(pair.clone());
        }
    }
}

fn pair_of(bytes: &[u8]) -> Pair {
    let (local, remote) = domains_of(bytes);
    Pair { local, remote }
}
