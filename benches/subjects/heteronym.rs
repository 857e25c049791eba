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
}

impl Default for Heteronym {
    fn default() -> Self {
        Self { raised: vec![("activations_per_second", "1000000".to_owned())] }
    }
}

/// Two running routers, with what only they have.
pub struct Routers {
    /// As any subject.
    pub running: Running,
    /// Their admin interfaces, by side.
    pub admin: [SocketAddr; 2],
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
            ground.publish(side, SERVICE, place.federation.port())?;
            let file = self.configure(ground, &folder, side, place)?;
            processes.push(children.start(this_program(PART)?.arg(file))?);
        }
        let ports: Vec<u16> = places.iter().map(|place| place.federation.port()).collect();
        let all: Vec<u16> = places.iter().flat_map(Places::ports).collect();
        children.wait_until_listening(&all)?;
        let attach = |side: usize| {
            let (domains, secret) = (ground.domains[side].clone(), SECRET.to_owned());
            vec![Attachment::Component { address: places[side].component, domains, secret }]
        };
        let running = Running::new(processes, [attach(0), attach(1)], ports, Box::new(children));
        Ok(Routers { running, admin: places.map(|place| place.admin) })
    }

    /// Writes the configuration of one side: its file.
    fn configure(&self, ground: &Ground, folder: &Path, side: usize, place: &Places) -> Result<PathBuf, Failure> {
        let domains = folder.join(format!("{side}.domains"));
        write(&domains, &ground.domains[side].join("\n"))?;
        let file = folder.join(format!("{side}.toml"));
        write(&file, &configuration(ground, side, place, &domains, &self.limits()))?;
        Ok(file)
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

fn configuration(ground: &Ground, side: usize, place: &Places, domains: &Path, limits: &str) -> String {
    let Places { federation, component, admin } = place;
    let (host, root, certificates) = (HOSTS[side], ground.root(), ground.certificates());
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
[[local]]
name = "load"
domains_file = {domains:?}
certificates = {certificates:?}
attach = {{ kind = "component", secret = "{SECRET}" }}
"#,
        host_certificate = ground.certificate(host),
    )
}
