//! Questions in, messages out: what hickory leaves to us.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::LowerQuery;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{CNAME, SOA, SRV};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::zone::{Found, Last, Srv, Zone};

/// The largest datagram that is sent, in bytes (the DNS flag day of 2020).
const DATAGRAM: u16 = 1232;

/// Answers from the zone.
pub(super) struct Answers(pub(super) Arc<Mutex<Zone>>);

/// What is sent.
struct Reply {
    code: ResponseCode,
    answers: Vec<Record>,
    /// With an absence: how long it holds.
    soa: Vec<Record>,
}

#[async_trait]
impl RequestHandler for Answers {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut handle: R) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        metadata.recursion_available = true;
        let nothing = ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() });
        let Some(reply) = self.reply(request) else { return nothing };
        metadata.response_code = reply.code;
        let mut edns = Edns::new();
        edns.set_max_payload(request.max_payload().min(DATAGRAM));
        let mut response = MessageResponseBuilder::from_message_request(request);
        if request.edns.is_some() {
            response.edns(&edns);
        }
        let response = response.build(metadata, &reply.answers, [], &reply.soa, []);
        // Who asked has gone: nobody is left to be told.
        handle.send_response(response).await.unwrap_or(nothing)
    }
}

impl Answers {
    fn reply(&self, request: &Request) -> Option<Reply> {
        let Ok(question) = request.request_info().map(|info| info.query) else {
            return Some(Reply::empty(ResponseCode::FormErr));
        };
        let (found, ttl) = {
            let mut zone = super::lock(&self.0);
            (zone.ask(&question.name().to_ascii()), zone.ttl())
        };
        match found {
            Found::Silence => None,
            Found::Failure => Some(Reply::empty(ResponseCode::ServFail)),
            Found::Answer { aliases, last } => Some(Reply::found(question, &aliases, last, ttl)),
        }
    }
}

impl Reply {
    fn empty(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), soa: Vec::new() }
    }

    /// The aliases, and what is behind them; where that is nothing, an SOA says how long (RFC 2308).
    fn found(question: &LowerQuery, aliases: &[String], last: Last, ttl: u32) -> Self {
        let mut name = Name::from(question.name());
        let mut answers = Vec::new();
        // Who asks for the alias itself gets no more than that.
        let alone = question.query_type() == RecordType::CNAME && !aliases.is_empty();
        for target in aliases.iter().take(if alone { 1 } else { aliases.len() }).filter_map(|name| absolute(name)) {
            let alias = RData::CNAME(CNAME(target.clone()));
            answers.push(Record::from_rdata(std::mem::replace(&mut name, target), ttl, alias));
        }
        let (code, services, addresses) = match last {
            Last::NoName => (ResponseCode::NXDomain, Vec::new(), Vec::new()),
            Last::Name { services, addresses } => (ResponseCode::NoError, services, addresses),
        };
        let all = services.iter().filter_map(srv).chain(addresses.into_iter().map(address));
        let asked = all.filter(|data| data.record_type() == question.query_type());
        let records: Vec<_> = asked.map(|data| Record::from_rdata(name.clone(), ttl, data)).collect();
        if alone {
            return Self { code: ResponseCode::NoError, answers, soa: Vec::new() };
        }
        let soa = if records.is_empty() { vec![start_of_authority(ttl)] } else { Vec::new() };
        answers.extend(records);
        Self { code, answers, soa }
    }
}

fn start_of_authority(ttl: u32) -> Record {
    let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, ttl);
    Record::from_rdata(Name::root(), ttl, RData::SOA(soa))
}

/// `None` where the target is no name at all.
fn srv((priority, weight, port, target): &Srv) -> Option<RData> {
    Some(RData::SRV(SRV::new(*priority, *weight, *port, absolute(target)?)))
}

fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn address(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(four) => RData::A(four.into()),
        IpAddr::V6(six) => RData::AAAA(six.into()),
    }
}
