//! One of the two hosts: its folder, its configuration, its router, its component.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use heteronym_actors::router::GetStatus;
use heteronym_net::random;
use heteronym_proto::pairs::PairState;
use heteronym_proto::status::{PairStatus, Status, Via};
use tokio::time::timeout;

use super::DemoError;
use super::authority::{Authority, KeyMaterial, Request};
use super::cast::{Cast, Side};
use super::component::Component;
use super::name_server::NameServer;
use crate::certificates::Certificates;
use crate::config::Config;
use crate::launch::{Launched, launch};

/// Domains that share a private key: RSA keys are slow to make, and a customer's certificates
/// often come from one machine.
const DOMAINS_PER_KEY: usize = 4;
/// How long a router may take to end.
const DRAIN: Duration = Duration::from_secs(5);

/// A host that runs.
pub(super) struct Host {
    side: Side,
    router: Launched,
    secret: String,
}

impl Host {
    /// Sets the host up in a folder of its own within `folder` and starts its router.
    pub(super) fn start(
        side: Side,
        cast: &Cast,
        folder: &Path,
        authority: &Authority,
        names: &NameServer,
        threads: usize,
    ) -> Result<Self, DemoError> {
        let folder = folder.join(side.host());
        issue(side, cast, &folder.join("certs"), authority)?;
        let written = |error| DemoError::Folder { folder: folder.clone(), error };
        fs::write(folder.join("root.pem"), authority.root_pem()).map_err(written)?;
        let secret = format!("{:032x}", u128::from_be_bytes(random::bytes()));
        let text = configuration(side, cast.domains(side), names.address(), &secret);
        let config = Config::parse(&text, &folder)?;
        let router = launch(&config, Certificates::load(&config)?, threads)?;
        let host = Self { side, router, secret };
        host.publish(cast, names);
        Ok(host)
    }

    /// What an operator would put into the zone: `heteronym dns` prints it.
    fn publish(&self, cast: &Cast, names: &NameServer) {
        names.set_addresses(self.side.host(), vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let ports = || self.federation().iter().map(SocketAddr::port);
        for domain in cast.domains(self.side) {
            names.set_srv(domain, ports().map(|port| (5, 0, port, self.side.host().to_owned())).collect());
        }
    }

    /// Where it listens for the other host.
    pub(super) fn federation(&self) -> &[SocketAddr] {
        &self.router.listening().federation
    }

    /// Attaches the component that serves all its domains.
    pub(super) async fn attach(&self, cast: &Cast) -> Result<Component, DemoError> {
        let failed = |error| DemoError::Component { host: self.side.host(), error };
        let address = self
            .router
            .listening()
            .component
            .first()
            .copied()
            .ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound).into()))?;
        // Any one of the domains stands for the entry.
        let domain = cast.domains(self.side).first().map_or("", String::as_str);
        Component::attach(address, domain, &self.secret).await.map_err(failed)
    }

    /// How many pairs its router can use now.
    pub(super) async fn pairs_active(&self) -> usize {
        let active = |pair: &&PairStatus| pair.state == PairState::Active && pair.via == Via::Federation;
        self.status().await.pairs.iter().filter(active).count()
    }

    /// How many connections to the other host its router has.
    pub(super) async fn connections(&self) -> usize {
        self.status().await.hosts.iter().filter(|host| host.address.is_some()).count()
    }

    /// Why the pair with that remote domain is not active, if its router knows.
    pub(super) async fn trouble(&self, local: &str, remote: &str) -> Option<String> {
        let mut pairs = self.status().await.pairs.into_iter();
        let pair = pairs.find(|status| status.pair.local.as_str() == local && status.pair.remote.as_str() == remote)?;
        pair.last_error
    }

    async fn status(&self) -> Status {
        self.router.router().send(GetStatus).await.unwrap_or_default()
    }

    /// Ends its router.
    pub(super) async fn end(self) {
        if timeout(DRAIN, self.router.drain()).await.is_err() {
            tracing::warn!(host = self.side.host(), "the router did not end in time");
        }
    }
}

/// Writes a certificate for the host and one for each of its domains.
fn issue(side: Side, cast: &Cast, folder: &Path, authority: &Authority) -> Result<(), DemoError> {
    let (kind, key_usage) = side.keys();
    let write = |name: &str, key: &KeyMaterial| {
        let request = Request { key_usage, ..Request::new([name], kind) };
        let (issued, folder) = (authority.issue_with(&request, key)?, folder.join(name));
        issued.write(&folder).map_err(|error| DemoError::Folder { folder, error })
    };
    write(side.host(), &KeyMaterial::generate(kind)?)?;
    for family in cast.domains(side).chunks(DOMAINS_PER_KEY) {
        let key = KeyMaterial::generate(kind)?;
        family.iter().try_for_each(|domain| write(domain, &key))?;
    }
    Ok(())
}

/// What an operator would write. Ports are the system's choice, and there is nothing to fall back to.
fn configuration(side: Side, domains: &[String], name_server: SocketAddr, secret: &str) -> String {
    format!(
        r#"
        [host]
        name = "{host}"
        [listen]
        federation = ["127.0.0.1:0"]
        s2s = []
        component = ["127.0.0.1:0"]
        local_s2s = []
        admin = []
        [tls]
        roots = ["root.pem"]
        [dns]
        servers = ["{name_server}"]
        [federation]
        policy = "require"
        [classic]
        enabled = false
        [limits]
        stanza_wait = "10s"
        [[local]]
        name = "demo"
        domains = {domains:?}
        attach = {{ kind = "component", secret = "{secret}" }}
        "#,
        host = side.host(),
    )
}
