//! Listener: accepts connections and starts what serves them.
//!
//! Parent: the Router. Children: none; a HostConnection that it starts belongs to the Router, a
//! component's handshake is a task that hands the link over to its LocalLink. Ends when the Router
//! drains: nothing is accepted any more.

mod handshakes;

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use bytes::Bytes;
use heteronym_net::random;
use heteronym_net::wire::{Stream, join, split};
use heteronym_proto::component::{Accepted, Acceptor, ComponentError, Secret};
use heteronym_proto::framer::Framer;
use heteronym_proto::hosted::Entry;
use heteronym_proto::limits::UNAUTHENTICATED_BYTES;
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, info, warn};

use crate::classic_stream::{self, ClassicStream};
use crate::host_connection::{HostConnection, Start};
use crate::local_link::AttachLink;
use crate::router::Router;
use crate::{Attach, Config, Shared, Sockets};
use handshakes::Handshakes;

pub use handshakes::Place;
pub(crate) use handshakes::network;

/// After an accept that failed, for want of descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Listener {
    sockets: Sockets,
    shared: Shared,
    router: Addr<Router>,
}

impl Listener {
    /// Serves these sockets.
    #[must_use]
    pub fn new(sockets: Sockets, shared: Shared, router: Addr<Router>) -> Self {
        Self { sockets, shared, router }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let metrics = Arc::clone(&self.shared.metrics);
        let places = |listener| Handshakes::new(listener, Arc::clone(&metrics));
        let handshakes = places("federation");
        for socket in std::mem::take(&mut self.sockets.federation) {
            let (shared, router, handshakes) = (self.shared.clone(), self.router.clone(), handshakes.clone());
            let serve = accept(socket, handshakes, move |stream, place| {
                HostConnection::launch(&shared, &router, Start::Accepted(stream, place));
            });
            ctx.spawn(serve.into_actor(self));
        }
        let handshakes = places("s2s");
        for socket in std::mem::take(&mut self.sockets.s2s) {
            let (shared, router, handshakes) = (self.shared.clone(), self.router.clone(), handshakes.clone());
            let serve = accept(socket, handshakes, move |stream, place| {
                ClassicStream::launch(&shared, &router, classic_stream::Start::Accepted(stream, place));
            });
            ctx.spawn(serve.into_actor(self));
        }
        let handshakes = places("local_s2s");
        for socket in std::mem::take(&mut self.sockets.local_s2s) {
            let (shared, router, handshakes) = (self.shared.clone(), self.router.clone(), handshakes.clone());
            let serve = accept(socket, handshakes, move |stream, place| {
                ClassicStream::launch(&shared, &router, classic_stream::Start::AcceptedOwn(stream, place));
            });
            ctx.spawn(serve.into_actor(self));
        }
        let handshakes = places("component");
        for socket in std::mem::take(&mut self.sockets.component) {
            let shared = self.shared.clone();
            let serve = accept(socket, handshakes.clone(), move |stream, place| {
                let (shared, secrets) = (shared.clone(), Arc::new(secrets(&shared.config())));
                actix_rt::spawn(async move {
                    component(stream, shared, secrets, place).await;
                });
            });
            ctx.spawn(serve.into_actor(self));
        }
    }
}

fn secrets(config: &Config) -> Vec<Option<Secret>> {
    let secret = |attach: &Attach| match attach {
        Attach::Component { secret } => Some(secret.clone()),
        Attach::DialComponent { .. } | Attach::S2s(_) | Attach::Jabberd2 { .. } | Attach::Gone => None,
    };
    config.locals.iter().map(|local| secret(&local.attach)).collect()
}

async fn accept(socket: StdListener, handshakes: Handshakes, mut serve: impl FnMut(std::net::TcpStream, Place)) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return warn!(%error, "a listener could not be used"),
    };
    loop {
        let Some(permit) = handshakes.free().await else { return };
        match socket.accept().await.and_then(|(stream, address)| Ok((stream.into_std()?, address))) {
            Ok((stream, address)) => match handshakes.take(permit, address.ip()) {
                Some(place) => {
                    let _ = stream.set_nodelay(true);
                    serve(stream, place);
                }
                None => debug!(%address, "too many handshakes from this network: not let in"),
            },
            Err(error) => {
                warn!(%error, "accept failed");
                actix_rt::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A component's handshake (XEP-0114), then its link is the LocalLink's.
async fn component(stream: std::net::TcpStream, shared: Shared, secrets: Arc<Vec<Option<Secret>>>, place: Place) {
    let peer = stream.peer_addr().map(|address| address.to_string()).unwrap_or_default();
    let limit = shared.config().limits.connect_timeout;
    match tokio::time::timeout(limit, handshake(stream, &shared, secrets)).await {
        Ok(Ok((entry, attach))) => {
            place.established();
            match shared.locals.get(entry) {
                Some(local) => drop(local.addr.try_send(attach)),
                None => warn!(peer, "there is no actor for this entry"),
            }
        }
        Ok(Err(why)) => warn!(peer, why, "a component was not let in"),
        Err(_) => {
            place.late();
            info!(peer, "a component did not finish its handshake in time");
        }
    }
}

async fn handshake(
    stream: std::net::TcpStream,
    shared: &Shared,
    secrets: Arc<Vec<Option<Secret>>>,
) -> Result<(Entry, AttachLink), String> {
    let text = |error: std::io::Error| error.to_string();
    let stream = TcpStream::from_std(stream).map_err(text)?;
    let (mut reader, mut writer) = split(Stream::Plain(stream));
    let mut framer = Framer::new(UNAUTHENTICATED_BYTES);
    let mut acceptor = Acceptor::new(Arc::clone(&shared.config().hosted), secrets, stream_id());
    loop {
        let step = match framer.next_frame() {
            Ok(Some(frame)) => acceptor.frame(frame),
            Ok(None) => {
                let Some(read) = reader.read().await.map_err(text)? else { return Err("closed".to_owned()) };
                framer.push(read);
                continue;
            }
            Err(error) => Err(ComponentError::Told(error.stream_error())),
        };
        match step {
            Ok(Accepted::Send(bytes)) => writer.write(&bytes).await.map_err(text)?,
            Ok(Accepted::Up(entry, greeting)) => {
                framer.set_max_bytes(shared.config().limits.stanza_bytes);
                let stream = join(reader, writer).ok_or("the connection is gone")?;
                let stream = stream.into_std().map_err(text)?;
                return Ok((entry, AttachLink { stream, framer, greeting }));
            }
            Err(error) => {
                let farewell: Bytes = acceptor.farewell(&error);
                writer.write(&farewell).await.map_err(text)?;
                writer.shutdown().await.map_err(text)?;
                return Err(error.to_string());
            }
        }
    }
}

/// The id of a stream that we receive: random, since dialback keys and handshakes depend on it.
pub(crate) fn stream_id() -> String {
    random::bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Accepts nothing more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopAccepting;

impl Handler<StopAccepting> for Listener {
    type Result = ();

    fn handle(&mut self, StopAccepting: StopAccepting, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}
