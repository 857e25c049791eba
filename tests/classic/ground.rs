//! A router with a component behind it, and servers by hand that know no router.

use std::fs;

use heteronym::config::Config;
use heteronym::demo::authority::{Authority, Issued, KeyKind, Request};
use heteronym::demo::name_server::{NameServer, Zone};
use tempfile::TempDir;

use crate::support::http::post;
use crate::support::local::Local;
use crate::support::router::Running;
use crate::support::server::Server;

/// The router's host name.
pub(crate) const ROUTER: &str = "xmpp.my.isp";
/// The secret of its component.
pub(crate) const SECRET: &str = "s3cret";
/// Its domains.
pub(crate) const DOMAINS: [&str; 2] = ["saramago.lit", "chat.saramago.lit"];
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
        let authority = Authority::new("Everybody's").unwrap();
        let names = NameServer::start(Zone::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in DOMAINS.iter().chain([&ROUTER]) {
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
             local_s2s = []\n\
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

    /// A good certificate.
    pub(crate) fn issue(&self, domain: &str) -> Issued {
        self.authority.issue(&Request::new([domain], KeyKind::P256)).unwrap()
    }

    /// The server of a domain, with a good certificate and records that lead to it.
    pub(crate) async fn server(&self, domain: &str) -> Server {
        let issued = self.issue(domain);
        let server = Server::new(&[(domain, &issued)]).await;
        self.publish(domain, &server);
        server
    }

    /// The server of a domain that the router has no reason to trust.
    pub(crate) async fn stranger(&self, domain: &str) -> Server {
        let other = Authority::new("Somebody's").unwrap();
        let issued = other.issue(&Request::new([domain], KeyKind::P256)).unwrap();
        let server = Server::new(&[(domain, &issued)]).await;
        self.publish(domain, &server);
        server
    }

    /// Records of `domain` that lead to `server`.
    pub(crate) fn publish(&self, domain: &str, server: &Server) {
        let (address, host) = (server.address(), format!("s2s.{domain}"));
        self.names.set_service("_xmpp-server._tcp", domain, vec![(0, 0, address.port(), host.clone())]);
        self.names.set_addresses(&host, vec![address.ip()]);
    }

    /// Everything ends in order.
    pub(crate) async fn end(self) {
        let Self { router, mut local, .. } = self;
        let draining = router.begin_drain();
        local.wire.expect_end().await;
        draining.ended().await;
    }
}
