//! One router: its actors, and what they share.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use heteronym_proto::checker::Scope;
use heteronym_proto::domain_pair::Delegation;
use heteronym_proto::host_stream::HostStreamConfig;
use heteronym_proto::hosted::Hosted;
use heteronym_proto::limits::Limits;
use heteronym_proto::link_choice::LinkId;
use heteronym_proto::mux::Slot;
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use heteronym_proto::stanza;
use heteronym_proto::suite::KeyType;
use heteronym_proto::way::{Policies, Policy};

use crate::agenda::{Actor, Context, Message};
use crate::end::End;
use crate::local::Local;
use crate::router::Router;
use crate::vault::{Certificate, Vault, name};

/// The hosts, and the domains of each.
pub(crate) const HOSTS: [(&str, [&str; 2]); 3] = [
    ("xmpp.my.isp", ["saramago.lit", "camoes.lit"]),
    ("xmpp.other.isp", ["pessoa.lit", "sophia.lit"]),
    ("xmpp.third.isp", ["torga.lit", "florbela.lit"]),
];

pub(crate) fn index_of(host: &Name) -> usize {
    HOSTS.iter().position(|(known, _)| *known == host.as_str()).expect("a host of ours")
}

/// Who a stanza is from, and for whom.
pub(crate) fn domains_of(stanza: &[u8]) -> (Name, Name) {
    let stanza = stanza::read(stanza, &Scope::SERVER).expect("what users send is a stanza");
    (name(stanza.from_domain()), name(stanza.to_domain()))
}

/// What all actors of a process see.
pub(crate) struct Shared {
    pub(crate) config: HostStreamConfig,
    pub(crate) vault: Vault,
    pub(crate) routes: HashMap<Pair, (LinkId, Slot)>,
    /// Its domains, by entry.
    pub(crate) domains: Vec<Name>,
    /// What look-ups answer.
    pub(crate) delegation: Delegation,
    /// Stanzas on their way to each server.
    pub(crate) waiting_for: Vec<usize>,
    /// How many of them make a link ask to hold.
    pub(crate) hold_at: usize,
    /// Private keys take their time.
    pub(crate) slow_crypto: bool,
}

impl Shared {
    pub(crate) fn new(host: usize, limits: Limits, activation_lifetime: Duration) -> Self {
        let (host, domains) = HOSTS[host];
        let keys = [KeyType::Rsa, KeyType::P256];
        let certificates = domains.iter().zip(keys).map(|(domain, key)| Certificate::new(domain, key)).collect();
        let hosted: Hosted = domains.iter().enumerate().map(|(entry, domain)| (name(domain), entry)).collect();
        let config = HostStreamConfig {
            host: name(host),
            hosted: Arc::new(hosted),
            limits,
            activation_lifetime,
            policies: Arc::new(Policies::new(Policy::Prefer, [])),
        };
        Self {
            vault: Vault::new(&config.host, certificates),
            config,
            routes: HashMap::new(),
            domains: domains.map(name).to_vec(),
            delegation: Delegation::Delegated,
            waiting_for: vec![0; domains.len()],
            hold_at: 8,
            slow_crypto: false,
        }
    }

    pub(crate) fn host_of(&self, domain: &Name) -> Name {
        let (host, _) = HOSTS.iter().find(|(_, domains)| domains.contains(&domain.as_str())).expect("a domain of ours");
        name(host)
    }

    pub(crate) fn crypto_time(&self, cx: &mut Context<'_>) -> Duration {
        cx.within(if self.slow_crypto { Duration::from_secs(20) } else { Duration::from_millis(10) })
    }
}

/// See the module.
pub(crate) struct Process {
    pub(crate) shared: Shared,
    pub(crate) router: Router,
    pub(crate) ends: BTreeMap<LinkId, End>,
    pub(crate) locals: Vec<Local>,
    pub(crate) up: bool,
    /// How often it was started.
    pub(crate) life: u32,
    /// What its wall clock shows beyond the true time, in seconds.
    pub(crate) skew: i64,
}

impl Process {
    pub(crate) fn new(host: usize, limits: Limits, activation_lifetime: Duration) -> Self {
        let shared = Shared::new(host, limits, activation_lifetime);
        let router = Router::new(shared.config.host.clone(), &shared.config.limits);
        let locals = shared.domains.iter().enumerate().map(|(entry, domain)| Local::new(entry, domain.clone()));
        let locals = locals.collect();
        Self { shared, router, ends: BTreeMap::new(), locals, up: true, life: 0, skew: 0 }
    }

    /// Killed, with everything that it knew.
    pub(crate) fn restart(&mut self) {
        let (limits, lifetime) = (self.shared.config.limits.clone(), self.shared.config.activation_lifetime);
        let (life, skew) = (self.life, self.skew);
        *self = Self { life, skew, ..Self::new(index_of(&self.shared.config.host), limits, lifetime) };
    }

    pub(crate) fn handle(&mut self, actor: Actor, message: Message, cx: &mut Context<'_>) {
        match actor {
            Actor::Router => self.router.handle(message, &mut self.shared, cx),
            Actor::Local(entry) => self.locals[entry].handle(message, &mut self.shared, cx),
            Actor::Link(link) => match self.ends.get_mut(&link) {
                Some(end) => end.handle(message, &mut self.shared, cx),
                None => End::missed(message, cx),
            },
        }
    }

    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let ends = self.ends.values().map(End::deadline);
        let locals = self.locals.iter().map(|local| local.deadline(&self.shared));
        let router = self.router.deadline(now, &self.shared.config.limits);
        ends.chain(locals).chain([router]).flatten().min()
    }

    pub(crate) fn timeout(&mut self, cx: &mut Context<'_>) {
        for end in self.ends.values_mut() {
            end.timeout(&mut self.shared, cx);
        }
        for local in &mut self.locals {
            local.timeout(&mut self.shared, cx);
        }
        if self.router.deadline(cx.now.instant, &self.shared.config.limits).is_some_and(|at| at <= cx.now.instant) {
            self.router.tick(&self.shared, cx);
        }
    }

    /// Takes the links that are over, and tells the Router; which wires they had.
    pub(crate) fn reap(&mut self, cx: &mut Context<'_>) -> Vec<(usize, usize)> {
        let over: Vec<LinkId> = self.ends.values().filter(|end| end.stopped).map(|end| end.id).collect();
        let mut wires = Vec::new();
        for link in over {
            let Some(end) = self.ends.remove(&link) else { continue };
            self.shared.routes.retain(|_, (of, _)| *of != link);
            wires.push(end.wire);
            cx.post(Actor::Router, Message::Ended(Box::new(end.into_ended())));
        }
        wires
    }

    /// What is left where nothing should be: runs, waiting stanzas, time-outs of nothing.
    pub(crate) fn unrest(&self) -> Vec<String> {
        let mut found = Vec::new();
        for end in self.ends.values() {
            let active = end.stream.records().filter(|record| record.active.is_some()).count();
            let runs = end.stream.records().filter(|record| record.run().is_some()).count();
            for (what, count, most) in [
                ("runs", runs, 0),
                ("actors", end.runs(), 0),
                ("unacknowledged stanzas", end.stream.unacknowledged(), 0),
                ("queued bytes", end.stream.queued_bytes(), 0),
                ("timers", end.stream.timers(), active),
            ] {
                if count > most {
                    found.push(format!("rest: {count} {what} on link {}, with {active} active pairs", end.id));
                }
            }
        }
        let restless = self.locals.iter().any(|local| !local.is_at_rest());
        found.extend(restless.then(|| "rest: a local link has something".to_owned()));
        found
    }
}
