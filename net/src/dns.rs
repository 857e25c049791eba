//! Look-ups: who serves a domain (SRV), and where a host is (A, AAAA).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Asks the configured name servers. Cloning is cheap.
#[derive(Clone)]
pub struct Resolver {}

/// What is published under one SRV name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvAnswer {
    /// Empty: the name or the record does not exist, cleanly (NXDOMAIN or NODATA).
    pub records: Vec<SrvRecord>,
    /// How long the answer holds: the smallest TTL, or the SOA's negative TTL.
    pub ttl: Duration,
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvRecord {
    /// The lowest is tried first.
    pub priority: u16,
    /// The share among records of one priority.
    pub weight: u16,
    /// The TCP port.
    pub port: u16,
    /// Lower-case, without a final dot; `.` alone says that the service is not offered.
    pub target: String,
}

/// Why a look-up gave no answer: the record may exist or not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DnsError {
    /// Nobody answered in time.
    #[error("{query}: no answer from {servers} in time")]
    Timeout {
        /// The name and type asked for.
        query: String,
        /// Who was asked.
        servers: String,
    },
}

impl Resolver {
    /// A resolver that asks `servers`, or the system's if there are none.
    ///
    /// # Errors
    ///
    /// If the system's configuration cannot be read or names no server.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let _ = servers;
        unimplemented!()
    }

    /// The SRV records of `service` (`_xmpp-federation._tcp`) at `domain`.
    ///
    /// # Errors
    ///
    /// If it cannot be known whether there are any.
    pub async fn srv(&self, service: &str, domain: &str) -> Result<SrvAnswer, DnsError> {
        let _ = (service, domain);
        unimplemented!()
    }

    /// The addresses of `host`, IPv6 and IPv4 taking turns (RFC 8305 §4). None: it has none.
    ///
    /// # Errors
    ///
    /// If it cannot be known whether there are any.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let _ = host;
        unimplemented!()
    }
}

/// The order in which to try `records` (RFC 2782): groups of one priority, each in weighted order.
///
/// `random(bound)` gives a number below `bound`.
pub fn order(records: &[SrvRecord], random: impl FnMut(u32) -> u32) -> Vec<Vec<SrvRecord>> {
    let _ = (records, random);
    unimplemented!()
}
