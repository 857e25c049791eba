//! How a stream ends: in order, with an error, idle, or unproved.

use std::time::Duration;

use actix::{ActorContext, AsyncContext, Context, Handler, Message};
use heteronym_proto::classic::stream::ServerStream;
use heteronym_proto::limits::DIALBACK_WAIT;
use heteronym_proto::stream_error::{Condition as StreamCondition, StreamError};
use tracing::{info, warn};

use super::connecting::NoStream;
use super::{ClassicStream, LINGER};
use crate::router::Ending;

/// Looks at whether a stream is idle, in the time that it may be.
const IDLE_LOOKS: u32 = 4;

impl ClassicStream {
    /// Ends a stream that came in and on which nobody was proved in time (RFC 6120 §4.9.3.1:
    /// `connection-timeout`).
    pub(super) fn watch_unproved(&mut self, ctx: &mut Context<Self>) {
        if self.dialled.is_some() {
            return;
        }
        ctx.run_later(self.shared.config().limits.connect_timeout + DIALBACK_WAIT, |this, ctx| {
            if !this.trusted {
                let error = StreamError::new(StreamCondition::ConnectionTimeout, "no domain was proved in time");
                this.fail(error, ctx);
            }
        });
    }

    /// It never came about.
    pub(super) fn unopened(&mut self, why: NoStream) {
        let ending = match why {
            NoStream::Shared(other) => Ending::Shared(other),
            NoStream::Failed(condition, why) => Ending::Ended(condition, why),
            NoStream::Refused(why) => Ending::Refused(why),
        };
        // Of a server of ours, its LocalLink tells, and not each time.
        if let (Ending::Ended(_, why) | Ending::Refused(why), false) = (&ending, self.is_attached()) {
            info!(stream = self.id, dialled = self.dialled.is_some(), why, "no classic stream");
        }
        self.unopened = Some(ending);
    }

    pub(super) fn written(&mut self, result: std::io::Result<()>, ctx: &mut Context<Self>) {
        let over = self.link.as_ref().is_none_or(|link| link.wired.borrow().stream.is_over());
        match result {
            // The other side is heard out (RFC 6120 §4.4).
            Ok(()) if !over => _ = ctx.run_later(LINGER, |_, ctx| ctx.stop()),
            Ok(()) => ctx.stop(),
            Err(error) => {
                self.why_ended.get_or_insert_with(|| format!("writing failed: {error}"));
                ctx.stop();
            }
        }
    }

    /// Ends the stream, behind what may be sent.
    pub(super) fn end(&mut self, ctx: &mut Context<Self>) {
        if self.link.is_none() {
            return ctx.stop();
        }
        ctx.run_later(2 * LINGER, |_, ctx| ctx.stop());
        self.with_core(ctx, ServerStream::end);
    }

    pub(super) fn fail(&mut self, error: StreamError, ctx: &mut Context<Self>) {
        self.with_core(ctx, |stream, actions| stream.fail(error, actions));
    }

    /// Nothing that comes counts any more; what is queued goes out.
    pub(super) fn over(&mut self, error: Option<StreamError>, ctx: &mut Context<Self>) {
        if let Some(error) = error {
            warn!(stream = self.id, %error, "a classic stream ends");
            self.why_ended.get_or_insert_with(|| error.to_string());
        }
        if self.ending {
            // Our own end was written before; there is nothing to wait for.
            return ctx.stop();
        }
        self.linger();
        ctx.run_later(LINGER, |_, ctx| ctx.stop());
    }

    /// The writer ends behind what is queued.
    pub(super) fn linger(&mut self) {
        self.ending = true;
        if let Some(link) = &self.link {
            link.wired.borrow_mut().closed = true;
            link.wake.notify_one();
        }
    }

    /// Ends a stream that has carried nothing for nearly as long as either side allows.
    pub(super) fn watch_idle(&mut self, theirs: Option<u32>, ctx: &mut Context<Self>) {
        let ours = self.shared.config().limits.idle_timeout;
        let limit = theirs.map_or(ours, |seconds| ours.min(Duration::from_secs(seconds.max(1).into())));
        ctx.run_interval(limit / IDLE_LOOKS, |this, ctx| {
            let Some(link) = &this.link else { return };
            let carried = this.carried + link.wired.borrow().bytes_out;
            let is_quiet = std::mem::replace(&mut this.idle_mark, carried) == carried;
            this.quiet = if is_quiet { this.quiet + 1 } else { 0 };
            if this.quiet >= IDLE_LOOKS - 1 && !this.is_attached() {
                this.why_ended.get_or_insert_with(|| "idle".to_owned());
                this.end(ctx);
            }
        });
    }
}

/// Ends the stream, behind what may be sent.
#[derive(Message)]
#[rtype(result = "()")]
pub struct EndStream;

impl Handler<EndStream> for ClassicStream {
    type Result = ();

    fn handle(&mut self, EndStream: EndStream, ctx: &mut Self::Context) {
        self.end(ctx);
    }
}
