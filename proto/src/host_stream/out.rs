//! What a host stream wants done by those around it.

use std::time::Duration;

use bytes::Bytes;

use crate::batch::{Batch, push_for};
use crate::control::DeactivateReason;
use crate::crypto::CryptoOp;
use crate::domain_pair::{Failure, PairEvent};
use crate::hosted::Entry;
use crate::mux::Slot;
use crate::name::Name;
use crate::refusal::Refusal;
use crate::stanza_error::Condition;
use crate::stream_error::StreamError;
use crate::suite::Fingerprint;

/// What a host stream wants done, in order.
#[derive(Debug, Default)]
pub struct Out {
    /// Everything but stanzas for our local servers.
    pub actions: Vec<Action>,
    /// Stanzas for our local servers, in order, right for any stream that declares its own namespace as the
    /// default; by their numbers on this host stream, for
    /// [`HostStream::undeliverable`](super::HostStream::undeliverable).
    pub deliveries: Vec<(Entry, Batch<u64>)>,
    /// Bytes that a batch is given room for.
    pub(super) room: usize,
}

impl Out {
    pub(super) fn deliver(&mut self, entry: Entry, n: u64, stanza: &[u8]) {
        push_for(&mut self.deliveries, &entry, (n, stanza), self.room);
    }
}

/// See [`Out`].
#[derive(Debug)]
pub enum Action {
    /// Tell the pair's actor, which is started where the event is `Open` or `Serve`.
    Pair(Slot, PairEvent),
    /// End the pair's actor: its run is over.
    EndPair(Slot),
    /// Perform [`CryptoOp::CheckIdentity`] and hand the result to [`HostStream::identity_checked`](super::HostStream::identity_checked).
    CheckIdentity(CryptoOp),
    /// Perform [`CryptoOp::OwnIdentity`] and hand the result to [`HostStream::own_identity`](super::HostStream::own_identity).
    ShowIdentity(IdentityQuestion),
    /// The pair's stanzas go to this slot from now on.
    RouteUp {
        /// Which.
        slot: Slot,
        /// Its activation is one of an earlier link: any other link's is newer.
        resumed: bool,
    },
    /// They do not any more.
    RouteDown(Slot),
    /// A stanza goes back to its sender, one of our local users.
    Bounce {
        /// As it was to be sent.
        stanza: Bytes,
        /// Why.
        condition: Condition,
        /// Why, in a word for the metrics.
        reason: &'static str,
        /// Why, in words.
        text: String,
    },
    /// A stanza goes to the link that has its pair now.
    Reroute(Bytes),
    /// An error of ours goes to a remote sender whose stanza could not be delivered.
    Reply(Bytes),
    /// For log, metrics and status.
    Changed(Slot, PairChange),
    /// The decider chose this link.
    Chosen,
    /// The link answered a probe.
    Alive,
    /// The peer has not been heard for so long although it was asked: the link is of no use.
    Dead(Duration),
    /// The session goes on; so many stanzas had not arrived, and are sent again.
    SessionResumed(usize),
    /// The peer does not know the session any more.
    SessionLost {
        /// Stanzas that are sent again and may have arrived.
        in_doubt: usize,
    },
    /// Something was queued: the writer has work.
    Write,
    /// A stanza was refused, for log and metrics.
    StanzaRefused(&'static str),
    /// A request of the peer's was refused before a run began, for the metrics.
    RequestRefused(Refusal),
    /// The peer ended the stream with an error of its own.
    PeerError(StreamError),
    /// The stream is to end; with an error, or because the peer closed it.
    Close(Option<StreamError>),
}

/// A question for the identity of one of our domains.
#[derive(Clone, Debug)]
pub struct IdentityQuestion {
    /// The question's id.
    pub id: String,
    /// Ours.
    pub domain: Name,
    /// The leaf that the asker knows already.
    pub have: Option<Fingerprint>,
}

/// What happened to a pair.
#[derive(Clone, Debug)]
pub enum PairChange {
    /// An activation is asked for.
    Requested,
    /// Active until then, Unix seconds.
    Activated {
        /// Whether we asked.
        initiated: bool,
        /// Unix seconds.
        expires: u64,
    },
    /// Active again on another link, until then.
    Resumed {
        /// Whether we had asked.
        initiated: bool,
        /// Unix seconds.
        expires: u64,
    },
    /// The activation failed, for now or for good.
    Refused(Failure),
    /// We refused to serve the peer's request.
    RefusedPeer(Failure),
    /// The activation ended.
    Deactivated(DeactivateReason),
}
