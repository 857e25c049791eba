//! `heteronym check` as an operator calls it: what it finds, and what it exits with.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;

use heteronym::demo::authority::{Authority, KeyKind, Request};
use heteronym::demo::name_server::{NameServer, Zone};
use heteronym_net::clock::Now;
use serde_json::Value;
use tempfile::TempDir;

/// Seconds.
const DAY: u64 = 24 * 3600;

/// The listeners that are bound.
const LISTENERS: [&str; 5] = ["federation", "s2s", "component", "steering_dns", "admin"];

/// A configuration in which everything is right, until a test changes something.
struct Checked {
    folder: TempDir,
    authority: Authority,
    names: NameServer,
    more: String,
    listen: String,
    /// Whom it asks instead of `names`.
    asks: Option<SocketAddr>,
}

/// `[listen]` with this listener alone, and where `steering_dns` would lead.
fn only(key: &str, address: SocketAddr) -> String {
    let others = LISTENERS.into_iter().filter(|other| *other != key).map(|other| format!("{other} = []\n"));
    format!("{key} = ['{address}']\nlocal_s2s = ['127.0.0.1:0']\n{}", others.collect::<String>())
}

impl Checked {
    fn new() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("Everybody's").unwrap());
        let mut zone = Zone::new();
        zone.set_srv("saramago.lit", vec![(5, 0, 5270, "xmpp.my.isp".to_owned())]);
        zone.set_addresses("xmpp.my.isp", vec!["127.0.0.1".parse().unwrap()]);
        let names = NameServer::start(zone).unwrap();
        fs::write(folder.path().join("root.pem"), authority.root_pem()).unwrap();
        let listen = "federation = ['127.0.0.1:0']\ns2s = []\ncomponent = ['127.0.0.1:0']\nadmin = []".to_owned();
        let checked = Self { folder, authority, names, more: String::new(), listen, asks: None };
        checked.issue("xmpp.my.isp", 90);
        checked.issue("saramago.lit", 90);
        checked
    }

    fn issue(&self, name: &str, days: u64) {
        let not_after = Some(Now::read().unix + days * DAY + DAY / 2);
        let request = Request { not_after, ..Request::new([name], KeyKind::P256) };
        self.authority.issue(&request).unwrap().write(&self.folder.path().join("certs").join(name)).unwrap();
    }

    fn text(&self) -> String {
        format!(
            "[host]\nname = 'xmpp.my.isp'\nstate = 'state'\n[tls]\nroots = ['root.pem']\n[dns]\nservers = ['{}']\n\
             [listen]\n{}\n[[local]]\nname = 'a'\ndomains = ['saramago.lit']\n\
             attach = {{ kind = 'component', secret = 's3cret' }}\n{}",
            self.asks.unwrap_or_else(|| self.names.address()),
            self.listen,
            self.more
        )
    }

    /// The exit code and the document of `check --json`.
    fn run(&self, args: &[&str]) -> (Option<i32>, Value) {
        let file = self.folder.path().join("heteronym.toml");
        fs::write(&file, self.text()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_heteronym"));
        let output = command.arg("check").arg("-c").arg(&file).arg("--json").args(args).output().unwrap();
        let document = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), document)
    }

    /// Runs it, and expects one finding beside that our server dials us.
    fn finds(&self, level: &str, subject: &str, problem: &str) {
        let (code, document) = self.run(&[]);
        let findings = document["findings"].as_array().unwrap();
        let of_level: Vec<_> = findings.iter().filter(|finding| finding["level"] != "info").collect();
        assert_eq!(of_level.len(), 1, "{document:#}");
        let found = ["level", "subject", "problem"].map(|key| of_level[0][key].as_str().unwrap());
        assert_eq!(found, [level, subject, problem], "{document:#}");
        assert_eq!((code, document["ok"].as_bool()), (Some(i32::from(level == "error")), Some(level != "error")));
    }
}

#[test]
fn nothing_is_found_where_everything_is_right() {
    let (code, document) = Checked::new().run(&[]);
    assert_eq!((code, &document["ok"]), (Some(0), &Value::Bool(true)), "{document:#}");
    for finding in document["findings"].as_array().unwrap() {
        let keys: Vec<_> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["advice", "level", "problem", "subject", "why"]);
        assert_eq!(finding["level"], "info", "{document:#}");
    }
    assert_eq!(document.as_object().unwrap().len(), 2, "ok and findings");
}

#[test]
fn a_certificate_is_an_error_under_7_days_and_a_warning_under_21() {
    let cases = [
        (6, Some("error"), "the certificate ends in 6 days"),
        (7, Some("warning"), "the certificate ends in 7 days"),
        (20, Some("warning"), "the certificate ends in 20 days"),
        (21, None, ""),
    ];
    for (days, level, problem) in cases {
        for name in ["saramago.lit", "xmpp.my.isp"] {
            let checked = Checked::new();
            checked.issue(name, days);
            match level {
                Some(level) => checked.finds(level, name, problem),
                None => assert_eq!(checked.run(&[]).0, Some(0), "{days} days"),
            }
        }
    }
}

#[test]
fn a_missing_intermediate_is_an_error() {
    let checked = Checked::new();
    let chain = checked.folder.path().join("certs/saramago.lit/fullchain.pem");
    let text = fs::read_to_string(&chain).unwrap();
    let end = text.find("-----END CERTIFICATE-----\n").unwrap() + "-----END CERTIFICATE-----\n".len();
    fs::write(&chain, &text[..end]).unwrap();
    checked.finds("error", "saramago.lit", "the intermediate certificate is missing");
}

#[test]
fn a_certificate_of_another_authority_name_or_key_is_an_error() {
    let checked = Checked::new();
    let folder = checked.folder.path().join("certs/saramago.lit");
    let ours = Request::new(["saramago.lit"], KeyKind::P256);
    Authority::new("Another's").unwrap().issue(&ours).unwrap().write(&folder).unwrap();
    checked.finds("error", "saramago.lit", "the certificate is not trusted");
    checked.authority.issue(&Request::new(["b.lit"], KeyKind::P256)).unwrap().write(&folder).unwrap();
    checked.finds("error", "saramago.lit", "the certificate cannot be used");
    checked.authority.issue(&ours).unwrap().write(&folder).unwrap();
    fs::write(folder.join("privkey.pem"), checked.authority.issue(&ours).unwrap().key_pem).unwrap();
    checked.finds("error", "saramago.lit", "the certificate cannot be used");
}

#[test]
fn records_that_are_missing_or_lead_elsewhere_are_errors() {
    let (checked, subject) = (Checked::new(), "_xmpp-federation._tcp.saramago.lit");
    checked.names.set_srv("saramago.lit", vec![(5, 0, 5270, "xmpp.other.isp".to_owned())]);
    checked.names.set_addresses("xmpp.other.isp", vec!["127.0.0.1".parse().unwrap()]);
    checked.finds("error", subject, "the record leads elsewhere");
    checked.names.remove("saramago.lit");
    checked.finds("error", subject, "the record is missing");
    checked.names.fail("saramago.lit");
    checked.finds("error", subject, "the look-up failed");
    assert_eq!(checked.run(&["--offline"]).0, Some(0), "nobody is asked");
}

#[test]
fn a_target_without_an_address_is_an_error() {
    let checked = Checked::new();
    checked.names.remove("xmpp.my.isp");
    checked.finds("error", "xmpp.my.isp", "the target has no address");
}

#[test]
fn a_port_that_is_used_is_an_error() {
    let (mut checked, taken) = (Checked::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap();
    for key in LISTENERS {
        checked.listen = only(key, address);
        checked.finds("error", &format!("listen.{key} = {address}"), "the port is already used");
    }
}

/// DNS needs both.
#[test]
fn a_port_that_is_used_for_datagrams_is_an_error() {
    let (mut checked, taken) = (Checked::new(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap();
    checked.listen = only("steering_dns", address);
    checked.finds("error", &format!("listen.steering_dns = {address}"), "the port is already used");
}

/// The same where the system's name servers are asked, which a test cannot choose.
#[test]
fn a_dns_that_would_ask_itself_is_an_error() {
    let mut checked = Checked::new();
    // A port that nobody is given by chance.
    checked.listen = only("steering_dns", SocketAddr::from(([127, 0, 0, 1], 25353)));
    checked.asks = Some(SocketAddr::from(([0, 0, 0, 0], 25353)));
    let (code, document) = checked.run(&["--offline"]);
    let found = &document["findings"][0];
    assert_eq!((code, &found["subject"]), (Some(1), &Value::from("listen.steering_dns")), "{document:#}");
    assert_eq!(found["advice"], "name resolvers in dns.servers");
    checked.asks = None;
    assert_eq!(checked.run(&["--offline"]).0, Some(0), "another name server is none of ours");
}

#[test]
fn an_address_of_another_machine_is_an_error() {
    let mut checked = Checked::new();
    checked.listen = "federation = ['192.0.2.1:5270']\ns2s = []\ncomponent = []\nadmin = []".to_owned();
    checked.finds("error", "listen.federation = 192.0.2.1:5270", "the address is not one of this machine's");
}

#[test]
fn a_server_that_is_dialled_and_is_down_is_an_error() {
    let mut checked = Checked::new();
    // Nobody is given port 1 by chance.
    checked.more = "[[local]]\nname = 'b'\ndomains = ['b.lit']\ncertificates = 'certs'\n\
         attach = { kind = 'dial-component', address = '127.0.0.1:1', name = 'x.internal', secret = 'x' }\n"
        .to_owned();
    checked.issue("b.lit", 90);
    checked.names.set_srv("b.lit", vec![(5, 0, 5270, "xmpp.my.isp".to_owned())]);
    checked.finds("error", "local[\"b\"]", "the server is not attached");
}

/// A scripted server with another secret refuses the handshake.
#[tokio::test]
async fn a_server_that_refuses_the_secret_is_an_error() {
    use crate::support::local::ComponentPort;
    let (mut checked, port) = (Checked::new(), ComponentPort::open("another").await);
    checked.more = format!(
        "[[local]]\nname = 'b'\ndomains = ['b.lit']\n\
         attach = {{ kind = 'dial-component', address = '{}', name = 'x.internal', secret = 'x' }}\n",
        port.address()
    );
    checked.issue("b.lit", 90);
    checked.names.set_srv("b.lit", vec![(5, 0, 5270, "xmpp.my.isp".to_owned())]);
    let finds =
        tokio::task::spawn_blocking(move || checked.finds("error", "local[\"b\"]", "the server is not attached"));
    assert!(port.accept("x.internal").await.is_err());
    finds.await.unwrap();
}

/// As its default route, which it would be for a moment.
#[tokio::test]
async fn the_login_to_jabberd2_is_tried() {
    use crate::support::jabberd2::Jabberd2;
    for refusal in ["", " error='409'"] {
        let (mut checked, jabberd2) = (Checked::new(), Jabberd2::start().await);
        checked.more = format!("{}certificates = 'certs'\n", jabberd2.entry(&["b.lit"]));
        checked.issue("b.lit", 90);
        checked.names.set_srv("b.lit", vec![(5, 0, 5270, "xmpp.my.isp".to_owned())]);
        let run = tokio::task::spawn_blocking(move || checked.run(&[]));
        let (mut routes, good) = jabberd2.login().await;
        assert!(good);
        routes.bind(refusal).await;
        let (code, document) = run.await.unwrap();
        assert_eq!(code, Some(i32::from(!refusal.is_empty())), "{document}");
        assert_eq!(document.to_string().contains("has a default route already"), !refusal.is_empty(), "{document}");
    }
}

#[test]
fn without_a_folder_for_the_state_there_is_a_warning() {
    let checked = Checked::new();
    let file = checked.folder.path().join("heteronym.toml");
    fs::write(&file, checked.text().replace("state = 'state'\n", "")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_heteronym")).args(["check", "-c"]).arg(&file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("warning: host.state: ") && text.ends_with("no errors\n"), "{text}");
}

#[test]
fn a_bad_configuration_is_78_and_a_finding_for_each_error() {
    let mut checked = Checked::new();
    checked.more = "[log]\nlevel = 'loud'\n[surprise]\n".to_owned();
    let (code, document) = checked.run(&[]);
    let subjects: Vec<_> = document["findings"].as_array().unwrap().iter().map(|of| of["subject"].clone()).collect();
    assert_eq!((code, document["ok"].as_bool()), (Some(78), Some(false)));
    assert_eq!(subjects, ["log.level", "surprise"]);
    let output = Command::new(env!("CARGO_BIN_EXE_heteronym")).args(["check", "--loud"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}
