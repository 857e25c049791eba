//! What links tell: ready, chosen, alive, ended.

use std::net::SocketAddr;
use std::sync::Arc;

use actix::prelude::SendError;
use actix::{AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use heteronym_net::random;
use heteronym_proto::checker::Scope;
use heteronym_proto::host_stream::Session;
use heteronym_proto::link_choice::{LinkAction, LinkId};
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::registry::Target;
use heteronym_proto::stanza;
use heteronym_proto::stanza_error::Condition;
use tracing::info;

use super::{Host, LinkEntry, Router};
use crate::host_connection::{Decide, HostConnection, LinkHandle, OfOperator, OpenPair, Start, next_link_id};
use crate::local_link::bounce_to_sender;
use crate::now;

impl Router {
    /// Lets stanzas wait whose link has ended: they are older than what waits already.
    pub(super) fn wait_again(&mut self, pair: &Pair, stanzas: Vec<Bytes>) {
        for stanza in stanzas {
            if let Some(stanza) = self.waiting.push_again(pair, stanza, now().instant) {
                let text = "the connection to the other host ended, and too much waits already";
                bounce_to_sender(&self.shared, &stanza, (Condition::ResourceConstraint, "waiting-full"), text);
            }
        }
    }

    /// What a link has not written goes by the next one to its host, whichever that is, before anything newer.
    fn wait_for_next_link(&mut self, name: &Name, unsent: &mut Vec<(Pair, Vec<Bytes>)>) {
        if !self.hosts.contains_key(name) {
            return;
        }
        for (pair, stanzas) in std::mem::take(unsent) {
            self.wait_again(&pair, stanzas);
            if let Some(host) = self.hosts.get_mut(name) {
                // Where it cannot be reached, they are looked up anew.
                host.pairs.entry(pair).or_default();
            }
        }
    }

    pub(super) fn want_link(&mut self, name: &Name, ctx: &mut Context<Self>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.choice.want(now().instant) == Some(LinkAction::Dial) {
            let start = Start::Dial(next_link_id(), host.target.clone(), host.reached_at);
            HostConnection::launch(&self.shared, &ctx.address(), start);
        }
    }

    /// Hands everything that waits for a host to its link. Of a link that has ended just now, it comes
    /// back as [`Stranded`].
    pub(super) fn flush(&mut self, name: &Name, link: LinkId, ctx: &mut Context<Self>) {
        let Some(to) = self.links.get(&link).map(|entry| entry.link.addr.clone()) else { return };
        let Some(host) = self.hosts.get_mut(name) else { return };
        if !host.session_is_with(link) {
            return;
        }
        let pairs: Vec<Pair> = host.pairs.drain().map(|(pair, _)| pair).collect();
        let movers: Vec<Name> = host.movers.drain().collect();
        movers.iter().for_each(|domain| self.move_domain(domain, ctx));
        for pair in pairs {
            if self.moving.contains_key(&pair) {
                continue;
            }
            if self.wanted.remove(&pair).is_some() {
                let _ = to.try_send(OfOperator::Activate(pair.clone()));
            }
            let stanzas = self.waiting.take(&pair);
            let open = OpenPair { pair: pair.clone(), stanzas, router: ctx.address() };
            if !open.stanzas.is_empty()
                && let Err(SendError::Full(mut open)) = to.try_send(open)
            {
                let text = "the connection to the other host does not keep up";
                self.bounce(
                    std::mem::take(&mut open.stanzas),
                    (Condition::ResourceConstraint, "host-queue-full"),
                    text,
                );
            }
            self.settle(&pair);
        }
    }

    pub(super) fn act(&mut self, name: &Name, actions: Vec<LinkAction>, ctx: &mut Context<Self>) {
        for action in actions {
            match action {
                LinkAction::Dial => self.want_link(name, ctx),
                LinkAction::Choose(link) => self.decide(link, Decide::Choose),
                LinkAction::Use(link) => {
                    info!(host = %name, link, "link chosen");
                    self.hand_over(name, link, ctx);
                }
                LinkAction::Probe(link) => self.decide(link, Decide::Probe),
                LinkAction::CloseConflict(link) => self.decide(link, Decide::Conflict),
                LinkAction::Drop(link) => self.decide(link, Decide::Drop),
            }
        }
    }

    pub(super) fn decide(&self, link: LinkId, decide: Decide) {
        if let Some(entry) = self.links.get(&link) {
            let _ = entry.link.addr.try_send(decide);
        }
    }

    /// Our dial failed: the pairs look for another target, or go by classic S2S where they may; the others
    /// wait for the next dial.
    pub(super) fn dial_failed(&mut self, name: &Name, why: String, ctx: &mut Context<Self>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.choice.dial_failed(now().instant, random::bytes::<1>()[0]);
        host.last_error = Some(why);
        let waiting: Vec<_> = host.pairs.drain().collect();
        for (pair, targets) in waiting {
            if targets.is_empty() {
                self.find_way(&pair, ctx);
            } else {
                self.wait_for_host(pair, targets, ctx);
            }
        }
    }
}

/// A link has authenticated.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkReady {
    /// The link.
    pub link: Arc<LinkHandle>,
    /// To whom.
    pub peer: Name,
    /// The address that we dialled, where we did.
    pub dialled: Option<SocketAddr>,
}

impl Handler<LinkReady> for Router {
    type Result = ();

    fn handle(&mut self, LinkReady { link, peer, dialled }: LinkReady, ctx: &mut Self::Context) {
        let (id, us) = (link.id, self.shared.config().host.clone());
        // Nobody has named it yet: the port is only for the case that nobody will.
        let target = || Target { host: peer.clone(), ports: vec![5270], priority: 0 };
        let host = self.hosts.entry(peer.clone()).or_insert_with(|| Host::new(&us, target()));
        host.last_error = None;
        let actions = host.choice.ready(now().instant, id, dialled.is_some());
        host.reached_at = dialled.or(host.reached_at);
        self.links.insert(id, LinkEntry { peer: peer.clone(), link });
        self.act(&peer, actions, ctx);
    }
}

/// The peer chose this link.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkChosen(pub LinkId);

impl Handler<LinkChosen> for Router {
    type Result = ();

    fn handle(&mut self, LinkChosen(id): LinkChosen, ctx: &mut Self::Context) {
        let Some(peer) = self.links.get(&id).map(|entry| entry.peer.clone()) else { return };
        let actions = self.hosts.get_mut(&peer).map(|host| host.choice.peer_chose(now().instant, id));
        self.act(&peer, actions.unwrap_or_default(), ctx);
    }
}

/// A link answered its probe.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkAlive(pub LinkId);

impl Handler<LinkAlive> for Router {
    type Result = ();

    fn handle(&mut self, LinkAlive(id): LinkAlive, ctx: &mut Self::Context) {
        let Some(peer) = self.links.get(&id).map(|entry| entry.peer.clone()) else { return };
        let actions = self.hosts.get_mut(&peer).map(|host| host.choice.alive(id));
        self.act(&peer, actions.unwrap_or_default(), ctx);
    }
}

/// A connection ended, or never came about.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkEnded {
    /// Which.
    pub id: LinkId,
    /// To whom.
    pub peer: Name,
    /// Whether we dialled.
    pub ours: bool,
    /// Whether it had authenticated.
    pub was_up: bool,
    /// Why, for the operator.
    pub why: String,
    /// The peer has acknowledged stanzas on it.
    pub carried: bool,
    /// What was never written, by pair, in order.
    pub unsent: Vec<(Pair, Vec<Bytes>)>,
    /// What the next link goes on with, where this one was chosen.
    pub session: Option<Box<Session>>,
}

impl Handler<LinkEnded> for Router {
    type Result = ();

    fn handle(&mut self, ended: LinkEnded, ctx: &mut Self::Context) {
        let LinkEnded { id, peer, ours, was_up, why, carried, unsent, session } = ended;
        self.links.remove(&id);
        self.session_comes_home(&peer, id, session);
        let mut unsent = unsent;
        if !self.draining {
            self.wait_for_next_link(&peer, &mut unsent);
        }
        if ours && !was_up {
            self.dial_failed(&peer, why, ctx);
        } else if let Some(host) = self.hosts.get_mut(&peer) {
            host.last_error = Some(why);
            host.choice.lost(now().instant, id, carried, random::bytes::<1>()[0]);
            let actions = host.choice.ended(id);
            let next = host.choice.chosen();
            self.act(&peer, actions, ctx);
            if let Some(next) = next {
                self.hand_over(&peer, next, ctx);
            }
        }
        if self.draining {
            self.give_up_all_sessions();
            let stanzas = unsent.into_iter().flat_map(|(_, stanzas)| stanzas).collect();
            self.bounce(stanzas, (Condition::RemoteServerTimeout, "shutdown"), "this router shuts down");
            return self.finish_drain_if_done(ctx);
        }
        for (pair, stanzas) in unsent {
            self.wait_again(&pair, stanzas);
            self.find_way(&pair, ctx);
        }
        if self.hosts.get(&peer).is_some_and(Host::wants_link) {
            self.want_link(&peer, ctx);
        }
    }
}

/// Stanzas that were on their way to a link when it ended, in order.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stranded(pub Vec<Bytes>);

impl Handler<Stranded> for Router {
    type Result = ();

    fn handle(&mut self, Stranded(stanzas): Stranded, ctx: &mut Self::Context) {
        if self.draining {
            return self.bounce(stanzas, (Condition::RemoteServerTimeout, "shutdown"), "this router shuts down");
        }
        let mut pairs: Vec<Pair> = Vec::new();
        for stanza in stanzas {
            let Some(pair) = pair_of(&stanza) else { continue };
            self.wait_again(&pair, vec![stanza]);
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        for pair in pairs {
            self.find_way(&pair, ctx);
        }
    }
}

/// The pair of a stanza that one of our users sent.
pub(super) fn pair_of(bytes: &[u8]) -> Option<Pair> {
    let stanza = stanza::read(bytes, &Scope::SERVER).ok()?;
    let (local, remote) = (Name::parse(stanza.from_domain()).ok()?, Name::parse(stanza.to_domain()).ok()?);
    Some(Pair { local, remote })
}
