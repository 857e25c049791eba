//! The stage of a test: a router with its domains, a peer host with its own, DNS and an authority.

use std::fs;

use heteronym::config::Config;
use heteronym::demo::authority::{Authority, KeyKind, Request};
use heteronym::demo::name_server::{NameServer, Zone};
use tempfile::TempDir;

use super::domain::Domain;
use super::host::Host;
use super::http::post;
use super::keys::{Side, key};
use super::link::Link;
use super::local::Local;
use super::router::Running;
use super::{message, name};

/// The router's host name.
pub(crate) const ROUTER: &str = "xmpp.my.isp";
/// A peer host with a larger name: the router chooses the link.
pub(crate) const PEER: &str = "xmpp.other.isp";
/// A peer host with a smaller name: it chooses the link.
pub(crate) const DECIDER: &str = "xmpp.a.isp";
/// The secret of every `[[local]]` entry.
pub(crate) const SECRET: &str = "s3cret";

/// The router's domains; the first three are of one entry.
const DOMAINS: [&str; 4] = ["saramago.lit", "chat.saramago.lit", "blimunda.lit", "baltasar.lit"];
/// Domains whose records name the peer host.
const REMOTE: [&str; 4] = ["pessoa.lit", "chat.pessoa.lit", "campos.lit", "reis.lit"];

/// What a test wants to be otherwise than usual.
pub(crate) struct Set {
    /// The peer host's name.
    pub(crate) host: &'static str,
    /// More of the router's configuration.
    pub(crate) config: String,
    /// What `[listen]` says of loopback S2S and the DNS for it.
    pub(crate) loopback: String,
    /// The kind of the keys of the router's domains.
    pub(crate) keys: Request,
    /// The router's own certificate.
    pub(crate) own: Request,
    /// Certificates of domains of the router's, by folder, besides the usual ones or in their place.
    pub(crate) certificates: Vec<(String, Request)>,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            host: PEER,
            config: String::new(),
            loopback: "local_s2s = []".to_owned(),
            keys: usual(["x"]),
            own: usual([ROUTER]),
            certificates: Vec::new(),
        }
    }
}

/// Everybody, and nobody connected.
pub(crate) struct World {
    /// Whom everybody trusts.
    pub(crate) authority: Authority,
    /// Whom everybody asks.
    pub(crate) names: NameServer,
    /// The router.
    pub(crate) router: Running,
    /// The peer host.
    pub(crate) host: Host,
    /// Where its configuration and its certificates are.
    pub(crate) folder: TempDir,
    /// Its configuration.
    pub(crate) text: String,
}

impl World {
    /// As usual.
    pub(crate) async fn new() -> Self {
        Self::with(Set::default()).await
    }

    /// As usual but for more of the router's configuration.
    pub(crate) async fn configured(config: &str) -> Self {
        Self::with(Set { config: config.to_owned(), ..Set::default() }).await
    }

    /// As usual but for a peer host whose name is smaller than the router's.
    pub(crate) async fn decided_by_peer() -> Self {
        Self::with(Set { host: DECIDER, ..Set::default() }).await
    }

    /// As `set` says.
    pub(crate) async fn with(set: Set) -> Self {
        let authority = Authority::new("Everybody's").unwrap();
        let issued = authority.issue(&Request::new([set.host], KeyKind::P256)).unwrap();
        let host = Host::new(set.host, &issued).await;
        let names = NameServer::start(zone(&host)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_certificates(&folder, &authority, &set);
        let text = config(&names, &set);
        let file = folder.path().join("heteronym.toml");
        fs::write(&file, &text).unwrap();
        let router = Running::start(Config::load(&file).unwrap());
        Self { authority, names, router, host, folder, text }
    }

    /// Makes the router read its configuration again, which says this now; the answer.
    pub(crate) fn reload(&self, text: &str) -> (u16, serde_json::Value) {
        fs::write(self.folder.path().join("heteronym.toml"), text).unwrap();
        post(self.router.admin, "/api/reload", "")
    }

    /// A domain of the peer host, with a good certificate.
    pub(crate) fn domain(&self, domain: &str) -> Domain {
        self.domain_with(domain, &Request::new([domain], KeyKind::P256))
    }

    /// Another peer host, with a good certificate and an address.
    pub(crate) async fn another_host(&self, called: &str) -> Host {
        let issued = self.authority.issue(&Request::new([called], KeyKind::P256)).unwrap();
        self.names.set_addresses(called, vec!["127.0.0.1".parse().unwrap()]);
        Host::new(called, &issued).await
    }

    /// A domain that `host` serves, with a good certificate.
    pub(crate) fn domain_of(&self, domain: &str, host: &Host) -> Domain {
        let issued = self.authority.issue(&Request::new([domain], KeyKind::P256)).unwrap();
        Domain::new(name(domain), host.name.clone(), &issued)
    }

    /// A domain of the peer host, with a certificate that may be for anybody.
    pub(crate) fn domain_with(&self, domain: &str, request: &Request) -> Domain {
        let issued = self.authority.issue_with(request, &key(request.key, Side::Peer)).unwrap();
        Domain::new(name(domain), self.host.name.clone(), &issued)
    }

    /// A component that serves the first entry: saramago.lit, chat.saramago.lit and blimunda.lit.
    pub(crate) async fn attach(&self) -> Local {
        Local::attach(self.router.component, "saramago.lit", SECRET).await
    }

    /// A component that serves the second entry: baltasar.lit.
    pub(crate) async fn attach_second(&self) -> Local {
        Local::attach(self.router.component, "baltasar.lit", SECRET).await
    }
}

fn zone(host: &Host) -> Zone {
    let mut zone = Zone::new();
    for domain in REMOTE {
        zone.set_srv(domain, vec![(0, 0, host.port(), host.name.to_string())]);
    }
    zone.set_addresses(host.name.as_str(), vec!["127.0.0.1".parse().unwrap()]);
    zone
}

fn usual<const N: usize>(names: [&str; N]) -> Request {
    Request::new(names, KeyKind::P256)
}

fn write_certificates(folder: &TempDir, authority: &Authority, set: &Set) {
    let certs = folder.path().join("certs");
    let write = |subfolder: &str, request: &Request| {
        authority.issue_with(request, &key(request.key, Side::Router)).unwrap().write(&certs.join(subfolder)).unwrap();
    };
    write(ROUTER, &set.own);
    for domain in DOMAINS {
        write(domain, &Request { names: vec![domain.to_owned()], ..set.keys.clone() });
    }
    for (subfolder, request) in &set.certificates {
        write(subfolder, request);
    }
    fs::write(folder.path().join("root.pem"), authority.root_pem()).unwrap();
}

fn config(names: &NameServer, set: &Set) -> String {
    let [one, two, three, four] = DOMAINS;
    let Set { config: more, loopback, .. } = set;
    let servers = names.address();
    format!(
        "host = {{ name = '{ROUTER}' }}\n\
         tls = {{ roots = ['root.pem'] }}\n\
         dns = {{ servers = ['{servers}'] }}\n\
         [listen]\n\
         federation = ['127.0.0.1:0']\n\
         component = ['127.0.0.1:0']\n\
         s2s = []\n\
         {loopback}\n\
         admin = ['127.0.0.1:0']\n\
         [[local]]\n\
         name = 'one'\n\
         domains = ['{one}', '{two}', '{three}']\n\
         attach = {{ kind = 'component', secret = '{SECRET}' }}\n\
         [[local]]\n\
         name = 'two'\n\
         domains = ['{four}']\n\
         attach = {{ kind = 'component', secret = '{SECRET}' }}\n\
         {more}\n"
    )
}

/// A world with a component, a chosen link, and a pair of bystanders that is active on it: whatever
/// happens to others, they go on talking.
pub(crate) struct Stage {
    /// Everybody.
    pub(crate) world: World,
    /// The component of the first entry.
    pub(crate) local: Local,
    /// The link, which the peer host dialled.
    pub(crate) link: Link,
    /// The peer's domain that a test is about; nothing was said of it yet.
    pub(crate) pessoa: Domain,
    talks: u32,
}

impl Stage {
    /// As usual.
    pub(crate) async fn new() -> Self {
        Self::on(World::new().await).await
    }

    /// In this world.
    pub(crate) async fn on(world: World) -> Self {
        let local = world.attach().await;
        let mut link = world.host.dial(&world.router).await;
        link.settle().await;
        link.activate(&world.domain("campos.lit"), "blimunda.lit").await;
        let pessoa = world.domain("pessoa.lit");
        let mut stage = Self { world, local, link, pessoa, talks: 0 };
        stage.talk().await;
        stage
    }

    /// The bystanders exchange a stanza, and there is nothing before it on either stream: whatever
    /// was sent before has had its whole effect, and nothing more.
    pub(crate) async fn talk(&mut self) {
        self.talks += 1;
        let (there, back) = (format!("there-{}", self.talks), format!("back-{}", self.talks));
        let (blimunda, campos) = ("blimunda@blimunda.lit/1", "campos@campos.lit/2");
        self.local.send(message(blimunda, campos, &there)).await;
        self.link.expect(&there).await;
        self.link.tell(campos, blimunda, &back).await;
        self.local.expect(&back).await;
    }

    /// The bystanders talk once more, then everything ends in order.
    pub(crate) async fn end(mut self) {
        self.talk().await;
        let Self { world, mut local, mut link, .. } = self;
        let draining = world.router.begin_drain();
        link.wire.expect_end().await;
        local.wire.expect_end().await;
        // The router hears everybody out: it waits for the connections' ends.
        drop((link, local));
        draining.ended().await;
    }
}
