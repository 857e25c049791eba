//! Routers that an operator runs: nothing is started, the harness only attaches.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Failure;
use crate::ground::Ground;
use crate::subject::{Attachment, Running, Subject};

/// The file of `--running`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    side: Vec<Side>,
}

/// One of the two ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Side {
    /// Its component listener.
    component: SocketAddr,
    /// Its domains, all of one `[[local]]` entry.
    domains: Vec<String>,
    /// The file with the entry's secret.
    secret_file: PathBuf,
    /// Its process, if it is on this machine.
    pid: Option<u32>,
}

/// Two routers of an operator's.
pub struct Operated {
    sides: [Side; 2],
    secrets: [String; 2],
}

impl Operated {
    /// As the file says.
    ///
    /// # Errors
    /// If it cannot be read, or says something else than two sides.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
        let read: File = toml::from_str(&text).map_err(|error| failed(&error))?;
        let sides: [Side; 2] = read.side.try_into().map_err(|_| failed(&"there must be two [[side]]"))?;
        if sides.iter().any(|side| side.domains.is_empty()) {
            return Err(failed(&"a [[side]] without domains").into());
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        let secret = |side: &Side| {
            let file = folder.join(&side.secret_file);
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            Ok::<_, Failure>(text.trim().to_owned())
        };
        let secrets = [secret(&sides[0])?, secret(&sides[1])?];
        Ok(Self { sides, secrets })
    }

    /// What it stands on: the operator's domains, and nothing of the harness's.
    ///
    /// # Errors
    /// What the system says.
    pub fn ground(&self) -> Result<Ground, Failure> {
        Ground::bare([0, 1].map(|side: usize| self.sides[side].domains.clone()))
    }
}

impl Subject for Operated {
    fn name(&self) -> &'static str {
        "running"
    }

    fn start(&self, _: &Ground) -> Result<Running, Failure> {
        let attach = |side: usize| {
            let (of, secret) = (&self.sides[side], self.secrets[side].clone());
            vec![Attachment::Component { address: of.component, domains: of.domains.clone(), secret }]
        };
        let processes = self.sides.iter().filter_map(|side| side.pid).collect();
        Ok(Running::new(processes, [attach(0), attach(1)], Vec::new(), Box::new(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[side]]
        component = "127.0.0.1:5347"
        domains = ["a.lit", "b.lit"]
        secret_file = "secret"
        pid = 17
        [[side]]
        component = "192.0.2.7:5347"
        domains = ["c.lit"]
        secret_file = "secret"
    "#;

    fn read(text: &str) -> Result<Operated, Failure> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
        std::fs::write(folder.path().join("running.toml"), text).unwrap();
        Operated::read(&folder.path().join("running.toml"))
    }

    #[test]
    fn an_operators_routers_are_attached_to() {
        let operated = read(TEXT).unwrap();
        let running = operated.start(&operated.ground().unwrap()).unwrap();
        assert_eq!(running.processes, [17]);
        let address = "192.0.2.7:5347".parse().unwrap();
        let far = Attachment::Component { address, domains: vec!["c.lit".into()], secret: "s3cret".into() };
        assert_eq!(running.sides[1], [far]);
    }

    #[test]
    fn a_file_that_says_something_else_is_refused() {
        let one_side = TEXT.split("[[side]]").take(2).collect::<Vec<_>>().join("[[side]]");
        for text in ["", "side = 5", &one_side, &TEXT.replace("pid", "pdi"), &TEXT.replace("[\"c.lit\"]", "[]")] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&TEXT.replace("\"secret\"", "\"none\"")).is_err());
    }
}
