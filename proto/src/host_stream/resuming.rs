//! The pairs of a session become active again on its next link, with an HMAC each (protocol §6).

use std::collections::VecDeque;
use std::time::Instant;

use super::session::Counting;
use super::{HostStream, Out, PairChange};
use crate::control::{Claim, Control, ResumePairs, ResumedPairs};
use crate::limits::{RESUME_WAIT, RESUMED_AT_ONCE};
use crate::now::Now;
use crate::pairs::Run;
use crate::transcript::{Resumption, Tag, is_tag};

/// What a pair that is resumed makes to be done: its route, a write, the change.
const ACTIONS: usize = 3;

/// Pairs are being resumed.
#[derive(Debug)]
pub(super) struct Resuming {
    /// Of the list that we sent, what is not answered; none where the peer sends the list.
    asked: VecDeque<ResumePairs>,
    until: Instant,
}

impl Resuming {
    /// The peer sends the list.
    pub(super) fn listening(until: Instant) -> Self {
        Self { asked: VecDeque::new(), until }
    }

    pub(super) fn wait_until(&mut self, until: Instant) {
        self.until = until;
    }

    /// When nobody waits for the rest any more.
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

impl HostStream {
    fn resumption(&self) -> Resumption<'_> {
        let (us, peer) = (&self.setting.our_host, &self.setting.peer_host);
        let (dialler, other) = if self.sm.role.is_dialler() { (us, peer) } else { (peer, us) };
        Resumption { exporter: &self.setting.exporter, dialler, other }
    }

    /// We dialled: asks for every pair that is asleep; an element that is not full ends the list.
    pub(super) fn ask_for_pairs(&mut self, now: Now, out: &mut Out) {
        let here = self.resumption();
        let claims: Vec<Claim> = self
            .sm
            .asleep
            .iter()
            .filter(|(_, (_, active))| active.expires > now.unix)
            .map(|(rid, (_, active))| Claim { rid: *rid, tag: here.tag_1(&active.resumable.secret, rid) })
            .collect();
        let mut chunks: Vec<Vec<Claim>> = claims.chunks(RESUMED_AT_ONCE).map(<[Claim]>::to_vec).collect();
        if chunks.last().is_none_or(|last| last.len() == RESUMED_AT_ONCE) {
            chunks.push(Vec::new());
        }
        let asked: VecDeque<ResumePairs> = (1..)
            .zip(chunks)
            .map(|(number, claims): (u32, _)| ResumePairs { id: format!("r{number}"), claims })
            .collect();
        for list in &asked {
            self.control(Control::ResumePairs(list.clone()), out);
        }
        self.sm.resuming = Some(Resuming { asked, until: now.instant + RESUME_WAIT });
    }

    /// The peer asks for pairs: each is in force before the next is looked at.
    pub(super) fn resume_pairs(&mut self, now: Now, list: ResumePairs, out: &mut Out) {
        let resumes = self.sm.state == Counting::On && self.sm.resuming.is_some() && !self.sm.role.is_dialler();
        let ends = list.claims.len() < RESUMED_AT_ONCE;
        let mut tags = Vec::with_capacity(list.claims.len());
        out.actions.reserve(ACTIONS * list.claims.len());
        for claim in list.claims {
            tags.push(if resumes { self.resume_pair(now, claim, out) } else { None });
        }
        self.control(Control::ResumedPairs(ResumedPairs { id: list.id, tags }), out);
        if resumes && ends {
            self.pairs_settled(now, out);
        } else if let Some(resuming) = self.sm.resuming.as_mut().filter(|_| resumes) {
            resuming.wait_until(now.instant + RESUME_WAIT);
        }
    }

    /// tag_2, where the claim holds and the pair is still allowed.
    fn resume_pair(&mut self, now: Now, Claim { rid, tag }: Claim, out: &mut Out) -> Option<Tag> {
        let (_, active) = self.sm.asleep.get(&rid)?;
        let (here, rs) = (self.resumption(), &active.resumable.secret);
        if !is_tag(&here.tag_1(rs, &rid), &tag) {
            return None;
        }
        let answer = here.tag_2(rs, &rid, &tag);
        self.wake(now, rid, out).then_some(answer)
    }

    /// The peer has answered one element of our list.
    pub(super) fn resumed_pairs(&mut self, now: Now, answer: ResumedPairs, out: &mut Out) {
        let Some(resuming) = self.sm.resuming.as_mut().filter(|_| self.sm.state == Counting::On) else { return };
        let Some(asked) = resuming.asked.pop_front_if(|asked| asked.id == answer.id) else { return };
        let is_last = resuming.asked.is_empty();
        resuming.until = now.instant + RESUME_WAIT;
        out.actions.reserve(ACTIONS * asked.claims.len());
        for (Claim { rid, tag }, answered) in asked.claims.into_iter().zip(answer.tags) {
            let proves = |answered: Tag| {
                let rs = &self.sm.asleep.get(&rid)?.1.resumable.secret;
                Some(is_tag(&self.resumption().tag_2(rs, &rid, &tag), &answered))
            };
            if answered.and_then(proves) == Some(true) {
                self.wake(now, rid, out);
            }
        }
        if is_last {
            self.pairs_settled(now, out);
        }
    }

    /// Brings an activation back into force, unless its time is over, it is not allowed any more, or there is
    /// another.
    fn wake(&mut self, now: Now, rid: [u8; 16], out: &mut Out) -> bool {
        let Some((slot, active)) = self.sm.asleep.remove(&rid) else { return false };
        let record = self.pairs.get(slot);
        if active.expires <= now.unix || record.active.is_some() || !self.allows(&record.pair) {
            return false;
        }
        if matches!(record.run(), Some(Run::Queued)) {
            self.set_run(slot, None);
        }
        let (initiated, expires) = (active.initiated, active.expires);
        self.activated(now, slot, active, PairChange::Resumed { initiated, expires }, out);
        true
    }

    /// Nobody says any more which pairs are resumed, or whether the peer counts at all.
    pub(super) fn resume_timeout(&mut self, now: Now, out: &mut Out) {
        if self.resume_deadline().is_none_or(|until| until > now.instant) {
            return;
        }
        if self.sm.state == Counting::Listening {
            self.heard_nothing(now, out);
        } else {
            self.pairs_settled(now, out);
        }
    }
}

#[cfg(test)]
mod tests;
