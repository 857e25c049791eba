//! What a server has read of what was written to it: a ping in the stream whose answer shows that everything
//! before it was read (XEP-0199; protocol §8). XEP-0114 has nothing else.
//!
//! Whether a server answers shows the first ping, with which each link begins. Of one that never did, what was
//! written counts as read: it would get everything twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context};
use bytes::{Bytes, BytesMut};
use heteronym_proto::host_iq;
use heteronym_proto::name::Name;

use super::LocalLink;
use super::local_handle::{HostOrigin, Origin};
use super::queue::Waiting;
use crate::host_connection::HasRead;

/// Stanzas and bytes behind which a ping goes out at once.
const ASK_AFTER: (usize, usize) = (64, 64 << 10);
/// When a ping goes out, however little was written.
const ASK_WITHIN: Duration = Duration::from_millis(200);
/// Bytes that are kept of what was not seen to be read: of more, the oldest count as read.
const UNREAD_BYTES: usize = 4 << 20;

/// What was written to one link, and whether it was read.
pub(super) struct Unread {
    host: Name,
    domain: Name,
    written: VecDeque<Waiting>,
    stanzas: usize,
    bytes: usize,
    /// The ping that is under way: its number, and how many of the messages were written before it.
    asked: Option<(u64, usize)>,
    pings: u64,
    ask_now: bool,
    /// The server has answered a ping, on this link or an earlier one.
    answers: bool,
}

impl Unread {
    pub(super) fn new(host: Name, domain: Name, answers: bool) -> Self {
        let (written, pings) = (VecDeque::new(), 0);
        Self { host, domain, written, stanzas: 0, bytes: 0, asked: None, pings, ask_now: true, answers }
    }

    /// The stanzas of one message were written.
    pub(super) fn wrote(&mut self, stanzas: Waiting) {
        if !self.answers {
            return;
        }
        self.bytes += stanzas.cost();
        self.stanzas += stanzas.stanzas.len();
        self.written.push_back(stanzas);
        while self.bytes > UNREAD_BYTES && self.written.len() > 1 {
            self.forget_first();
            if let Some((_, before)) = &mut self.asked {
                *before = before.saturating_sub(1);
            }
        }
    }

    fn forget_first(&mut self) -> Option<Waiting> {
        let first = self.written.pop_front()?;
        self.bytes -= first.cost();
        self.stanzas -= first.stanzas.len();
        Some(first)
    }

    /// Writes a ping behind what was written, where one is due.
    pub(super) fn ask(&mut self, out: &mut BytesMut) {
        let many = self.stanzas >= ASK_AFTER.0 || self.bytes >= ASK_AFTER.1;
        if self.asked.is_none() && (many || self.ask_now) {
            self.ask_now = false;
            self.pings += 1;
            self.asked = Some((self.pings, self.written.len()));
            out.extend_from_slice(&self.ping());
        }
    }

    fn ping(&self) -> Bytes {
        host_iq::barrier(&self.host, &self.domain, self.pings)
    }

    /// Everything that was written before this ping was read.
    fn answered(&mut self, number: u64) -> Vec<Waiting> {
        match self.asked.take_if(|(asked, _)| *asked == number) {
            Some((_, before)) => {
                self.answers = true;
                (0..before).filter_map(|_| self.forget_first()).collect()
            }
            None => Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// What nobody knows of, in order: for the next link.
    pub(super) fn take(&mut self) -> VecDeque<Waiting> {
        (self.bytes, self.stanzas) = (0, 0);
        std::mem::take(&mut self.written)
    }
}

impl LocalLink {
    /// A ping was answered.
    pub(super) fn barrier_answered(&mut self, number: u64) {
        self.answers_pings = true;
        let Some(link) = &self.link else { return };
        let read = link.out.borrow_mut().unread.as_mut().map(|unread| unread.answered(number));
        let mut last: Vec<(&Arc<Origin>, u64)> = Vec::new();
        let read = read.unwrap_or_default();
        for Waiting { from, stanzas, .. } in &read {
            let read = stanzas.last().unwrap_or_default();
            match last.iter_mut().find(|(of, _)| Arc::ptr_eq(of, from)) {
                Some((_, n)) => *n = read,
                None => last.push((from, read)),
            }
        }
        for (from, n) in last {
            if let Origin::Host(HostOrigin { link, serial, .. }) = from.as_ref() {
                // Of a link that has ended, the next one takes over what nobody has confirmed.
                let _ = link.try_send(HasRead { serial: *serial, entry: self.entry, n });
            }
        }
    }

    /// Sees to it that a ping goes out soon behind the last stanza.
    pub(super) fn watch_unread(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(ASK_WITHIN, |this, _| {
            let Some(link) = &this.link else { return };
            let mut out = link.out.borrow_mut();
            if let Some(unread) = out.unread.as_mut().filter(|unread| unread.asked.is_none() && !unread.is_empty()) {
                unread.ask_now = true;
                link.wake.notify_one();
            }
        });
    }
}
