//! Which stream carries a pair: one that a remote domain has already, or a new one, after a pause where
//! the last attempt failed (RFC 6120 §3.3).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::name::Name;
use crate::pair::Pair;
use crate::stanza_error::Condition;

/// Names a classic stream; given out by whoever starts it.
pub type StreamId = u64;

/// The first pause after an attempt that failed; doubled each time, with jitter.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

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
    Pause(Instant, Condition, String),
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
    pause: Option<(Instant, Condition, String)>,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
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
        let stream = remote.streams.iter().find(carries).or_else(|| remote.streams.iter().find(|stream| stream.grows));
        match (stream, remote.dialling, &remote.pause) {
            (Some(stream), ..) => Next::Use(stream.id),
            (None, Some(_), _) => Next::Wait,
            (None, None, Some((until, condition, why))) if now < *until => Next::Pause(*until, *condition, why.clone()),
            (None, None, Some(_) | None) => Next::Dial,
        }
    }

    /// A dial for `remote` has begun.
    pub fn dialling(&mut self, remote: &Name, id: StreamId) {
        self.remotes.entry(remote.clone()).or_default().dialling = Some(id);
    }

    /// Whether `id` is the dial for `remote` that is under way.
    #[must_use]
    pub fn is_dialling(&self, remote: &Name, id: StreamId) -> bool {
        self.remotes.get(remote).is_some_and(|remote| remote.dialling == Some(id))
    }

    /// A stream can be used; `grows`: further pairs may be let in by dialback.
    pub fn opened(&mut self, pair: &Pair, id: StreamId, grows: bool) {
        let remote = self.remotes.entry(pair.remote.clone()).or_default();
        if remote.dialling == Some(id) {
            remote.dialling = None;
        }
        remote.failures = 0;
        remote.pause = None;
        match remote.streams.iter_mut().find(|stream| stream.id == id) {
            Some(stream) if stream.locals.contains(&pair.local) => (),
            Some(stream) => stream.locals.push(pair.local.clone()),
            None => remote.streams.push(Stream { id, grows, locals: vec![pair.local.clone()] }),
        }
    }

    /// A stream has ended, or was never open: then there is a pause. `jitter` is a random number.
    pub fn ended(
        &mut self,
        remote: &Name,
        id: StreamId,
        (condition, why): (Condition, &str),
        now: Instant,
        jitter: u8,
    ) {
        let Some(of) = self.remotes.get_mut(remote) else { return };
        of.streams.retain(|stream| stream.id != id);
        if of.dialling == Some(id) {
            of.dialling = None;
            let pause = FIRST_PAUSE.saturating_mul(1 << of.failures.min(16)).min(LONGEST_PAUSE);
            of.failures += 1;
            of.pause = Some((now + pause.mul_f64(0.5 + f64::from(jitter) / 512.0), condition, why.to_owned()));
        }
        if of.streams.is_empty() && of.dialling.is_none() && of.pause.is_none() {
            self.remotes.remove(remote);
        }
    }

    /// The next attempts are made at once: an operator wants it so.
    pub fn forget_pauses(&mut self) {
        self.remotes.retain(|_, remote| {
            remote.pause = None;
            remote.failures = 0;
            !remote.streams.is_empty() || remote.dialling.is_some()
        });
    }

    /// Forgets pauses that are long over: names are not collected.
    pub fn forget_old(&mut self, now: Instant) {
        self.remotes.retain(|_, remote| {
            let paused = remote.pause.as_ref().is_some_and(|(until, ..)| now < *until + LONGEST_PAUSE);
            paused || !remote.streams.is_empty() || remote.dialling.is_some()
        });
    }

    /// Why the last attempt failed.
    #[must_use]
    pub fn last_error(&self, remote: &Name) -> Option<&str> {
        self.remotes.get(remote)?.pause.as_ref().map(|(.., why)| why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        remotes.opened(&pair("a.lit"), 1, true);
        assert_eq!(remotes.next(&pair("b.lit"), now), Next::Use(1));
    }

    #[test]
    fn a_stream_that_does_not_grow_serves_its_own_pair() {
        let (now, mut remotes) = (Now::origin().instant, Remotes::default());
        remotes.dialling(&name("pessoa.lit"), 1);
        remotes.opened(&pair("a.lit"), 1, false);
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Use(1));
        assert_eq!(remotes.next(&pair("b.lit"), now), Next::Dial);
        remotes.dialling(&name("pessoa.lit"), 2);
        remotes.opened(&pair("b.lit"), 2, false);
        assert_eq!(remotes.next(&pair("b.lit"), now), Next::Use(2));
        remotes.ended(&name("pessoa.lit"), 1, DOWN, now, 0);
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Dial, "a stream that was open is dialled again at once");
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let (mut now, mut remotes) = (Now::origin().instant, Remotes::default());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            remotes.dialling(&name("pessoa.lit"), 1);
            remotes.ended(&name("pessoa.lit"), 1, DOWN, now, 255);
            let Next::Pause(until, _, why) = remotes.next(&pair("a.lit"), now) else { panic!("no pause") };
            assert_eq!((why.as_str(), remotes.last_error(&name("pessoa.lit"))), ("refused", Some("refused")));
            pauses.push(until - now);
            now = until;
            assert_eq!(remotes.next(&pair("a.lit"), now), Next::Dial);
        }
        assert!(pauses.windows(2).all(|two| two[0] <= two[1]) && pauses[0] < FIRST_PAUSE);
        assert!(pauses[11] < LONGEST_PAUSE && pauses[11] > LONGEST_PAUSE / 2);
        remotes.dialling(&name("pessoa.lit"), 1);
        remotes.ended(&name("pessoa.lit"), 1, DOWN, now, 0);
        remotes.forget_pauses();
        assert_eq!(remotes.next(&pair("a.lit"), now), Next::Dial);
    }

    #[test]
    fn what_nothing_is_known_of_is_forgotten() {
        let (now, mut remotes) = (Now::origin().instant, Remotes::default());
        remotes.dialling(&name("pessoa.lit"), 1);
        remotes.ended(&name("pessoa.lit"), 1, DOWN, now, 0);
        remotes.forget_old(now + LONGEST_PAUSE);
        assert!(!remotes.remotes.is_empty());
        remotes.forget_old(now + LONGEST_PAUSE * 2);
        assert!(remotes.remotes.is_empty());
    }
}
