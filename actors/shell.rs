//! What the shells of streams share, and no actor: flow control, reading, one timer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, SpawnHandle};
use bytes::BytesMut;
use futures_util::Stream;
use futures_util::stream::unfold;
use heteronym_net::wire::Reader;
use tokio::sync::Notify;

use crate::now;

/// How long reading pauses at most for a destination that is full; then its queue may overflow.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes on their way to a connection: what its mailbox and its queues hold. The bound of the data
/// path, counted before a message is sent.
#[derive(Debug, Default)]
pub struct Gauge {
    in_mailbox: AtomicUsize,
    queued: AtomicUsize,
    room: Notify,
}

impl Gauge {
    /// Above this, whoever sends pauses.
    pub const HIGH: usize = 512 << 10;
    /// Below this, it goes on.
    pub const LOW: usize = 256 << 10;

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.in_mailbox.load(Ordering::Relaxed) + self.queued.load(Ordering::Relaxed)
    }

    /// Whether whoever sends is to pause.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.bytes() > Self::HIGH
    }

    pub(crate) fn posted(&self, bytes: usize) {
        self.in_mailbox.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.in_mailbox.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn queued_is(&self, bytes: usize) {
        let before = self.queued.swap(bytes, Ordering::Relaxed);
        if before > bytes {
            self.tell_room();
        }
    }

    /// As [`Self::received`], where nothing of it is queued.
    pub(crate) fn passed_on(&self, bytes: usize) {
        self.received(bytes);
        self.tell_room();
    }

    fn tell_room(&self) {
        if self.bytes() <= Self::LOW {
            self.room.notify_waiters();
        }
    }

    /// Waits until there is room, at most `limit`; then whoever waits goes on and risks a full queue.
    pub async fn has_room(&self, limit: Duration) {
        let room = self.room.notified();
        if self.is_high() {
            let _ = tokio::time::timeout(limit, room).await;
        }
    }
}

/// What reading from a connection waits for: a destination that was full when it was last written to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Arc<Gauge>>>>);

impl Gate {
    /// Reading pauses for this destination, if it is full.
    pub(crate) fn shut_if_full(&self, destination: &Arc<Gauge>) {
        if destination.is_high() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(destination));
        }
    }

    async fn pass(&self) {
        let full = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(full) = full {
            full.has_room(PAUSE).await;
        }
    }
}

/// Reads batches until the connection ends; before each it passes the gate.
pub(crate) fn reading(reader: Reader, gate: Gate) -> impl Stream<Item = std::io::Result<Option<BytesMut>>> {
    unfold(Some(reader), move |reader| {
        let gate = gate.clone();
        async move {
            let mut reader = reader?;
            gate.pass().await;
            let read = reader.read().await;
            let next = matches!(read, Ok(Some(_))).then_some(reader);
            Some((read, next))
        }
    })
}

/// The one timer of an actor, for the next deadline of its core.
#[derive(Default)]
pub(crate) struct Alarm(Option<(Instant, SpawnHandle)>);

impl Alarm {
    /// Calls `ring` at this time and at no other; it begins with [`Self::rang`].
    pub(crate) fn set<A>(&mut self, at: Option<Instant>, ctx: &mut Context<A>, ring: fn(&mut A, &mut Context<A>))
    where
        A: Actor<Context = Context<A>>,
    {
        if self.0.as_ref().map(|(at, _)| *at) == at {
            return;
        }
        if let Some((_, timer)) = self.0.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = at {
            let wait = at.saturating_duration_since(now().instant) + Duration::from_millis(1);
            self.0 = Some((at, ctx.run_later(wait, ring)));
        }
    }

    /// It is not set any more.
    pub(crate) fn rang(&mut self) {
        self.0 = None;
    }
}
