//! Registry: which host serves a domain, who delegates to whom, and where hosts are.
//!
//! Parent: none, started with the Router and ending with it. Children: none; each look-up is a
//! future of this actor. Answers are kept for their TTL; one look-up is in flight per name, and askers
//! (domains of ours, peer hosts) take turns.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use futures_util::future::join;
use heteronym_net::dns::{DnsError, Resolver, SrvAnswer, UNDER_WAY, order, order_by};
use heteronym_net::random;
use heteronym_proto::classic::candidates::{Candidate, NotOffered, candidates};
use heteronym_proto::domain_pair::Delegation;
use heteronym_proto::limits::{ALL_WAITING_LOOKUPS, WAITING_LOOKUPS};
use heteronym_proto::name::Name;
use heteronym_proto::registry::{Answers, DelegationPolicy, Found, Service};
use heteronym_proto::turns::{Bounds, Turns};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::pinned::Pinned;

const SERVICE: &str = "_xmpp-federation._tcp";
const BOUNDS: Bounds = Bounds { under_way: UNDER_WAY, waiting_of_one: WAITING_LOOKUPS, waiting: ALL_WAITING_LOOKUPS };
/// RFC 6120 §3.2.1.
const STARTTLS: &str = "_xmpp-server._tcp";
/// XEP-0368.
const DIRECT_TLS: &str = "_xmpps-server._tcp";

/// See the module.
pub struct Registry {
    servers: Vec<SocketAddr>,
    resolver: Option<Resolver>,
    policy: DelegationPolicy,
    known: Known,
    questions: HashMap<Name, Question>,
    turns: Turns<Name>,
    pinned: Arc<Pinned>,
    metrics: Arc<Metrics>,
}

/// What look-ups said. The Registry writes it; whoever needs no more than an answer that is there reads it.
#[derive(Clone, Default)]
pub struct Known(Arc<RwLock<Answers>>);

impl Known {
    /// Whether an answer that still counts says that `host` serves `domain`. Where none does, ask
    /// [`CheckDelegation`].
    pub(crate) fn delegates(&self, domain: &Name, host: &Name) -> bool {
        let answers = self.read();
        let found = answers.get(domain, crate::now().instant);
        found.is_some_and(|found| found.service.delegation(domain, host) == Delegation::Delegated)
    }

    fn read(&self) -> RwLockReadGuard<'_, Answers> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Answers> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that is asked for, or waits for its turn: for each asker's, and the first one counts.
#[derive(Default)]
struct Question {
    under_way: bool,
    askers: Vec<oneshot::Sender<Found>>,
}

impl Registry {
    /// Asks `servers`, or the system's where there are none, and remembers what they say in `known`.
    #[must_use]
    pub fn new(
        servers: Vec<SocketAddr>,
        policy: DelegationPolicy,
        known: Known,
        pinned: Arc<Pinned>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (questions, turns) = (HashMap::new(), Turns::new(BOUNDS));
        Self { servers, resolver: None, policy, known, questions, turns, pinned, metrics }
    }

    fn make_resolver(&mut self) {
        match Resolver::new(&self.servers) {
            Ok(resolver) => self.resolver = Some(resolver),
            Err(error) => warn!(%error, "no look-up is possible: check [dns] servers"),
        }
    }

    fn look_up(&mut self, domain: Name, asker: &Name, ctx: &mut Context<Self>) -> oneshot::Receiver<Found> {
        let (send, receive) = oneshot::channel();
        let found = self.known.read().get(&domain, crate::now().instant).cloned();
        if let Some(found) = found {
            let _ = send.send(found);
            return receive;
        }
        let under_way = self.questions.get(&domain).is_some_and(|question| question.under_way);
        let waits = if under_way { Ok(()) } else { self.turns.push(asker, domain.clone()) };
        match waits {
            Ok(()) => {
                self.questions.entry(domain).or_default().askers.push(send);
                self.begin(ctx);
            }
            Err(error) => drop(send.send(Found::failed(error.to_string(), crate::now().instant))),
        }
        receive
    }

    fn begin(&mut self, ctx: &mut Context<Self>) {
        while let Some((asker, domain)) = self.turns.begin() {
            let Some(question) = self.questions.get_mut(&domain).filter(|question| !question.under_way) else {
                self.turns.ended(&asker);
                continue;
            };
            question.under_way = true;
            let (resolver, asked) = (self.resolver.clone(), domain.clone());
            let question = async move {
                match resolver {
                    Some(resolver) => resolver.srv(SERVICE, asked.as_str()).await,
                    None => Err(DnsError::Configuration("there is no resolver".to_owned())),
                }
            };
            ctx.spawn(question.into_actor(self).map(move |answer, this, ctx| {
                this.answered(domain, answer);
                this.turns.ended(&asker);
                this.begin(ctx);
            }));
        }
    }

    fn answered(&mut self, domain: Name, answer: Result<SrvAnswer, DnsError>) {
        let (service, ttl) = match answer {
            Ok(answer) => (service(&answer), answer.ttl),
            Err(error) => {
                warn!(%domain, %error, "the look-up of the federation record failed; remembered for 60 s");
                (Service::Failed(error.to_string()), Duration::ZERO)
            }
        };
        let result = match &service {
            Service::Offered(_) => {
                self.pinned.looked_up(&domain, true);
                "found"
            }
            Service::Absent => {
                self.pinned.looked_up(&domain, false);
                "absent"
            }
            Service::Failed(_) => "failed",
        };
        self.metrics.dns_lookup("srv", result);
        let found = self.known.write().put(domain.clone(), service, ttl, crate::now().instant);
        for asker in self.questions.remove(&domain).unwrap_or_default().askers {
            let _ = asker.send(found.clone());
        }
    }
}

fn ended() -> Found {
    Found::failed("the registry ended", crate::now().instant)
}

fn below(bound: u32) -> u32 {
    u32::from_be_bytes(random::bytes::<4>()) % bound.max(1)
}

/// The records in the order in which to try them (RFC 2782).
fn service(answer: &SrvAnswer) -> Service {
    let ordered: Vec<_> = order(&answer.records, below).into_iter().flatten().collect();
    Service::from_records(ordered.iter().map(|record| (record.target.as_str(), record.port, record.priority)))
}

impl Actor for Registry {
    type Context = Context<Self>;

    /// The resolver's sockets belong to the runtime that this actor runs on.
    fn started(&mut self, _: &mut Self::Context) {
        self.make_resolver();
    }
}

/// Everything that was remembered is forgotten, and others are asked from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconfigure {
    /// Resolvers; empty: the system's.
    pub servers: Vec<SocketAddr>,
    /// Must an initiator's domain name the peer host?
    pub policy: DelegationPolicy,
}

impl Handler<Reconfigure> for Registry {
    type Result = ();

    fn handle(&mut self, Reconfigure { servers, policy }: Reconfigure, _: &mut Self::Context) {
        self.known.write().clear();
        self.policy = policy;
        if self.servers != servers {
            self.servers = servers;
            self.make_resolver();
        }
    }
}

/// What was remembered about a domain is forgotten.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget(pub Name);

impl Handler<Forget> for Registry {
    type Result = ();

    fn handle(&mut self, Forget(domain): Forget, _: &mut Self::Context) {
        self.known.write().forget(&domain);
    }
}

/// Which hosts serve a domain?
#[derive(Message)]
#[rtype(result = "Found")]
pub struct LookUpHost {
    /// The domain.
    pub domain: Name,
    /// Which of ours wants to know.
    pub asker: Name,
}

impl Handler<LookUpHost> for Registry {
    type Result = ResponseFuture<Found>;

    fn handle(&mut self, LookUpHost { domain, asker }: LookUpHost, ctx: &mut Self::Context) -> Self::Result {
        let answer = self.look_up(domain, &asker, ctx);
        Box::pin(async { answer.await.unwrap_or_else(|_| ended()) })
    }
}

/// Does `domain` delegate to `host`?
#[derive(Message)]
#[rtype(result = "Delegation")]
pub struct CheckDelegation {
    /// The initiator's domain.
    pub domain: Name,
    /// The peer host.
    pub host: Name,
}

impl Handler<CheckDelegation> for Registry {
    type Result = ResponseFuture<Delegation>;

    fn handle(&mut self, CheckDelegation { domain, host }: CheckDelegation, ctx: &mut Self::Context) -> Self::Result {
        let policy = self.policy;
        if policy == DelegationPolicy::Off {
            return Box::pin(async { Delegation::Delegated });
        }
        self.known.write().forget_failure(&domain, crate::now().instant);
        let answer = self.look_up(domain.clone(), &host, ctx);
        Box::pin(async move {
            let found = answer.await.unwrap_or_else(|_| ended());
            match (policy, found.service.delegation(&domain, &host)) {
                (_, Delegation::Delegated) => Delegation::Delegated,
                (DelegationPolicy::Warn | DelegationPolicy::Off, other) => {
                    info!(%domain, %host, ?other, "not delegated, and allowed by delegation = \"warn\"");
                    Delegation::Delegated
                }
                (DelegationPolicy::Require, other) => other,
            }
        })
    }
}

/// Which servers does a domain have, for classic S2S? In the order in which to try them.
#[derive(Message)]
#[rtype(result = "Result<Result<Vec<Candidate>, NotOffered>, String>")]
pub struct LookUpServers(pub Name);

impl Handler<LookUpServers> for Registry {
    type Result = ResponseFuture<Result<Result<Vec<Candidate>, NotOffered>, String>>;

    fn handle(&mut self, LookUpServers(domain): LookUpServers, _: &mut Self::Context) -> Self::Result {
        let (resolver, metrics) = (self.resolver.clone(), Arc::clone(&self.metrics));
        Box::pin(async move {
            let resolver = resolver.ok_or("there is no resolver")?;
            let (direct, starttls) =
                join(resolver.srv(DIRECT_TLS, domain.as_str()), resolver.srv(STARTTLS, domain.as_str())).await;
            for answer in [&direct, &starttls] {
                metrics.dns_lookup("srv", if answer.is_ok() { "found" } else { "failed" });
            }
            let mut records = Vec::new();
            let mut failed = None;
            for (answer, is_direct) in [(direct, true), (starttls, false)] {
                match answer {
                    Ok(answer) => records.extend(answer.records.into_iter().map(|record| (record, is_direct))),
                    Err(error) => failed = Some(error.to_string()),
                }
            }
            // Where one kind cannot be known, the other will do: both lead to TLS. None at all is no answer.
            if let (true, Some(failed)) = (records.is_empty(), failed) {
                return Err(failed);
            }
            let ordered = order_by(records, |(record, _)| record, below);
            let records = ordered.iter().flatten().map(|(record, direct)| (&*record.target, record.port, *direct));
            Ok(candidates(domain.as_str(), records))
        })
    }
}

/// Where is a host? Its addresses with each port of its records; none where it has none.
#[derive(Message)]
#[rtype(result = "Result<Vec<SocketAddr>, String>")]
pub struct LookUpAddresses {
    /// The host.
    pub host: Name,
    /// From its SRV records.
    pub ports: Vec<u16>,
}

impl Handler<LookUpAddresses> for Registry {
    type Result = ResponseFuture<Result<Vec<SocketAddr>, String>>;

    fn handle(&mut self, LookUpAddresses { host, ports }: LookUpAddresses, _: &mut Self::Context) -> Self::Result {
        let (resolver, metrics) = (self.resolver.clone(), Arc::clone(&self.metrics));
        Box::pin(async move {
            let resolver = resolver.ok_or("there is no resolver")?;
            let found = resolver.addresses(host.as_str()).await;
            let result = match &found {
                Ok(found) if found.is_empty() => "absent",
                Ok(_) => "found",
                Err(_) => "failed",
            };
            metrics.dns_lookup("address", result);
            let found = found.map_err(|error| error.to_string())?;
            let all =
                ports.into_iter().flat_map(|port| found.iter().map(move |address| SocketAddr::new(*address, port)));
            Ok(all.collect())
        })
    }
}
