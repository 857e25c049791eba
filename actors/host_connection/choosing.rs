//! What the Router decides about the link, and the session that it goes on with (protocol §3 and §8).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{ActorContext, Context, Handler, Message};
use heteronym_proto::host_stream::{HostStream, Session};
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use tracing::warn;

use super::HostConnection;
use crate::now;

/// What the Router decided about the link (protocol §3).
#[derive(Message)]
#[rtype(result = "()")]
pub enum Decide {
    /// Say `<chosen/>`.
    Choose,
    /// Ask whether the peer is alive.
    Probe,
    /// Close with `conflict`: another link was chosen.
    Conflict,
    /// Close: replaced or silent.
    Drop,
    /// An operator wants it closed.
    Close,
    /// Flush what may be sent, bounce the rest, end.
    Drain,
}

/// The link was chosen, and goes on with this session, if there is one. Until then it takes nothing from the
/// peer behind `<chosen/>`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Adopt(pub Handover);

/// A session on its way to a link: whoever takes it has it. A link that ends before it reads its messages
/// leaves it there.
#[derive(Clone, Debug, Default)]
pub struct Handover(Arc<Mutex<Option<Box<Session>>>>);

impl Handover {
    /// Of this session, if there is one.
    #[must_use]
    pub fn of(session: Option<Box<Session>>) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }

    /// The session, if nobody has taken it.
    #[must_use]
    pub fn take(&self) -> Option<Box<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Handler<Adopt> for HostConnection {
    type Result = ();

    fn handle(&mut self, Adopt(handover): Adopt, ctx: &mut Self::Context) {
        self.with_core(ctx, |stream, out| stream.adopt(now(), handover.take(), out));
        self.take_frames(ctx);
    }
}

impl Handler<Decide> for HostConnection {
    type Result = ();

    fn handle(&mut self, decide: Decide, ctx: &mut Self::Context) {
        match decide {
            Decide::Choose => self.with_core(ctx, |stream, out| stream.choose(now(), out)),
            Decide::Probe => self.with_core(ctx, HostStream::probe),
            Decide::Conflict => {
                let error = StreamError::new(StreamCondition::Conflict, "another link between these hosts is in use");
                self.close(Some(error), ctx);
            }
            // Whatever it still holds goes on by the link that takes its place.
            Decide::Drop => {
                self.why_ended.get_or_insert_with(|| "another link takes its place".to_owned());
                ctx.stop();
            }
            Decide::Close => self.close(None, ctx),
            Decide::Drain => {
                self.draining = true;
                self.with_core(ctx, |stream, out| stream.drain(out));
                let ends_now = !self.ending;
                self.close(None, ctx);
                self.hears_out |= ends_now;
            }
        }
    }
}

impl HostConnection {
    /// The peer does not answer: no use in telling it so.
    pub(super) fn dead(&mut self, silence: Duration, ctx: &mut Context<Self>) {
        let why = format!("the peer host has not been heard for {} s", silence.as_secs());
        warn!(link = self.id, why, "the link is given up");
        self.why_ended = Some(why);
        ctx.stop();
    }

    pub(super) fn session_lost(&self, in_doubt: usize) {
        self.shared.metrics.in_doubt(in_doubt);
        if in_doubt > 0 {
            warn!(
                link = self.id,
                in_doubt, "the peer host has lost the session: stanzas are sent again that may have arrived"
            );
        }
    }
}
