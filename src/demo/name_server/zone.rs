//! What there is, and how questions about it went.

use std::collections::HashMap;
use std::net::IpAddr;

/// The service that hosts look up of each other.
const FEDERATION: &str = "_xmpp-federation._tcp";
/// What answers hold for unless something else is said, in seconds.
const TTL: u32 = 60;

/// One SRV record: `(priority, weight, port, target)`.
pub type Srv = (u16, u16, u16, String);

/// Aliases followed before the name server gives up (SERVFAIL), as resolvers do.
const ALIASES: usize = 8;

/// SRV records, addresses and aliases. Names are compared in lower case; a final dot does not matter.
#[derive(Clone, Debug)]
pub struct Zone {
    ttl: u32,
    services: HashMap<String, Vec<Srv>>,
    addresses: HashMap<String, Vec<IpAddr>>,
    aliases: HashMap<String, String>,
    faults: HashMap<String, Fault>,
    questions: HashMap<String, usize>,
}

/// What a domain does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Fail,
    Silence,
}

/// What is known about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// What is at the name, or where its aliases lead.
    Answer {
        /// The names that the aliases lead to, in order.
        aliases: Vec<String>,
        /// The records at the last of them, or at the name itself.
        last: Last,
    },
    /// SERVFAIL.
    Failure,
    /// Nothing is to be answered.
    Silence,
}

/// What is where the aliases end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// The name is there, and these are its records.
    Name { services: Vec<Srv>, addresses: Vec<IpAddr> },
    /// Neither the name nor anything below it is there.
    NoName,
}

impl Default for Zone {
    fn default() -> Self {
        Self::new()
    }
}

impl Zone {
    /// A zone with nothing in it, whose answers hold for a minute.
    #[must_use]
    pub fn new() -> Self {
        let (services, addresses, aliases) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { ttl: TTL, services, addresses, aliases, faults: HashMap::new(), questions: HashMap::new() }
    }

    /// The same whose answers, those that there is none included, hold for `seconds`.
    #[must_use]
    pub fn with_ttl(mut self, seconds: u32) -> Self {
        self.ttl = seconds;
        self
    }

    /// `domain`'s federation records: `(priority, weight, port, target)`.
    pub fn set_srv(&mut self, domain: &str, records: Vec<Srv>) {
        self.set_service(FEDERATION, domain, records);
    }

    /// The records of `service` at `domain`.
    pub fn set_service(&mut self, service: &str, domain: &str, records: Vec<Srv>) {
        self.services.insert(normal(&format!("{service}.{domain}")), records);
    }

    /// The addresses of `host`.
    pub fn set_addresses(&mut self, host: &str, addresses: Vec<IpAddr>) {
        self.addresses.insert(normal(host), addresses);
    }

    /// Makes `name`, such as `_xmpp-federation._tcp.pessoa.lit`, an alias of `target` (CNAME).
    pub fn set_alias(&mut self, name: &str, target: &str) {
        self.aliases.insert(normal(name), normal(target));
    }

    /// What answers hold for from now on, in seconds.
    pub(super) fn set_ttl(&mut self, seconds: u32) {
        self.ttl = seconds;
    }

    /// Takes every record of `domain` out.
    pub fn remove(&mut self, domain: &str) {
        let domain = normal(domain);
        self.services.retain(|name, _| owner(name) != domain);
        self.aliases.retain(|name, _| owner(name) != domain);
        self.addresses.remove(&domain);
    }

    pub(super) fn fail(&mut self, domain: &str) {
        self.faults.insert(normal(domain), Fault::Fail);
    }

    pub(super) fn silence(&mut self, domain: &str) {
        self.faults.insert(normal(domain), Fault::Silence);
    }

    pub(super) fn recover(&mut self, domain: &str) {
        self.faults.remove(&normal(domain));
    }

    pub(super) fn questions(&self, name: &str) -> usize {
        self.questions.get(&normal(name)).copied().unwrap_or(0)
    }

    pub(super) fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Counts the question and answers it.
    pub(super) fn ask(&mut self, name: &str) -> Found {
        let name = normal(name);
        let found = self.find(&name);
        *self.questions.entry(name).or_default() += 1;
        found
    }

    fn find(&self, name: &str) -> Found {
        match self.faults.get(name).or_else(|| self.faults.get(owner(name))) {
            Some(Fault::Fail) => return Found::Failure,
            Some(Fault::Silence) => return Found::Silence,
            None => {}
        }
        let (mut aliases, mut at) = (Vec::new(), name);
        while let Some(target) = self.aliases.get(at) {
            if aliases.len() == ALIASES {
                return Found::Failure;
            }
            aliases.push(target.clone());
            at = target;
        }
        Found::Answer { last: self.records(at), aliases }
    }

    fn records(&self, name: &str) -> Last {
        let services = self.services.get(name).cloned().unwrap_or_default();
        let addresses = self.addresses.get(name).cloned().unwrap_or_default();
        if services.is_empty() && addresses.is_empty() && !self.exists(name) {
            return Last::NoName;
        }
        Last::Name { services, addresses }
    }

    /// Whether there is anything at `name` or below it (RFC 8020).
    fn exists(&self, name: &str) -> bool {
        let at_or_below =
            |known: &String| known.strip_suffix(name).is_some_and(|below| below.is_empty() || below.ends_with('.'));
        self.services.keys().chain(self.addresses.keys()).chain(self.aliases.keys()).any(at_or_below)
    }
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The domain that a name belongs to: `pessoa.lit` for `_xmpp-federation._tcp.pessoa.lit`.
fn owner(mut name: &str) -> &str {
    while let Some((label, parent)) = name.split_once('.') {
        if !label.starts_with('_') {
            break;
        }
        name = parent;
    }
    name
}
