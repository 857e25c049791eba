//! Two routers, each a process of its own, and all domains of a side on one component link.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::ground::{Ground, HOSTS, free_port, write};
use crate::subject::{Attachment, Children, Running, Subject, this_program};

/// The secret of both component links.
const SECRET: &str = "load";
/// The service that hosts look up of each other.
const SERVICE: &str = "_xmpp-federation._tcp";
/// The first argument of a process that is a router.
pub const PART: &str = "serve-router";

/// Two routers.
#[derive(Clone, Debug)]
pub struct Heteronym {
    /// Keys of `[limits]` that the measurement needs raised, and their values.
    pub raised: Vec<(&'static str, String)>,
    /// A component link for each domain, as other servers have, instead of one for each side.
    pub apart: bool,
}

impl Default for Heteronym {
    fn default() -> Self {
        Self { raised: vec![("activations_per_second", "1000000".to_owned())], apart: false }
    }
}

/// Two running routers, with what only they have.
pub struct Routers {
    /// As any subject.
    pub running: Running,
    /// Their admin interfaces, by side.
    pub admin: [SocketAddr; 2],
}

/// One router that may still be starting.
pub struct First {
    /// Its process.
    pub process: u32,
    /// Its admin interface.
    pub admin: SocketAddr,
    /// Ends it.
    pub guard: Children,
}

/// Where one router listens.
struct Places {
    federation: SocketAddr,
    component: SocketAddr,
    admin: SocketAddr,
}

impl Subject for Heteronym {
    fn name(&self) -> &'static str {
        "heteronym"
    }

    fn start(&self, ground: &Ground) -> Result<Running, Failure> {
        Ok(self.routers(ground)?.running)
    }

    fn raised(&self) -> Vec<(String, String)> {
        self.raised.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }
}

impl Heteronym {
    /// Starts both routers.
    ///
    /// # Errors
    /// If one does not start.
    pub fn routers(&self, ground: &Ground) -> Result<Routers, Failure> {
        let folder = ground.folder("heteronym")?;
        let (mut children, mut processes) = (Children::default(), Vec::new());
        let places = [Places::choose()?, Places::choose()?];
        for (side, place) in places.iter().enumerate() {
            processes.push(self.launch(ground, &folder, side, place, &mut children)?);
        }
        let ports: Vec<u16> = places.iter().map(|place| place.federation.port()).collect();
        let all: Vec<u16> = places.iter().flat_map(Places::ports).collect();
        children.wait_until_listening(&all)?;
        let attach = |side: usize| {
            let of = |domains: Vec<String>| {
                let (address, secret) = (places[side].component, SECRET.to_owned());
                Attachment::Component { address, domains, secret }
            };
            self.entries(&ground.domains[side]).map(|domains| of(domains.to_vec())).collect()
        };
        let running = Running::new(processes, [attach(0), attach(1)], ports, Box::new(children));
        Ok(Routers { running, admin: places.map(|place| place.admin) })
    }

    /// Starts the router of the first side, and waits for nothing.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn first(&self, ground: &Ground) -> Result<First, Failure> {
        let (folder, place, mut guard) = (ground.folder("heteronym")?, Places::choose()?, Children::default());
        let process = self.launch(ground, &folder, 0, &place, &mut guard)?;
        Ok(First { process, admin: place.admin, guard })
    }

    /// Starts one side: its process.
    fn launch(
        &self,
        ground: &Ground,
        folder: &Path,
        side: usize,
        place: &Places,
        children: &mut Children,
    ) -> Result<u32, Failure> {
        ground.publish(side, SERVICE, place.federation.port())?;
        let file = self.configure(ground, folder, side, place)?;
        children.start(this_program(PART)?.arg(file))
    }

    /// Writes the configuration of one side: its file.
    fn configure(&self, ground: &Ground, folder: &Path, side: usize, place: &Places) -> Result<PathBuf, Failure> {
        let mut text = configuration(ground, side, place, &self.limits());
        for (at, domains) in self.entries(&ground.domains[side]).enumerate() {
            let list = folder.join(format!("{side}-{at}.domains"));
            write(&list, &domains.join("\n"))?;
            text += &local(at, &list, &ground.certificates());
        }
        let file = folder.join(format!("{side}.toml"));
        write(&file, &text)?;
        Ok(file)
    }

    /// The domains of each `[[local]]` entry.
    fn entries<'a>(&self, domains: &'a [String]) -> impl Iterator<Item = &'a [String]> + use<'a> {
        domains.chunks(if self.apart { 1 } else { domains.len().max(1) })
    }

    fn limits(&self) -> String {
        self.raised.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key} = {value}");
            text
        })
    }
}

impl Places {
    fn choose() -> Result<Self, Failure> {
        Ok(Self { federation: free_port()?, component: free_port()?, admin: free_port()? })
    }

    fn ports(&self) -> [u16; 3] {
        [&self.federation, &self.component, &self.admin].map(SocketAddr::port)
    }
}

/// Runs one router: what a process with [`PART`] does.
///
/// # Errors
/// If it cannot start.
pub fn serve(file: &Path) -> Result<(), Failure> {
    let (config, certificates) = heteronym::certificates::read(file).map_err(|errors| errors.to_string())?;
    heteronym::logging::start(&config.log).map_err(|error| error.to_string())?;
    Ok(heteronym::daemon::run(config, certificates, file.to_owned()).map_err(|error| error.to_string())?)
}

fn configuration(ground: &Ground, side: usize, place: &Places, limits: &str) -> String {
    let Places { federation, component, admin } = place;
    let (host, root) = (HOSTS[side], ground.root());
    let name_server = ground.names.address();
    format!(
        r#"
[host]
name = "{host}"
certificate = {host_certificate:?}
[listen]
federation = ["{federation}"]
component = ["{component}"]
s2s = []
local_s2s = []
admin = ["{admin}"]
[tls]
roots = [{root:?}]
[dns]
servers = ["{name_server}"]
[federation]
policy = "require"
[classic]
enabled = false
[limits]
{limits}
[log]
level = "error"
"#,
        host_certificate = ground.certificate(host),
    )
}

fn local(at: usize, domains: &Path, certificates: &Path) -> String {
    format!(
        r#"
[[local]]
name = "load-{at}"
domains_file = {domains:?}
certificates = {certificates:?}
attach = {{ kind = "component", secret = "{SECRET}" }}
"#
    )
}
