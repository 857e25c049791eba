//! Whom questions are passed on to, which a reload may change.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use hickory_resolver::system_conf::read_system_conf;
use hickory_server::net::NetError;
use tracing::error;

/// The name servers that a responder asks. Clones are about the same responder.
#[derive(Clone)]
pub struct Resolvers(Arc<RwLock<Arc<[SocketAddr]>>>);

impl Resolvers {
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        Self(Arc::new(RwLock::new(chosen(servers))))
    }

    /// Asks `servers` from now on, in this order; the system's as they are now if there are none given.
    pub fn replace(&self, servers: &[SocketAddr]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = chosen(servers);
    }

    pub(super) fn now(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `servers`, or the system's. None: nothing can be passed on, which the log says once.
fn chosen(servers: &[SocketAddr]) -> Arc<[SocketAddr]> {
    if !servers.is_empty() {
        return servers.into();
    }
    of_the_system().unwrap_or_else(|why| {
        error!(%why, "the system's name servers cannot be read, steering_dns answers SERVFAIL: name resolvers in dns.servers");
        Vec::new()
    }).into()
}

fn of_the_system() -> Result<Vec<SocketAddr>, NetError> {
    let (config, _options) = read_system_conf()?;
    let address = |server: &hickory_resolver::config::NameServerConfig| {
        server.connections.first().map(|connection| SocketAddr::new(server.ip, connection.port))
    };
    Ok(config.name_servers().iter().filter_map(address).collect())
}
