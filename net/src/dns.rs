//! Look-ups: who serves a domain (SRV), and where a host is (A, AAAA).
//!
//! What matters here is to tell *there is none* from *it cannot be known*: the first may lead to
//! classic S2S and release a pin, the second never does. So a clean absence (NXDOMAIN, NODATA) is
//! an answer, and everything else is a [`DnsError`].
//!
//! Nothing is cached: the registry does that, by the TTLs it gets from here.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::sync::Semaphore;

mod error;
mod srv;

pub use error::DnsError;
pub use srv::{SrvAnswer, SrvRecord, order, order_by};

/// How long one round of questions may take. Within it a lost datagram is asked for again.
const ROUND: Duration = Duration::from_secs(4);
/// Rounds after the first one failed.
const FURTHER_ROUNDS: usize = 1;
/// The longest a look-up takes, whatever the servers do: below the 30 s that stanzas wait.
const LONGEST: Duration = Duration::from_secs(10);
/// How long addresses of one family wait for those of the other: the resolution delay of RFC 8305 §3,
/// which says 50 ms to a browser. A router has time for a resolver that has to ask far away.
const RESOLUTION_DELAY: Duration = Duration::from_secs(1);
/// How long "there is none" holds when the zone does not say (no SOA).
const NEGATIVE_TTL: Duration = Duration::from_secs(60);
/// Questions under way at once: each has a UDP socket of its own, against forged answers.
pub const UNDER_WAY: usize = 256;
/// Aliases (CNAME) followed one after another on the way to SRV records.
const ALIASES: usize = 8;
/// Records taken from one answer. Real ones have less than ten; an answer could hold 2,000.
const RECORDS: usize = 64;

/// Asks the name servers. Cloning is cheap, and clones share their bounds.
///
/// Its sockets belong to the runtime that asked first: keep one resolver per runtime.
#[derive(Clone)]
pub struct Resolver {
    inner: TokioResolver,
    servers: Arc<str>,
    slots: Arc<Semaphore>,
}

impl Resolver {
    /// A resolver that asks `servers` (UDP, then TCP for what is truncated), or the system's name
    /// servers if there are none given. Names are never completed with search domains; the hosts
    /// file counts only for the system's configuration.
    ///
    /// # Errors
    ///
    /// [`DnsError::Configuration`] if the system's configuration cannot be read.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| DnsError::Configuration(error.to_string()))?
        } else {
            let servers = servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        limit(builder.options_mut(), servers.is_empty());
        let inner = builder.build().map_err(|error| DnsError::Configuration(error.to_string()))?;
        Ok(Self { inner, servers: describe(servers), slots: Arc::new(Semaphore::new(UNDER_WAY)) })
    }

    /// The SRV records of `service` (`_xmpp-federation._tcp`) at `domain`, at most 64.
    ///
    /// Where there seem to be none, it asks for an alias: hickory follows one for every type but SRV,
    /// of which it takes the record's *target* for the next name to ask for.
    ///
    /// # Errors
    ///
    /// If it cannot be known whether there are any. Absence is not an error.
    pub async fn srv(&self, service: &str, domain: &str) -> Result<SrvAnswer, DnsError> {
        let mut name = format!("{service}.{domain}");
        let mut aliases_hold = Duration::MAX;
        for _ in 0..=ALIASES {
            let mut answer = self.ask(&name, RecordType::SRV).await?.services();
            answer.ttl = answer.ttl.min(aliases_hold);
            if !answer.records.is_empty() {
                return Ok(answer);
            }
            let Some((target, ttl)) = self.ask(&name, RecordType::CNAME).await?.alias() else { return Ok(answer) };
            (name, aliases_hold) = (target, aliases_hold.min(ttl));
        }
        let what = format!("with more than {ALIASES} aliases");
        Err(DnsError::new(format!("SRV {service}.{domain}"), &self.servers, error::Why::Other(what)))
    }

    /// The addresses of `host`, IPv6 and IPv4 taking turns (RFC 8305 §4); at most 64 of each.
    /// None: it has none.
    ///
    /// # Errors
    ///
    /// If nothing was found and one of the two questions got no answer.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let six = self.ask(host, RecordType::AAAA).boxed();
        let four = self.ask(host, RecordType::A).boxed();
        let (first, other) = match select(six, four).await {
            Either::Left(first) | Either::Right(first) => first,
        };
        let Ok(first) = first else { return some_of(first, other.await) };
        let has_one = first.addresses().next().is_some();
        let limit = if has_one { RESOLUTION_DELAY } else { LONGEST };
        match tokio::time::timeout(limit, other).await {
            Ok(other) => some_of(Ok(first), other),
            Err(_elapsed) => Ok(first.addresses().collect()),
        }
    }

    /// Asks one question; waits for a free slot before the clock runs.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Answer, DnsError> {
        let mut absolute = Name::from_ascii(name)
            .map_err(|_| DnsError::BadName { query: format!("{kind} {}", name.escape_debug()) })?;
        absolute.set_fqdn(true);
        // The semaphore is never closed, so there is always a permit in the end.
        let _slot = self.slots.acquire().await;
        let query = || format!("{kind} {name}");
        match tokio::time::timeout(LONGEST, self.inner.lookup(absolute, kind)).await {
            Ok(Ok(lookup)) => Ok(Answer { lookup: Some(lookup), kind, negative_ttl: NEGATIVE_TTL }),
            Ok(Err(failure)) => {
                let ttl = error::absence(failure).map_err(|why| DnsError::new(query(), &self.servers, why))?;
                Ok(Answer { lookup: None, kind, negative_ttl: ttl.unwrap_or(NEGATIVE_TTL) })
            }
            Err(_elapsed) => Err(DnsError::Timeout { query: query(), servers: self.servers.to_string() }),
        }
    }
}

/// The addresses of both families, or those of the one that was answered.
fn some_of(one: Result<Answer, DnsError>, other: Result<Answer, DnsError>) -> Result<Vec<IpAddr>, DnsError> {
    match (one, other) {
        (Ok(one), Ok(other)) if one.kind == RecordType::AAAA => Ok(interleave(one.addresses(), other.addresses())),
        (Ok(one), Ok(other)) => Ok(interleave(other.addresses(), one.addresses())),
        (Ok(some), Err(error)) | (Err(error), Ok(some)) => {
            let found: Vec<_> = some.addresses().collect();
            if found.is_empty() { Err(error) } else { Ok(found) }
        }
        (Err(error), Err(_)) => Err(error),
    }
}

/// An answer, which may be "there is none".
struct Answer {
    lookup: Option<Lookup>,
    kind: RecordType,
    /// How long it holds that there is none; records have TTLs of their own.
    negative_ttl: Duration,
}

impl Answer {
    /// The records of the type asked for; an alias on the way to them is none.
    fn answers(&self) -> impl Iterator<Item = &Record> {
        let records = self.lookup.as_ref().map_or(&[][..], Lookup::answers);
        records.iter().filter(|record| record.record_type() == self.kind)
    }

    fn services(&self) -> SrvAnswer {
        let shortest = self.answers().take(RECORDS).map(|record| record.ttl).min();
        let ttl = shortest.map_or(self.negative_ttl, |seconds| Duration::from_secs(seconds.into()));
        let records = self.answers().take(RECORDS).filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(SrvRecord::from_wire(srv)),
            _ => None,
        });
        SrvAnswer { records: records.collect(), ttl }
    }

    /// Where an alias leads, and how long.
    fn alias(&self) -> Option<(String, Duration)> {
        self.answers().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((target.to_ascii(), Duration::from_secs(record.ttl.into()))),
            _ => None,
        })
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.answers().take(RECORDS).filter_map(|record| record.data.ip_addr())
    }
}

fn interleave(six: impl Iterator<Item = IpAddr>, four: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (mut six, mut four) = (six.fuse(), four.fuse());
    let mut addresses = Vec::new();
    loop {
        let before = addresses.len();
        addresses.extend(six.next());
        addresses.extend(four.next());
        if addresses.len() == before {
            return addresses;
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

fn limit(options: &mut ResolverOpts, of_the_system: bool) {
    options.timeout = ROUND;
    options.attempts = FURTHER_ROUNDS;
    options.cache_size = 0;
    options.max_active_requests = UNDER_WAY;
    if !of_the_system {
        options.use_hosts_file = ResolveHosts::Never;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    }
}

fn describe(servers: &[SocketAddr]) -> Arc<str> {
    let mut names = String::new();
    for server in servers {
        let comma = if names.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(names, "{comma}{server}");
    }
    if names.is_empty() { "the system's name servers".into() } else { names.into() }
}

#[cfg(test)]
mod tests;
