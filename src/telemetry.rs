//! The running router, as the admin interface shows it.

use std::time::Instant;

use actix::Addr;
use heteronym_actors::router::{GetStatus, NotReady, Router};
use heteronym_proto::pairs::PairState as ProtoPairState;
use heteronym_proto::status as proto;
use jiff::Timestamp;

use crate::admin::Telemetry;
use crate::config::{AttachKind, Config};
use crate::status::{
    Dialler, HostState, HostStatus, LocalState, LocalStatus, Page, PairState, PairStatus, Status, Via,
};

/// Asks the router.
pub struct Observer {
    router: Addr<Router>,
    host: String,
    locals: Vec<(AttachKind, Vec<String>)>,
    started: Instant,
}

impl Observer {
    /// Observes `router`, which runs as `config` says.
    #[must_use]
    pub fn new(router: Addr<Router>, config: &Config) -> Self {
        let local = |local: &crate::config::Local| {
            (local.attach.kind(), local.domains.iter().map(ToString::to_string).collect())
        };
        Self {
            router,
            host: config.host.name.to_string(),
            locals: config.locals.iter().map(local).collect(),
            started: heteronym_net::clock::Now::read().instant,
        }
    }
}

impl Telemetry for Observer {
    async fn status(&self, page: Page) -> Status {
        let proto::Status { hosts, pairs, locals } = self.router.send(GetStatus).await.unwrap_or_default();
        let pairs_total = pairs.len();
        let locals = locals.into_iter().zip(&self.locals);
        Status {
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: heteronym_net::clock::Now::read().instant.duration_since(self.started).as_secs(),
            hosts: hosts.into_iter().map(host).collect(),
            pairs: page.of(pairs).map(pair).collect(),
            pairs_total,
            locals: locals.map(|(status, (kind, domains))| local(status, *kind, domains)).collect(),
        }
    }

    async fn missing(&self) -> Vec<String> {
        self.router.send(NotReady).await.unwrap_or_else(|_| vec!["the router has ended".to_owned()])
    }
}

fn host(status: proto::HostStatus) -> HostStatus {
    let connected = status.address.is_some();
    let dialler = if status.dialled_by_us { Dialler::Us } else { Dialler::Them };
    HostStatus {
        name: status.name,
        state: match status.state {
            proto::HostState::Connecting => HostState::Connecting,
            proto::HostState::Negotiating => HostState::Negotiating,
            proto::HostState::Active => HostState::Active,
            proto::HostState::Waiting => HostState::Waiting,
            proto::HostState::Draining => HostState::Draining,
        },
        address: status.address,
        dialled_by: connected.then_some(dialler),
        pairs_active: status.pairs_active,
        stanzas_in: status.stanzas_in,
        stanzas_out: status.stanzas_out,
        bytes_in: status.bytes_in,
        bytes_out: status.bytes_out,
        unacknowledged: status.unacknowledged,
        queued_bytes: status.queued_bytes as u64,
        last_error: status.last_error,
    }
}

fn pair(status: proto::PairStatus) -> PairStatus {
    let time = |unix: u64| Timestamp::from_second(i64::try_from(unix).ok()?).ok();
    PairStatus {
        local: status.pair.local.to_string(),
        remote: status.pair.remote.to_string(),
        host: status.host,
        state: match status.state {
            ProtoPairState::Resolving => PairState::Resolving,
            ProtoPairState::Requested => PairState::Requested,
            ProtoPairState::Active => PairState::Active,
            ProtoPairState::Refused => PairState::Refused,
            ProtoPairState::Draining => PairState::Draining,
        },
        via: match status.via {
            proto::Via::Federation => Via::Federation,
            proto::Via::Local => Via::Local,
        },
        stanzas_in: status.stanzas_in,
        stanzas_out: status.stanzas_out,
        activated_at: status.activated_at.and_then(time),
        expires_at: status.expires_at.and_then(time),
        last_error: status.last_error,
    }
}

fn local(status: proto::LocalStatus, kind: AttachKind, domains: &[String]) -> LocalStatus {
    LocalStatus {
        name: status.name,
        kind,
        state: match status.state {
            proto::LocalState::Up => LocalState::Up,
            proto::LocalState::Connecting => LocalState::Connecting,
            proto::LocalState::Down => LocalState::Down,
        },
        domains: domains.to_vec(),
        stanzas_in: status.stanzas_in,
        stanzas_out: status.stanzas_out,
        last_error: status.last_error,
    }
}
