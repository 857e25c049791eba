//! DNS for our own servers: every remote domain leads to one server of ours, all else is as it is.
//!
//! A server that speaks classic S2S looks a domain up and dials what it finds. Here it finds us:
//! `_xmpp-server._tcp` of every domain is one and the same record, what could lead past us is absent,
//! and every other question is asked of name servers, with its flags, and answered as they answer it.
//!
//! Options of EDNS belong to one hop and are not passed on; zone transfers are refused. Nothing is
//! signed: who verifies DNSSEC finds our record in a signed zone to be bogus.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use async_trait::async_trait;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::RecordType;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::task::JoinSet;

mod answer;
mod connections;
mod question;

use answer::{Reply, Target};
use question::{Way, decide};

/// The largest datagram, in bytes: it is never cut into fragments (the DNS flag day of 2020).
const DATAGRAM: u16 = 1232;

/// Answers, until it is dropped.
pub struct Steering {
    /// Their sockets are closed with them.
    _datagrams: Server<Responder>,
    _connections: JoinSet<()>,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was led to our server, or to the address that it asked for.
    Steered,
    /// There is none, as far as our servers are to know.
    Absent,
    /// The answer was SERVFAIL, or that this is no question for us.
    Failed,
}

/// What all sockets share.
#[derive(Clone)]
struct Responder(Arc<Inner>);

struct Inner {
    target: Target,
    told: Box<dyn Fn(Outcome) + Send + Sync>,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Steered, Self::Absent, Self::Failed];

    /// Its word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steered => "steered",
            Self::Absent => "absent",
            Self::Failed => "failed",
        }
    }
}

impl Steering {
    /// Answers on `sockets` of [`bind_both`](crate::listen::bind_both), leads every domain to `target` and
    /// tells `told` about each question. An unspecified `target` stands for the loopback address.
    ///
    /// It belongs to the runtime in which this is called.
    ///
    /// # Errors
    ///
    /// If the runtime does not take a socket.
    pub fn start(
        sockets: Vec<(UdpSocket, TcpListener)>,
        target: SocketAddr,
        told: impl Fn(Outcome) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let responder = Responder(Arc::new(Inner { target: Target::new(target), told: Box::new(told) }));
        let (mut datagrams, mut connections) = (Server::new(responder.clone()), JoinSet::new());
        for (udp, tcp) in sockets {
            datagrams.register_socket(tokio::net::UdpSocket::from_std(udp)?);
            connections.spawn(connections::serve(tokio::net::TcpListener::from_std(tcp)?, responder.clone()));
        }
        Ok(Self { _datagrams: datagrams, _connections: connections })
    }
}

#[async_trait]
impl RequestHandler for Responder {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut handle: R) -> ResponseInfo {
        let (reply, outcome) = self.reply(request).await;
        (self.0.told)(outcome);
        let mut head = Metadata::response_from_request(&request.metadata);
        reply.mark(&mut head);
        let mut edns = Edns::new();
        edns.set_max_payload(request.max_payload().min(DATAGRAM));
        let mut response = MessageResponseBuilder::from_message_request(request);
        if let Some(asked) = &request.edns {
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            response.edns(&edns);
        }
        let response = response.build(head, &reply.answers, &reply.authorities, [], []);
        let nothing = ResponseInfo::from(Header { metadata: head, counts: HeaderCounts::default() });
        // Who asked has gone: nobody is left to be told.
        handle.send_response(response).await.unwrap_or(nothing)
    }
}

impl Responder {
    async fn reply(&self, request: &Request) -> (Reply, Outcome) {
        let query = match question(request) {
            Ok(query) => query,
            Err(code) => return (Reply::code(code), Outcome::Failed),
        };
        match decide(query) {
            Way::Steer => (Reply::steered(query.name(), &self.0.target), Outcome::Steered),
            Way::Address(address) => (Reply::address(query.name(), address), Outcome::Steered),
            Way::Absent => (Reply::absent(query.name()), Outcome::Absent),
            Way::Forward => (Reply::code(ResponseCode::Refused), Outcome::Failed),
        }
    }
}

/// The one question of a request, or why it has none.
fn question(request: &Request) -> Result<&Query, ResponseCode> {
    if request.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    let query = request.request_info().map_err(|_| ResponseCode::FormErr)?.query.original();
    match query.query_type() {
        RecordType::AXFR | RecordType::IXFR => Err(ResponseCode::Refused),
        _ => Ok(query),
    }
}

#[cfg(test)]
mod tests;
