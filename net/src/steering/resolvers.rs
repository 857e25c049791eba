//! Whom questions are passed on to, which a reload may change, and which must not be ourselves.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};

use hickory_resolver::config::NameServerConfig;
use hickory_resolver::system_conf::read_system_conf;
use tracing::error;

/// The name servers that a responder asks. Clones are about the same responder.
#[derive(Clone)]
pub struct Resolvers {
    own: Arc<[SocketAddr]>,
    asked: Arc<RwLock<Asked>>,
}

#[derive(Clone)]
enum Asked {
    Servers(Arc<[SocketAddr]>),
    /// The responder is among those that it would ask.
    Ourselves,
}

impl Resolvers {
    /// Of a responder that listens at `own`.
    pub(super) fn new(own: Vec<SocketAddr>, servers: &[SocketAddr]) -> Self {
        let asked = Arc::new(RwLock::new(choose(&own, servers)));
        Self { own: own.into(), asked }
    }

    /// Asks `servers` from now on, in this order; the system's as they are now if there are none given.
    pub fn replace(&self, servers: &[SocketAddr]) {
        *self.asked.write().unwrap_or_else(PoisonError::into_inner) = choose(&self.own, servers);
    }

    /// Whom to ask; `None`: nobody, and nothing may be answered.
    ///
    /// Where the responder is among the name servers of this machine, our own look-ups come here as well.
    /// It would tell them that no domain has a federation record and that every server is this one; that
    /// nothing can be known is the only thing that it can truly say.
    pub(super) fn now(&self) -> Option<Arc<[SocketAddr]>> {
        match &*self.asked.read().unwrap_or_else(PoisonError::into_inner) {
            Asked::Servers(servers) => Some(Arc::clone(servers)),
            Asked::Ourselves => None,
        }
    }
}

/// The one of `servers` that is a responder at `own`, if any; of the system's name servers if there are
/// none given.
#[must_use]
pub fn leading_back(own: &[SocketAddr], servers: &[SocketAddr]) -> Option<SocketAddr> {
    first_of(own, &effective(servers).unwrap_or_default())
}

/// What is wrong is told here: once, and not with every question.
fn choose(own: &[SocketAddr], servers: &[SocketAddr]) -> Asked {
    const ADVICE: &str = "name resolvers in dns.servers";
    let servers = effective(servers).unwrap_or_else(|why| {
        error!(%why, "the system's name servers cannot be read: steering_dns passes nothing on; {ADVICE}");
        Vec::new()
    });
    let Some(server) = first_of(own, &servers) else { return Asked::Servers(servers.into()) };
    error!(%server, "steering_dns would ask itself: it answers SERVFAIL, and nothing else; {ADVICE}");
    Asked::Ourselves
}

fn first_of(own: &[SocketAddr], servers: &[SocketAddr]) -> Option<SocketAddr> {
    servers.iter().copied().find(|server| own.iter().any(|own| reaches(*server, *own)))
}

fn effective(servers: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
    if !servers.is_empty() {
        return Ok(servers.to_vec());
    }
    let (config, _options) = read_system_conf().map_err(io::Error::other)?;
    let address = |server: &NameServerConfig| Some(SocketAddr::new(server.ip, server.connections.first()?.port));
    Ok(config.name_servers().iter().filter_map(address).collect())
}

/// Whether what is sent to `server` arrives at `own`.
fn reaches(server: SocketAddr, own: SocketAddr) -> bool {
    let (to, at) = (dialled(server.ip()), own.ip().to_canonical());
    let takes = to == at || at.is_unspecified() && (at.is_ipv6() || to.is_ipv4()) && is_of_this_machine(to);
    server.port() == own.port() && takes
}

/// What is sent to the unspecified address goes to this machine.
fn dialled(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        known => known,
    }
}

/// Only there a socket can have the address.
fn is_of_this_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::leading_back;

    fn back(own: &[&str], servers: &[&str]) -> Option<String> {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        leading_back(&parsed(own), &parsed(servers)).map(|server| server.to_string())
    }

    #[test]
    fn a_server_at_our_own_address_is_ourselves() {
        let own = ["127.0.0.1:53", "[::1]:5353", "[::ffff:127.0.0.9]:53"];
        for server in ["127.0.0.1:53", "[::ffff:127.0.0.1]:53", "0.0.0.0:53", "[::1]:5353", "[::]:5353", "127.0.0.9:53"]
        {
            assert_eq!(back(&own, &["192.0.2.1:53", server]).as_deref(), Some(server));
        }
    }

    #[test]
    fn another_port_or_address_is_somebody_else() {
        let own = ["127.0.0.1:53", "[::1]:5353"];
        assert_eq!(back(&own, &["127.0.0.1:5353", "127.0.0.53:53", "[::1]:53", "192.0.2.1:53"]), None);
        assert_eq!(back(&[], &["127.0.0.1:53"]), None);
    }

    #[test]
    fn at_the_unspecified_address_we_have_all_of_this_machine() {
        for (own, server) in [
            ("0.0.0.0:53", "127.0.0.7:53"),
            ("[::]:53", "127.0.0.7:53"),
            ("[::]:53", "[::1]:53"),
            ("[::]:53", "[::]:53"),
        ] {
            assert_eq!(back(&[own], &[server]).as_deref(), Some(server), "{own}");
        }
        for (own, server) in [("0.0.0.0:53", "192.0.2.1:53"), ("0.0.0.0:53", "[::1]:53"), ("[::]:53", "127.0.0.1:54")] {
            assert_eq!(back(&[own], &[server]), None, "{own}");
        }
    }
}
