//! Dials the component port of a server of ours (XEP-0114).

use std::net::SocketAddr;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use bytes::Bytes;
use heteronym_net::wire::{Stream, split};
use heteronym_proto::component::{ComponentError, Dialled, Dialler, Secret};
use heteronym_proto::framer::Framer;
use tokio::net::TcpStream;
use tracing::warn;

use super::LocalLink;
use super::servers::REDIAL;
use crate::Attach;

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
        match self.attach() {
            Some(Attach::DialComponent { address, name, secret, .. }) => {
                self.dial_component(address, &name, secret, ctx)
            }
            Some(Attach::S2s(loopback)) => self.attach_by_s2s(&loopback, ctx),
            Some(Attach::Component { .. } | Attach::NotBuilt(_)) | None => (),
        }
    }

    fn dial_component(&mut self, address: SocketAddr, name: &str, secret: Secret, ctx: &mut Context<Self>) {
        let (dialler, limits) = (Dialler::new(name, secret), self.shared.config().limits.clone());
        let dialled = async move {
            let handshake = dial(address, dialler, limits.stanza_bytes);
            let late = || "no answer in time".to_owned();
            tokio::time::timeout(limits.connect_timeout, handshake).await.map_err(|_| late())?
        };
        ctx.spawn(dialled.into_actor(self).map(|result, this, ctx| match result {
            Ok(_) if this.link.is_some() => (),
            Ok((stream, framer)) => this.bring_up(stream, framer, Bytes::new(), ctx),
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
    dial(address, Dialler::new(name, secret), stanza_bytes).await.map(drop)
}

/// Attaches to a component port (XEP-0114, dialling side).
async fn dial(
    address: SocketAddr,
    (mut dialler, header): (Dialler, Bytes),
    stanza_bytes: usize,
) -> Result<(Stream, Framer), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = split(Stream::Plain(stream));
    let mut framer = Framer::new(stanza_bytes);
    let io = |error: std::io::Error| format!("{address}: {error}");
    writer.write(&header).await.map_err(io)?;
    loop {
        let step = match framer.next_frame() {
            Ok(Some(frame)) => dialler.frame(frame),
            Ok(None) => {
                let read = reader.read().await.map_err(io)?.ok_or_else(|| ComponentError::Closed.to_string())?;
                framer.push(read);
                continue;
            }
            Err(fault) => Err(ComponentError::Told(fault.stream_error())),
        };
        match step {
            Ok(Dialled::Send(bytes)) => writer.write(&bytes).await.map_err(io)?,
            Ok(Dialled::Up) => break,
            Err(error) => {
                let _ = writer.write(&error.farewell()).await;
                let _ = writer.shutdown().await;
                return Err(format!("{address}: {error}"));
            }
        }
    }
    let stream = heteronym_net::wire::join(reader, writer).ok_or("the connection is gone")?;
    Ok((Stream::Plain(stream), framer))
}
