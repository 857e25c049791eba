//! `[host]`, `[listen]`, `[tls]`, `[dns]` and `[peers]`: who we are and what we touch.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use heteronym_proto::name::Name;

use super::error::Problem;
use super::reader::Section;
use super::value::{Refusal, invalid, ip_address, name, remote_address, show, socket_address, text};

/// `[host]`: the XMPP host itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// SRV target, TLS name and `from` of host streams.
    pub name: Name,
    /// The folder with `fullchain.pem` and `privkey.pem`; `certs/NAME` beside the file if nothing is said.
    pub certificate: PathBuf,
    /// Addresses to dial from; empty: the system's choice.
    pub source: Vec<IpAddr>,
    /// The folder for what outlives a restart; none: nothing does.
    pub state: Option<PathBuf>,
}

/// `[listen]`: an empty list switches a listener off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Host streams.
    pub federation: Vec<SocketAddr>,
    /// Classic S2S from other servers.
    pub s2s: Vec<SocketAddr>,
    /// XEP-0114 components that dial us.
    pub component: Vec<SocketAddr>,
    /// Loopback S2S from our own servers.
    pub local_s2s: Vec<SocketAddr>,
    /// DNS for our own servers that leads every remote domain to `local_s2s`.
    pub steering_dns: Vec<SocketAddr>,
    /// The admin interface.
    pub admin: Vec<SocketAddr>,
}

/// `[tls]`: whom we trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The trust anchors.
    pub roots: Roots,
    /// PEM files that are trusted as well.
    pub extra_roots: Vec<PathBuf>,
}

/// Where the trust anchors come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The operating system's store.
    #[default]
    System,
    /// These PEM files and nothing else.
    Files(Vec<PathBuf>),
}

/// `[dns]`: whom we ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Resolvers; empty: the system's.
    pub servers: Vec<SocketAddr>,
}

/// `[peers."host"]`: what to override for one peer host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where to dial instead of the host's A and AAAA records; empty: no override.
    pub addresses: Vec<SocketAddr>,
}

impl Host {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let host = section.needed("name", "the DNS name of this XMPP host", name);
        let certificate = section.path("certificate");
        let source = section.list("source", ip_address).unwrap_or_default();
        let state = section.path("state");
        let name = host?;
        let certificate = certificate.unwrap_or_else(|| section.folder().join("certs").join(name.as_str()));
        Some(Self { name, certificate, source, state })
    }
}

impl Default for Listen {
    fn default() -> Self {
        let any = |port| vec![SocketAddr::from(([0_u16; 8], port))];
        let loopback = |port| vec![SocketAddr::from(([127, 0, 0, 1], port))];
        Self {
            federation: any(5270),
            s2s: any(5269),
            component: loopback(5347),
            local_s2s: loopback(5268),
            steering_dns: Vec::new(),
            admin: loopback(9280),
        }
    }
}

impl Listen {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let mut addresses = |key, default| section.list(key, socket_address).unwrap_or(default);
        let listen = Self {
            federation: addresses("federation", default.federation),
            s2s: addresses("s2s", default.s2s),
            component: addresses("component", default.component),
            local_s2s: addresses("local_s2s", default.local_s2s),
            steering_dns: addresses("steering_dns", default.steering_dns),
            admin: addresses("admin", default.admin),
        };
        listen.check_apart(section);
        listen.check_steering(section);
        listen
    }

    /// The listeners with their keys.
    fn all(&self) -> [(&'static str, &[SocketAddr]); 6] {
        [
            ("federation", &self.federation),
            ("s2s", &self.s2s),
            ("component", &self.component),
            ("local_s2s", &self.local_s2s),
            ("steering_dns", &self.steering_dns),
            ("admin", &self.admin),
        ]
    }

    /// No two listeners may have one address; port 0 is another one each time.
    fn check_apart(&self, section: &Section<'_>) {
        let mut taken = BTreeMap::new();
        for (key, addresses) in self.all() {
            for address in addresses.iter().filter(|address| address.port() != 0) {
                if let Some(first) = taken.insert(address, section.key(key)) {
                    let allowed = "an address that no other listener has".into();
                    let refusal = Refusal { problem: Problem::Taken { first }, allowed };
                    section.refuse(key, Some(format!("\"{address}\"")), refusal);
                }
            }
        }
    }

    /// What is led to us has to find somebody.
    fn check_steering(&self, section: &Section<'_>) {
        if !self.steering_dns.is_empty() && self.local_s2s.is_empty() {
            let addresses: Vec<_> = self.steering_dns.iter().map(|address| format!("\"{address}\"")).collect();
            let refusal = invalid("leads to listen.local_s2s, which is empty", "[], or an address in listen.local_s2s");
            section.refuse("steering_dns", Some(format!("[{}]", addresses.join(", "))), refusal);
        }
    }
}

impl Tls {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let folder = section.folder().to_owned();
        let file = |value: &toml::Value| text(value).map(|path| folder.join(path));
        let roots = section.take("roots").and_then(|value| match value.as_str() {
            Some("system") => Some(Roots::System),
            Some(_) => {
                let refusal = invalid("is none of the words", "\"system\" or a list of PEM files");
                section.refuse("roots", Some(show(&value)), refusal);
                None
            }
            None => section.items("roots", &value, file).map(Roots::Files),
        });
        let extra_roots = section.list("extra_roots", file).unwrap_or_default();
        if extra_roots.is_empty() && matches!(&roots, Some(Roots::Files(files)) if files.is_empty()) {
            let refusal = invalid("nobody would be trusted", "\"system\" or a list of PEM files");
            section.refuse("roots", Some("[]".to_owned()), refusal);
        }
        Self { roots: roots.unwrap_or_default(), extra_roots }
    }
}

impl Dns {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { servers: section.list("servers", remote_address).unwrap_or_default() }
    }

    /// Refuses every server that is our own and would ask itself.
    pub(super) fn check_servers(&self, listen: &Listen, root: &Section<'_>) {
        for server in self.servers.iter().filter(|server| listen.steering_dns.contains(server)) {
            let first = "listen.steering_dns".to_owned();
            let refusal = Refusal { problem: Problem::Taken { first }, allowed: "name servers that ask others".into() };
            root.refuse("dns.servers", Some(format!("\"{server}\"")), refusal);
        }
    }
}

impl Peer {
    /// Every `[peers."…"]`, by the normalised name of the host.
    pub(super) fn read_all(root: &mut Section<'_>) -> BTreeMap<Name, Self> {
        let peers = root.named("peers", |host, section| {
            let peer = Self { addresses: section.list("addresses", remote_address).unwrap_or_default() };
            (host.to_owned(), peer)
        });
        by_name(root, "peers", peers)
    }
}

/// `entries` of the table `key` by their normalised names, which have to be names and may occur once.
pub(super) fn by_name<T>(section: &Section<'_>, key: &str, entries: Vec<(String, T)>) -> BTreeMap<Name, T> {
    let mut named = BTreeMap::new();
    for (spelling, entry) in entries {
        let at = format!("{key}.{spelling:?}");
        match name(&toml::Value::String(spelling)) {
            Err(refusal) => section.refuse(&at, None, refusal),
            Ok(name) if named.contains_key(&name) => {
                let first = format!("{}.\"{name}\"", section.key(key));
                let refusal = Refusal { problem: Problem::Taken { first }, allowed: "one entry for a name".into() };
                section.refuse(&at, None, refusal);
            }
            Ok(name) => {
                named.insert(name, entry);
            }
        }
    }
    named
}
