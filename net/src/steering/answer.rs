//! What is answered: our own few records, or what somebody else has said.

use std::net::{IpAddr, SocketAddr};

use hickory_server::proto::op::{Message, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{SOA, SRV};
use hickory_server::proto::rr::{Name, RData, Record};

use super::question::as_name;

/// How long our answers hold, in seconds. A server that was taken out of the router's care finds its way
/// within a minute; asking again costs nothing, it stays on this machine.
const TTL: u32 = 60;

/// Where every domain is led.
#[derive(Clone, Debug)]
pub(super) struct Target {
    port: u16,
    name: Name,
}

/// An answer but for what it shares with its question.
#[derive(Debug, Default)]
pub(super) struct Reply {
    code: ResponseCode,
    authoritative: bool,
    recursion_available: bool,
    authentic: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) additionals: Vec<Record>,
}

impl Target {
    /// `address`; the loopback address of its family where it is unspecified.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { port: address.port(), name: as_name(reachable(address.ip())) }
    }

    fn record(&self) -> SRV {
        SRV::new(0, 0, self.port, self.name.clone())
    }
}

impl Reply {
    /// No answer, and why.
    pub(super) fn code(code: ResponseCode) -> Self {
        Self { code, recursion_available: true, ..Self::default() }
    }

    /// `owner`'s servers are at `target`.
    pub(super) fn steered(owner: &Name, target: &Target) -> Self {
        Self::found(owner, RData::SRV(target.record()))
    }

    /// `owner` has the address `address`.
    pub(super) fn address(owner: &Name, address: IpAddr) -> Self {
        Self::found(owner, RData::from(address))
    }

    /// There is `owner`, and nothing of that kind at it (RFC 2308 §2.2): a zone of its own, so that this is
    /// no claim about any other name.
    pub(super) fn absent(owner: &Name) -> Self {
        let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86_400, TTL);
        let authority = Record::from_rdata(owner.clone(), TTL, RData::SOA(soa));
        Self { authorities: vec![authority], ..Self::code(ResponseCode::NoError) }
    }

    fn found(owner: &Name, data: RData) -> Self {
        let answer = Record::from_rdata(owner.clone(), TTL, data);
        Self { answers: vec![answer], ..Self::code(ResponseCode::NoError) }
    }

    /// Leaves the records out: they do not fit, and who asked comes again by TCP.
    pub(super) fn cut(&mut self) {
        self.answers.clear();
        self.authorities.clear();
        self.additionals.clear();
    }

    /// Writes what it says beside records into the head of the message.
    pub(super) fn mark(&self, head: &mut Metadata) {
        head.response_code = self.code;
        head.authoritative = self.authoritative;
        head.recursion_available = self.recursion_available;
        head.authentic_data = self.authentic;
    }
}

/// What another name server said. That it has verified signatures (AD) is passed on as it said it.
impl From<Message> for Reply {
    fn from(said: Message) -> Self {
        Self {
            code: said.metadata.response_code,
            authoritative: said.metadata.authoritative,
            recursion_available: said.metadata.recursion_available,
            authentic: said.metadata.authentic_data,
            answers: said.answers,
            authorities: said.authorities,
            additionals: said.additionals,
        }
    }
}

fn reachable(address: IpAddr) -> IpAddr {
    use std::net::{Ipv4Addr, Ipv6Addr};
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        known => known,
    }
}
