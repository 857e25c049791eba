//! Asking others: UDP, then TCP for what is truncated; each server in turn.
//!
//! hickory-net sends a message as it is and gives back what came, with every section and flag. The
//! resolver above it, which our own look-ups use, makes errors of absences and loses what came with them.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_server::net::runtime::{RuntimeProvider, TokioRuntimeProvider};
use hickory_server::net::tcp::TcpClientStream;
use hickory_server::net::udp::UdpClientStream;
use hickory_server::net::xfer::{DnsRequestSender as _, FirstAnswer as _};
use hickory_server::net::{DnsHandle as _, NetError};
use hickory_server::proto::op::{DnsRequest, DnsRequestOptions, Edns, Message, Query, ResponseCode};
use hickory_server::server::Request;
use tokio::time::timeout;

use super::DATAGRAM;

/// How long one name server may take for one transport: less than resolvers wait for the next.
const ROUND: Duration = Duration::from_secs(4);
/// When a datagram is sent again that may have been lost, in milliseconds.
const AGAIN: u64 = 1000;
/// Datagrams for one question and server, each from a port of its own.
const DATAGRAMS: u8 = 2;
/// How long a question takes at most: whoever asks us has given up by then, or asked again.
const LONGEST: Duration = Duration::from_secs(10);

type Connection = TcpClientStream<<TokioRuntimeProvider as RuntimeProvider>::Tcp>;

/// The question of `request` as others are asked it: with the same flags, and EDNS if it has it.
pub(super) fn passed_on(request: &Request, query: &Query) -> Message {
    let mut message = Message::query();
    message.add_query(query.clone());
    let (head, asked) = (&mut message.metadata, &request.metadata);
    head.recursion_desired = asked.recursion_desired;
    head.checking_disabled = asked.checking_disabled;
    head.authentic_data = asked.authentic_data;
    if let Some(asked) = &request.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM).set_dnssec_ok(asked.flags().dnssec_ok);
        message.set_edns(edns);
    }
    message
}

/// What the first of `servers` says that knows something; else what the last one said.
///
/// # Errors
///
/// If nobody says anything in time.
pub(super) async fn ask(servers: &[SocketAddr], message: &Message) -> Result<Message, NetError> {
    timeout(LONGEST, ask_in_turn(servers, message)).await.unwrap_or(Err(NetError::Timeout))
}

async fn ask_in_turn(servers: &[SocketAddr], message: &Message) -> Result<Message, NetError> {
    let mut last = Err(NetError::NoConnections);
    for server in servers {
        match ask_one(*server, message).await {
            Ok(said) if knows(said.metadata.response_code) => return Ok(said),
            Err(_) if last.is_ok() => (),
            said => last = said,
        }
    }
    last
}

/// Whether another name server would say nothing else.
fn knows(code: ResponseCode) -> bool {
    !matches!(code, ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp)
}

async fn ask_one(server: SocketAddr, message: &Message) -> Result<Message, NetError> {
    let request = || DnsRequest::new(message.clone(), DnsRequestOptions::default());
    let provider = TokioRuntimeProvider::default();
    let mut udp = UdpClientStream::builder(server, provider.clone())
        .with_timeout(Some(ROUND))
        .with_max_retries(DATAGRAMS)
        .with_retry_interval_floor(AGAIN)
        .build();
    let said = udp.send_message(request()).first_answer().await?;
    if !said.metadata.truncation {
        return Ok(said.into_message());
    }
    let connecting = Connection::exchange(server, None, ROUND, None, provider);
    let said = connecting.await?.send(request()).first_answer().await?;
    if said.metadata.truncation { Err(NetError::Truncated) } else { Ok(said.into_message()) }
}
