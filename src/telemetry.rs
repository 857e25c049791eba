//! The running router in the words of the status page.

use std::time::Duration;

use heteronym_proto::pairs::PairState as ProtoPairState;
use heteronym_proto::status as proto;
use jiff::Timestamp;

use crate::certificates::Dates;
use crate::config::{Config, Local};
use crate::status::{
    Dialler, HostState, HostStatus, LocalState, LocalStatus, Page, PairState, PairStatus, QueuePlace, QueueStatus,
    RefusedDomain, Status, Via,
};

/// Refused domains that the status page names.
const REFUSED_SHOWN: usize = 100;

/// What the router says of itself, as the document with one page of pairs.
#[must_use]
pub fn document(status: proto::Status, page: Page, config: &Config, dates: &Dates, uptime: Duration) -> Status {
    let proto::Status { hosts, pairs, locals } = status;
    let pairs_total = pairs.len();
    let of = |status: proto::LocalStatus| {
        let configured = config.locals.iter().find(|local| local.name == status.name)?;
        Some(local(status, configured))
    };
    let refused = dates.refused.iter().take(REFUSED_SHOWN);
    Status {
        host: config.host.name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: uptime.as_secs(),
        hosts: hosts.into_iter().map(host).collect(),
        pairs: page.of(pairs).map(pair).collect(),
        pairs_total,
        locals: locals.into_iter().filter_map(of).collect(),
        refused: refused.map(|(domain, why)| RefusedDomain { domain: domain.to_string(), why: why.clone() }).collect(),
    }
}

/// What waits somewhere.
#[must_use]
pub fn queue(status: proto::QueueStatus) -> QueueStatus {
    let (local, remote) = status.pair.map(|pair| (pair.local.to_string(), pair.remote.to_string())).unzip();
    QueueStatus {
        place: match status.place {
            proto::QueuePlace::Router => QueuePlace::Router,
            proto::QueuePlace::Host => QueuePlace::Host,
            proto::QueuePlace::Classic => QueuePlace::Classic,
            proto::QueuePlace::Local => QueuePlace::Local,
        },
        name: status.name,
        local,
        remote,
        count: status.count,
        bytes: status.bytes,
        oldest_seconds: status.oldest.as_secs_f64(),
        why: status.why,
    }
}

fn host(status: proto::HostStatus) -> HostStatus {
    let connected = status.address.is_some();
    let dialler = if status.dialled_by_us { Dialler::Us } else { Dialler::Them };
    HostStatus {
        name: status.name,
        state: host_state(status.state),
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
        state: pair_state(status.state),
        via: via(status.via),
        stanzas_in: status.stanzas_in,
        stanzas_out: status.stanzas_out,
        activated_at: status.activated_at.and_then(time),
        expires_at: status.expires_at.and_then(time),
        last_error: status.last_error,
    }
}

fn local(status: proto::LocalStatus, configured: &Local) -> LocalStatus {
    LocalStatus {
        name: status.name,
        kind: configured.attach.kind(),
        state: local_state(status.state),
        domains: configured.domains.iter().map(ToString::to_string).collect(),
        stanzas_in: status.stanzas_in,
        stanzas_out: status.stanzas_out,
        last_error: status.last_error,
    }
}

fn host_state(state: proto::HostState) -> HostState {
    match state {
        proto::HostState::Connecting => HostState::Connecting,
        proto::HostState::Negotiating => HostState::Negotiating,
        proto::HostState::Active => HostState::Active,
        proto::HostState::Waiting => HostState::Waiting,
        proto::HostState::Draining => HostState::Draining,
    }
}

fn pair_state(state: ProtoPairState) -> PairState {
    match state {
        ProtoPairState::Resolving => PairState::Resolving,
        ProtoPairState::Requested => PairState::Requested,
        ProtoPairState::Active => PairState::Active,
        ProtoPairState::Refused => PairState::Refused,
        ProtoPairState::Draining => PairState::Draining,
    }
}

fn via(via: proto::Via) -> Via {
    match via {
        proto::Via::Federation => Via::Federation,
        proto::Via::Classic => Via::Classic,
        proto::Via::Local => Via::Local,
    }
}

fn local_state(state: proto::LocalState) -> LocalState {
    match state {
        proto::LocalState::Up => LocalState::Up,
        proto::LocalState::Connecting => LocalState::Connecting,
        proto::LocalState::Down => LocalState::Down,
    }
}

pub(crate) fn host_count((state, count): &(proto::HostState, usize)) -> (&'static str, usize) {
    (host_state(*state).as_str(), *count)
}

pub(crate) fn pair_count(
    (state, of, count): &(ProtoPairState, proto::Via, usize),
) -> (&'static str, &'static str, usize) {
    (pair_state(*state).as_str(), via(*of).as_str(), *count)
}

pub(crate) fn local_count((state, count): &(proto::LocalState, usize)) -> (&'static str, usize) {
    (local_state(*state).as_str(), *count)
}
