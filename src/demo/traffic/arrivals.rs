//! The links of the two components, and what arrives on them.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout_at;

use super::super::cast::Cast;
use super::super::component::{Component, Receiver, Sender};
use super::super::stanza::{Arrival, recognise};
use super::{BASE, DemoError, QUIET, now};

/// A component's sending half: its answers go between what it sends by itself.
#[derive(Clone)]
pub(super) struct Link(Rc<Mutex<Sender>>);

impl Link {
    /// Sends stanzas.
    pub(super) async fn send(&self, stanzas: &str) -> Result<(), DemoError> {
        self.0.lock().await.send(stanzas.as_bytes()).await.map_err(|_| DemoError::LinkEnded)
    }
}

/// What both components receive, as long as there is time for it.
pub(super) struct Arrivals {
    // Without a bound: what takes it out runs on the same thread and is faster than any socket.
    channel: UnboundedReceiver<Vec<Arrival>>,
    until: Instant,
}

impl Arrivals {
    /// A phase begins that may take so long.
    pub(super) fn allow(&mut self, time: Duration) {
        self.until = now() + time;
    }

    /// The next batch; `None` if nothing came in time.
    pub(super) async fn next(&mut self) -> Option<Vec<Arrival>> {
        let until = self.until.min(now() + QUIET);
        timeout_at(until.into(), self.channel.recv()).await.ok().flatten()
    }
}

/// Begins to listen on both links.
pub(super) fn listen(cast: &Rc<Cast>, components: [Component; 2]) -> ([Link; 2], Arrivals) {
    let (out, channel) = unbounded_channel();
    let links = components.map(|component| {
        let (sender, receiver) = component.split();
        let link = Link(Rc::new(Mutex::new(sender)));
        actix_rt::spawn(hear(Rc::clone(cast), receiver, link.clone(), out.clone()));
        link
    });
    (links, Arrivals { channel, until: now() + BASE })
}

/// Answers questions, and passes everything else on in batches as the socket gives them.
async fn hear(cast: Rc<Cast>, mut receiver: Receiver, link: Link, out: UnboundedSender<Vec<Arrival>>) {
    while let Some(first) = receiver.next().await {
        let mut batch = vec![recognise(&cast, &first)];
        while let Some(stanza) = receiver.try_next() {
            batch.push(recognise(&cast, &stanza));
        }
        for arrival in &batch {
            if let Arrival::Question { answer } = arrival {
                // If the link has ended, the end is what comes next.
                let _ = link.0.lock().await.send(answer).await;
            }
        }
        // Nobody listens any more: the demonstration is over.
        if out.send(batch).is_err() {
            return;
        }
    }
    let _ = out.send(vec![Arrival::End]);
}
