//! What the server sends: stanzas in blocks, everything else frame by frame.

use actix::Context;
use bytes::Buf;
use heteronym_proto::acks::Ack;
use heteronym_proto::checker::Scope;
use heteronym_proto::framer::Frame;
use heteronym_proto::local_stream::{TO_HOST, Verdict};
use heteronym_proto::stanza::{Stanza, Stanzas, forward};
use heteronym_proto::stanza_error::{Condition, bounce};
use heteronym_proto::stream_error::StreamError;
use tracing::{debug, warn};

use super::jabberd2::Protocol;
use super::routing::{Outgoing, route};
use super::{Link, LocalLink};

impl LocalLink {
    pub(super) fn take_frames(&mut self, ctx: &mut Context<Self>) {
        let mut outgoing = Outgoing::default();
        let ended = self.route_frames(&mut outgoing);
        let gate = self.link.as_ref().map(|link| link.gate.clone());
        self.dispatch(outgoing, gate.as_ref());
        if let Some(error) = ended {
            self.end_link(error.as_ref(), ctx);
        }
    }

    /// Routes what is complete; `Some`: the link is to end.
    fn route_frames(&mut self, outgoing: &mut Outgoing) -> Option<Option<StreamError>> {
        loop {
            match self.route_stanzas(outgoing) {
                Ok(true) => continue,
                Ok(false) => (),
                Err(end) => return Some(end),
            }
            let link = self.link.as_mut().filter(|link| !link.out.borrow().closed)?;
            let frame = match link.framer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                Err(error) => return Some(Some(self.faulty(error.stream_error()))),
            };
            if self.draining && link.taken.is_some() && !matches!(frame, Frame::End) {
                // What is not acknowledged, the server sends again to whoever comes after us.
                continue;
            }
            let end = match &mut link.protocol {
                Protocol::Component => {
                    let verdict = self.core.frame(&frame);
                    self.follow(verdict, outgoing)
                }
                Protocol::Jabberd2(routes) => {
                    let arrived = routes.frame(&frame);
                    self.take_route(arrived, outgoing)
                }
            };
            if end.is_some() {
                return end;
            }
        }
    }

    /// Routes the stanzas that come next on a component link, if no other frame does; whether there were any.
    /// `Err`: the stream is to end.
    fn route_stanzas(&mut self, outgoing: &mut Outgoing) -> Result<bool, Option<StreamError>> {
        let is_open = |link: &&mut Link| matches!(link.protocol, Protocol::Component) && !link.out.borrow().closed;
        let Some(link) = self.link.as_mut().filter(is_open).filter(|_| !self.draining) else { return Ok(false) };
        let (mut block, mut shapes) = (link.framer.take_block(), std::mem::take(&mut link.shapes));
        outgoing.room = block.len();
        let (mut stanzas, mut end) = (Stanzas::new(&block, &Scope::COMPONENT, &mut shapes), None);
        while let (None, Some(stanza)) = (&end, stanzas.next()) {
            end = match self.core.refusal(&stanza) {
                None => {
                    self.count_taken();
                    self.route(&stanza, &forward(&stanza, &Scope::SERVER, None), outgoing);
                    None
                }
                Some(verdict) => self.follow(verdict, outgoing),
            };
        }
        let taken = stanzas.taken();
        drop(stanzas);
        block.advance(taken);
        if let Some(link) = &mut self.link {
            link.framer.put_back(block);
            link.shapes = shapes;
        }
        end.map_or(Ok(taken > 0), Err)
    }

    /// Does what the core says; `Some`: the stream is to end.
    pub(super) fn follow(&mut self, verdict: Verdict<'_>, outgoing: &mut Outgoing) -> Option<Option<StreamError>> {
        if let Verdict::Route(..) | Verdict::Answer(..) | Verdict::Alive(_) = &verdict {
            self.count_taken();
        }
        match verdict {
            Verdict::Count => self.begin_to_count(),
            Verdict::TellCount => self.tell_count(),
            Verdict::Route(stanza, _) if self.draining => {
                let text = "this router shuts down";
                self.shared.metrics.stanza_error(Condition::RemoteServerTimeout.as_str(), "shutdown");
                outgoing.answers.extend(bounce(&stanza, Condition::RemoteServerTimeout, text));
            }
            Verdict::Route(stanza, forwarded) => self.route(&stanza, &forwarded, outgoing),
            Verdict::Answer(why, answer) => {
                debug!(entry = self.entry, why, "a local stanza went no further");
                if why != TO_HOST {
                    self.shared.metrics.stanza_error("not-forwarded", why);
                }
                outgoing.answers.extend(answer);
            }
            Verdict::Alive(barrier) => self.is_alive(barrier),
            Verdict::End(error) => {
                if let Some(link) = &mut self.link {
                    (link.heard_end, link.failed) = (error.is_none(), error.is_some());
                }
                self.last_error = error.map(|error| format!("our server ended the stream: {error}"));
                return Some(None);
            }
            Verdict::Error(error) => return Some(Some(self.faulty(error))),
        }
        None
    }

    fn count_taken(&mut self) {
        if let Some(Link { taken: Some(taken), .. }) = &mut self.link {
            *taken = taken.wrapping_add(1);
        }
    }

    fn route(&mut self, stanza: &Stanza<'_>, forwarded: &[u8], outgoing: &mut Outgoing) {
        self.stanzas_in += 1;
        let domains = (stanza.from_domain(), stanza.to_domain());
        route(&self.shared, (&mut self.known, &mut self.via_router), self.batches + 1, outgoing, domains, forwarded);
    }

    /// The server counts what it sends, and what is not acknowledged it sends again on its next link.
    fn begin_to_count(&mut self) {
        if let Some(link) = &mut self.link {
            link.taken = Some(0);
            link.say(&Ack::Enabled { id: None, max: None });
        }
    }

    fn tell_count(&self) {
        if let Some(link) = &self.link {
            link.say(&Ack::Answer(link.taken.unwrap_or_default()));
        }
    }

    fn faulty(&mut self, error: StreamError) -> StreamError {
        warn!(local = self.name(), %error, "our server sent what may not be forwarded; its link ends");
        self.last_error = Some(error.to_string());
        error
    }
}
