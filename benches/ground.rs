//! What every subject stands on: a folder, an authority with certificates, a name server, two lists of domains.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heteronym::demo::authority::{Authority, KeyKind, KeyMaterial, KeyUsage, Request};
use heteronym::demo::name_server::{NameServer, Zone};

use crate::Failure;
use crate::proxy::Proxy;

/// The names of the two hosts.
pub const HOSTS: [&str; 2] = ["xmpp.my.isp", "xmpp.other.isp"];
/// What the domains of either side end with.
const PARENTS: [&str; 2] = ["saramago.lit", "pessoa.lit"];
/// Domains that share a private key where keys are slow to make.
const DOMAINS_PER_SLOW_KEY: usize = 8;

/// What is to be prepared.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Domains, by side.
    pub domains: [usize; 2],
    /// The keys of their certificates.
    pub key: KeyKind,
    /// What these may be used for.
    pub key_usage: KeyUsage,
    /// Where something stands between the hosts: how much it delays what goes one way.
    pub between: Option<Duration>,
}

impl Plan {
    /// As many domains on either side as `pairs` pairs need, with keys on P-256.
    #[must_use]
    pub fn for_pairs(pairs: usize) -> Self {
        Self { domains: [side(pairs); 2], key: KeyKind::P256, key_usage: KeyUsage::Signature, between: None }
    }
}

/// Domains on either side for `pairs` pairs: the smallest square that holds them.
#[must_use]
pub fn side(pairs: usize) -> usize {
    let root = pairs.isqrt();
    if root * root < pairs { root + 1 } else { root.max(1) }
}

/// Folder, certificates, names. All of it goes when it is dropped.
pub struct Ground {
    folder: tempfile::TempDir,
    /// The domains of either side.
    pub domains: [Vec<String>; 2],
    /// Answers for both sides; [`publish`](Self::publish) adds to it.
    pub names: NameServer,
    between: Option<Duration>,
    proxies: Mutex<Vec<Proxy>>,
}

impl Ground {
    /// Prepares everything: certificates for both hosts and all domains, addresses for the hosts.
    ///
    /// # Errors
    /// Whatever the system or the certificates say.
    pub fn prepare(plan: &Plan) -> Result<Self, Failure> {
        let domains = |side: usize| (0..plan.domains[side]).map(|n| format!("d{n:05}.{}", PARENTS[side])).collect();
        let mut ground = Self::bare([domains(0), domains(1)])?;
        for host in HOSTS {
            ground.names.set_addresses(host, vec![Ipv4Addr::LOCALHOST.into()]);
        }
        ground.between = plan.between;
        ground.issue(plan)?;
        Ok(ground)
    }

    /// With these domains, and without certificates or addresses.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn bare(domains: [Vec<String>; 2]) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("heteronym-load").tempdir()?;
        let names = NameServer::start(Zone::new().with_ttl(3600))?;
        Ok(Self { folder, domains, names, between: None, proxies: Mutex::default() })
    }

    fn issue(&self, plan: &Plan) -> Result<(), Failure> {
        let authority = Authority::new("heteronym load")?;
        fs::write(self.root(), authority.root_pem())?;
        for host in HOSTS {
            let issued = authority.issue(&Request::new([host], KeyKind::P256))?;
            issued.write(&self.certificate(host))?;
        }
        let per_key = if plan.key == KeyKind::P256 { 1 } else { DOMAINS_PER_SLOW_KEY };
        for family in self.domains.iter().flat_map(|domains| domains.chunks(per_key)) {
            let key = KeyMaterial::generate(plan.key)?;
            for domain in family {
                let request = Request { key_usage: plan.key_usage, ..Request::new([domain.as_str()], plan.key) };
                authority.issue_with(&request, &key)?.write(&self.certificate(domain))?;
            }
        }
        Ok(())
    }

    /// A folder of its own below the ground's, made anew.
    ///
    /// # Errors
    /// What the system says.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.folder.path().join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The root certificate that vouches for all, in PEM.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// The folder with one subfolder for each host and domain.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// The folder with `fullchain.pem` and `privkey.pem` of a host or domain.
    #[must_use]
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.certificates().join(name)
    }

    /// SRV records from now on: `service`, such as `_xmpp-server._tcp`, of every domain of `side` is at the
    /// side's host, where [`way_to`](Self::way_to) leads to `port` of 127.0.0.1.
    ///
    /// # Errors
    /// As [`way_to`](Self::way_to).
    pub fn publish(&self, side: usize, service: &str, port: u16) -> Result<(), Failure> {
        let port = self.way_to(port)?;
        for domain in &self.domains[side] {
            self.names.set_service(service, domain, vec![(0, 0, port, HOSTS[side].to_owned())]);
        }
        Ok(())
    }

    /// The port of 127.0.0.1 by which the other side reaches `port`: the port itself, or that of what stands
    /// between the hosts.
    ///
    /// # Errors
    /// If what stands there gets no socket.
    pub fn way_to(&self, port: u16) -> Result<u16, Failure> {
        let Some(delay) = self.between else { return Ok(port) };
        let proxy = Proxy::start((Ipv4Addr::LOCALHOST, port).into(), delay)?;
        let way = proxy.port();
        self.proxies().push(proxy);
        Ok(way)
    }

    /// Resets every connection between the hosts, where something stands between them.
    pub fn cut(&self) {
        self.proxies().iter().for_each(Proxy::cut);
    }

    fn proxies(&self) -> MutexGuard<'_, Vec<Proxy>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port of 127.0.0.1 that nobody has, and that nobody is given by chance before it is used: below those that Linux
/// gives to connections and to whoever does not care. Each is given out once.
///
/// # Errors
/// If there is none.
pub fn free_port() -> io::Result<SocketAddr> {
    /// They begin at 32,768.
    const PORTS: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let given_out = (0..PORTS).find_map(|_| {
        let n = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        TcpListener::bind((Ipv4Addr::LOCALHOST, u16::try_from(12_000 + n % PORTS).ok()?)).ok()
    });
    given_out.ok_or(io::ErrorKind::AddrInUse)?.local_addr()
}

/// Writes a file of a subject's.
///
/// # Errors
/// What the system says, with the name of the file.
pub fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
}

#[cfg(test)]
mod tests {
    use super::side;

    #[test]
    fn a_side_holds_its_pairs_and_no_more_than_needed() {
        assert_eq!([0, 1, 2, 4, 5, 64, 65, 10_000].map(side), [1, 1, 2, 2, 3, 8, 9, 100]);
    }
}
