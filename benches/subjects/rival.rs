//! Servers that speak classic S2S: two of one, as `tests/servers/pair_of_rivals` sets them up.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use crate::Failure;
use crate::ground::{Ground, free_port};
use crate::subject::{Attachment, Running, Subject};

/// How long two of them may take to start; the first time, Python's packages are fetched as well.
const START: Duration = Duration::from_secs(180);
/// What sets them up.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/servers/pair_of_rivals");

/// Two servers with a component for each domain: `prosody`, `ejabberd` or `jabberd2`.
#[derive(Clone, Copy, Debug)]
pub struct Rival(pub &'static str);

/// What the script says of the two on its one line.
#[derive(Deserialize)]
struct Said {
    sides: [Vec<Link>; 2],
    pids: Vec<u32>,
    ports: Vec<u16>,
}

#[derive(Deserialize)]
struct Link {
    address: SocketAddr,
    domain: String,
    secret: String,
}

/// The script: it ends everything when its standard input closes.
struct Script {
    child: Child,
    errors: PathBuf,
}

impl Subject for Rival {
    fn name(&self) -> &'static str {
        self.0
    }

    fn start(&self, ground: &Ground) -> Result<Running, Failure> {
        let s2s = [free_port()?.port(), free_port()?.port()];
        let ways = [ground.way_to(s2s[0])?, ground.way_to(s2s[1])?];
        let folder = ground.folder(self.0)?;
        let mut command = Command::new(SCRIPT);
        command.arg(self.0).arg("--folder").arg(&folder);
        command.args(["--near", &ground.domains[0].join(","), "--far", &ground.domains[1].join(",")]);
        command.args(["--s2s", &both(s2s), "--reached-at", &both(ways)]);
        let mut script = Script::start(&mut command, folder.join("errors"))?;
        let said: Said = serde_json::from_str(&script.first_line()?)?;
        Ok(Running::new(said.pids, said.sides.map(attachments), said.ports, Box::new(script)))
    }
}

fn both(ports: [u16; 2]) -> String {
    format!("{},{}", ports[0], ports[1])
}

fn attachments(links: Vec<Link>) -> Vec<Attachment> {
    let of = |Link { address, domain, secret }| Attachment::Component { address, domains: vec![domain], secret };
    links.into_iter().map(of).collect()
}

impl Script {
    fn start(command: &mut Command, errors: PathBuf) -> Result<Self, Failure> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&errors)?);
        let child = command.spawn().map_err(|error| format!("{SCRIPT}: {error}"))?;
        Ok(Self { child, errors })
    }

    /// Its line, as soon as components can attach.
    fn first_line(&mut self) -> Result<String, Failure> {
        let output = self.child.stdout.take().ok_or("no output of the script")?;
        let (found, line) = mpsc::channel();
        thread::spawn(move || found.send(read_line(output)));
        match line.recv_timeout(START) {
            Ok(line) => line?.ok_or_else(|| self.errors().into()),
            Err(_) => Err(format!("not started after {} s: {}", START.as_secs(), self.errors()).into()),
        }
    }

    /// What it has complained about.
    fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default().trim().to_owned()
    }
}

/// None: it ended without one.
fn read_line(output: ChildStdout) -> std::io::Result<Option<String>> {
    BufReader::new(output).lines().next().transpose()
}

impl Drop for Script {
    /// A server that ended by itself has a reason, which nobody else hears.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if self.child.wait().is_ok_and(|status| status.success()) {
            return;
        }
        #[expect(clippy::print_stderr, reason = "whoever drops it can take no error")]
        {
            eprintln!("{}", self.errors());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::drive::{Pace, Until};
    use crate::modes::load;
    use crate::subject::Subject;

    use super::Rival;

    /// What is counted, not how fast it was.
    #[test]
    #[ignore = "needs prosody, ejabberd, jabberd2, root, openssl and python3 with venv: run tests/run"]
    fn stanzas_arrive_over_every_pair_of_each_rival() {
        let (pace, until) = (Pace::Window(256), Until::Stanzas(2000));
        let options = load::Options { pairs: vec![64], zipf: false, bytes: 200, pace, until, rounds: 1 };
        for (rival, connections) in [("prosody", 64.0), ("ejabberd", 64.0), ("jabberd2", 2.0)] {
            let subjects: Vec<Box<dyn Subject>> = vec![Box::new(Rival(rival))];
            let report = load::run(&options, &subjects, None).unwrap();
            let figure = |key| report.figure(&report.series[0], key);
            assert_eq!(figure("connections"), connections, "{rival}");
            assert!(figure("cpu_seconds_per_million") > 0.0, "{rival}");
        }
    }
}
