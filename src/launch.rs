//! From a configuration to running actors: what the daemon, the demo and the benches share.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use actix::{Actor, Addr};
use heteronym_actors::crypto::{Crypto, KeyOf, KeyRing};
use heteronym_actors::metrics::Metrics;
use heteronym_actors::pinned::Pinned;
use heteronym_actors::registry::{Known, Registry};
use heteronym_actors::router::{Drain, Router};
use heteronym_actors::{
    Attach, Classic, Config as ActorsConfig, Current, IoThreads, LocalConfig, Loopback, Shared, Sockets, Tls,
};
use heteronym_net::keys::{DomainKey, FileKey};
use heteronym_net::listen::{bind, bind_both};
use heteronym_net::random;
use heteronym_net::state::StateFile;
use heteronym_net::steering::Steering;
use heteronym_net::tls::{Certificates as TlsCertificates, HostTls, ServerTls, TlsError};
use heteronym_proto::component::Secret;
use heteronym_proto::dialback::DialbackSecret;
use heteronym_proto::hosted::Hosted;
use heteronym_proto::limits::{CHECKS, DIALS};
use heteronym_proto::name::Name;
use heteronym_proto::registry::DelegationPolicy;
use heteronym_proto::way;
use tokio::sync::Semaphore;
use tracing::info;
use zeroize::Zeroizing;

use crate::admin::{self, Token};
use crate::certificates::Certificates;
use crate::config::{self, Config, Delegation, Policy};
use crate::operator::Operator;

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
    /// What is to outlive a restart cannot be kept.
    #[error("host.state = {}: {error}; name a folder that this user can write, or none", folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The certificate for our own servers cannot be made.
    #[error("the certificate for local_s2s: {0}")]
    SelfMade(String),
    /// The system gives no threads.
    #[error("threads: {0}")]
    Threads(#[source] io::Error),
    /// The runtime takes no socket.
    #[error("listen.steering_dns: {0}")]
    Steering(#[source] io::Error),
    /// A counter has no proper name: a mistake of ours.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running router.
pub struct Launched {
    router: Addr<Router>,
    listening: Listening,
    operator: Arc<Operator>,
    steering: Option<Steering>,
    end_admin: tokio::sync::watch::Sender<bool>,
}

/// Every socket that is listened on.
struct Bound {
    sockets: Sockets,
    admin: Vec<TcpListener>,
    steering: Vec<(UdpSocket, TcpListener)>,
    listening: Listening,
}

/// Where a router listens, with the ports that the system chose for port 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// Host streams.
    pub federation: Vec<SocketAddr>,
    /// Remote servers (classic S2S).
    pub s2s: Vec<SocketAddr>,
    /// Components.
    pub component: Vec<SocketAddr>,
    /// Our own servers, by loopback S2S.
    pub local_s2s: Vec<SocketAddr>,
    /// DNS for our own servers, UDP and TCP.
    pub steering_dns: Vec<SocketAddr>,
    /// The admin interface.
    pub admin: Vec<SocketAddr>,
}

impl Launched {
    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> &Listening {
        &self.listening
    }

    /// What the admin interface does, for signals.
    #[must_use]
    pub fn operator(&self) -> &Arc<Operator> {
        &self.operator
    }

    /// The root actor.
    #[must_use]
    pub fn router(&self) -> &Addr<Router> {
        &self.router
    }

    /// Ends it in order: nothing is accepted any more, what may be sent is sent, streams end. Until then our
    /// servers find the way here.
    pub async fn drain(self) {
        let _ = self.router.send(Drain).await;
        drop(self.steering);
        let _ = self.end_admin.send(true);
    }
}

/// Logical cores for each I/O thread: what one hands to another travels from cache to cache, and one carries more
/// than the servers behind it can send.
const CORES_OF_IO_THREAD: usize = 2;

/// Starts everything, within an actix `System`, for so many cores: each has a crypto thread, two have an I/O thread.
///
/// # Errors
/// If an address cannot be listened on.
pub fn launch(config: &Config, certificates: Certificates, cores: usize) -> Result<Launched, LaunchError> {
    certificates.log_problems();
    let dates = certificates.dates();
    let Certificates { host, domains, roots } = certificates;
    let Bound { sockets, admin: admin_sockets, steering, listening } = bind_listeners(&config.listen)?;
    let tls = tls(config, host, &domains)?;
    let pinned = Arc::new(pinned(config)?);
    let told = actors_config(config, &[]);
    let metrics = Arc::new(Metrics::new()?);
    let local_s2s = listening.local_s2s.first().copied();
    let steering = start_steering(steering, local_s2s, &config.dns.servers, Arc::clone(&metrics))?;
    let io = IoThreads::start(cores.div_ceil(CORES_OF_IO_THREAD));
    let (registry, known) = start_registry(&io, &told, Arc::clone(&pinned), Arc::clone(&metrics));
    let keys = Arc::new(KeyRing::new(config.host.name.clone(), domains, roots));
    let shared = Shared {
        current: Current::new(told, tls),
        dialback: DialbackSecret::new(&random_secret()),
        routes: Default::default(),
        locals: Default::default(),
        crypto: Crypto::start(cores, Arc::clone(&keys), Arc::clone(&metrics)).map_err(LaunchError::Threads)?,
        keys,
        registry,
        known,
        threads: io,
        metrics: Arc::clone(&metrics),
        pinned,
        dials: Arc::new(Semaphore::new(DIALS)),
        checks: Arc::new(Semaphore::new(CHECKS)),
    };
    let router = Router::new(shared, sockets).start();
    let (end_admin, _) = tokio::sync::watch::channel(false);
    let token = Token::new(config.admin.token.clone());
    let resolvers = steering.as_ref().map(|steering| steering.resolvers().clone());
    let operator = Operator::new(router.clone(), metrics, config.clone(), dates, token.clone(), resolvers);
    let operator = Arc::new(operator);
    for socket in admin_sockets {
        serve_admin(socket, admin::routes(Arc::clone(&operator), token.clone()), end_admin.subscribe());
    }
    Ok(Launched { router, listening, operator, steering, end_admin })
}

/// The DNS that leads our servers to `local_s2s`; none where it listens nowhere.
fn start_steering(
    sockets: Vec<(UdpSocket, TcpListener)>,
    local_s2s: Option<SocketAddr>,
    servers: &[SocketAddr],
    metrics: Arc<Metrics>,
) -> Result<Option<Steering>, LaunchError> {
    let Some(local_s2s) = local_s2s.filter(|_| !sockets.is_empty()) else { return Ok(None) };
    let told = move |outcome| metrics.steering_question(outcome);
    Steering::start(sockets, local_s2s, servers, told).map(Some).map_err(LaunchError::Steering)
}

/// Keys are made and verified by this process alone.
fn random_secret() -> String {
    random::bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The actor, and where others read what it knows.
fn start_registry(
    io: &IoThreads,
    told: &ActorsConfig,
    pinned: Arc<Pinned>,
    metrics: Arc<Metrics>,
) -> (Addr<Registry>, Known) {
    let (servers, delegation, known) = (told.resolvers.clone(), told.delegation, Known::default());
    let written = known.clone();
    let start = move |_: &mut _| Registry::new(servers, delegation, written, pinned, metrics);
    (Registry::start_in_arbiter(io.next(), start), known)
}

/// The pins, with those of the last run.
fn pinned(config: &Config) -> Result<Pinned, LaunchError> {
    let open = |folder: &PathBuf| {
        let failed = |error| LaunchError::State { folder: folder.clone(), error };
        StateFile::open(folder, "pins").map_err(failed)
    };
    let file = config.host.state.as_ref().map(open).transpose()?;
    Ok(Pinned::new(config.federation.pin, file))
}

fn bind_listeners(listen: &config::Listen) -> Result<Bound, LaunchError> {
    let one = |address| bind(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
    let both = |address| bind_both(address).and_then(|sockets| Ok((sockets.0.local_addr()?, sockets)));
    let (at_federation, federation) = bind_all("federation", &listen.federation, one)?;
    let (at_s2s, s2s) = bind_all("s2s", &listen.s2s, one)?;
    let (at_component, component) = bind_all("component", &listen.component, one)?;
    let (at_local_s2s, local_s2s) = bind_all("local_s2s", &listen.local_s2s, one)?;
    let (at_steering, steering) = bind_all("steering_dns", &listen.steering_dns, both)?;
    let (at_admin, admin) = bind_all("admin", &listen.admin, one)?;
    let listening = Listening {
        federation: at_federation,
        s2s: at_s2s,
        component: at_component,
        local_s2s: at_local_s2s,
        steering_dns: at_steering,
        admin: at_admin,
    };
    Ok(Bound { sockets: Sockets { federation, s2s, component, local_s2s }, admin, steering, listening })
}

/// Where the sockets are, and the sockets.
fn bind_all<S>(
    listener: &'static str,
    addresses: &[SocketAddr],
    bind: impl Fn(SocketAddr) -> io::Result<(SocketAddr, S)>,
) -> Result<(Vec<SocketAddr>, Vec<S>), LaunchError> {
    let bind_one = |wanted: &SocketAddr| {
        let (address, socket) =
            bind(*wanted).map_err(|error| LaunchError::Bind { listener, address: *wanted, error })?;
        info!(listener, %address, "listening");
        Ok((address, socket))
    };
    addresses.iter().map(bind_one).collect()
}

fn serve_admin(socket: TcpListener, routes: axum::Router, mut end: tokio::sync::watch::Receiver<bool>) {
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

/// TLS with the host's certificate, and with those of our domains.
pub(crate) fn tls(
    config: &Config,
    host: Arc<dyn DomainKey>,
    domains: &HashMap<Name, KeyOf>,
) -> Result<Tls, LaunchError> {
    let hosts = HostTls::new(Arc::new(TlsCertificates::new(config.host.name.as_str(), host)))?;
    let good = domains.iter().filter_map(|(domain, key)| Some((domain.to_string(), Arc::clone(key.as_ref().ok()?))));
    let locals = ServerTls::self_made(self_made(&config.host.name)?)?;
    Ok(Tls { hosts, servers: ServerTls::new(good)?, locals })
}

/// A certificate for those of our own servers that insist on TLS: nobody vouches for it.
fn self_made(host: &Name) -> Result<Arc<dyn DomainKey>, LaunchError> {
    let text = |error: &dyn std::fmt::Display| LaunchError::SelfMade(error.to_string());
    let made = rcgen::generate_simple_self_signed([host.to_string()]).map_err(|error| text(&error))?;
    let (chain, key) = (made.cert.pem(), Zeroizing::new(made.signing_key.serialize_pem()));
    let key = FileKey::from_pem(chain.as_bytes(), key.as_bytes()).map_err(|error| text(&error))?;
    Ok(Arc::new(key))
}

/// `config` as actors are told it. An entry is found by its place: each keeps the one that it had in
/// `before`, whatever the order in the file, and those that are gone keep theirs taken.
pub(crate) fn actors_config(config: &Config, before: &[LocalConfig]) -> ActorsConfig {
    let mut locals: Vec<LocalConfig> = before.iter().map(gone).collect();
    let mut domains = Vec::new();
    for (of, told) in config.locals.iter().zip(config.locals.iter().map(local)) {
        let place = locals.iter().position(|local| local.name == told.name).unwrap_or(locals.len());
        domains.extend(of.domains.iter().map(|domain| (domain.clone(), place)));
        match locals.get_mut(place) {
            Some(taken) => *taken = told,
            None => locals.push(told),
        }
    }
    let policies = config.federation.domains.iter().map(|(domain, of)| (domain.clone(), policy(*of)));
    ActorsConfig {
        host: config.host.name.clone(),
        source: config.host.source.clone(),
        locals,
        hosted: Arc::new(domains.into_iter().collect::<Hosted>()),
        limits: config.limits.clone(),
        jids: config.log.jids,
        delegation: delegation(config.federation.delegation),
        resolvers: config.dns.servers.clone(),
        activation_lifetime: config.federation.activation_lifetime,
        pin: config.federation.pin,
        peers: config.peers.iter().map(|(name, peer)| (name.clone(), peer.addresses.clone())).collect(),
        policies: Arc::new(way::Policies::new(policy(config.federation.policy), policies)),
        classic: Classic { enabled: config.classic.enabled, dialback: config.classic.dialback },
    }
}

fn local(local: &config::Local) -> LocalConfig {
    let secret = |secret: &config::Secret| Secret::new(secret.expose().to_owned());
    let attach = match &local.attach {
        config::Attach::Component { secret: shared } => Attach::Component { secret: secret(shared) },
        config::Attach::DialComponent { address, name, secret: shared, s2s } => Attach::DialComponent {
            address: *address,
            name: name.to_string(),
            secret: secret(shared),
            s2s: s2s.as_ref().map(loopback),
        },
        config::Attach::S2s(s2s) => Attach::S2s(loopback(s2s)),
        config::Attach::Jabberd2 { address, user, secret: shared } => {
            Attach::Jabberd2 { address: *address, user: user.clone(), secret: secret(shared) }
        }
    };
    LocalConfig { name: local.name.clone(), domains: local.domains.len(), attach }
}

fn loopback(s2s: &config::LoopbackS2s) -> Loopback {
    let secret = s2s.dialback_secret.as_ref().map(|secret| DialbackSecret::new(secret.expose()));
    Loopback { address: s2s.address, secret }
}

fn gone(local: &LocalConfig) -> LocalConfig {
    LocalConfig { domains: 0, attach: Attach::Gone, name: local.name.clone() }
}

fn policy(policy: Policy) -> way::Policy {
    match policy {
        Policy::Prefer => way::Policy::Prefer,
        Policy::Require => way::Policy::Require,
        Policy::Off => way::Policy::Off,
    }
}

fn delegation(delegation: Delegation) -> DelegationPolicy {
    match delegation {
        Delegation::Require => DelegationPolicy::Require,
        Delegation::Warn => DelegationPolicy::Warn,
        Delegation::Off => DelegationPolicy::Off,
    }
}
