//! A second server wants the link of an entry: the first is asked whether it is alive.

use std::net::TcpStream as StdTcpStream;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler, Message};
use bytes::Bytes;
use heteronym_net::wire::{Stream, split};
use heteronym_proto::framer::Framer;
use heteronym_proto::host_iq;
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use tokio::net::TcpStream;
use tracing::warn;

use super::jabberd2::Protocol;
use super::{LINGER, LocalLink};

impl LocalLink {
    /// The server has answered a ping of ours, which was a barrier or a probe.
    pub(super) fn is_alive(&mut self, barrier: Option<u64>) {
        if let Some(number) = barrier {
            self.barrier_answered(number);
        }
        if let Some(candidate) = self.candidate.take() {
            warn!(local = self.name(), "a second server wanted the link of this entry, and the first is alive");
            refuse(candidate.attach);
        }
    }

    pub(super) fn accept(&mut self, attach: AttachLink, ctx: &mut Context<Self>) {
        let AttachLink { stream, framer, greeting } = attach;
        match TcpStream::from_std(stream) {
            Ok(stream) => self.bring_up(Protocol::Component, (Stream::Plain(stream), framer), greeting, ctx),
            Err(error) => warn!(local = self.name(), %error, "an accepted link could not be used"),
        }
    }

    /// Asks the link there is whether it is alive: an IQ ping, to which any answer counts.
    pub(super) fn probe(&mut self, attach: AttachLink, ctx: &mut Context<Self>) {
        let Some(link) = &self.link else { return };
        let config = self.shared.config();
        if let Some(domain) = config.hosted.first_of(self.entry) {
            let ping = host_iq::ping(&config.host, domain, self.generation);
            link.out.borrow_mut().raw.push_back(ping);
            link.wake.notify_one();
        }
        let until = crate::now().instant + PROBE_WAIT;
        self.candidate = Some(Candidate { attach, until });
        ctx.run_later(PROBE_WAIT, |this, ctx| {
            let now = crate::now().instant;
            if let Some(candidate) = this.candidate.take_if(|candidate| candidate.until <= now) {
                warn!(local = this.name(), "the link was silent; a second server takes over");
                let generation = this.generation;
                this.candidate = None;
                this.last_error = Some("silent, replaced by another link".to_owned());
                this.lost(generation, "silent", ctx);
                this.accept(candidate.attach, ctx);
            }
        });
    }
}

/// How long a link has to answer when another server wants its place.
const PROBE_WAIT: Duration = Duration::from_secs(5);

/// A server that wants the place of the link there is.
pub(super) struct Candidate {
    pub(super) attach: AttachLink,
    pub(super) until: Instant,
}

/// Ends the stream of a server that may not have the link.
fn refuse(attach: AttachLink) {
    let AttachLink { stream, .. } = attach;
    let error = StreamError::new(StreamCondition::Conflict, "this entry has a link already, and it is alive");
    if let Ok(stream) = TcpStream::from_std(stream) {
        actix_rt::spawn(async move {
            let (_reader, mut writer) = split(Stream::Plain(stream));
            let _ = tokio::time::timeout(LINGER, async {
                writer.write(&error.to_bytes()).await?;
                writer.shutdown().await
            })
            .await;
        });
    }
}

/// A server proved the secret of this entry and wants to be its link.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AttachLink {
    /// Its connection.
    pub stream: StdTcpStream,
    /// With what it sent already.
    pub framer: Framer,
    /// What it is told once it is the link.
    pub greeting: Bytes,
}

impl Handler<AttachLink> for LocalLink {
    type Result = ();

    fn handle(&mut self, attach: AttachLink, ctx: &mut Self::Context) {
        if self.draining || self.candidate.is_some() {
            refuse(attach);
        } else if self.link.is_some() {
            self.probe(attach, ctx);
        } else {
            self.accept(attach, ctx);
        }
    }
}
