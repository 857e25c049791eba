//! What the status page and the readiness check say.

use std::collections::HashMap;
use std::fmt::Write as _;

use actix::{Handler, Message, ResponseFuture};
use futures_util::future::join_all;
use heteronym_proto::classic::remotes::Failure;
use heteronym_proto::classic::stream::PairTraffic;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::pairs::PairState;
use heteronym_proto::registry::Target;
use heteronym_proto::status::{HostState, HostStatus, LocalState, PairStatus, Status, Totals, Via};

use super::{Host, Router};
use crate::classic_stream;
use crate::host_connection::{self, LinkTotals};
use crate::local_link;
use crate::now;

impl Router {
    pub(super) fn why_waiting(&self, pair: &Pair) -> String {
        if let Some((name, targets)) =
            self.hosts.iter().find_map(|(name, host)| host.pairs.get(pair).map(|targets| (name, targets)))
        {
            return self.why_unreachable(name, targets);
        }
        if self.moving.contains_key(pair) {
            return "its connection by classic S2S has not ended yet".to_owned();
        }
        self.why_no_stream(pair).unwrap_or_else(|| format!("the look-up of {} has not ended", pair.remote))
    }

    /// Why there is no link to the host that a pair waits for, nor to the others that would do.
    pub(super) fn why_unreachable(&self, name: &Name, targets: &[Target]) -> String {
        let error = |host: &Name| self.hosts.get(host).and_then(|host| host.last_error.as_deref());
        let mut text = format!("the host {name} could not be reached: {}", error(name).unwrap_or("no answer yet"));
        for other in targets.iter().map(|target| &target.host).filter(|other| *other != name) {
            if let Some(error) = error(other) {
                // Writing to a String cannot fail.
                let _ = write!(text, "; nor the host {other}: {error}");
            }
        }
        text
    }
}

/// For the status page.
#[derive(Message)]
#[rtype(result = "Status")]
pub struct GetStatus;

impl Handler<GetStatus> for Router {
    type Result = ResponseFuture<Status>;

    fn handle(&mut self, GetStatus: GetStatus, _: &mut Self::Context) -> Self::Result {
        let links: Vec<_> = self.links.values().map(|entry| entry.link.addr.clone()).collect();
        let streams: Vec<_> = self.streams.values().map(|stream| stream.handle.addr.clone()).collect();
        let locals = self.shared.locals.all();
        let hosts: Vec<HostStatus> =
            self.hosts.iter().filter_map(|(name, host)| host_without_link(name, host)).collect();
        let waiting = self.waiting.pairs().map(|pair| self.waiting_pair(pair));
        let failed = self.remotes.failures(now().instant).map(|(remote, failure)| failed_pair(remote, failure));
        let inside = self.shared.routes.local_pairs().into_iter().map(|(pair, stanzas)| PairStatus {
            stanzas_out: stanzas,
            ..pair_status(pair, PairState::Active, Via::Local)
        });
        let pairs: Vec<PairStatus> = waiting.chain(inside).collect();
        let mut classic: HashMap<Pair, PairStatus> = failed.map(|status| (status.pair.clone(), status)).collect();
        Box::pin(async move {
            let mut status = Status { hosts, pairs, locals: Vec::new() };
            for answer in join_all(links.iter().map(|link| link.send(host_connection::GetStatus))).await {
                if let Ok(Some((host, pairs))) = answer {
                    status.hosts.push(host);
                    status.pairs.extend(pairs);
                }
            }
            for answer in join_all(streams.iter().map(|stream| stream.send(classic_stream::GetPairs))).await {
                answer.unwrap_or_default().into_iter().for_each(|of| add_traffic(&mut classic, of));
            }
            status.pairs.extend(classic.into_values());
            let answers = join_all(locals.iter().map(|local| local.addr.send(local_link::GetStatus))).await;
            status.locals = answers.into_iter().filter_map(|answer| answer.ok().flatten()).collect();
            status.hosts.sort_by(|a, b| a.name.cmp(&b.name));
            status.pairs.sort_by(|a, b| {
                (a.pair.local.as_str(), a.pair.remote.as_str()).cmp(&(b.pair.local.as_str(), b.pair.remote.as_str()))
            });
            status
        })
    }
}

/// For the metrics: numbers of everything there is now.
#[derive(Message)]
#[rtype(result = "Totals")]
pub struct GetTotals;

impl Handler<GetTotals> for Router {
    type Result = ResponseFuture<Totals>;

    fn handle(&mut self, GetTotals: GetTotals, _: &mut Self::Context) -> Self::Result {
        let links: Vec<_> = self.links.values().map(|entry| entry.link.clone()).collect();
        let locals = self.shared.locals.all();
        let by_classic = self.for_classic.values().map(HashMap::len).sum::<usize>();
        let mut totals = Totals {
            router_bytes: self.waiting.bytes(),
            host_bytes: links.iter().map(|link| link.gauge.bytes()).sum(),
            classic_bytes: self.streams.values().map(|stream| stream.handle.gauge.bytes()).sum(),
            unacknowledged: self
                .hosts
                .values()
                .filter_map(Host::waiting_session)
                .map(|of| of.unacknowledged() as u64)
                .sum(),
            crypto_waiting: self.shared.crypto.waiting(),
            local_bytes: locals.iter().map(|local| local.gauge.bytes()).sum(),
            ..Totals::default()
        };
        let without = self.hosts.iter().filter_map(|(name, host)| host_without_link(name, host));
        totals.hosts = without.map(|host| (host.state, 1)).collect();
        totals.pairs = vec![
            (PairState::Resolving, Via::Federation, self.waiting.pairs().count().saturating_sub(by_classic)),
            (PairState::Requested, Via::Classic, by_classic),
            (PairState::Active, Via::Classic, self.remotes.count_pairs()),
            (PairState::Refused, Via::Classic, self.remotes.failures(now().instant).count()),
            (PairState::Active, Via::Local, self.shared.routes.local_pairs().len()),
        ];
        Box::pin(async move {
            let answers = join_all(links.iter().map(|link| link.addr.send(host_connection::GetTotals))).await;
            for LinkTotals { state, pairs, unacknowledged } in answers.into_iter().filter_map(|of| of.ok().flatten()) {
                totals.hosts.push((state, 1));
                totals.unacknowledged += unacknowledged as u64;
                totals.pairs.extend(pairs.into_iter().map(|(state, count)| (state, Via::Federation, count)));
            }
            let answers = join_all(locals.iter().map(|local| local.addr.send(local_link::GetStatus))).await;
            totals.locals = answers.into_iter().filter_map(|answer| Some((answer.ok().flatten()?.state, 1))).collect();
            totals
        })
    }
}

/// Why the router is not ready: what an operator waits for.
#[derive(Message)]
#[rtype(result = "Vec<String>")]
pub struct NotReady;

impl Handler<NotReady> for Router {
    type Result = ResponseFuture<Vec<String>>;

    fn handle(&mut self, NotReady: NotReady, _: &mut Self::Context) -> Self::Result {
        let (locals, draining) = (self.shared.locals.all(), self.draining);
        Box::pin(async move {
            let answers = join_all(locals.iter().map(|local| local.addr.send(local_link::GetStatus))).await;
            let dialled = answers.into_iter().filter_map(|answer| answer.ok().flatten());
            let mut reasons: Vec<String> = dialled
                .filter(|local| local.state == LocalState::Connecting)
                .map(|local| {
                    let error = local.last_error.as_deref().unwrap_or("no answer yet");
                    format!("local {}: the server we dial is not there: {error}", local.name)
                })
                .collect();
            if draining {
                reasons.push("draining".to_owned());
            }
            reasons
        })
    }
}

fn host_without_link(name: &Name, host: &Host) -> Option<HostStatus> {
    if host.choice.chosen().is_some() {
        return None;
    }
    let idle = host.choice.is_idle();
    if idle && host.pairs.is_empty() && host.last_error.is_none() {
        return None;
    }
    Some(HostStatus {
        name: name.to_string(),
        state: if idle { HostState::Waiting } else { HostState::Connecting },
        address: None,
        dialled_by_us: true,
        pairs_active: 0,
        stanzas_in: 0,
        stanzas_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        unacknowledged: host.waiting_session().map_or(0, |session| session.unacknowledged() as u64),
        queued_bytes: 0,
        last_error: host.last_error.clone(),
    })
}

impl Router {
    fn waiting_pair(&self, pair: &Pair) -> PairStatus {
        let by_classic = self.for_classic.get(&pair.remote).is_some_and(|pairs| pairs.contains_key(pair));
        let (state, via) = match by_classic {
            true => (PairState::Requested, Via::Classic),
            false => (PairState::Resolving, Via::Federation),
        };
        PairStatus { last_error: Some(self.why_waiting(pair)), ..pair_status(pair.clone(), state, via) }
    }
}

/// A pair that could not be reached by classic S2S a while ago.
fn failed_pair(remote: &Name, failure: &Failure) -> PairStatus {
    let pair = Pair { local: failure.local.clone(), remote: remote.clone() };
    let last_error = Some(failure.why.clone());
    PairStatus { last_error, ..pair_status(pair, PairState::Refused, Via::Classic) }
}

/// Adds what a pair has sent and got on one of its streams.
fn add_traffic(pairs: &mut HashMap<Pair, PairStatus>, (pair, traffic): (Pair, PairTraffic)) {
    let new = || pair_status(pair.clone(), PairState::Requested, Via::Classic);
    let status = pairs.entry(pair.clone()).or_insert_with(new);
    status.stanzas_in += traffic.stanzas_in;
    status.stanzas_out += traffic.stanzas_out;
    if traffic.open {
        status.state = PairState::Active;
    }
}

fn pair_status(pair: Pair, state: PairState, via: Via) -> PairStatus {
    PairStatus {
        pair,
        host: None,
        state,
        via,
        stanzas_in: 0,
        stanzas_out: 0,
        activated_at: None,
        expires_at: None,
        last_error: None,
    }
}
