//! Which stream carries a pair: one that a remote domain has already, or a new one, after a pause where
//! the last attempt failed (RFC 6120 §3.3).

use std::collections::HashMap;
use std::time::Instant;

use crate::back_off;
use crate::limits::{FAILURE_MEMORY, LONGEST_SERVER_PAUSE, SETTLED};
use crate::name::Name;
use crate::pair::Pair;
use crate::stanza_error::Condition;

/// Names a classic stream; given out by whoever starts it.
pub type StreamId = u64;

/// Dials in a row for stanzas that came back from a stream: after so many there is a pause. A server whose stream
/// ends with a stanza would get it for ever.
const AGAIN: u32 = 2;
/// Refusals of pairs of one remote domain that are remembered: of more, the oldest is forgotten.
const REFUSALS: usize = 256;

/// What is to be done for a pair that has stanzas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Hand them to this stream.
    Use(StreamId),
    /// Dial a stream for this pair, and name it so.
    Dial,
    /// A stream is being dialled.
    Wait,
    /// The last attempt failed, and the next is not made before this.
    Pause(Failure),
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Our domain that it was made for.
    pub local: Name,
    /// It counts until then.
    pub until: Instant,
    /// What senders are told.
    pub condition: Condition,
    /// Why, for people.
    pub why: String,
}

/// The streams that we have dialled, or let speak both ways, by remote domain.
#[derive(Debug, Default)]
pub struct Remotes {
    remotes: HashMap<Name, Remote>,
}

#[derive(Debug, Default)]
struct Remote {
    streams: Vec<Stream>,
    /// Whose dial is under way.
    dialling: Option<StreamId>,
    failures: u32,
    pause: Option<Failure>,
    /// How many dials in a row were made for stanzas that had come back, and when the last was.
    again: Option<(u32, Instant)>,
    /// Pairs that the other server has not let in, the oldest first.
    refused: Vec<Failure>,
    /// When to see whether the domain has a federation record.
    look: Option<Instant>,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    since: Instant,
    /// Whether further pairs may be let in by dialback.
    grows: bool,
    /// Our domains that it carries already.
    locals: Vec<Name>,
}

impl Remotes {
    /// What is to be done for `pair`.
    #[must_use]
    pub fn next(&self, pair: &Pair, now: Instant) -> Next {
        let Some(remote) = self.remotes.get(&pair.remote) else { return Next::Dial };
        let carries = |stream: &&Stream| stream.locals.contains(&pair.local);
        if let Some(stream) = remote.streams.iter().find(carries) {
            return Next::Use(stream.id);
        }
        if let Some(refused) = remote.refused.iter().find(|refused| refused.local == pair.local && now < refused.until)
        {
            return Next::Pause(refused.clone());
        }
        match (remote.streams.iter().find(|stream| stream.grows), remote.dialling, &remote.pause) {
            (Some(stream), ..) => Next::Use(stream.id),
            (None, Some(_), _) => Next::Wait,
            (None, None, Some(failure)) if now < failure.until => Next::Pause(failure.clone()),
            (None, None, Some(_) | None) => Next::Dial,
        }
    }

    /// Whether to dial for a pair: not where stanzas have come back from one stream after the other, as `again`
    /// says that some have now. Then there is a pause. `jitter` is a random number.
    ///
    /// # Errors
    /// [`Failure`]: what is to be done instead.
    pub fn may_dial(&mut self, pair: &Pair, again: bool, now: Instant, jitter: u8) -> Result<(), Failure> {
        let remote = self.remotes.entry(pair.remote.clone()).or_default();
        let before = remote.again.take_if(|_| again).map_or(0, |(times, _)| times);
        if !again || before < AGAIN {
            remote.again = again.then_some((before + 1, now));
            return Ok(());
        }
        let why = "its streams end before they have taken the stanzas that wait for it";
        Err(remote.pause(&pair.local, (Condition::RemoteServerTimeout, why), now, jitter))
    }

    /// A dial for `remote` has begun.
    pub fn dialling(&mut self, remote: &Name, id: StreamId) {
        self.remotes.entry(remote.clone()).or_default().dialling = Some(id);
    }

    /// Whether a dial for `remote` is under way.
    #[must_use]
    pub fn is_dialling(&self, remote: &Name) -> bool {
        self.remotes.get(remote).is_some_and(|remote| remote.dialling.is_some())
    }

    /// A stream can be used; `grows`: further pairs may be let in by dialback.
    pub fn opened(&mut self, pair: &Pair, id: StreamId, grows: bool, since: Instant) {
        let remote = self.remotes.entry(pair.remote.clone()).or_default();
        if remote.dialling == Some(id) {
            remote.dialling = None;
        }
        remote.failures = 0;
        remote.pause = None;
        remote.refused.retain(|refused| refused.local != pair.local);
        match remote.streams.iter_mut().find(|stream| stream.id == id) {
            Some(stream) if stream.locals.contains(&pair.local) => (),
            Some(stream) => stream.locals.push(pair.local.clone()),
            None => remote.streams.push(Stream { id, since, grows, locals: vec![pair.local.clone()] }),
        }
    }

    /// Instead of the dial `id`, a stream is used that was dialled for another domain of the same server.
    pub fn shared(&mut self, pair: &Pair, id: StreamId, other: StreamId, since: Instant) {
        let remote = self.remotes.entry(pair.remote.clone()).or_default();
        if remote.dialling == Some(id) {
            remote.dialling = None;
        }
        if !remote.streams.iter().any(|stream| stream.id == other) {
            remote.streams.push(Stream { id: other, since, grows: true, locals: Vec::new() });
        }
    }

    /// Whether any remote domain uses this stream.
    #[must_use]
    pub fn is_used(&self, id: StreamId) -> bool {
        self.remotes.values().flat_map(|of| &of.streams).any(|stream| stream.id == id)
    }

    /// A remote domain does not use this stream any more, whoever else does.
    pub fn retire_for(&mut self, remote: &Name, id: StreamId) {
        if let Some(of) = self.remotes.get_mut(remote) {
            of.streams.retain(|stream| stream.id != id);
        }
    }

    /// The other server did not let a pair in, on a stream that goes on.
    pub fn refused(&mut self, pair: &Pair, id: StreamId, (condition, why): (Condition, &str), now: Instant) {
        let remote = self.remotes.entry(pair.remote.clone()).or_default();
        if remote.dialling == Some(id) {
            remote.dialling = None;
        }
        for stream in remote.streams.iter_mut().filter(|stream| stream.id == id) {
            stream.locals.retain(|local| *local != pair.local);
        }
        remote.refused.retain(|refused| refused.local != pair.local);
        if remote.refused.len() >= REFUSALS {
            remote.refused.remove(0);
        }
        let (local, until) = (pair.local.clone(), now + FAILURE_MEMORY);
        remote.refused.push(Failure { local, until, condition, why: why.to_owned() });
    }

    /// A stream carries nothing more: what comes now finds another way.
    pub fn retire(&mut self, id: StreamId) {
        for remote in self.remotes.values_mut() {
            remote.streams.retain(|stream| stream.id != id);
        }
    }

    /// A stream to `pair.remote` has ended, or was never open: then there is a pause. `jitter` is a random
    /// number.
    pub fn ended(&mut self, pair: &Pair, id: StreamId, (condition, why): (Condition, &str), now: Instant, jitter: u8) {
        let Some(of) = self.remotes.get_mut(&pair.remote) else { return };
        if of.streams.extract_if(.., |stream| stream.id == id).any(|stream| now >= stream.since + SETTLED) {
            of.again = None;
        }
        if of.dialling.take_if(|dialling| *dialling == id).is_some() {
            of.pause(&pair.local, (condition, why), now, jitter);
        }
        if of.is_forgettable(now) {
            self.remotes.remove(&pair.remote);
        }
    }

    /// The next attempts are made at once: an operator wants it so.
    pub fn forget_pauses(&mut self) {
        self.remotes.retain(|_, remote| {
            remote.forget_pause();
            !remote.streams.is_empty() || remote.dialling.is_some()
        });
    }

    /// The same of one remote domain.
    pub fn forget_pause(&mut self, remote: &Name) {
        if let Some(remote) = self.remotes.get_mut(remote) {
            remote.forget_pause();
        }
    }

    /// Forgets pauses that are long over: names are not collected.
    pub fn forget_old(&mut self, now: Instant) {
        self.remotes.retain(|_, remote| {
            remote.refused.retain(|refused| now < refused.until);
            !remote.is_forgettable(now)
        });
    }

    /// Sees to it that [`Self::due`] names `remote` at this time, while there is a stream to it.
    pub fn look_at(&mut self, remote: &Name, at: Instant) {
        if let Some(remote) = self.remotes.get_mut(remote) {
            remote.look = Some(at);
        }
    }

    /// The remote domains with streams for which it is time to see whether they have a federation record,
    /// each with a domain of ours that talks to it. They are named again when [`Self::look_at`] says so.
    pub fn due(&mut self, now: Instant) -> Vec<Pair> {
        let mut due = Vec::new();
        for (remote, of) in &mut self.remotes {
            let Some(local) = of.streams.iter().flat_map(|stream| &stream.locals).next() else { continue };
            if of.look.is_none_or(|look| look <= now) {
                due.push(Pair { local: local.clone(), remote: remote.clone() });
                of.look = Some(now + FAILURE_MEMORY);
            }
        }
        due
    }

    /// The pairs of a remote domain that streams carry.
    #[must_use]
    pub fn pairs(&self, remote: &Name) -> Vec<Pair> {
        let streams = self.remotes.get(remote).into_iter().flat_map(|of| &of.streams);
        let locals = streams.flat_map(|stream| stream.locals.iter().cloned());
        locals.map(|local| Pair { local, remote: remote.clone() }).collect()
    }

    /// The streams of remote domains that `obsolete` names.
    #[must_use]
    pub fn streams_of(&self, obsolete: impl Fn(&Name) -> bool) -> Vec<StreamId> {
        let of = self.remotes.iter().filter(|(remote, _)| obsolete(remote));
        of.flat_map(|(_, of)| of.streams.iter().map(|stream| stream.id)).collect()
    }

    /// How many pairs streams carry.
    #[must_use]
    pub fn count_pairs(&self) -> usize {
        self.remotes.values().flat_map(|of| &of.streams).map(|stream| stream.locals.len()).sum()
    }

    /// What failed and is remembered, for the operator.
    pub fn failures(&self, now: Instant) -> impl Iterator<Item = (&Name, &Failure)> {
        self.remotes.iter().flat_map(move |(remote, of)| {
            let all = of.pause.iter().chain(of.refused.iter().filter(move |refused| now < refused.until));
            all.map(move |failure| (remote, failure))
        })
    }
}

impl Remote {
    /// No dial is made for a while, longer each time.
    fn pause(&mut self, local: &Name, (condition, why): (Condition, &str), now: Instant, jitter: u8) -> Failure {
        let until = now + back_off::pause(self.failures, LONGEST_SERVER_PAUSE, jitter);
        self.failures += 1;
        let failure = Failure { local: local.clone(), until, condition, why: why.to_owned() };
        self.pause.insert(failure).clone()
    }

    fn forget_pause(&mut self) {
        (self.pause, self.failures, self.again, self.look) = (None, 0, None, None);
        self.refused.clear();
    }

    fn is_forgettable(&self, now: Instant) -> bool {
        let paused = self.pause.as_ref().is_some_and(|failure| now < failure.until + LONGEST_SERVER_PAUSE);
        let again = self.again.is_some_and(|(_, last)| now < last + SETTLED);
        !paused && !again && self.streams.is_empty() && self.dialling.is_none() && self.refused.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits::FIRST_PAUSE;
    use crate::now::Now;

    const DOWN: (Condition, &str) = (Condition::RemoteServerTimeout, "refused");

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn pair(local: &str) -> Pair {
        Pair { local: name(local), remote: name("pessoa.lit") }
    }

    #[test]
    fn one_stream_serves_all_of_our_domains_where_it_grows() {
        let (now, mut remotes) = (Now::origin().instant, Remotes::default());
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Dial);
        remotes.dialling(&name("pessoa.lit"), 1);
        assert_eq!(remotes.next(&pair("b.lit"), now), Next::Wait);
        remotes.opened(&pair("a.lit"), 1, true, now);
        assert_eq!(remotes.next(&pair("b.lit"), now), Next::Use(1));
    }

    #[test]
    fn a_stream_that_does_not_grow_serves_its_own_pair() {
        let (now, mut remotes) = (Now::origin().instant, Remotes::default());
        remotes.dialling(&name("pessoa.lit"), 1);
        remotes.opened(&pair("a.lit"), 1, false, now);
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Use(1));
        assert_eq!(remotes.next(&pair("b.lit"), now), Next::Dial);
        remotes.dialling(&name("pessoa.lit"), 2);
        remotes.opened(&pair("b.lit"), 2, false, now);
        assert_eq!(remotes.next(&pair("b.lit"), now), Next::Use(2));
        remotes.ended(&pair("a.lit"), 1, DOWN, now, 0);
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Dial, "a stream that was open is dialled again at once");
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let (mut now, mut remotes) = (Now::origin().instant, Remotes::default());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            remotes.dialling(&name("pessoa.lit"), 1);
            remotes.ended(&pair("a.lit"), 1, DOWN, now, 255);
            let Next::Pause(failure) = remotes.next(&pair("b.lit"), now) else { panic!("no pause") };
            let shown: Vec<_> = remotes.failures(now).map(|(remote, of)| (remote.as_str(), &of.why)).collect();
            assert_eq!((failure.why.as_str(), &shown[..]), ("refused", &[("pessoa.lit", &failure.why)][..]));
            pauses.push(failure.until - now);
            now = failure.until;
            assert_eq!(remotes.next(&pair("a.lit"), now), Next::Dial);
        }
        assert!(pauses.windows(2).all(|two| two[0] <= two[1]) && pauses[0] < FIRST_PAUSE);
        assert!(pauses[11] < LONGEST_SERVER_PAUSE && pauses[11] > LONGEST_SERVER_PAUSE / 2);
        remotes.dialling(&name("pessoa.lit"), 1);
        remotes.ended(&pair("a.lit"), 1, DOWN, now, 0);
        remotes.forget_pauses();
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Dial);
    }

    /// A server that ends its stream with a stanza does not get it for ever.
    #[test]
    fn dials_for_what_came_back_again_and_again_are_followed_by_a_pause() {
        let (now, mut remotes) = (Now::origin().instant, Remotes::default());
        let mut stream = |again, lived, now: Instant| {
            let may = remotes.may_dial(&pair("a.lit"), again, now, 0).is_ok();
            if may {
                remotes.opened(&pair("a.lit"), 1, true, now);
                remotes.ended(&pair("a.lit"), 1, DOWN, now + lived, 0);
                remotes.forget_old(now + lived);
            } else {
                assert!(matches!(remotes.next(&pair("b.lit"), now), Next::Pause(_)));
            }
            may
        };
        let soon = Duration::ZERO;
        assert!(stream(false, soon, now) && stream(true, soon, now) && stream(true, soon, now));
        assert!(!stream(true, soon, now), "once more, and no more");
        assert!(stream(true, soon, now + LONGEST_SERVER_PAUSE) && stream(true, soon, now + LONGEST_SERVER_PAUSE));
        let later = now + LONGEST_SERVER_PAUSE * 2;
        assert!(stream(false, soon, later), "another story");
        for _ in 0..9 {
            assert!(stream(true, SETTLED, later), "a stream that carried for a while");
        }
    }

    #[test]
    fn a_guest_uses_the_stream_of_another_domain() {
        let (now, mut remotes) = (Now::origin().instant, Remotes::default());
        remotes.dialling(&name("pessoa.lit"), 2);
        remotes.shared(&pair("a.lit"), 2, 1, now);
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Use(1));
        remotes.opened(&pair("a.lit"), 1, true, now);
        assert_eq!(remotes.pairs(&name("pessoa.lit")).len(), 1);
        remotes.retire_for(&name("pessoa.lit"), 1);
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Dial, "where the host does not want it");
    }

    #[test]
    fn a_refused_pair_pauses_and_others_do_not() {
        let (now, mut remotes) = (Now::origin().instant, Remotes::default());
        remotes.opened(&pair("a.lit"), 1, true, now);
        remotes.refused(&pair("b.lit"), 1, DOWN, now);
        assert!(matches!(remotes.next(&pair("b.lit"), now), Next::Pause(failure) if failure.why == "refused"));
        assert!(remotes.is_used(1) && !remotes.is_used(2));
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Use(1));
        assert_eq!(remotes.next(&pair("c.lit"), now), Next::Use(1));
        assert_eq!(remotes.next(&pair("b.lit"), now + FAILURE_MEMORY), Next::Use(1));
        for n in 0..=REFUSALS {
            remotes.refused(&pair(&format!("d{n}.lit")), 1, DOWN, now);
        }
        assert_eq!(remotes.failures(now).count(), REFUSALS);
        remotes.retire(1);
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Dial);
    }

    #[test]
    fn a_remote_with_streams_is_looked_up_again() {
        let (now, mut remotes) = (Now::origin().instant, Remotes::default());
        remotes.dialling(&name("pessoa.lit"), 1);
        assert_eq!(remotes.due(now), [], "no stream yet");
        remotes.opened(&pair("a.lit"), 1, true, now);
        assert_eq!((remotes.due(now), remotes.due(now)), (vec![pair("a.lit")], vec![]));
        remotes.look_at(&name("pessoa.lit"), now + FIRST_PAUSE);
        assert_eq!((remotes.due(now), remotes.due(now + FIRST_PAUSE)), (vec![], vec![pair("a.lit")]));
        assert_eq!(remotes.pairs(&name("pessoa.lit")), [pair("a.lit")]);
        remotes.forget_pauses();
        assert_eq!(remotes.due(now).len(), 1, "an operator wants to know at once");
    }

    #[test]
    fn what_nothing_is_known_of_is_forgotten() {
        let (now, mut remotes) = (Now::origin().instant, Remotes::default());
        remotes.dialling(&name("pessoa.lit"), 1);
        remotes.ended(&pair("a.lit"), 1, DOWN, now, 0);
        remotes.refused(&pair("b.lit"), 2, DOWN, now);
        remotes.forget_old(now + LONGEST_SERVER_PAUSE);
        assert!(!remotes.remotes.is_empty());
        remotes.forget_old(now + LONGEST_SERVER_PAUSE * 2);
        assert!(remotes.remotes.is_empty());
    }
}
