//! From a configuration to running actors: what the daemon, the demo and the benches share.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix::{Actor, Addr};
use heteronym_actors::crypto::{Crypto, KeyRing};
use heteronym_actors::registry::Registry;
use heteronym_actors::router::{Drain, Router};
use heteronym_actors::{Attach, Config as ActorsConfig, IoThreads, LocalConfig, Shared, Sockets};
use heteronym_net::listen::bind;
use heteronym_net::tls::{Certificates as TlsCertificates, HostTls, TlsError};
use heteronym_proto::component::Secret;
use heteronym_proto::hosted::Hosted;
use heteronym_proto::registry::DelegationPolicy;
use tracing::info;

use crate::admin;
use crate::certificates::Certificates;
use crate::config::{self, Config, Delegation, Policy};
use crate::telemetry::Observer;

/// Why nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A listener's address is taken, or not ours.
    #[error("listen.{listener} = {address}: {error}")]
    Bind {
        /// The key in the configuration.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running router.
pub struct Launched {
    router: Addr<Router>,
    listening: Listening,
    end_admin: tokio::sync::watch::Sender<bool>,
}

/// Where a router listens, with the ports that the system chose for port 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// Host streams.
    pub federation: Vec<SocketAddr>,
    /// Components.
    pub component: Vec<SocketAddr>,
    /// The admin interface.
    pub admin: Vec<SocketAddr>,
}

impl Launched {
    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// The root actor.
    #[must_use]
    pub fn router(&self) -> &Addr<Router> {
        &self.router
    }

    /// Ends it in order: nothing is accepted any more, what may be sent is sent, streams end.
    pub async fn drain(self) {
        let _ = self.router.send(Drain).await;
        let _ = self.end_admin.send(true);
    }
}

/// Starts everything, within an actix `System`, on `threads` I/O threads and as many for crypto.
///
/// # Errors
/// If an address cannot be listened on.
pub fn launch(config: &Config, certificates: Certificates, threads: usize) -> Result<Launched, LaunchError> {
    certificates.log_problems();
    let Certificates { host, domains, roots } = certificates;
    let (federation, at_federation) = bind_all("federation", &config.listen.federation)?;
    let (component, at_component) = bind_all("component", &config.listen.component)?;
    let (admin_sockets, at_admin) = bind_all("admin", &config.listen.admin)?;
    let listening = Listening { federation: at_federation, component: at_component, admin: at_admin };
    let sockets = Sockets { federation, component };
    let name = config.host.name.clone();
    let tls = HostTls::new(Arc::new(TlsCertificates::new(name.as_str(), host)))?;
    let delegation = delegation(config.federation.delegation);
    let servers = config.dns.servers.clone();
    let io = IoThreads::start(threads);
    let registry = Registry::start_in_arbiter(io.next(), move |_| Registry::new(servers, delegation));
    let shared = Shared {
        tls,
        routes: Default::default(),
        locals: Default::default(),
        crypto: Crypto::start(threads, Arc::new(KeyRing::new(name, domains, roots))),
        registry,
        threads: io,
        config: Arc::new(actors_config(config, delegation)),
    };
    let router = Router::new(shared, sockets).start();
    let (end_admin, _) = tokio::sync::watch::channel(false);
    let observer = Arc::new(Observer::new(router.clone(), config));
    for socket in admin_sockets {
        serve_admin(socket, Arc::clone(&observer), config, end_admin.subscribe());
    }
    Ok(Launched { router, listening, end_admin })
}

/// The sockets, and where they are.
fn bind_all(
    listener: &'static str,
    addresses: &[SocketAddr],
) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), LaunchError> {
    let bind_one = |wanted: &SocketAddr| {
        let failed = |error| LaunchError::Bind { listener, address: *wanted, error };
        let socket = bind(*wanted).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        info!(listener, %address, "listening");
        Ok((socket, address))
    };
    addresses.iter().map(bind_one).collect()
}

fn serve_admin(
    socket: TcpListener,
    observer: Arc<Observer>,
    config: &Config,
    mut end: tokio::sync::watch::Receiver<bool>,
) {
    let routes = admin::routes(observer, config.admin.token.clone());
    actix_rt::spawn(async move {
        let served = match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => {
                let ended = async move {
                    let _ = end.wait_for(|ended| *ended).await;
                };
                admin::serve(listener, routes, ended).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(%error, "the admin interface ended");
        }
    });
}

fn actors_config(config: &Config, delegation: DelegationPolicy) -> ActorsConfig {
    let owned = config.locals.iter().enumerate();
    let domains = owned.flat_map(|(entry, local)| local.domains.iter().map(move |domain| (domain.clone(), entry)));
    let off = config.federation.domains.iter().filter(|(_, policy)| **policy == Policy::Off);
    ActorsConfig {
        host: config.host.name.clone(),
        source: config.host.source.clone(),
        locals: config.locals.iter().map(local).collect(),
        hosted: Arc::new(domains.collect::<Hosted>()),
        limits: config.limits.clone(),
        delegation,
        activation_lifetime: config.federation.activation_lifetime,
        peers: config.peers.iter().map(|(name, peer)| (name.clone(), peer.addresses.clone())).collect(),
        denied: Arc::new(off.map(|(domain, _)| domain.clone()).collect()),
    }
}

fn local(local: &config::Local) -> LocalConfig {
    let secret = |secret: &config::Secret| Secret::new(secret.expose().to_owned());
    let attach = match &local.attach {
        config::Attach::Component { secret: shared } => Attach::Component { secret: secret(shared) },
        config::Attach::DialComponent { address, name, secret: shared, .. } => {
            Attach::DialComponent { address: *address, name: name.to_string(), secret: secret(shared) }
        }
        config::Attach::S2s(_) | config::Attach::Jabberd2 { .. } => Attach::NotBuilt(local.attach.kind().as_str()),
    };
    LocalConfig { name: local.name.clone(), domains: local.domains.len(), attach }
}

fn delegation(delegation: Delegation) -> DelegationPolicy {
    match delegation {
        Delegation::Require => DelegationPolicy::Require,
        Delegation::Warn => DelegationPolicy::Warn,
        Delegation::Off => DelegationPolicy::Off,
    }
}
