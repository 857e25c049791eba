//! What a configuration asks for that is right but will surprise its operator.

use super::Config;

/// Something that the configuration asks for and does not get, or would rather have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Nothing outlives a restart.
    #[error("host.state is empty: after a restart, no remote domain is pinned")]
    NoState,
    /// Nobody is served.
    #[error("there is no [[local]]: this host serves no domain")]
    NoLocals,
    /// The largest stanza does not fit into a queue.
    #[error("limits.{queue} is below limits.stanza_bytes: the largest stanzas never fit into the queue")]
    QueueBelowStanza {
        /// The key of the queue's limit.
        queue: &'static str,
    },
}

impl Config {
    /// Everything that is worth a warning.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings: Vec<Warning> = self.host.state.is_none().then_some(Warning::NoState).into_iter().collect();
        warnings.extend(self.locals.is_empty().then_some(Warning::NoLocals));
        let queues =
            [("pair_queue_bytes", self.limits.pair_queue_bytes), ("host_queue_bytes", self.limits.host_queue_bytes)];
        let small = queues.into_iter().filter(|(_, bytes)| *bytes < self.limits.stanza_bytes);
        warnings.extend(small.map(|(queue, _)| Warning::QueueBelowStanza { queue }));
        warnings
    }
}
