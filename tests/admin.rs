//! The admin interface over a router that is made up, through real sockets; and `heteronym status` with it.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;

use heteronym::admin::{Telemetry, routes, serve};
use heteronym::config::Secret;
use heteronym::status::{Page, PairState, PairStatus, Status, Via};
use serde_json::Value;
use tokio::net::TcpListener;

/// A router with `pairs` pairs that lacks `missing`.
#[derive(Default)]
struct MadeUp {
    pairs: usize,
    missing: Vec<String>,
}

impl Telemetry for MadeUp {
    async fn status(&self, page: Page) -> Status {
        Status {
            host: "xmpp.my.isp".into(),
            version: "0.1.0".into(),
            uptime_seconds: 1,
            hosts: Vec::new(),
            pairs: page.of((0..self.pairs).map(pair)).collect(),
            pairs_total: self.pairs,
            locals: Vec::new(),
        }
    }

    async fn missing(&self) -> Vec<String> {
        self.missing.clone()
    }
}

fn pair(n: usize) -> PairStatus {
    PairStatus {
        local: "saramago.lit".into(),
        remote: format!("d{n}.lit"),
        host: None,
        state: PairState::Resolving,
        via: Via::Federation,
        stanzas_in: 0,
        stanzas_out: 0,
        activated_at: None,
        expires_at: None,
        last_error: None,
    }
}

/// Serves `router` on a thread of its own, which ends with the process.
fn start(router: MadeUp, token: Option<&str>) -> SocketAddr {
    let (send, receive) = std::sync::mpsc::channel();
    let routes = routes(Arc::new(router), token.map(Secret::new));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            send.send(listener.local_addr().unwrap()).unwrap();
            serve(listener, routes, std::future::pending()).await.unwrap();
        });
    });
    receive.recv().unwrap()
}

/// The status and the text of `GET path`.
fn get(address: SocketAddr, path: &str, authorization: Option<&str>) -> (u16, String) {
    let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build();
    let mut request = ureq::Agent::from(config).get(format!("http://{address}{path}"));
    if let Some(value) = authorization {
        request = request.header("Authorization", value);
    }
    let mut response = request.call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[test]
fn health_is_200_while_the_process_works() {
    let address = start(MadeUp::default(), Some("t0ken"));
    assert_eq!(get(address, "/health", None), (200, "ok\n".into()), "a probe needs no token");
}

#[test]
fn ready_is_200_when_nothing_is_missing() {
    assert_eq!(get(start(MadeUp::default(), None), "/ready", None), (200, "ready\n".into()));
}

#[test]
fn ready_is_503_with_a_line_for_each_reason() {
    let missing = vec!["local \"prosody-1\" is down".to_owned(), "listen.federation is not bound".to_owned()];
    let address = start(MadeUp { missing, ..MadeUp::default() }, None);
    let expected = "local \"prosody-1\" is down\nlisten.federation is not bound\n";
    assert_eq!(get(address, "/ready", None), (503, expected.into()));
}

#[test]
fn the_status_comes_in_pages() {
    let address = start(MadeUp { pairs: 2500, ..MadeUp::default() }, None);
    let page = |query: &str| {
        let (code, text) = get(address, &format!("/api/status{query}"), None);
        assert_eq!(code, 200, "{text}");
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["pairs_total"], 2500);
        let remotes =
            document["pairs"].as_array().unwrap().iter().map(|pair| pair["remote"].as_str().unwrap().to_owned());
        remotes.collect::<Vec<_>>()
    };
    assert_eq!(page("").len(), 1000);
    assert_eq!(page("?offset=2000").len(), 500);
    assert_eq!(page("?offset=7&limit=2"), ["d7.lit", "d8.lit"]);
    assert_eq!(page("?offset=2500").len(), 0);
}

#[test]
fn a_page_that_is_no_number_is_refused() {
    let address = start(MadeUp::default(), None);
    assert_eq!(get(address, "/api/status?offset=-1", None).0, 400);
    assert_eq!(get(address, "/nowhere", None).0, 404);
}

#[test]
fn the_token_opens_what_nothing_else_opens() {
    let address = start(MadeUp::default(), Some("t0ken"));
    assert_eq!(get(address, "/api/status", Some("Bearer t0ken")).0, 200);
    assert_eq!(get(address, "/ready", Some("bearer t0ken")).0, 200);
    for wrong in [None, Some("Bearer t0ke"), Some("Bearer t0kens"), Some("Basic t0ken"), Some("Bearer"), Some("t0ken")]
    {
        assert_eq!(get(address, "/api/status", wrong).0, 401, "{wrong:?}");
        assert_eq!(get(address, "/ready", wrong).0, 401, "{wrong:?}");
    }
}

/// `heteronym status ARGS` against `address`, with a token file if there is a token.
fn status(address: SocketAddr, token: Option<&str>, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heteronym.toml");
    fs::write(folder.path().join("token"), token.unwrap_or_default()).unwrap();
    let token_file = if token.is_some() { "token" } else { "" };
    let text = format!(
        "[host]\nname = 'xmpp.my.isp'\n[listen]\nadmin = ['{address}']\n[admin]\ntoken_file = '{token_file}'\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heteronym"));
    // A proxy of the environment must not be asked for what is on this machine.
    command.arg("status").arg("-c").arg(&file).args(args).env("HTTP_PROXY", "http://127.0.0.1:1").output().unwrap()
}

#[test]
fn the_status_command_shows_tables_or_the_document() {
    let address = start(MadeUp { pairs: 1001, ..MadeUp::default() }, Some("t0ken"));
    let tables = status(address, Some("t0ken\n"), &[]);
    let text = String::from_utf8(tables.stdout).unwrap();
    assert_eq!(tables.status.code(), Some(0), "{text}");
    assert!(text.contains("d999.lit") && text.contains("… and 1 more pairs"), "{text}");
    let document = status(address, Some("t0ken"), &["--json"]);
    let document: Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(document["pairs"].as_array().unwrap().len(), 1000);
}

#[test]
fn the_status_command_says_that_its_token_is_wrong() {
    let address = start(MadeUp::default(), Some("t0ken"));
    for token in [None, Some("other")] {
        let output = status(address, token, &["--json"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "heteronym: http://{address}/api/status answered 401: the bearer token of admin.token_file is needed\n"
        );
        assert_eq!(said, expected);
    }
}
