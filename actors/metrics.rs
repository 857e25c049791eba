//! What is counted while stanzas go by. No actor: counters that outlive all of them.
//!
//! They are added to once a batch, relaxed. No label takes the name of a remote domain, so that
//! their number is bounded. What there is *now* (connections, pairs, queues) is not counted but
//! asked for, by [`GetTotals`](crate::router::GetTotals).

use heteronym_net::steering::Outcome;
use heteronym_proto::traffic::Traffic;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Every counter of a router.
pub struct Metrics {
    registry: Registry,
    /// By direction and kind: each is known beforehand, so that counting is an addition.
    stanzas: [[IntCounter; 3]; 3],
    bytes: [IntCounter; 3],
    errors: IntCounterVec,
    broken: Broken,
    activations: IntCounterVec,
    activation_seconds: Histogram,
    dns_lookups: IntCounterVec,
    steering_questions: IntCounterVec,
    tls_handshakes: IntCounterVec,
    limited: Limited,
}

/// Of what meets a bound.
struct Limited {
    crypto_operations: IntCounterVec,
    incoming_connections: IntCounterVec,
    handshakes: IntGaugeVec,
    holds: IntCounter,
}

/// Of what breaks.
struct Broken {
    resumed_pairs: IntCounter,
    in_doubt: IntCounter,
    panics: IntCounter,
}

/// Which way stanzas went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From other hosts.
    In,
    /// To other hosts.
    Out,
    /// From one of our domains to another.
    Local,
}

/// Seconds from the first element of an activation to the last: a round trip, and signatures.
const ACTIVATION_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// A counter with these labels, registered.
fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn plain_counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn activation_seconds(registry: &Registry) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new("heteronym_activation_seconds", "Time that an activation took");
    let histogram = Histogram::with_opts(options.buckets(ACTIVATION_BUCKETS.to_vec()))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

impl Direction {
    const ALL: [Self; 3] = [Self::In, Self::Out, Self::Local];

    fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Local => "local",
        }
    }
}

impl Limited {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let what = "Operations for the crypto pool; refused: more of one peer's waited than may";
        let crypto_operations = counter(registry, "heteronym_crypto_operations_total", what, &["result"])?;
        let what = "Connections that were accepted, by what came of their handshake; crowded: too many of one network";
        let labels = ["listener", "result"];
        let incoming_connections = counter(registry, "heteronym_incoming_connections_total", what, &labels)?;
        let what = "Connections on which nobody has shown yet who it is";
        let handshakes = IntGaugeVec::new(Opts::new("heteronym_handshakes", what), &["listener"])?;
        registry.register(Box::new(handshakes.clone()))?;
        let what = "Domains of ours that a peer host was asked to hold";
        let holds = plain_counter(registry, "heteronym_holds_total", what)?;
        Ok(Self { crypto_operations, incoming_connections, handshakes, holds })
    }

    fn show_zeros(&self) {
        for listener in ["federation", "s2s", "local_s2s", "component"] {
            self.handshakes.with_label_values(&[listener]);
            for result in ["established", "failed", "late", "crowded"] {
                self.incoming_connections.with_label_values(&[listener, result]);
            }
        }
        for result in ["done", "refused", "failed"] {
            self.crypto_operations.with_label_values(&[result]);
        }
    }
}

impl Broken {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let what = "Pairs that were resumed on another connection";
        let resumed_pairs = plain_counter(registry, "heteronym_resumed_pairs_total", what)?;
        let what = "Stanzas that were sent again, or given back, and may have arrived";
        let in_doubt = plain_counter(registry, "heteronym_in_doubt_stanzas_total", what)?;
        let what = "Panics: each cost a connection or an activation, and is a fault of the router";
        let panics = plain_counter(registry, "heteronym_panics_total", what)?;
        Ok(Self { resumed_pairs, in_doubt, panics })
    }
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// If a name or a label is none: a mistake here.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| counter(&registry, name, help, labels);
        let stanzas = counter("heteronym_stanzas_total", "Stanzas that were forwarded", &["direction", "kind"])?;
        let bytes = counter("heteronym_stanza_bytes_total", "Bytes of those stanzas", &["direction"])?;
        let what = "Stanzas that went no further, by the error that their sender got and why";
        let errors = counter("heteronym_stanza_errors_total", what, &["condition", "reason"])?;
        let what = "Activations of domain pairs that came to an end";
        let activations = counter("heteronym_activations_total", what, &["role", "result"])?;
        let dns_lookups = counter("heteronym_dns_lookups_total", "Look-ups that went out", &["type", "result"])?;
        let steering_questions =
            counter("heteronym_steering_questions_total", "Questions to steering_dns", &["result"])?;
        let tls_handshakes =
            counter("heteronym_tls_handshakes_total", "TLS handshakes with hosts and servers", &["role", "result"])?;
        let activation_seconds = activation_seconds(&registry)?;
        let stanzas = Direction::ALL.map(|direction| {
            Traffic::KINDS.map(|kind| stanzas.with_label_values(&[direction.as_str(), kind.as_str()]))
        });
        let bytes = Direction::ALL.map(|direction| bytes.with_label_values(&[direction.as_str()]));
        let metrics = Self {
            stanzas,
            bytes,
            errors,
            broken: Broken::new(&registry)?,
            activations,
            activation_seconds,
            dns_lookups,
            steering_questions,
            tls_handshakes,
            limited: Limited::new(&registry)?,
            registry,
        };
        metrics.show_zeros();
        Ok(metrics)
    }

    /// A rate needs a first value: what will be counted is there from the start.
    fn show_zeros(&self) {
        for role in ["initiator", "responder"] {
            self.activations.with_label_values(&[role, "active"]);
        }
        for (role, result) in [("client", "ok"), ("client", "failed"), ("server", "ok"), ("server", "failed")] {
            self.tls_handshakes.with_label_values(&[role, result]);
        }
        for result in ["found", "absent", "failed"] {
            self.dns_lookups.with_label_values(&["srv", result]);
            self.dns_lookups.with_label_values(&["address", result]);
        }
        self.limited.show_zeros();
        for outcome in Outcome::ALL {
            self.steering_questions.with_label_values(&[outcome.as_str()]);
        }
        self.errors.with_label_values(&["remote-server-timeout", "overdue"]);
    }

    /// The counters, to be shown.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn traffic(&self, direction: Direction, traffic: Traffic) {
        for (counter, count) in self.stanzas[direction as usize].iter().zip(traffic.stanzas) {
            counter.inc_by(count);
        }
        self.bytes[direction as usize].inc_by(traffic.bytes);
    }

    pub(crate) fn stanza_error(&self, condition: &str, reason: &'static str) {
        self.errors.with_label_values(&[condition, reason]).inc();
    }

    pub(crate) fn resumed_pair(&self) {
        self.broken.resumed_pairs.inc();
    }

    pub(crate) fn in_doubt(&self, stanzas: usize) {
        self.broken.in_doubt.inc_by(stanzas as u64);
    }

    /// Something has panicked.
    pub fn panicked(&self) {
        self.broken.panics.inc();
    }

    /// How often something has panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.broken.panics.get()
    }

    /// An activation ended, well or not; `seconds` where it ended well and its begin is known.
    pub(crate) fn activation(&self, initiated: bool, result: &'static str, seconds: Option<f64>) {
        let role = if initiated { "initiator" } else { "responder" };
        self.activations.with_label_values(&[role, result]).inc();
        if let Some(seconds) = seconds {
            self.activation_seconds.observe(seconds);
        }
    }

    pub(crate) fn dns_lookup(&self, kind: &'static str, result: &'static str) {
        self.dns_lookups.with_label_values(&[kind, result]).inc();
    }

    /// One of our servers has asked for somebody. That is no look-up of ours.
    pub fn steering_question(&self, outcome: Outcome) {
        self.steering_questions.with_label_values(&[outcome.as_str()]).inc();
    }

    pub(crate) fn tls_handshake(&self, role: &'static str, succeeded: bool) {
        let result = if succeeded { "ok" } else { "failed" };
        self.tls_handshakes.with_label_values(&[role, result]).inc();
    }

    /// What came of a connection that was accepted, as far as its handshake went.
    pub(crate) fn incoming_connection(&self, listener: &'static str, result: &'static str) {
        self.limited.incoming_connections.with_label_values(&[listener, result]).inc();
    }

    /// So many handshakes more, or fewer, are under way.
    pub(crate) fn handshakes(&self, listener: &'static str, more: i64) {
        self.limited.handshakes.with_label_values(&[listener]).add(more);
    }

    /// A peer is asked to hold one of our domains.
    pub(crate) fn hold(&self) {
        self.limited.holds.inc();
    }

    pub(crate) fn crypto_operation(&self, result: &'static str) {
        self.limited.crypto_operations.with_label_values(&[result]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_label_is_one() {
        let metrics = Metrics::new().unwrap();
        assert_eq!(metrics.registry().gather().len(), 15);
    }
}
