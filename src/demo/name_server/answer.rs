//! Questions in, messages out: what hickory leaves to us.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{SOA, SRV};
use hickory_server::proto::rr::{LowerName, Name, RData, Record};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::zone::{Found, Srv, Zone};

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
            (zone.ask(&question.name().to_string()), zone.ttl())
        };
        match found {
            Found::Silence => None,
            Found::Failure => Some(Reply::empty(ResponseCode::ServFail)),
            Found::NoName => Some(Reply::absence(ResponseCode::NXDomain, ttl)),
            Found::Name { services, addresses } => {
                let all = services.iter().filter_map(srv).chain(addresses.into_iter().map(address));
                let asked = all.filter(|data| data.record_type() == question.query_type());
                Some(Reply::records(question.name(), asked, ttl))
            }
        }
    }
}

impl Reply {
    fn empty(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), soa: Vec::new() }
    }

    /// RFC 2308: an SOA says how long there is none.
    fn absence(code: ResponseCode, ttl: u32) -> Self {
        let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, ttl);
        let soa = Record::from_rdata(Name::root(), ttl, RData::SOA(soa));
        Self { code, answers: Vec::new(), soa: vec![soa] }
    }

    fn records(name: &LowerName, data: impl Iterator<Item = RData>, ttl: u32) -> Self {
        let answers: Vec<_> = data.map(|data| Record::from_rdata(Name::from(name), ttl, data)).collect();
        if answers.is_empty() {
            return Self::absence(ResponseCode::NoError, ttl);
        }
        Self { code: ResponseCode::NoError, answers, soa: Vec::new() }
    }
}

/// `None` where the target is no name at all.
fn srv((priority, weight, port, target): &Srv) -> Option<RData> {
    let mut target = Name::from_ascii(target).ok()?;
    target.set_fqdn(true);
    Some(RData::SRV(SRV::new(*priority, *weight, *port, target)))
}

fn address(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(four) => RData::A(four.into()),
        IpAddr::V6(six) => RData::AAAA(six.into()),
    }
}
