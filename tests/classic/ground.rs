//! A router with a component behind it, and servers by hand that know no router.

use std::fs;
use std::net::SocketAddr;

use heteronym::config::Config;
use heteronym::demo::authority::{Authority, Issued, KeyKind, Request};
use heteronym::demo::name_server::{NameServer, Zone};
use tempfile::TempDir;

use crate::support::domain::Domain;
use crate::support::host::Host;
use crate::support::http::post;
use crate::support::local::Local;
use crate::support::name;
use crate::support::router::Running;
use crate::support::server::Server;

/// What leads to servers that take STARTTLS (RFC 6120 §3.2.1).
pub(crate) const STARTTLS: &str = "_xmpp-server._tcp";
/// What leads to servers where TLS comes first (XEP-0368).
pub(crate) const DIRECT_TLS: &str = "_xmpps-server._tcp";
/// The router's host name.
pub(crate) const ROUTER: &str = "xmpp.my.isp";
/// The secret of its component.
pub(crate) const SECRET: &str = "s3cret";
/// Its domains.
pub(crate) const DOMAINS: [&str; 2] = ["saramago.lit", "chat.saramago.lit"];
/// The domains of another server of ours, where there is one.
pub(crate) const OWN: [&str; 2] = ["blimunda.lit", "chat.blimunda.lit"];
/// A user of its own.
pub(crate) const JOSE: &str = "jose@saramago.lit";
/// A user of a remote server.
pub(crate) const ANA: &str = "ana@pessoa.lit";

/// Everybody but the remote servers.
pub(crate) struct Ground {
    /// Whom the router trusts.
    pub(crate) authority: Authority,
    /// Whom it asks.
    pub(crate) names: NameServer,
    /// The router.
    pub(crate) router: Running,
    /// The component.
    pub(crate) local: Local,
    /// Where its configuration and its certificates are.
    pub(crate) folder: TempDir,
    /// Its configuration.
    pub(crate) text: String,
}

impl Ground {
    /// With `more` in the configuration.
    pub(crate) async fn new(more: &str) -> Self {
        Self::listening("[]", more).await
    }

    /// The same with a listener for servers of our own, which have the domains of [`OWN`].
    pub(crate) async fn listening(local_s2s: &str, more: &str) -> Self {
        let authority = Authority::new("Everybody's").unwrap();
        let names = NameServer::start(Zone::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in DOMAINS.iter().chain(&OWN).chain([&ROUTER]) {
            let issued = authority.issue(&Request::new([*name], KeyKind::P256)).unwrap();
            issued.write(&folder.path().join("certs").join(name)).unwrap();
        }
        fs::write(folder.path().join("root.pem"), authority.root_pem()).unwrap();
        let (servers, [one, two]) = (names.address(), DOMAINS);
        let text = format!(
            "host = {{ name = '{ROUTER}' }}\n\
             tls = {{ roots = ['root.pem'] }}\n\
             dns = {{ servers = ['{servers}'] }}\n\
             [listen]\n\
             federation = ['127.0.0.1:0']\n\
             s2s = ['127.0.0.1:0']\n\
             component = ['127.0.0.1:0']\n\
             local_s2s = {local_s2s}\n\
             admin = ['127.0.0.1:0']\n\
             [[local]]\n\
             name = 'one'\n\
             domains = ['{one}', '{two}']\n\
             attach = {{ kind = 'component', secret = '{SECRET}' }}\n\
             {more}\n"
        );
        let file = folder.path().join("heteronym.toml");
        fs::write(&file, &text).unwrap();
        let router = Running::start(Config::load(&file).unwrap());
        let local = Local::attach(router.component, one, SECRET).await;
        Self { authority, names, router, local, folder, text }
    }

    /// Makes the router read its configuration again, which says this now; the answer.
    pub(crate) fn reload(&self, text: &str) -> (u16, serde_json::Value) {
        fs::write(self.folder.path().join("heteronym.toml"), text).unwrap();
        post(self.router.admin, "/api/reload", "")
    }

    /// Ends the router in order; another one takes its place, with this configuration.
    pub(crate) async fn restarted(self, text: String) -> Self {
        let Self { authority, names, router, mut local, folder, .. } = self;
        let draining = router.begin_drain();
        local.wire.expect_end().await;
        draining.ended().await;
        let file = folder.path().join("heteronym.toml");
        fs::write(&file, &text).unwrap();
        let router = Running::start(Config::load(&file).unwrap());
        let local = Local::attach(router.component, DOMAINS[0], SECRET).await;
        Self { authority, names, router, local, folder, text }
    }

    /// Where servers reach the router.
    pub(crate) fn s2s(&self) -> SocketAddr {
        self.router.s2s.unwrap()
    }

    /// A good certificate.
    pub(crate) fn issue(&self, domain: &str) -> Issued {
        self.authority.issue(&Request::new([domain], KeyKind::P256)).unwrap()
    }

    /// The server of a domain, with a good certificate and records that lead to it.
    pub(crate) async fn server(&self, domain: &str) -> Server {
        self.server_of(&[domain]).await
    }

    /// The same of several domains, each with its own certificate.
    pub(crate) async fn server_of(&self, domains: &[&str]) -> Server {
        self.serve(domains, &self.authority).await
    }

    /// The server of a domain that the router has no reason to trust.
    pub(crate) async fn stranger(&self, domain: &str) -> Server {
        self.stranger_of(&[domain]).await
    }

    /// The same of several domains.
    pub(crate) async fn stranger_of(&self, domains: &[&str]) -> Server {
        self.serve(domains, &Authority::new("Somebody's").unwrap()).await
    }

    async fn serve(&self, domains: &[&str], authority: &Authority) -> Server {
        let issue = |domain: &&str| authority.issue(&Request::new([*domain], KeyKind::P256)).unwrap();
        let issued: Vec<Issued> = domains.iter().map(issue).collect();
        let certificates: Vec<_> = domains.iter().copied().zip(&issued).collect();
        let server = Server::new(&certificates).await;
        domains.iter().for_each(|domain| self.publish(domain, &server));
        server
    }

    /// A peer host with a good certificate and an address.
    pub(crate) async fn host(&self, called: &str) -> Host {
        let host = Host::new(called, &self.issue(called)).await;
        self.names.set_addresses(called, vec!["127.0.0.1".parse().unwrap()]);
        host
    }

    /// The federation record of `domain` names `host` from now on.
    pub(crate) fn federate(&self, domain: &str, host: &Host) {
        self.names.set_srv(domain, vec![(0, 0, host.port(), host.name.to_string())]);
    }

    /// The domain of a peer host, with a good certificate.
    pub(crate) fn domain_of(&self, domain: &str, host: &Host) -> Domain {
        Domain::new(name(domain), host.name.clone(), &self.issue(domain))
    }

    /// Records of `domain`: the service, priority, weight and server of each.
    pub(crate) fn records(&self, domain: &str, records: &[(&str, u16, u16, SocketAddr)]) {
        for service in [STARTTLS, DIRECT_TLS] {
            let of_service = records.iter().enumerate().filter(|(_, (of, ..))| *of == service);
            let of_service = of_service.map(|(n, (_, priority, weight, address))| {
                let host = format!("s{n}.{domain}");
                self.names.set_addresses(&host, vec![address.ip()]);
                (*priority, *weight, address.port(), host)
            });
            self.names.set_service(service, domain, of_service.collect());
        }
    }

    /// Records of `domain` that lead to `server`.
    pub(crate) fn publish(&self, domain: &str, server: &Server) {
        let (address, host) = (server.address(), format!("s2s.{domain}"));
        self.names.set_service(STARTTLS, domain, vec![(0, 0, address.port(), host.clone())]);
        self.names.set_addresses(&host, vec![address.ip()]);
    }

    /// Sends a stanza that goes back; the text of the error.
    pub(crate) async fn bounced(&mut self, id: &str, condition: &str) -> String {
        self.local.tell(JOSE, ANA, id).await;
        self.local.hear_error(id, condition).await
    }

    /// Nothing has come for the component that no test has heard: a stanza from one of its domains to the
    /// other is the next.
    pub(crate) async fn is_quiet(&mut self) {
        self.local.tell(JOSE, "rui@chat.saramago.lit", "quiet").await;
        self.local.expect("quiet").await;
    }

    /// Everything ends in order.
    pub(crate) async fn end(self) {
        let Self { router, mut local, .. } = self;
        let draining = router.begin_drain();
        local.wire.expect_end().await;
        draining.ended().await;
    }
}
