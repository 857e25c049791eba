//! Which host serves a domain: what `_xmpp-federation._tcp` says, remembered for its TTL (protocol §2).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain_pair::Delegation;
use crate::limits::{BUSY_SECONDS, FAILURE_MEMORY};
use crate::name::Name;

/// Domains remembered at once: nobody fills memory by asking for names.
const REMEMBERED: usize = 1 << 16;
/// The shortest and longest time that an answer is kept, whatever its TTL.
const TTL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));

/// A host that serves a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The XMPP host: TLS server name, stream `to`, name in its certificate.
    pub host: Name,
    /// Its ports, in the order of its records; at least one.
    pub ports: Vec<u16>,
    /// The priority of its first record: hosts of the lowest are tried first.
    pub priority: u16,
}

/// How a host can be reached, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// There is a link to it.
    Linked,
    /// Nothing speaks against dialling it, or it is being dialled.
    Open,
    /// It could not be reached; it is not dialled again before this.
    Paused(Instant),
}

impl Reach {
    /// Until when it is not dialled.
    #[must_use]
    pub fn paused(self) -> Option<Instant> {
        match self {
            Self::Paused(until) => Some(until),
            Self::Linked | Self::Open => None,
        }
    }
}

/// The target whose host to wait for (RFC 2782): of those that do not pause, one of the lowest
/// priority, and among these one that has a link already, else the first; where all pause, the one
/// that is dialled again first. `None` where there are no targets.
pub fn choose(targets: &[Target], reach: impl Fn(&Name) -> Reach) -> Option<usize> {
    let rank = |target: &Target| match reach(&target.host) {
        Reach::Linked => (None, target.priority, false),
        Reach::Open => (None, target.priority, true),
        Reach::Paused(until) => (Some(until), target.priority, true),
    };
    // The first of equals, and `None` is less than any time.
    (0..targets.len()).min_by_key(|n| rank(&targets[*n]))
}

/// What a look-up said about a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// Federation is offered by these hosts, each named once, in the order in which to try them.
    Offered(Vec<Target>),
    /// A clean answer: no record, or the target `.`.
    Absent,
    /// No clean answer: why.
    Failed(String),
}

/// An answer, and how long it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The answer.
    pub service: Service,
    /// When to ask again.
    pub until: Instant,
}

impl Found {
    /// A look-up that failed, remembered as long as all of them are.
    #[must_use]
    pub fn failed(why: impl Into<String>, now: Instant) -> Self {
        Self { service: Service::Failed(why.into()), until: now + FAILURE_MEMORY }
    }
}

/// Whether an initiator's domain must name the peer host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DelegationPolicy {
    /// It must.
    #[default]
    Require,
    /// It should; the log says where it does not.
    Warn,
    /// Nobody asks.
    Off,
}

impl Service {
    /// Takes records in their order: `(target, port, priority)`; `.` and names that are none are left out.
    pub fn from_records<'a>(records: impl IntoIterator<Item = (&'a str, u16, u16)>) -> Self {
        let mut targets: Vec<Target> = Vec::new();
        for (host, port, priority) in records {
            let Ok(host) = Name::parse(host) else { continue };
            match targets.iter_mut().find(|target| target.host == host) {
                Some(target) if target.ports.contains(&port) => (),
                Some(target) => target.ports.push(port),
                None => targets.push(Target { host, ports: vec![port], priority }),
            }
        }
        if targets.is_empty() { Self::Absent } else { Self::Offered(targets) }
    }

    /// Whether `host` serves `domain`, as far as this answer goes.
    #[must_use]
    pub fn delegation(&self, domain: &Name, host: &Name) -> Delegation {
        match self {
            Self::Offered(targets) if targets.iter().any(|target| target.host == *host) => Delegation::Delegated,
            Self::Offered(targets) => {
                let names: Vec<&str> = targets.iter().map(|target| target.host.as_str()).collect();
                let text = format!("the federation records of {domain} name {}, not {host}", names.join(", "));
                Delegation::Elsewhere(text)
            }
            Self::Absent => Delegation::Elsewhere(format!("{domain} has no federation record that names {host}")),
            Self::Failed(why) => Delegation::Unknown(format!("the federation records of {domain}: {why}")),
        }
    }
}

/// Answers by domain, each until its end.
#[derive(Debug, Default)]
pub struct Answers {
    answers: HashMap<Name, Found>,
}

impl Answers {
    /// The answer that still counts.
    #[must_use]
    pub fn get(&self, domain: &Name, now: Instant) -> Option<&Found> {
        self.answers.get(domain).filter(|found| now < found.until)
    }

    /// Forgets a failure that is as old as what a peer is told to wait after it (`busy`): it asks again
    /// then, and stanzas wait for it, so that an answer of a minute ago would not do.
    pub fn forget_failure(&mut self, domain: &Name, now: Instant) {
        let told = Duration::from_secs(BUSY_SECONDS.into());
        let is_old = |Found { service, until }: &Found| match service {
            Service::Failed(_) => now + FAILURE_MEMORY >= *until + told,
            Service::Offered(_) | Service::Absent => false,
        };
        if self.answers.get(domain).is_some_and(is_old) {
            self.answers.remove(domain);
        }
    }

    /// Remembers an answer for its TTL (5 s to 1 h), a failure for 60 s.
    pub fn put(&mut self, domain: Name, service: Service, ttl: Duration, now: Instant) -> Found {
        let kept = match service {
            Service::Failed(_) => FAILURE_MEMORY,
            Service::Offered(_) | Service::Absent => ttl.clamp(TTL.0, TTL.1),
        };
        if self.answers.len() >= REMEMBERED {
            self.make_room(now);
        }
        let found = Found { service, until: now + kept };
        self.answers.insert(domain, found.clone());
        found
    }

    /// Forgets what is known of a domain.
    pub fn forget(&mut self, domain: &Name) {
        self.answers.remove(domain);
    }

    /// Forgets everything, failures above all.
    pub fn clear(&mut self) {
        self.answers.clear();
    }

    /// Drops what has ended; where nothing has, everything: it is only a cache.
    fn make_room(&mut self, now: Instant) {
        self.answers.retain(|_, found| now < found.until);
        if self.answers.len() >= REMEMBERED {
            self.answers.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::Now;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn only_a_named_host_is_delegated() {
        let (domain, host) = (name("pessoa.lit"), name("xmpp.other.isp"));
        let here = Service::from_records([("xmpp.third.isp", 5270, 0), ("XMPP.other.isp.", 5270, 0)]);
        assert_eq!(here.delegation(&domain, &host), Delegation::Delegated);
        let elsewhere = Service::from_records([("xmpp.third.isp", 5270, 0)]);
        assert!(matches!(elsewhere.delegation(&domain, &host), Delegation::Elsewhere(_)));
        assert!(matches!(Service::Absent.delegation(&domain, &host), Delegation::Elsewhere(_)));
        let failed = Service::Failed("SERVFAIL".to_owned());
        assert!(matches!(failed.delegation(&domain, &host), Delegation::Unknown(_)), "busy, not a refusal");
    }

    #[test]
    fn a_dot_is_no_host() {
        assert_eq!(Service::from_records([(".", 0, 0)]), Service::Absent);
        assert_eq!(Service::from_records([]), Service::Absent);
    }

    #[test]
    fn a_host_with_two_ports_is_one_target() {
        let records = [("a.isp", 5270, 1), ("b.isp", 5270, 1), ("A.isp.", 443, 2), ("a.isp", 5270, 3)];
        let Service::Offered(targets) = Service::from_records(records) else { panic!("offered") };
        let found: Vec<_> =
            targets.iter().map(|target| (target.host.as_str(), &*target.ports, target.priority)).collect();
        assert_eq!(found, [("a.isp", &[5270, 443][..], 1), ("b.isp", &[5270][..], 1)]);
    }

    #[test]
    fn the_first_of_the_lowest_priority_that_can_be_reached_is_chosen() {
        let records = [("a.isp", 1, 10), ("b.isp", 1, 10), ("c.isp", 1, 20), ("d.isp", 1, 20)];
        let Service::Offered(targets) = Service::from_records(records) else { panic!("offered") };
        let later = |seconds| Reach::Paused(Now::origin().instant + Duration::from_secs(seconds));
        let cases = [
            ([Reach::Open, Reach::Open, Reach::Open, Reach::Open], "a.isp"),
            ([Reach::Open, Reach::Linked, Reach::Open, Reach::Open], "b.isp"),
            ([Reach::Open, Reach::Open, Reach::Linked, Reach::Open], "a.isp"),
            ([later(1), later(1), Reach::Open, Reach::Linked], "d.isp"),
            ([later(1), Reach::Open, Reach::Linked, Reach::Linked], "b.isp"),
            ([later(9), later(3), later(2), later(4)], "c.isp"),
            ([later(2), later(2), later(2), later(2)], "a.isp"),
        ];
        for (reach, expected) in cases {
            let of = |host: &Name| reach[usize::from(host.as_str().as_bytes()[0] - b'a')];
            let chosen = choose(&targets, of).map(|n| targets[n].host.as_str());
            assert_eq!(chosen, Some(expected), "{reach:?}");
        }
        assert_eq!(choose(&[], |_| Reach::Open), None);
    }

    #[test]
    fn answers_end_with_their_ttl_and_failures_after_a_minute() {
        let (now, mut answers) = (Now::origin().instant, Answers::default());
        answers.put(name("a.lit"), Service::Absent, Duration::ZERO, now);
        answers.put(name("b.lit"), Service::Failed(String::new()), Duration::from_secs(9), now);
        assert!(answers.get(&name("a.lit"), now + Duration::from_secs(4)).is_some(), "at least 5 s");
        assert!(answers.get(&name("a.lit"), now + Duration::from_secs(5)).is_none());
        assert!(answers.get(&name("b.lit"), now + Duration::from_secs(59)).is_some());
        assert!(answers.get(&name("b.lit"), now + Duration::from_secs(60)).is_none());
    }

    #[test]
    fn a_failure_is_forgotten_when_a_peer_asks_again() {
        let (now, mut answers) = (Now::origin().instant, Answers::default());
        let again = Duration::from_secs(BUSY_SECONDS.into());
        answers.put(name("a.lit"), Service::Absent, Duration::from_secs(60), now);
        answers.put(name("b.lit"), Service::Failed(String::new()), Duration::ZERO, now);
        let mut remembered = |domain, at| {
            answers.forget_failure(&name(domain), at);
            answers.get(&name(domain), at).is_some()
        };
        assert!(remembered("b.lit", now + again - Duration::from_millis(1)));
        assert!(!remembered("b.lit", now + again));
        assert!(remembered("a.lit", now + again), "absence is an answer");
    }
}
