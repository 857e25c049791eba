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
use std::slice;
use std::sync::Arc;

use async_trait::async_trait;
use hickory_server::Server;
use hickory_server::net::NetError;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::{Record, RecordType};
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::debug;

mod answer;
mod connections;
mod question;
mod resolvers;
mod upstream;

pub use resolvers::{Resolvers, leading_back};

use answer::{Reply, Target};
use question::{Way, decide};
use upstream::{ask, passed_on};

/// The largest datagram, in bytes: it is never cut into fragments (the DNS flag day of 2020).
const DATAGRAM: u16 = 1232;
/// The same for who does not say what it takes (RFC 1035 §4.2.1).
const PLAIN_DATAGRAM: u16 = 512;
/// Questions that others are asked at once, with two sockets each. Of more, each is SERVFAIL at once: what
/// our servers ask most, they are answered from here.
const UNDER_WAY: usize = 256;

/// Answers, until it is dropped.
pub struct Steering {
    /// Their sockets are closed with them.
    _datagrams: Server<Responder>,
    _connections: JoinSet<()>,
    resolvers: Resolvers,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was led to our server, or to the address that it asked for.
    Steered,
    /// There is none, as far as our servers are to know.
    Absent,
    /// Others were asked, and have answered.
    Forwarded,
    /// Nobody has answered (SERVFAIL), or it is no question for us.
    Failed,
}

/// What all sockets share.
#[derive(Clone)]
struct Responder(Arc<Inner>);

struct Inner {
    target: Target,
    resolvers: Resolvers,
    under_way: Semaphore,
    told: Box<dyn Fn(Outcome) + Send + Sync>,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Steered, Self::Absent, Self::Forwarded, Self::Failed];

    /// Its word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steered => "steered",
            Self::Absent => "absent",
            Self::Forwarded => "forwarded",
            Self::Failed => "failed",
        }
    }
}

impl Steering {
    /// Answers on `sockets` of [`bind_both`](crate::listen::bind_both), leads every domain to `target`, asks
    /// `servers` all else, or the system's name servers if there are none given, and tells `told` about each
    /// question. An unspecified `target` stands for the loopback address. If it is among those that it
    /// would ask, it answers nothing but SERVFAIL.
    ///
    /// It belongs to the runtime in which this is called.
    ///
    /// # Errors
    ///
    /// If the system does not say where a socket is, or the runtime does not take it.
    pub fn start(
        sockets: Vec<(UdpSocket, TcpListener)>,
        target: SocketAddr,
        servers: &[SocketAddr],
        told: impl Fn(Outcome) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let own = sockets.iter().map(|(udp, _)| udp.local_addr()).collect::<io::Result<_>>()?;
        let resolvers = Resolvers::new(own, servers);
        let responder = Responder(Arc::new(Inner {
            target: Target::new(target),
            resolvers: resolvers.clone(),
            under_way: Semaphore::new(UNDER_WAY),
            told: Box::new(told),
        }));
        let (mut datagrams, mut connections) = (Server::new(responder.clone()), JoinSet::new());
        for (udp, tcp) in sockets {
            datagrams.register_socket(tokio::net::UdpSocket::from_std(udp)?);
            connections.spawn(connections::serve(tokio::net::TcpListener::from_std(tcp)?, responder.clone()));
        }
        Ok(Self { _datagrams: datagrams, _connections: connections, resolvers })
    }

    /// Whom it asks, to be replaced by a reload.
    #[must_use]
    pub fn resolvers(&self) -> &Resolvers {
        &self.resolvers
    }
}

#[async_trait]
impl RequestHandler for Responder {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut handle: R) -> ResponseInfo {
        let (mut reply, outcome) = self.reply(request).await;
        (self.0.told)(outcome);
        let mut head = Metadata::response_from_request(&request.metadata);
        reply.mark(&mut head);
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(request.max_payload().min(DATAGRAM)).set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        if request.protocol() == Protocol::Udp && !fits(message(request, edns.as_ref(), head, &reply)) {
            head.truncation = true;
            reply.cut();
        }
        let nothing = ResponseInfo::from(Header { metadata: head, counts: HeaderCounts::default() });
        // Who asked has gone: nobody is left to be told.
        handle.send_response(message(request, edns.as_ref(), head, &reply)).await.unwrap_or(nothing)
    }
}

type Records<'a> = slice::Iter<'a, Record>;
type Whole<'a> = MessageResponse<'a, 'a, Records<'a>, Records<'a>, Records<'a>, Records<'a>>;

fn message<'a>(request: &'a Request, edns: Option<&'a Edns>, head: Metadata, reply: &'a Reply) -> Whole<'a> {
    let response = MessageResponseBuilder::new(&request.queries, edns);
    response.build(head, &reply.answers, &reply.authorities, &[], &reply.additionals)
}

/// Whether it is a whole message as a datagram. What hickory-proto 0.26.3 makes of a larger one ends with
/// the half of a record, which Erlang's resolver takes for an error, and may lack its EDNS.
fn fits(message: Whole<'_>) -> bool {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(message.edns().map_or(PLAIN_DATAGRAM, Edns::max_payload));
    message.destructive_emit(&mut encoder).is_ok_and(|sent| !sent.truncation)
}

impl Responder {
    async fn reply(&self, request: &Request) -> (Reply, Outcome) {
        let query = match question(request) {
            Ok(query) => query,
            Err(code) => return (Reply::code(code), Outcome::Failed),
        };
        let Some(servers) = self.0.resolvers.now() else {
            return (Reply::code(ResponseCode::ServFail), Outcome::Failed);
        };
        match decide(query) {
            Way::Steer => (Reply::steered(query.name(), &self.0.target), Outcome::Steered),
            Way::Address(address) => (Reply::address(query.name(), address), Outcome::Steered),
            Way::Absent => (Reply::absent(query.name()), Outcome::Absent),
            Way::Forward => self.forward(&servers, request, query).await,
        }
    }

    async fn forward(&self, servers: &[SocketAddr], request: &Request, query: &Query) -> (Reply, Outcome) {
        let said = match self.0.under_way.try_acquire() {
            Ok(_until_then) => ask(servers, &passed_on(request, query)).await,
            Err(_all_taken) => Err(NetError::Busy),
        };
        match said {
            Ok(said) => (said.into(), Outcome::Forwarded),
            Err(why) => {
                debug!(question = %query, %why, "nobody answers");
                (Reply::code(ResponseCode::ServFail), Outcome::Failed)
            }
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
