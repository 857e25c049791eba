//! The sessions with peer hosts: with the chosen link, or here while there is none (protocol §8).

use std::time::Instant;

use actix::{AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use heteronym_proto::host_stream::Session;
use heteronym_proto::limits::SESSION_LIFE;
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza_error::{Condition, bounce_bytes};
use tracing::warn;

use super::{Host, Reply, Router, TICK, Why};
use crate::host_connection::{Adopt, Handover, Undeliverable, Undelivered};
use crate::now;

/// Where a host's session is.
#[derive(Debug)]
pub(super) enum Place {
    /// Here, since then; nothing, before the first link and after one that did not count.
    Home(Option<(Box<Session>, Instant)>),
    /// With this link, which brings it back when it ends, or on its way there.
    With(LinkId, Handover),
}

/// What a sender is told whose stanza may have arrived.
const IN_DOUBT: Why = (Condition::RemoteServerTimeout, "in-doubt");

impl Host {
    /// The session, while it is with no link.
    pub(super) fn waiting_session(&self) -> Option<&Session> {
        match &self.session {
            Place::Home(session) => session.as_ref().map(|(session, _)| &**session),
            Place::With(..) => None,
        }
    }

    /// Whether it is with this link.
    pub(super) fn session_is_with(&self, link: LinkId) -> bool {
        matches!(&self.session, Place::With(with, _) if *with == link)
    }

    /// Whether a link is wanted: for stanzas that wait, or that may not have arrived.
    pub(super) fn wants_link(&self) -> bool {
        let is_owed = self.waiting_session().is_some_and(Session::is_owed);
        is_owed || !self.pairs.is_empty() || !self.movers.is_empty()
    }
}

impl Router {
    /// The chosen link goes on with the session, as soon as the link before has given it back; then it gets what
    /// waits.
    pub(super) fn hand_over(&mut self, name: &Name, link: LinkId, ctx: &mut Context<Self>) {
        let Some(to) = self.links.get(&link).map(|entry| entry.link.addr.clone()) else { return };
        let Some(host) = self.hosts.get_mut(name) else { return };
        let Place::Home(session) = &mut host.session else { return };
        let handover = Handover::of(session.take().map(|(session, _)| session));
        // Of a link that has ended already, the session comes home as of any other.
        let _ = to.try_send(Adopt(handover.clone()));
        host.session = Place::With(link, handover);
        self.flush(name, link, ctx);
    }

    /// A link has ended: its session waits for the next one.
    pub(super) fn session_comes_home(&mut self, name: &Name, link: LinkId, session: Option<Box<Session>>) {
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.session_is_with(link)) else { return };
        let Place::With(_, handover) = &host.session else { return };
        let session = session.or_else(|| handover.take());
        host.session = Place::Home(session.map(|session| (session, now().instant)));
    }

    /// Nobody came for these sessions in their time.
    pub(super) fn give_up_old_sessions(&mut self, instant: Instant) {
        self.give_up_sessions(|since| since + SESSION_LIFE <= instant);
    }

    /// Nobody will come any more.
    pub(super) fn give_up_all_sessions(&mut self) {
        self.give_up_sessions(|_| true);
    }

    fn give_up_sessions(&mut self, is_over: impl Fn(Instant) -> bool) {
        let over = self.hosts.iter_mut().filter_map(|(name, host)| {
            let Place::Home(session) = &mut host.session else { return None };
            let (session, _) = session.take_if(|(_, since)| is_over(*since))?;
            Some((name.clone(), session))
        });
        for (name, session) in over.collect::<Vec<_>>() {
            self.give_up(&name, session);
        }
    }

    /// There will be no other link: senders are told that nobody knows.
    fn give_up(&self, name: &Name, session: Box<Session>) {
        let stanzas = session.give_up();
        if !stanzas.is_empty() {
            warn!(host = %name, in_doubt = stanzas.len(), "the host did not come back: its stanzas go back to their senders");
            self.shared.metrics.in_doubt(stanzas.len());
            self.bounce(stanzas, IN_DOUBT, "the connection to the other host was lost: it may or may not have arrived");
        }
    }

    /// The pair is not resumed by any session that waits.
    pub(super) fn forget_resumable(&mut self, pair: &Pair) {
        for host in self.hosts.values_mut() {
            if let Place::Home(Some((session, _))) = &mut host.session {
                session.forget(pair);
            }
        }
    }
}

/// A stanza that came by a link which has ended could not be delivered to our server.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HandedBack {
    /// The host that it came from.
    pub peer: Name,
    /// What was to be told to its link.
    pub of: Undelivered,
}

impl Handler<HandedBack> for Router {
    type Result = ();

    fn handle(&mut self, HandedBack { peer, of }: HandedBack, ctx: &mut Self::Context) {
        let place = self.hosts.get_mut(&peer).map(|host| &mut host.session);
        let told = match place {
            Some(Place::With(link, _)) => {
                match self.links.get(link).map(|entry| entry.link.addr.clone()) {
                    Some(link) if link.connected() => {
                        drop(link.try_send(Undeliverable { of: Some(of), peer, router: ctx.address() }));
                    }
                    // It has ended, and says so soon: then its session is here.
                    Some(_) => {
                        ctx.run_later(TICK, |_, ctx| drop(ctx.address().try_send(HandedBack { peer, of })));
                    }
                    None => self.answer_for(&of, ctx),
                }
                return;
            }
            Some(Place::Home(Some((session, _)))) => session.undeliverable(of.n, of.reason),
            Some(Place::Home(None)) | None => false,
        };
        if !told {
            self.answer_for(&of, ctx);
        }
    }
}

impl Router {
    /// The peer has no copy any more: the sender hears it from us.
    fn answer_for(&self, Undelivered { reason, stanza, .. }: &Undelivered, ctx: &Context<Self>) {
        let (condition, text) = reason.told();
        self.shared.metrics.stanza_error("undelivered", reason.as_str());
        let error: Option<Bytes> = bounce_bytes(stanza, condition, text);
        if let Some(error) = error.filter(|_| !self.draining) {
            let _ = ctx.address().try_send(Reply(error));
        }
    }
}
