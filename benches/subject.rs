//! What is measured: two processes with one TLS stream between them.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use heteronym::demo::authority::{Authority, KeyKind, Request};
use heteronym::demo::name_server::{NameServer, Zone};
use procfs::process::Process;

/// Who sends and who receives.
pub const DOMAINS: [&str; 2] = ["saramago.lit", "pessoa.lit"];
const HOSTS: [&str; 2] = ["xmpp.my.isp", "xmpp.other.isp"];
/// The secret of both component links.
pub const SECRET: &str = "bench";
/// How long a subject may take to start.
const START: Duration = Duration::from_secs(20);

/// Folders, certificates, configurations and the name server that both subjects use.
pub struct Ground {
    folder: tempfile::TempDir,
    /// Where components attach, by side.
    pub component: [SocketAddr; 2],
    /// Where the relay takes and hands on bytes.
    pub relay: [SocketAddr; 3],
    _name_server: NameServer,
}

/// The processes of a subject; they end with it.
pub struct Subject {
    children: Vec<Child>,
}

impl Ground {
    /// Prepares everything.
    ///
    /// # Errors
    /// Whatever the system or the certificates say.
    pub fn prepare() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::new("heteronym bench")?;
        fs::write(folder.path().join("root.pem"), authority.root_pem())?;
        let federation = [free_port()?, free_port()?];
        let component = [free_port()?, free_port()?];
        let relay = [free_port()?, free_port()?, free_port()?];
        let mut zone = Zone::new();
        for side in [0, 1] {
            zone.set_srv(DOMAINS[side], vec![(0, 0, federation[side].port(), HOSTS[side].to_owned())]);
            zone.set_addresses(HOSTS[side], vec![Ipv4Addr::LOCALHOST.into()]);
        }
        let name_server = NameServer::start(zone)?;
        for side in [0, 1] {
            for name in [HOSTS[side], DOMAINS[side]] {
                let request = Request::new([name], KeyKind::P256);
                authority.issue(&request)?.write(&folder.path().join("certs").join(name))?;
            }
            let text = configuration(side, federation[side], component[side], name_server.address());
            fs::write(folder.path().join(format!("{side}.toml")), text)?;
        }
        Ok(Self { folder, component, relay, _name_server: name_server })
    }

    /// The configuration of one side.
    #[must_use]
    pub fn configuration(&self, side: usize) -> PathBuf {
        self.folder.path().join(format!("{side}.toml"))
    }

    /// Two routers.
    ///
    /// # Errors
    /// If they do not start.
    pub fn routers(&self) -> io::Result<Subject> {
        let children = [0, 1].map(|side| start(&["serve-router"], &self.configuration(side), &[]));
        let subject = Subject::new(children)?;
        self.component.iter().try_for_each(|address| connect_when_up(*address).map(drop))?;
        Ok(subject)
    }

    /// Bytes in at `relay[0]`, TLS to `relay[1]`, bytes out to `relay[2]`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn relay(&self) -> io::Result<Subject> {
        let [near, far, out] = self.relay;
        let children = [
            start(&["serve-relay", "near"], &self.configuration(0), &[near, far]),
            start(&["serve-relay", "far"], &self.configuration(1), &[far, out]),
        ];
        Subject::new(children)
    }
}

impl Subject {
    fn new(children: [io::Result<Child>; 2]) -> io::Result<Self> {
        Ok(Self { children: children.into_iter().collect::<io::Result<_>>()? })
    }

    /// CPU-seconds of all its processes so far, user and system.
    ///
    /// # Errors
    /// If a process has ended.
    pub fn cpu_seconds(&self) -> Result<f64, Box<dyn std::error::Error>> {
        let ticks = self.children.iter().map(|child| {
            let stat = Process::new(i32::try_from(child.id())?)?.stat()?;
            Ok::<_, Box<dyn std::error::Error>>(stat.utime + stat.stime)
        });
        let ticks: u64 = ticks.sum::<Result<u64, _>>()?;
        #[expect(clippy::cast_precision_loss, reason = "CPU ticks of one run are far below 2^52")]
        Ok(ticks as f64 / procfs::ticks_per_second() as f64)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// This very program, in another part.
fn start(part: &[&str], configuration: &Path, addresses: &[SocketAddr]) -> io::Result<Child> {
    let addresses = addresses.iter().map(ToString::to_string);
    let mut command = Command::new(std::env::current_exe()?);
    command.args(part).arg(configuration).args(addresses).stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Connects as soon as somebody listens there.
///
/// # Errors
/// The last refusal, if nobody does within the time for starting.
pub fn connect_when_up(address: SocketAddr) -> io::Result<TcpStream> {
    let end = deadline(START);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) if heteronym_net::clock::Now::read().instant > end => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn deadline(after: Duration) -> Instant {
    heteronym_net::clock::Now::read().instant + after
}

fn configuration(side: usize, federation: SocketAddr, component: SocketAddr, name_server: SocketAddr) -> String {
    let (host, domain) = (HOSTS[side], DOMAINS[side]);
    format!(
        r#"
[host]
name = "{host}"
certificate = "certs/{host}"
[listen]
federation = ["{federation}"]
component = ["{component}"]
s2s = []
local_s2s = []
admin = []
[tls]
roots = ["root.pem"]
[dns]
servers = ["{name_server}"]
[log]
level = "error"
[[local]]
name = "bench"
domains = ["{domain}"]
certificates = "certs"
attach = {{ kind = "component", secret = "{SECRET}" }}
"#
    )
}
