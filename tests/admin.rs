//! The admin interface over a router that is made up, through real sockets; and `heteronym status` with it.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::Arc;

use heteronym::admin::{Control, Reloaded, Telemetry, Token, routes, serve};
use heteronym::config::{Config, ConfigErrors, Secret};
use heteronym::status::{Page, PairState, PairStatus, QueuePlace, QueueStatus, Queues, Status, Via};
use heteronym_proto::name::Name;
use heteronym_proto::pair::Pair;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::http::{get, get_json, post, post_from};

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
            refused: Vec::new(),
        }
    }

    async fn missing(&self) -> Vec<String> {
        self.missing.clone()
    }

    async fn metrics(&self) -> String {
        "up 1\n".to_owned()
    }

    async fn queues(&self) -> Queues {
        let of = |remote: &str, host: &str, count| QueueStatus {
            place: QueuePlace::Host,
            name: Some(host.to_owned()),
            local: Some("saramago.lit".to_owned()),
            remote: Some(remote.to_owned()),
            count,
            bytes: 10 * count,
            oldest_seconds: 0.5,
            why: "the pair is being activated".to_owned(),
        };
        Queues::new(vec![of("a.lit", "xmpp.a.isp", 1), of("b.lit", "xmpp.a.isp", 2), of("c.lit", "xmpp.b.isp", 4)])
    }
}

/// Knows one domain of its own, one pair and one host.
impl Control for MadeUp {
    async fn reload(&self) -> Result<Reloaded, ConfigErrors> {
        if self.missing.is_empty() {
            return Ok(Reloaded { needs_restart: vec!["listen.admin"], warnings: Vec::new() });
        }
        Config::parse("[host]\n[log]\nlevel = 'loud'", std::path::Path::new("")).map(|_| Reloaded::default())
    }

    fn drain(&self) {}

    async fn close_host(&self, host: Name) -> usize {
        usize::from(host.as_str() == "xmpp.a.isp")
    }

    async fn activate(&self, pair: Pair) -> bool {
        pair.local.as_str() == "saramago.lit"
    }

    async fn deactivate(&self, pair: Pair) -> bool {
        pair.remote.as_str() == "a.lit"
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
    let routes = routes(Arc::new(router), Token::new(token.map(Secret::new)));
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

#[test]
fn the_status_page_is_a_page() {
    let (code, page) = get(start(MadeUp { pairs: 1, ..MadeUp::default() }, None), "/", None);
    assert_eq!(code, 200);
    assert!(page.starts_with("<!doctype html>") && page.contains("d0.lit"), "{page}");
}

#[test]
fn the_metrics_are_text() {
    assert_eq!(get(start(MadeUp::default(), None), "/metrics", None), (200, "up 1\n".to_owned()));
}

/// What is asked for, and how many stanzas wait there.
#[test]
fn what_waits_is_told_by_pair_and_by_host() {
    let address = start(MadeUp::default(), None);
    let cases = [
        ("", 7),
        ("?host=xmpp.a.isp", 3),
        ("?host=XMPP.B.isp", 4),
        ("?pair=saramago.lit,b.lit", 2),
        ("?pair=Saramago.lit/c.lit", 4),
        ("?pair=saramago.lit,nobody.lit", 0),
    ];
    for (query, count) in cases {
        let (code, queues) = get_json(address, &format!("/api/queues{query}"));
        assert_eq!((code, &queues["count"], &queues["bytes"]), (200, &count.into(), &(10 * count).into()), "{query}");
    }
    let (_, queues) = get_json(address, "/api/queues?pair=saramago.lit,b.lit");
    let expected = serde_json::json!({"where": "host", "name": "xmpp.a.isp", "local": "saramago.lit", "remote": "b.lit",
        "count": 2, "bytes": 20, "oldest_seconds": 0.5, "why": "the pair is being activated"});
    assert_eq!(queues["queues"], serde_json::json!([expected]));
    for wrong in ["?pair=saramago.lit", "?pair=saramago.lit,no domain", "?host=a..b"] {
        assert_eq!(get(address, &format!("/api/queues{}", wrong.replace(' ', "%20")), None).0, 400, "{wrong}");
    }
}

/// What is posted, and what is answered.
#[test]
fn what_is_asked_for_is_done_or_refused() {
    let address = start(MadeUp::default(), None);
    let pair = |local: &str, remote: &str| serde_json::json!({"local": local, "remote": remote}).to_string();
    let cases = [
        ("/api/reload", String::new(), 200),
        ("/api/drain", String::new(), 202),
        ("/api/hosts/xmpp.a.isp/close", String::new(), 200),
        ("/api/hosts/xmpp.nobody.isp/close", String::new(), 404),
        ("/api/hosts/a..b/close", String::new(), 400),
        ("/api/pairs/activate", pair("Saramago.lit", "a.lit"), 202),
        ("/api/pairs/activate", pair("other.lit", "a.lit"), 404),
        ("/api/pairs/activate", pair("saramago.lit", "no domain"), 400),
        ("/api/pairs/activate", "saramago.lit".to_owned(), 400),
        ("/api/pairs/deactivate", pair("saramago.lit", "a.lit"), 200),
        ("/api/pairs/deactivate", pair("saramago.lit", "b.lit"), 404),
    ];
    for (path, body, code) in cases {
        let (answered, document) = post(address, path, &body);
        assert_eq!((answered, document["ok"].as_bool()), (code, Some(code < 300)), "{path} {body}: {document}");
        assert_eq!(get(address, path, None).0, 405, "{path} is not for looking");
    }
}

#[test]
fn a_bad_file_is_422_with_every_error() {
    let address = start(MadeUp { missing: vec!["x".to_owned()], ..MadeUp::default() }, None);
    let (code, document) = post(address, "/api/reload", "");
    assert_eq!((code, document["errors"].as_array().map(Vec::len)), (422, Some(2)), "{document}");
}

#[test]
fn a_web_page_changes_nothing() {
    let address = start(MadeUp::default(), None);
    assert_eq!(post_from(address, "/api/reload", "", Some("https://evil.example")).0, 403);
}

#[test]
fn the_token_guards_what_changes_something() {
    let address = start(MadeUp::default(), Some("t0ken"));
    for path in ["/api/reload", "/api/drain", "/api/hosts/xmpp.a.isp/close", "/api/pairs/activate"] {
        assert_eq!(post(address, path, "").0, 401, "{path}");
    }
    for path in ["/", "/metrics", "/api/queues"] {
        assert_eq!(get(address, path, None).0, 401, "{path}");
    }
}
