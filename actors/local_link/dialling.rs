//! Dials a server of ours: its component port (XEP-0114), or jabberd2's router.

use std::fmt::Display;
use std::net::SocketAddr;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bytes::Bytes;
use heteronym_net::random;
use heteronym_net::wire::{Reader, Stream, join, split};
use heteronym_proto::component::{Dialled, Dialler, Secret};
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::jabberd2::{Binding, Output, Routes};
use heteronym_proto::stream_error::farewell;
use tokio::net::TcpStream;
use tracing::warn;

use super::LocalLink;
use super::jabberd2::Protocol;
use super::servers::REDIAL;
use crate::Attach;

/// A stream that is negotiated, and what of it is read already.
pub(super) type Established = (Stream, Framer);

impl LocalLink {
    pub(super) fn dial_later(&mut self, ctx: &mut Context<Self>) {
        ctx.run_later(REDIAL, |this, ctx| this.dial(ctx));
    }

    pub(super) fn attach(&self) -> Option<Attach> {
        self.shared.config().locals.get(self.entry).map(|local| local.attach.clone())
    }

    /// Dials the server, where it is attached that way, and is not attached yet.
    pub(super) fn dial(&mut self, ctx: &mut Context<Self>) {
        if self.link.is_some() || self.draining {
            return;
        }
        let stanza_bytes = self.shared.config().limits.stanza_bytes;
        match self.attach() {
            Some(Attach::DialComponent { address, name, secret, .. }) => {
                let dialled = async move { dial_component(address, &name, secret, stanza_bytes).await };
                self.dialled(dialled, Protocol::Component, ctx);
            }
            Some(Attach::S2s(loopback)) => self.attach_by_s2s(&loopback, ctx),
            Some(Attach::Jabberd2 { address, user, secret }) => {
                let protocol = Protocol::Jabberd2(Routes::new(&user));
                self.dialled(dial_jabberd2(address, user, secret, stanza_bytes), protocol, ctx);
            }
            Some(Attach::Component { .. } | Attach::Gone) | None => (),
        }
    }

    /// Has a link once `dialled` has led to one, or tries again.
    fn dialled<F>(&mut self, dialled: F, protocol: Protocol, ctx: &mut Context<Self>)
    where
        F: Future<Output = Result<Established, String>> + 'static,
    {
        let wait = self.shared.config().limits.connect_timeout;
        let in_time = async move {
            tokio::time::timeout(wait, dialled).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
        };
        ctx.spawn(in_time.into_actor(self).map(|result, this, ctx| match result {
            Ok(_) if this.link.is_some() => (),
            Ok(established) => this.bring_up(protocol, established, Bytes::new(), ctx),
            Err(why) => {
                if this.last_error.as_ref() != Some(&why) {
                    warn!(local = this.name(), why, "our server cannot be reached");
                }
                this.last_error = Some(why);
                this.dial_later(ctx);
            }
        }));
    }
}

/// Sees whether a component port takes this name and secret, and leaves again.
///
/// # Errors
/// Why not, in words.
pub async fn try_component(address: SocketAddr, name: &str, secret: Secret, stanza_bytes: usize) -> Result<(), String> {
    dial_component(address, name, secret, stanza_bytes).await.map(drop)
}

/// Sees whether jabberd2's router takes this user for its default route, and leaves again.
///
/// # Errors
/// Why not, in words.
pub async fn try_jabberd2(
    address: SocketAddr,
    user: String,
    secret: Secret,
    stanza_bytes: usize,
) -> Result<(), String> {
    dial_jabberd2(address, user, secret, stanza_bytes).await.map(drop)
}

/// Attaches to a component port (XEP-0114, dialling side).
async fn dial_component(
    address: SocketAddr,
    name: &str,
    secret: Secret,
    stanza_bytes: usize,
) -> Result<Established, String> {
    let (mut dialler, header) = Dialler::new(name, secret);
    let next = |frame| match dialler.frame(frame) {
        Ok(Dialled::Send(bytes)) => Ok(vec![Step::Send(bytes)]),
        Ok(Dialled::Up) => Ok(vec![Step::Up]),
        Err(error) => Err(Failed::new(&error, error.farewell())),
    };
    shake_hands(address, header, stanza_bytes, next).await
}

/// Becomes the default route of jabberd2's router.
async fn dial_jabberd2(
    address: SocketAddr,
    user: String,
    secret: Secret,
    stanza_bytes: usize,
) -> Result<Established, String> {
    let (mut binding, header) = Binding::new(user, secret, random::bytes());
    let next = |frame| match binding.frame(&frame) {
        Ok(outputs) => Ok(outputs.into_iter().map(Step::from).collect()),
        Err(error) => Err(Failed::new(&error, error.farewell())),
    };
    shake_hands(address, header, stanza_bytes, next).await
}

/// What a handshake wants.
enum Step {
    /// Send it.
    Send(Bytes),
    /// The next frame is a stream header again.
    Restart,
    /// It is done.
    Up,
}

impl From<Output> for Step {
    fn from(output: Output) -> Self {
        match output {
            Output::Send(bytes) => Self::Send(bytes),
            Output::Restart => Self::Restart,
            Output::Up => Self::Up,
        }
    }
}

/// Why a handshake failed, and what is sent before the connection closes.
struct Failed {
    why: String,
    farewell: Bytes,
}

impl Failed {
    fn new(error: &dyn Display, farewell: Bytes) -> Self {
        Self { why: error.to_string(), farewell }
    }
}

/// Connects, sends `first`, and does what `next` says to each frame.
async fn shake_hands(
    address: SocketAddr,
    first: Bytes,
    stanza_bytes: usize,
    mut next: impl FnMut(Frame) -> Result<Vec<Step>, Failed>,
) -> Result<Established, String> {
    let io = |error: std::io::Error| format!("{address}: {error}");
    let stream = TcpStream::connect(address).await.map_err(io)?;
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = split(Stream::Plain(stream));
    let mut framer = Framer::new(stanza_bytes);
    writer.write(&first).await.map_err(io)?;
    loop {
        let frame = next_frame(&mut framer, &mut reader).await.map_err(io)?;
        let steps = match frame.and_then(&mut next) {
            Ok(steps) => steps,
            Err(Failed { why, farewell }) => {
                let _ = writer.write(&farewell).await;
                let _ = writer.shutdown().await;
                return Err(format!("{address}: {why}"));
            }
        };
        for step in steps {
            match step {
                Step::Send(bytes) => writer.write(&bytes).await.map_err(io)?,
                Step::Restart => framer.restart(),
                Step::Up => {
                    let stream = join(reader, writer).ok_or("the connection is gone")?;
                    return Ok((Stream::Plain(stream), framer));
                }
            }
        }
    }
}

async fn next_frame(framer: &mut Framer, reader: &mut Reader) -> std::io::Result<Result<Frame, Failed>> {
    loop {
        match framer.next_frame() {
            Ok(Some(frame)) => return Ok(Ok(frame)),
            Ok(None) => match reader.read().await? {
                Some(read) => framer.push(read),
                None => return Ok(Err(Failed::new(&"the connection was closed during the handshake", Bytes::new()))),
            },
            Err(fault) => return Ok(Err(Failed::new(&fault, farewell(Some(&fault.stream_error()))))),
        }
    }
}
