//! The way out for stanzas: to our servers, and back to their senders where that fails.

use bytes::Bytes;
use heteronym_proto::batch::{Batch, push_for};
use heteronym_proto::control::UndeliveredReason;
use heteronym_proto::hosted::Entry;
use heteronym_proto::traffic::Traffic;

use super::ClassicStream;
use super::parent::Parent;
use crate::local_link::{Deliver, Origin, hand_back};
use crate::metrics::Direction;

impl ClassicStream {
    /// Hands stanzas to our servers, one message per server and read.
    pub(super) fn deliver(&mut self, deliveries: Vec<(Entry, Bytes)>) {
        let mut traffic = Traffic::default();
        let mut by_entry: Vec<(Entry, Batch<u64>)> = Vec::new();
        for (entry, bytes) in deliveries {
            traffic.count(&bytes);
            push_for(&mut by_entry, &entry, (0, &bytes), 0);
        }
        self.shared.metrics.traffic(Direction::In, traffic);
        let Some(Parent::Router(router)) = &self.parent else { return };
        let from = Origin::Classic(router.clone());
        for (entry, stanzas) in by_entry {
            let deliver = Deliver { from: from.clone(), stanzas };
            let local = self.shared.locals.get(entry);
            if let Some(local) = &local {
                self.gate.shut_if_full(&local.gauge);
            }
            let full = match local {
                Some(local) => local.deliver(deliver).err(),
                None => Some(deliver.stanzas),
            };
            for (n, stanza) in full.unwrap_or_default().iter() {
                hand_back(&self.shared, &from, n, stanza, UndeliveredReason::Overflow);
            }
        }
    }
}
