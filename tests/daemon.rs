//! The daemon as a process: its signals, its log, its end.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use heteronym::demo::authority::{Authority, KeyKind, Request};
use tempfile::TempDir;

use crate::support::http::{get, post};
use crate::support::local::Local;
use crate::support::{DEADLINE, message};

/// A daemon that runs; it is killed with the test.
struct Daemon {
    folder: TempDir,
    process: Child,
    log: Receiver<String>,
    admin: SocketAddr,
    component: SocketAddr,
    federation: SocketAddr,
}

/// `log` is the section of that name.
fn text(log: &str) -> String {
    format!(
        "[host]\nname = 'xmpp.my.isp'\n[tls]\nroots = ['root.pem']\n[listen]\nfederation = ['127.0.0.1:0']\ns2s = []\n\
         component = ['127.0.0.1:0']\nlocal_s2s = []\nadmin = ['127.0.0.1:0']\n[log]\n{log}\n\
         [[local]]\nname = 'one'\ndomains = ['saramago.lit']\nattach = {{ kind = 'component', secret = 's3cret' }}\n\
         [federation.domains.'off.lit']\npolicy = 'off'\n"
    )
}

impl Daemon {
    fn start(log: &str) -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("Everybody's").unwrap());
        fs::write(folder.path().join("root.pem"), authority.root_pem()).unwrap();
        for name in ["xmpp.my.isp", "saramago.lit"] {
            let issued = authority.issue(&Request::new([name], KeyKind::P256)).unwrap();
            issued.write(&folder.path().join("certs").join(name)).unwrap();
        }
        let file = folder.path().join("heteronym.toml");
        fs::write(&file, text(log)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_heteronym"));
        let mut process = command.arg("run").arg("-c").arg(&file).stderr(Stdio::piped()).spawn().unwrap();
        let (send, log) = channel();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        let address = |listener: &str| {
            let line = heard(&log, &format!("listener=\"{listener}\""));
            line.rsplit_once("address=").unwrap().1.trim().parse().unwrap()
        };
        let (federation, component, admin) = (address("federation"), address("component"), address("admin"));
        heard(&log, "running");
        Self { folder, process, log, admin, component, federation }
    }

    fn write(&self, text: &str) {
        fs::write(self.folder.path().join("heteronym.toml"), text).unwrap();
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for the end; the lines that are left, and the exit code.
    fn finish(mut self) -> (Vec<String>, Option<i32>) {
        let code = self.process.wait().unwrap().code();
        (self.log.iter().collect(), code)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

/// The next line of the log with these words in it.
fn heard(log: &Receiver<String>, words: &str) -> String {
    loop {
        let line = log.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("the log never said {words}"));
        if line.contains(words) {
            return line;
        }
    }
}

#[test]
fn sighup_reloads_and_tells_the_log_every_error() {
    let daemon = Daemon::start("level = 'info'");
    daemon.write(&text("level = 'loud'\nformat = 'poem'"));
    daemon.signal("HUP");
    heard(&daemon.log, "not reloaded: log.level = \"loud\"");
    heard(&daemon.log, "not reloaded: log.format = \"poem\"");
    daemon.write(&text("format = 'json'").replace("federation = ['127.0.0.1:0']", "federation = []"));
    daemon.signal("HUP");
    heard(&daemon.log, "reloaded");
    heard(&daemon.log, "listen.federation");
    heard(&daemon.log, "log.format");
    daemon.signal("TERM");
    heard(&daemon.log, "ended");
}

#[test]
fn a_reload_changes_the_level_of_the_log() {
    let daemon = Daemon::start("level = 'info'");
    daemon.write(&text("level = 'error'"));
    assert_eq!(post(daemon.admin, "/api/reload", "").0, 200);
    daemon.signal("TERM");
    let (lines, code) = daemon.finish();
    assert_eq!(code, Some(0));
    assert!(!lines.iter().any(|line| line.contains("draining")), "{lines:?}");
}

#[test]
fn a_drain_is_answered_and_ends_the_process_well() {
    let daemon = Daemon::start("level = 'info'");
    assert_eq!(get(daemon.admin, "/health", None).0, 200);
    assert_eq!(post(daemon.admin, "/api/drain", "").0, 202);
    let (lines, code) = daemon.finish();
    assert_eq!(code, Some(0), "{lines:?}");
    assert!(lines.last().is_some_and(|line| line.contains("ended")), "{lines:?}");
}

#[test]
fn the_log_says_where_a_host_came_from_that_was_not_let_in() {
    let daemon = Daemon::start("level = 'info'");
    let mut stranger = TcpStream::connect(daemon.federation).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let line = heard(&daemon.log, "a host was not let in");
    assert!(line.contains(&format!("address={}", stranger.local_addr().unwrap())), "{line}");
}

/// What a line shows of `jose@saramago.lit/odes`, whose stanza has nowhere to go.
#[tokio::test]
async fn the_log_shows_no_more_of_an_address_than_it_may() {
    let cases = [
        ("full", "from=jose@saramago.lit/odes to=ana@off.lit", None),
        ("domain", "from=saramago.lit to=off.lit", Some("jose")),
        ("none", "from=… to=…", Some("jose")),
    ];
    for (jids, shown, hidden) in cases {
        let daemon = Daemon::start(&format!("level = 'trace'\njids = '{jids}'"));
        let mut local = Local::attach(daemon.component, "saramago.lit", "s3cret").await;
        local.send(message("jose@saramago.lit/odes", "ana@off.lit", "x")).await;
        let line = heard(&daemon.log, "a stanza goes back to its sender");
        assert!(line.contains(shown), "{line}");
        daemon.signal("TERM");
        let (lines, _) = daemon.finish();
        if let Some(hidden) = hidden {
            assert!(!lines.iter().chain([&line]).any(|line| line.contains(hidden)), "{lines:?}");
        }
    }
}
