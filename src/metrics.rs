//! `/metrics`: counters and what there is now, in Prometheus's text format.

use std::collections::BTreeMap;

use heteronym_actors::metrics::Metrics;
use heteronym_net::clock::Now;
use heteronym_proto::name::Name;
use heteronym_proto::status::Totals;
use prometheus::process_collector::ProcessCollector;
use prometheus::{GaugeVec, IntGauge, IntGaugeVec, Opts, Registry, TEXT_FORMAT, TextEncoder};
use tracing::error;

use crate::certificates::Dates;
use crate::status::{HostState, LocalState, PairState, Via};
use crate::telemetry;

/// What `Content-Type` says.
pub const CONTENT_TYPE: &str = TEXT_FORMAT;
/// Certificates that are shown: those that end soonest.
const SOONEST: usize = 50;

/// Everything, now.
#[must_use]
pub fn exposition(metrics: &Metrics, totals: &Totals, host: &Name, dates: &Dates) -> String {
    let families = gauges(totals, host, dates).map(|gauges| {
        let mut families = metrics.registry().gather();
        families.extend(gauges.gather());
        families
    });
    let text = families.and_then(|families| TextEncoder::new().encode_to_string(&families));
    text.unwrap_or_else(|error| {
        error!(%error, "the metrics cannot be shown");
        String::new()
    })
}

fn gauges(totals: &Totals, host: &Name, dates: &Dates) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let gauge = |name: &str, help: &str, labels: &[&str]| {
        let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok::<_, prometheus::Error>(gauge)
    };
    let hosts = gauge("heteronym_host_connections", "Connections to peer hosts", &["state"])?;
    let pairs = gauge("heteronym_pairs", "Domain pairs", &["state", "via"])?;
    let locals = gauge("heteronym_local_links", "Links to our own servers", &["state"])?;
    let queues =
        gauge("heteronym_queue_bytes", "Bytes that wait: for a host, on host streams, for our servers", &["queue"])?;
    set(&hosts, HostState::ALL.iter().map(|state| state.as_str()), totals.hosts.iter().map(telemetry::host_count));
    set(&locals, LocalState::ALL.iter().map(|state| state.as_str()), totals.locals.iter().map(telemetry::local_count));
    for (via, state) in [Via::Federation, Via::Classic, Via::Local]
        .iter()
        .flat_map(|via| PairState::ALL.iter().map(move |state| (via, state)))
    {
        pairs.with_label_values(&[state.as_str(), via.as_str()]).set(0);
    }
    for (state, via, count) in totals.pairs.iter().map(telemetry::pair_count) {
        pairs.with_label_values(&[state, via]).add(whole(count));
    }
    let bytes = [
        ("router", totals.router_bytes),
        ("host", totals.host_bytes),
        ("classic", totals.classic_bytes),
        ("local", totals.local_bytes),
    ];
    for (queue, bytes) in bytes {
        queues.with_label_values(&[queue]).set(whole(bytes));
    }
    let what = "Stanzas that were sent and that no peer has acknowledged";
    plain(&registry, "heteronym_unacknowledged_stanzas", what, totals.unacknowledged)?;
    let name = "heteronym_crypto_waiting_operations";
    plain(&registry, name, "Operations that wait for the crypto pool", totals.crypto_waiting)?;
    registry.register(Box::new(expiries(host, dates)?))?;
    Ok(registry)
}

/// A gauge without labels.
fn plain(registry: &Registry, name: &str, help: &str, value: impl TryInto<i64>) -> Result<(), prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    registry.register(Box::new(gauge))
}

/// Every state, those with nothing in them as well: a series that comes and goes misleads.
fn set<'a>(
    gauge: &IntGaugeVec,
    all: impl Iterator<Item = &'a str>,
    counts: impl Iterator<Item = (&'static str, usize)>,
) {
    all.for_each(|state| gauge.with_label_values(&[state]).set(0));
    counts.for_each(|(state, count)| gauge.with_label_values(&[state]).add(whole(count)));
}

/// The certificates that end soonest, the host's among them.
fn expiries(host: &Name, dates: &Dates) -> Result<GaugeVec, prometheus::Error> {
    let help = "Seconds until the certificate ends, of those that end soonest";
    let gauge = GaugeVec::new(Opts::new("heteronym_certificate_expiry_seconds", help), &["domain"])?;
    let unix = Now::read().unix;
    let ends = dates.domains.iter().filter_map(|(domain, end)| Some(((*end)?, domain)));
    let sorted: BTreeMap<_, ()> = ends.chain([(dates.host, host)]).map(|of| (of, ())).collect();
    for ((end, domain), ()) in sorted.into_iter().take(SOONEST) {
        gauge.with_label_values(&[domain.as_str()]).set(end as f64 - unix as f64);
    }
    Ok(gauge)
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
