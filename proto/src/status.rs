//! What an operator is told about hosts, pairs and local links.

use crate::pair::Pair;
use crate::pairs::PairState;

/// A connection to a peer host, or the lack of one.
#[derive(Clone, Debug)]
pub struct HostStatus {
    /// The peer host.
    pub name: String,
    /// How far the connection is.
    pub state: HostState,
    /// The peer's address, where there is a connection.
    pub address: Option<String>,
    /// Whether we dialled.
    pub dialled_by_us: bool,
    /// Pairs that are usable now.
    pub pairs_active: usize,
    /// Stanzas from the peer.
    pub stanzas_in: u64,
    /// Stanzas to the peer.
    pub stanzas_out: u64,
    /// Bytes from the peer, before TLS.
    pub bytes_in: u64,
    /// Bytes to the peer, before TLS.
    pub bytes_out: u64,
    /// Stanzas of which a copy is kept.
    pub unacknowledged: u64,
    /// Bytes that wait.
    pub queued_bytes: usize,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// How far a host connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostState {
    /// Dialling.
    Connecting,
    /// TLS and SASL, or waiting for the choice of the link.
    Negotiating,
    /// Carries stanzas.
    Active,
    /// No connection; the next attempt comes after a pause.
    Waiting,
    /// Flushing before it closes.
    Draining,
}

/// How a pair's stanzas travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Over a host stream.
    Federation,
    /// Over a stream of classic S2S.
    Classic,
    /// Both domains are ours.
    Local,
}

/// One pair.
#[derive(Clone, Debug)]
pub struct PairStatus {
    /// Its names.
    pub pair: Pair,
    /// The peer host, once known.
    pub host: Option<String>,
    /// How far it is.
    pub state: PairState,
    /// How it travels.
    pub via: Via,
    /// Stanzas from the other domain.
    pub stanzas_in: u64,
    /// Stanzas to the other domain.
    pub stanzas_out: u64,
    /// Unix seconds.
    pub activated_at: Option<u64>,
    /// Unix seconds.
    pub expires_at: Option<u64>,
    /// Why it is not active.
    pub last_error: Option<String>,
}

/// The link of one `[[local]]` entry.
#[derive(Clone, Debug)]
pub struct LocalStatus {
    /// The entry's name.
    pub name: String,
    /// How it attaches.
    pub kind: &'static str,
    /// Whether it is there.
    pub state: LocalState,
    /// How many domains it serves.
    pub domains: usize,
    /// Stanzas from our server.
    pub stanzas_in: u64,
    /// Stanzas to our server.
    pub stanzas_out: u64,
    /// Why the last link ended.
    pub last_error: Option<String>,
}

/// Whether a local link is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalState {
    /// It is.
    Up,
    /// We dial it.
    Connecting,
    /// It is not.
    Down,
}

/// Numbers of everything there is now, for the metrics.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Connections to peer hosts.
    pub hosts: Vec<(HostState, usize)>,
    /// Pairs.
    pub pairs: Vec<(PairState, Via, usize)>,
    /// Links to our own servers.
    pub locals: Vec<(LocalState, usize)>,
    /// Bytes that wait for a host to be found and reached.
    pub router_bytes: usize,
    /// Bytes on host streams, and on their way there.
    pub host_bytes: usize,
    /// Bytes on streams of classic S2S, and on their way there.
    pub classic_bytes: usize,
    /// Bytes for our own servers.
    pub local_bytes: usize,
    /// Stanzas that no peer has acknowledged.
    pub unacknowledged: u64,
    /// Operations that wait for the crypto pool.
    pub crypto_waiting: usize,
}

/// What waits somewhere.
#[derive(Clone, Debug)]
pub struct QueueStatus {
    /// Where.
    pub place: QueuePlace,
    /// The peer host or the local server that it waits for, where that is known.
    pub name: Option<String>,
    /// The pair, where it waits by pair.
    pub pair: Option<Pair>,
    /// Stanzas.
    pub count: usize,
    /// Bytes.
    pub bytes: usize,
    /// How long the oldest waits.
    pub oldest: std::time::Duration,
    /// For what.
    pub why: String,
}

/// Where stanzas wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePlace {
    /// For a host to be found and reached.
    Router,
    /// On a host stream.
    Host,
    /// On a stream of classic S2S.
    Classic,
    /// For a server of ours.
    Local,
}

/// Everything at once.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// By connection.
    pub hosts: Vec<HostStatus>,
    /// By pair, sorted by name.
    pub pairs: Vec<PairStatus>,
    /// By entry.
    pub locals: Vec<LocalStatus>,
}
