//! What waits in a queue: trains of stanzas, which leave it as they came or each stanza by itself.

use std::time::Instant;

use bytes::Bytes;

use crate::train::Train;

/// What a waiting stanza costs beyond its bytes.
pub(super) const PARCEL_OVERHEAD: usize = 64;

/// A stanza that waits, with what its owner knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel<O = ()> {
    /// The whole stanza, right for a `jabber:server` stream.
    pub bytes: Bytes,
    /// Where it comes from, for who gets it back.
    pub origin: O,
    /// Since when.
    pub since: Instant,
    /// It came back once as undelivered because the pair was not active.
    pub retried: bool,
    /// Its place among all that were queued: what comes back goes where it was.
    pub seq: u64,
    /// It was written once, and came back.
    pub written: bool,
}

/// Stanzas that came together and wait together; what is known of one is known of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcels<O = ()> {
    /// The stanzas.
    pub train: Train,
    /// As [`Parcel::origin`].
    pub origin: O,
    /// As [`Parcel::since`].
    pub since: Instant,
    /// As [`Parcel::retried`].
    pub retried: bool,
    /// Of the first one; the others' follow.
    pub seq: u64,
    /// As [`Parcel::written`].
    pub written: bool,
}

impl<O> Parcel<O> {
    pub(super) fn cost(&self) -> usize {
        self.bytes.len() + PARCEL_OVERHEAD
    }
}

impl<O> Parcels<O> {
    /// What each stanza costs, together.
    pub(super) fn cost(&self) -> usize {
        self.train.length() + self.train.count() * PARCEL_OVERHEAD
    }
}

impl<O> From<Parcel<O>> for Parcels<O> {
    fn from(parcel: Parcel<O>) -> Self {
        let Parcel { bytes, origin, since, retried, seq, written } = parcel;
        Self { train: bytes.into(), origin, since, retried, seq, written }
    }
}

impl<O: Clone> Parcels<O> {
    /// Each by itself, in order.
    pub fn each(self) -> impl Iterator<Item = Parcel<O>> {
        let Self { train, origin, since, retried, seq, written } = self;
        (seq..).zip(train.into_stanzas()).map(move |(seq, bytes)| {
            let origin = origin.clone();
            Parcel { bytes, origin, since, retried, seq, written }
        })
    }
}
