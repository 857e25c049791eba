//! What waits: the document behind `/api/queues`.

use serde::{Deserialize, Serialize};

/// Queues, and what is in all of them together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Queues {
    /// Those that were asked for and are not empty.
    pub queues: Vec<QueueStatus>,
    /// Stanzas in them.
    pub count: usize,
    /// Bytes in them.
    pub bytes: usize,
    /// How long the oldest stanza waits.
    pub oldest_seconds: f64,
}

/// What waits in one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Where.
    #[serde(rename = "where")]
    pub place: QueuePlace,
    /// The peer host or the local server that it waits for, where that is known.
    pub name: Option<String>,
    /// Our domain, where it waits by pair.
    pub local: Option<String>,
    /// The other domain.
    pub remote: Option<String>,
    /// Stanzas.
    pub count: usize,
    /// Bytes.
    pub bytes: usize,
    /// How long the oldest waits.
    pub oldest_seconds: f64,
    /// For what.
    pub why: String,
}

/// Where stanzas wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueuePlace {
    /// For a host to be found and reached.
    Router,
    /// On a host stream.
    Host,
    /// On a stream of classic S2S.
    Classic,
    /// For one of our own servers.
    Local,
}

impl Queues {
    /// These queues with their sums.
    #[must_use]
    pub fn new(queues: Vec<QueueStatus>) -> Self {
        let (count, bytes) = queues.iter().fold((0, 0), |(count, bytes), of| (count + of.count, bytes + of.bytes));
        let oldest_seconds = queues.iter().map(|queue| queue.oldest_seconds).fold(0.0, f64::max);
        Self { queues, count, bytes, oldest_seconds }
    }

    /// Those that `wanted` names.
    #[must_use]
    pub fn only(self, wanted: impl Fn(&QueueStatus) -> bool) -> Self {
        Self::new(self.queues.into_iter().filter(wanted).collect())
    }
}
