//! Questions over TCP: so many connections, and each for so long.
//!
//! The listener of hickory-server has no bound for either, and goes round in circles where there is no
//! descriptor left to accept with.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use hickory_server::net::BufDnsStreamHandle;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler as _, ResponseHandle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::Responder;

/// Connections at once at one address; more wait to be accepted. Our servers need one for each answer
/// that is too large for a datagram.
const CONNECTIONS: usize = 64;
/// How long a connection may take to ask, and to take an answer (RFC 7766 §6.2.3: a few seconds).
const IDLE: Duration = Duration::from_secs(10);
/// Before it is tried again to accept: descriptors do not come back at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Accepts and answers, until it is dropped with all that it has accepted.
pub(super) async fn serve(listener: TcpListener, responder: Responder) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, from)) => {
                    connections.spawn(converse(stream, from, responder.clone()));
                }
                Err(error) => {
                    debug!(%error, "no connection can be accepted");
                    sleep(PAUSE).await;
                }
            },
            Some(_ended) = connections.join_next() => (),
        }
    }
}

/// One question after another, until there is none, or none that can be read.
async fn converse(mut stream: TcpStream, from: SocketAddr, responder: Responder) {
    while let Ok(Ok(bytes)) = timeout(IDLE, read(&mut stream)).await {
        let Ok(request) = Request::from_bytes(bytes, from, Protocol::Tcp) else { return };
        let (handle, mut answers) = BufDnsStreamHandle::new(from);
        let handle = ResponseHandle::new(from, handle, Protocol::Tcp);
        responder.handle_request::<_, TokioTime>(&request, handle).await;
        let Some(answer) = answers.next().await else { return };
        let Ok(Ok(())) = timeout(IDLE, write(&mut stream, answer.bytes())).await else { return };
    }
}

/// A message has its length before it, in two bytes (RFC 1035 §4.2.2).
async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    // In one piece: some resolvers take the first segment for all of it.
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}
