//! One link per host pair, and one decider (protocol §3).
//!
//! The host with the smaller name chooses the first link that is ready. A newcomer makes it probe
//! the chosen one: answered, the newcomer is closed; silent, it takes over.

use std::time::Instant;

use crate::back_off;
use crate::limits::{LONGEST_PAUSE, PROBE_WAIT, READY_LINKS, SETTLED};
use crate::name::Name;
use crate::registry::Reach;

/// Names a connection to a peer host; given out by whoever starts connections.
pub type LinkId = u64;

/// What is to be done about the links to one peer host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkAction {
    /// Start a connection.
    Dial,
    /// Say `<chosen/>` on this link.
    Choose(LinkId),
    /// This link carries the stanzas from now on.
    Use(LinkId),
    /// Ask this link whether it is alive; [`LinkChoice::alive`] is the answer.
    Probe(LinkId),
    /// Close a newcomer with the stream error `conflict`.
    CloseConflict(LinkId),
    /// Close a link that is silent or was replaced.
    Drop(LinkId),
}

/// The links to one peer host.
#[derive(Debug)]
pub struct LinkChoice {
    decides: bool,
    dialling: bool,
    ready: Vec<LinkId>,
    chosen: Option<LinkId>,
    ready_since: Option<Instant>,
    probing: Option<Probing>,
    failures: u32,
    pause_until: Option<Instant>,
    /// Our last dial failed, and no link was ready since.
    unreached: bool,
}

#[derive(Debug)]
struct Probing {
    newcomer: LinkId,
    until: Instant,
}

impl LinkChoice {
    /// No link yet between `us` and `peer`.
    #[must_use]
    pub fn new(us: &Name, peer: &Name) -> Self {
        Self {
            decides: us < peer,
            dialling: false,
            ready: Vec::new(),
            chosen: None,
            ready_since: None,
            probing: None,
            failures: 0,
            pause_until: None,
            unreached: false,
        }
    }

    /// The link that carries stanzas.
    #[must_use]
    pub fn chosen(&self) -> Option<LinkId> {
        self.chosen
    }

    /// Whether there is neither a link nor an attempt at one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.dialling && self.ready.is_empty() && self.chosen.is_none()
    }

    /// Whether the host can be reached, as far as is known.
    #[must_use]
    pub fn reach(&self, now: Instant) -> Reach {
        match (self.chosen, self.paused_until(now)) {
            (Some(_), _) => Reach::Linked,
            (None, Some(until)) => Reach::Paused(until),
            (None, None) => Reach::Open,
        }
    }

    /// Whether the host could not be reached when it was dialled last; a link that was lost says nothing.
    #[must_use]
    pub fn is_unreached(&self) -> bool {
        self.unreached
    }

    /// Until when no dial is made, after one that failed.
    #[must_use]
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.pause_until.filter(|until| *until > now)
    }

    /// The pause after failed dials is over: the next that is wanted is made at once.
    pub fn forget_failures(&mut self) {
        self.failures = 0;
        self.pause_until = None;
        self.unreached = false;
    }

    /// A link is wanted: dials, unless there is one, or one on its way, or a pause.
    pub fn want(&mut self, now: Instant) -> Option<LinkAction> {
        if !self.is_idle() || self.paused_until(now).is_some() {
            return None;
        }
        self.dialling = true;
        Some(LinkAction::Dial)
    }

    /// Our dial ended before the link was ready. `jitter` is a random number.
    pub fn dial_failed(&mut self, now: Instant, jitter: u8) {
        self.dialling = false;
        self.unreached = true;
        self.pause(now, jitter);
    }

    /// Comes before [`Self::ended`] where a connection that was ready is lost: one that did not live
    /// long, and has `carried` nothing, is followed by a pause like a dial that failed.
    pub fn lost(&mut self, now: Instant, link: LinkId, carried: bool, jitter: u8) {
        if self.chosen != Some(link) {
            return;
        }
        match self.ready_since.take() {
            Some(since) if now < since + SETTLED && !carried => self.pause(now, jitter),
            Some(_) | None => self.failures = 0,
        }
    }

    fn pause(&mut self, now: Instant, jitter: u8) {
        self.pause_until = Some(now + back_off::pause(self.failures, LONGEST_PAUSE, jitter));
        self.failures += 1;
    }

    /// A link has authenticated; `ours`: we dialled it.
    pub fn ready(&mut self, now: Instant, link: LinkId, ours: bool) -> Vec<LinkAction> {
        if ours {
            self.dialling = false;
        }
        // Whoever dialled: the host is there, and its next loss is a new story.
        self.pause_until = None;
        self.unreached = false;
        self.ready_since = Some(now);
        self.ready.push(link);
        if !self.decides {
            return self.crowd_out();
        }
        match (self.chosen, &self.probing) {
            (None, _) => self.choose(link),
            (Some(_), Some(_)) => {
                self.forget(link);
                vec![LinkAction::CloseConflict(link)]
            }
            (Some(chosen), None) => {
                self.probing = Some(Probing { newcomer: link, until: now + PROBE_WAIT });
                vec![LinkAction::Probe(chosen)]
            }
        }
    }

    /// Where the peer decides, links wait for it: without a bound it could open them without end.
    fn crowd_out(&mut self) -> Vec<LinkAction> {
        if self.ready.len() <= READY_LINKS {
            return Vec::new();
        }
        vec![LinkAction::CloseConflict(self.ready.remove(0))]
    }

    fn choose(&mut self, link: LinkId) -> Vec<LinkAction> {
        self.forget(link);
        let drop = self.chosen.replace(link).map(LinkAction::Drop);
        let choose = self.decides.then_some(LinkAction::Choose(link));
        drop.into_iter().chain(choose).chain([LinkAction::Use(link)]).collect()
    }

    fn forget(&mut self, link: LinkId) {
        self.ready.retain(|ready| *ready != link);
    }

    /// The peer, which decides, chose a link.
    ///
    /// Where another one is chosen, the word may be an old one that was long on its way: the chosen link is asked
    /// whether it is alive first.
    pub fn peer_chose(&mut self, now: Instant, link: LinkId) -> Vec<LinkAction> {
        if self.decides || self.chosen == Some(link) {
            return Vec::new();
        }
        self.forget(link);
        let Some(chosen) = self.chosen else { return self.choose(link) };
        let before = self.probing.replace(Probing { newcomer: link, until: now + PROBE_WAIT });
        let older = before.filter(|before| before.newcomer != link).map(|before| LinkAction::Drop(before.newcomer));
        older.into_iter().chain([LinkAction::Probe(chosen)]).collect()
    }

    /// A link gave a sign of life.
    pub fn alive(&mut self, link: LinkId) -> Vec<LinkAction> {
        if self.chosen != Some(link) {
            return Vec::new();
        }
        let Some(Probing { newcomer, .. }) = self.probing.take() else { return Vec::new() };
        self.forget(newcomer);
        vec![LinkAction::CloseConflict(newcomer)]
    }

    /// A link is gone, for whatever reason.
    pub fn ended(&mut self, link: LinkId) -> Vec<LinkAction> {
        self.forget(link);
        if self.probing.as_ref().is_some_and(|probing| probing.newcomer == link) {
            self.probing = None;
        }
        if self.chosen != Some(link) {
            return Vec::new();
        }
        self.chosen = None;
        let newcomer = self.probing.take().map(|probing| probing.newcomer);
        let next = newcomer.or_else(|| self.ready.first().copied().filter(|_| self.decides));
        next.map_or_else(Vec::new, |next| self.choose(next))
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.probing.as_ref().map(|probing| probing.until)
    }

    /// The chosen link did not answer its probe in time: the newcomer takes over.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<LinkAction> {
        match self.probing.take_if(|probing| probing.until <= now) {
            Some(Probing { newcomer, .. }) => self.choose(newcomer),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FIRST_PAUSE;
    use crate::now::Now;

    fn choice(us: &str, peer: &str) -> LinkChoice {
        LinkChoice::new(&Name::parse(us).unwrap(), &Name::parse(peer).unwrap())
    }

    #[test]
    fn dialling_at_once_ends_with_one_link() {
        let now = Now::origin().instant;
        let (mut a, mut b) = (choice("a.isp", "b.isp"), choice("b.isp", "a.isp"));
        assert_eq!((a.want(now), b.want(now)), (Some(LinkAction::Dial), Some(LinkAction::Dial)));
        assert_eq!((a.want(now), b.want(now)), (None, None), "one dial is enough");
        assert_eq!(a.ready(now, 1, true), [LinkAction::Choose(1), LinkAction::Use(1)]);
        assert_eq!(b.ready(now, 2, true), [], "the larger name waits");
        assert_eq!(b.ready(now, 1, false), []);
        assert_eq!(b.peer_chose(now, 1), [LinkAction::Use(1)]);
        assert_eq!(a.ready(now, 2, false), [LinkAction::Probe(1)]);
        assert_eq!(a.alive(1), [LinkAction::CloseConflict(2)]);
        assert_eq!((a.ended(2), b.ended(2)), (vec![], vec![]));
        assert_eq!((a.chosen(), b.chosen()), (Some(1), Some(1)));
    }

    #[test]
    fn links_that_a_deciding_peer_piles_up_give_way() {
        let now = Now::origin().instant;
        let mut b = choice("b.isp", "a.isp");
        let last = READY_LINKS as LinkId;
        assert!((1..=last).all(|link| b.ready(now, link, false).is_empty()));
        assert_eq!(b.ready(now, last + 1, false), [LinkAction::CloseConflict(1)]);
        assert_eq!(b.peer_chose(now, 2), [LinkAction::Use(2)]);
        assert_eq!(b.ready(now, last + 2, false), [], "a chosen link does not wait");
        assert_eq!(b.ready(now, last + 3, false), [LinkAction::CloseConflict(3)]);
        assert_eq!(b.chosen(), Some(2));
    }

    #[test]
    fn a_silent_link_is_replaced() {
        let now = Now::origin().instant;
        let (mut a, mut b) = (choice("a.isp", "b.isp"), choice("b.isp", "a.isp"));
        a.ready(now, 1, true);
        assert_eq!(a.ready(now, 2, false), [LinkAction::Probe(1)]);
        assert_eq!(a.handle_timeout(now), [], "not yet");
        let late = now + PROBE_WAIT;
        assert_eq!(a.handle_timeout(late), [LinkAction::Drop(1), LinkAction::Choose(2), LinkAction::Use(2)]);
        b.peer_chose(now, 1);
        assert_eq!(b.peer_chose(now, 2), [LinkAction::Probe(1)]);
        assert_eq!(b.handle_timeout(late), [LinkAction::Drop(1), LinkAction::Use(2)]);
    }

    /// It was said before the chosen link was chosen, on a connection that the peer has given up since.
    #[test]
    fn a_word_that_was_long_on_its_way_replaces_no_living_link() {
        let now = Now::origin().instant;
        let mut b = choice("b.isp", "a.isp");
        b.peer_chose(now, 1);
        assert_eq!(b.peer_chose(now, 2), [LinkAction::Probe(1)]);
        assert_eq!(b.alive(1), [LinkAction::CloseConflict(2)]);
        assert_eq!(b.chosen(), Some(1));
        b.peer_chose(now, 3);
        assert_eq!(b.peer_chose(now, 4), [LinkAction::Drop(3), LinkAction::Probe(1)]);
        assert_eq!(b.ended(1), [LinkAction::Use(4)], "the peer has given the other one up");
    }

    #[test]
    fn a_dial_that_failed_is_not_repeated_at_once() {
        let now = Now::origin().instant;
        let mut a = choice("a.isp", "b.isp");
        a.want(now);
        a.dial_failed(now, 0);
        assert_eq!(a.want(now), None);
        assert_eq!(a.want(now + FIRST_PAUSE), Some(LinkAction::Dial));
    }

    /// Half to all of a pause that doubles, whatever the jitter, and never more than the longest.
    #[test]
    fn pauses_double_with_jitter_up_to_the_longest() {
        for jitter in [0, 128, 255] {
            let (mut now, mut a) = (Now::origin().instant, choice("a.isp", "b.isp"));
            for failures in 0..40 {
                assert_eq!(a.want(now), Some(LinkAction::Dial));
                a.dial_failed(now, jitter);
                let until = a.paused_until(now).unwrap();
                let full = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
                assert!((full / 2..=full).contains(&(until - now)), "{failures}: {:?}", until - now);
                now = until;
            }
        }
    }

    /// Many peers that lost one host do not come back as one.
    #[test]
    fn jitter_spreads_the_pauses() {
        let now = Now::origin().instant;
        let pause = |jitter| {
            let mut a = choice("a.isp", "b.isp");
            a.want(now);
            a.dial_failed(now, jitter);
            a.paused_until(now).unwrap() - now
        };
        let pauses: std::collections::BTreeSet<_> = (0..=u8::MAX).map(pause).collect();
        assert_eq!(pauses.len(), 256);
    }

    #[test]
    fn a_host_that_dials_us_is_not_paused_any_more() {
        let now = Now::origin().instant;
        let mut a = choice("a.isp", "b.isp");
        for _ in 0..10 {
            a.want(now + LONGEST_PAUSE);
            a.dial_failed(now, 255);
        }
        a.ready(now, 1, false);
        a.lost(now + SETTLED, 1, false, 0);
        a.ended(1);
        assert_eq!(a.want(now + SETTLED), Some(LinkAction::Dial), "it is there: no pause of before counts");
    }

    #[test]
    fn a_link_that_is_lost_at_once_is_not_dialled_at_once() {
        let now = Now::origin().instant;
        let mut a = choice("a.isp", "b.isp");
        a.want(now);
        a.ready(now, 1, true);
        a.lost(now, 1, false, 0);
        a.ended(1);
        assert_eq!(a.want(now), None);
        let later = now + FIRST_PAUSE;
        assert_eq!(a.want(later), Some(LinkAction::Dial));
        a.ready(later, 2, true);
        a.lost(later + SETTLED, 2, false, 0);
        a.ended(2);
        assert_eq!(a.want(later + SETTLED), Some(LinkAction::Dial), "a link that lived is dialled again at once");
    }

    /// Cut again and again, a link that does its work is dialled again at once each time.
    #[test]
    fn a_link_that_has_carried_something_is_dialled_again_at_once() {
        let now = Now::origin().instant;
        let mut a = choice("a.isp", "b.isp");
        for link in 1..9 {
            assert_eq!(a.want(now), Some(LinkAction::Dial));
            a.ready(now, link, true);
            a.lost(now, link, true, 255);
            a.ended(link);
        }
    }

    #[test]
    fn the_next_ready_link_is_chosen_when_the_chosen_one_ends() {
        let now = Now::origin().instant;
        let mut a = choice("a.isp", "b.isp");
        a.ready(now, 1, true);
        a.ready(now, 2, false);
        assert_eq!(a.ended(1), [LinkAction::Choose(2), LinkAction::Use(2)]);
        assert_eq!(a.ended(2), []);
        assert!(a.is_idle());
    }
}
