//! What heteronym wires: one file, one actor type (ARCHITECTURE.md has the table).
//!
//! Every actor is a shell round a core of `heteronym-proto`: a message becomes an event, the core
//! decides, and each action is performed in one exhaustive match.

pub mod classic_stream;
pub mod crypto;
pub mod domain_pair;
pub mod host_connection;
pub mod listener;
pub mod local_link;
pub mod metrics;
pub mod pinned;
pub mod registry;
pub mod router;
pub mod shell;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use actix::{Addr, ArbiterHandle};
use heteronym_net::tls::{HostTls, ServerTls};
use heteronym_proto::component::Secret;
use heteronym_proto::dialback::DialbackSecret;
use heteronym_proto::hosted::{Entry, Hosted};
use heteronym_proto::limits::Limits;
use heteronym_proto::name::Name;
use heteronym_proto::now::Now;
use heteronym_proto::registry::DelegationPolicy;
use heteronym_proto::routes::Routes;
use heteronym_proto::shown::Jids;
use heteronym_proto::way::{Circumstances, Policies, Policy};

pub use shell::Gauge;

/// What all actors are told, at the start and by a reload.
#[derive(Debug)]
pub struct Config {
    /// Our host's name.
    pub host: Name,
    /// Local addresses to dial from.
    pub source: Vec<IpAddr>,
    /// Our own servers, in the configuration's order; an index into it is an [`Entry`].
    pub locals: Vec<LocalConfig>,
    /// Which of them serves a domain.
    pub hosted: Arc<Hosted>,
    /// Bounds.
    pub limits: Limits,
    /// Must an initiator's domain name the peer host?
    pub delegation: DelegationPolicy,
    /// Resolvers; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Life of an activation.
    pub activation_lifetime: Duration,
    /// How long an activated domain does not fall back.
    pub pin: Duration,
    /// Addresses to use instead of a peer host's records.
    pub peers: HashMap<Name, Vec<SocketAddr>>,
    /// How much of a user's address a log line may show.
    pub jids: Jids,
    /// Whether federation is used, by remote domain.
    pub policies: Arc<Policies>,
    /// Classic S2S.
    pub classic: Classic,
}

impl Config {
    /// Who we are to our own servers, where a domain is needed: no domain of theirs.
    #[must_use]
    pub fn own_name(&self) -> Name {
        let taken = self.hosted.contains(self.host.as_str());
        let other = taken.then(|| Name::parse(&format!("heteronym.{}", self.host)).ok()).flatten();
        other.unwrap_or_else(|| self.host.clone())
    }

    /// Whether federation is used for a remote domain.
    #[must_use]
    pub fn policy(&self, domain: &Name) -> Policy {
        self.policies.of(domain)
    }
}

/// Whether and how classic S2S is used.
#[derive(Clone, Copy, Debug)]
pub struct Classic {
    /// Whether at all.
    pub enabled: bool,
    /// Whether dialback may prove a domain, besides certificates.
    pub dialback: bool,
}

/// One of our own servers.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// For log and status.
    pub name: String,
    /// How many domains it serves.
    pub domains: usize,
    /// How it attaches.
    pub attach: Attach,
}

impl LocalConfig {
    /// Whether it is in no configuration any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.attach, Attach::Gone)
    }
}

/// How a local server attaches.
#[derive(Clone, Debug)]
pub enum Attach {
    /// It dials our component port (XEP-0114).
    Component {
        /// The shared secret.
        secret: Secret,
    },
    /// We dial its component port.
    DialComponent {
        /// Its component port.
        address: SocketAddr,
        /// The component that we are there.
        name: String,
        /// The shared secret.
        secret: Secret,
        /// How its own outgoing stanzas come here, where not over this link.
        s2s: Option<Loopback>,
    },
    /// Loopback S2S both ways.
    S2s(Loopback),
    /// We are the default route of jabberd2's router.
    Jabberd2 {
        /// The router's port.
        address: SocketAddr,
        /// Who we are there.
        user: String,
        /// The shared secret.
        secret: Secret,
    },
    /// It was in a configuration before this one: its place stays taken, since entries are indices.
    Gone,
}

/// S2S with one of our own servers over the loopback interface.
#[derive(Clone, Debug)]
pub struct Loopback {
    /// The server's S2S port.
    pub address: SocketAddr,
    /// What its dialback keys are made of; none: the server is asked back.
    pub secret: Option<DialbackSecret>,
}

impl Attach {
    /// How its stanzas come here, where that is loopback S2S.
    #[must_use]
    pub fn loopback(&self) -> Option<&Loopback> {
        match self {
            Self::S2s(loopback) | Self::DialComponent { s2s: Some(loopback), .. } => Some(loopback),
            Self::Component { .. } | Self::DialComponent { s2s: None, .. } | Self::Jabberd2 { .. } | Self::Gone => None,
        }
    }

    /// Whether a link of this kind would not do for the other: another server, or another way to it.
    /// A secret may change while a link is up.
    fn differs(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Component { .. }, Self::Component { .. }) | (Self::Gone, Self::Gone) => false,
            (
                Self::DialComponent { address, name, .. },
                Self::DialComponent { address: other_address, name: other_name, .. },
            ) => (address, name) != (other_address, other_name),
            (Self::S2s(one), Self::S2s(two)) => one.address != two.address,
            (Self::Jabberd2 { address, user, .. }, Self::Jabberd2 { address: other_address, user: other_user, .. }) => {
                (address, user) != (other_address, other_user)
            }
            (
                Self::Component { .. } | Self::DialComponent { .. } | Self::S2s(_) | Self::Jabberd2 { .. } | Self::Gone,
                _,
            ) => true,
        }
    }

    /// The word in configuration and status.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Component { .. } => "component",
            Self::DialComponent { .. } => "dial-component",
            Self::S2s(_) => "s2s",
            Self::Jabberd2 { .. } => "jabberd2",
            Self::Gone => "gone",
        }
    }
}

/// Sockets that are bound already, so that a port in use is an error of the start.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For peer hosts.
    pub federation: Vec<TcpListener>,
    /// For remote servers.
    pub s2s: Vec<TcpListener>,
    /// For local servers, by loopback S2S.
    pub local_s2s: Vec<TcpListener>,
    /// For local servers (XEP-0114).
    pub component: Vec<TcpListener>,
}

/// What actors share: addresses and tables, no state of their own.
#[derive(Clone)]
pub struct Shared {
    /// The configuration, and TLS with hosts and servers.
    pub current: Current,
    /// What our dialback keys are made of.
    pub dialback: DialbackSecret,
    /// Where stanzas go.
    pub routes: Routes<host_connection::LinkHandle, classic_stream::ClassicHandle>,
    /// The actors of our own servers.
    pub locals: Locals,
    /// The keys that the crypto pool uses.
    pub keys: Arc<crypto::KeyRing>,
    /// The crypto pool.
    pub crypto: crypto::Crypto,
    /// DNS.
    pub registry: Addr<registry::Registry>,
    /// What DNS has said.
    pub known: registry::Known,
    /// Threads for sockets.
    pub threads: IoThreads,
    /// What is counted.
    pub metrics: Arc<metrics::Metrics>,
    /// Remote domains that do not fall back to classic S2S.
    pub pinned: Arc<pinned::Pinned>,
    /// Dials that may begin.
    pub dials: Arc<tokio::sync::Semaphore>,
    /// Checks of dialback keys that may begin.
    pub checks: Arc<tokio::sync::Semaphore>,
}

impl Shared {
    /// The configuration that counts now.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.current.read().0)
    }

    /// What decides which way the stanzas for a remote domain take, besides its records.
    #[must_use]
    pub fn circumstances(&self, domain: &Name) -> Circumstances {
        let config = self.config();
        let (policy, classic) = (config.policy(domain), config.classic.enabled);
        Circumstances { policy, classic, pinned: self.pinned.holds(domain) }
    }

    /// TLS between hosts, as of now.
    #[must_use]
    pub fn tls(&self) -> HostTls {
        self.current.read().1.hosts.clone()
    }

    /// TLS with our own servers, for those that insist.
    #[must_use]
    pub fn local_tls(&self) -> ServerTls {
        self.current.read().1.locals.clone()
    }

    /// TLS with servers of classic S2S, as of now.
    #[must_use]
    pub fn server_tls(&self) -> ServerTls {
        self.current.read().1.servers.clone()
    }
}

/// What a reload replaces for all actors at once. Each looks when it needs something, once a batch
/// at most.
#[derive(Clone)]
pub struct Current(Arc<RwLock<(Arc<Config>, Tls)>>);

/// TLS with everybody outside.
#[derive(Clone)]
pub struct Tls {
    /// With peer hosts.
    pub hosts: HostTls,
    /// With servers of classic S2S.
    pub servers: ServerTls,
    /// With our own servers, with a certificate that nobody has to trust.
    pub locals: ServerTls,
}

impl Current {
    /// What counts at the start.
    #[must_use]
    pub fn new(config: Config, tls: Tls) -> Self {
        Self(Arc::new(RwLock::new((Arc::new(config), tls))))
    }

    /// Replaces the configuration, and TLS where there is another; the configuration before.
    fn replace(&self, config: Arc<Config>, tls: Option<Tls>) -> Arc<Config> {
        let mut current = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(tls) = tls {
            current.1 = tls;
        }
        std::mem::replace(&mut current.0, config)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, (Arc<Config>, Tls)> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The threads that carry sockets, given out in turn.
#[derive(Clone)]
pub struct IoThreads {
    arbiters: Arc<Vec<ArbiterHandle>>,
    next: Arc<AtomicUsize>,
}

impl IoThreads {
    /// Starts `count` threads, each with a runtime of its own; at least one.
    #[must_use]
    pub fn start(count: usize) -> Self {
        let arbiters = (0..count.max(1)).map(|_| actix::Arbiter::new().handle()).collect();
        Self { arbiters: Arc::new(arbiters), next: Arc::default() }
    }

    /// The next thread.
    #[must_use]
    pub fn next(&self) -> &ArbiterHandle {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        &self.arbiters[next % self.arbiters.len()]
    }
}

/// The actor of each `[[local]]` entry; an actor that was re-created takes the place of the old one.
#[derive(Clone, Default)]
pub struct Locals(Arc<RwLock<Vec<local_link::LocalHandle>>>);

impl Locals {
    /// The actor of an entry.
    #[must_use]
    pub fn get(&self, entry: Entry) -> Option<local_link::LocalHandle> {
        self.read().get(entry).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<local_link::LocalHandle> {
        self.read().clone()
    }

    fn set(&self, entry: Entry, handle: local_link::LocalHandle) {
        let mut handles = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if entry < handles.len() {
            handles[entry] = handle;
        } else {
            handles.push(handle);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<local_link::LocalHandle>> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Both clocks, for the cores.
fn now() -> Now {
    let heteronym_net::clock::Now { instant, unix } = heteronym_net::clock::Now::read();
    Now { instant, unix }
}
