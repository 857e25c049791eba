//! What is wrong with a configuration, as an operator meets it: one line for each error, all at once,
//! and exit code 78.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use heteronym::demo::authority::{Authority, KeyKind, Request};
use heteronym_net::clock::Now;
use tempfile::TempDir;

/// A folder with a configuration, a root and the host's certificate.
struct Folder {
    path: TempDir,
    authority: Authority,
}

/// The last lines of every configuration here: nothing is listened on, so that nothing can be taken.
const LISTEN: &str = "[listen]\nfederation = ['127.0.0.1:0']\ns2s = []\ncomponent = []\nlocal_s2s = []\nadmin = []\n";
const HOST: &str = "[host]\nname = 'xmpp.my.isp'\n[tls]\nroots = ['root.pem']\n";

impl Folder {
    /// Everything in it is right.
    fn new() -> Self {
        let (path, authority) = (tempfile::tempdir().unwrap(), Authority::new("Everybody's").unwrap());
        let folder = Self { path, authority };
        fs::write(folder.file("root.pem"), folder.authority.root_pem()).unwrap();
        folder.issue("xmpp.my.isp", &Request::new(["xmpp.my.isp"], KeyKind::P256));
        folder
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.path.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        format!("{:?}", self.file(name).display().to_string())
    }

    fn issue(&self, of: &str, request: &Request) {
        self.authority.issue(request).unwrap().write(&self.file("certs").join(of)).unwrap();
    }

    fn write(&self, text: &str) {
        fs::write(self.file("heteronym.toml"), text).unwrap();
    }

    /// `heteronym COMMAND` with this text as the configuration.
    fn output(&self, command: &str, text: &str) -> Output {
        self.write(text);
        heteronym(&self.file("heteronym.toml")).arg(command).output().unwrap()
    }

    /// What `run` says, which has to end with 78.
    fn refused(&self, text: &str) -> Vec<String> {
        let output = self.output("run", text);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(output.stdout.is_empty(), "standard output is for what was asked for");
        said.lines().map(str::to_owned).collect()
    }
}

fn heteronym(file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heteronym"));
    command.env("HETERONYM_CONFIG", file);
    command
}

/// One of each, in one file: every one of them has its line, and nothing else has.
#[test]
fn every_kind_of_error_is_told_at_once() {
    let folder = Folder::new();
    fs::write(folder.file("domains"), "ok.lit\nno domain\n").unwrap();
    let text = "
        [host]
        name = 'xmpp.my.isp'
        certficate = 'certs/xmpp.my.isp'
        [listen]
        admin = ['0.0.0.0:9280']
        federation = ['5270']
        [tls]
        roots = ['root.pem', 'absent.pem']
        extra_roots = ['heteronym.toml']
        [federation]
        policy = 7
        pin = '30'
        [limits]
        stanza_bytes = '64 parsecs'
        idle_timeout = 3600
        pair_queue_bytes = '1MiB'
        [admin]
        token_file = ''
        [log]
        level = 'loud'
        [[local]]
        name = 'a'
        domains = ['a.lit', 'BÜCHER.lit', '127.0.0.1']
        attach = { kind = 'component', secret_file = 'absent' }
        [[local]]
        name = 'A'
        domains = ['xn--bcher-kva.LIT']
        domains_file = 'domains'
        attach = { kind = 'telepathy' }
        [[local]]
        name = 'c'
        domains_file = 'absent'
        [surprise]
    ";
    let root = folder.shown("absent.pem");
    let (absent, toml) = (folder.shown("absent"), folder.shown("heteronym.toml"));
    let mut expected = [
        "listen.federation[0] = \"5270\": is no address with a port; allowed: ".to_owned(),
        "listen.admin = \"0.0.0.0:9280\": is not a loopback address and admin.token_file is not set; allowed: ".into(),
        format!("tls.roots[1] = {root}: cannot read "),
        format!("tls.extra_roots[0] = {toml}: "),
        "federation.policy = 7: is a number; allowed: prefer | require | off".into(),
        "federation.pin = \"30\": has no unit; allowed: a duration with its unit".into(),
        "limits.stanza_bytes = \"64 parsecs\": is no size; allowed: a size such as \"64KiB\"".into(),
        "limits.idle_timeout = 3600: is a number; allowed: a duration with its unit".into(),
        "log.level = \"loud\": is none of the words; allowed: error | warn | info | debug | trace".into(),
        "local[\"a\"].domains[2] = \"127.0.0.1\": an IP address is not a domain name; allowed: ".into(),
        format!("local[\"a\"].attach.secret_file = {absent}: cannot be read: "),
        "local[\"A\"].name = \"A\": is already in local[\"a\"].name; allowed: ".into(),
        "local[\"A\"].domains = \"xn--bcher-kva.lit\": is already in local[\"a\"]; allowed: ".into(),
        "local[\"A\"].domains_file line 2 = \"no domain\": ".into(),
        "local[\"A\"].attach.kind = \"telepathy\": is none of the words; allowed: component | ".into(),
        format!("local[\"c\"].domains_file = {absent}: cannot be read: "),
        "local[\"c\"].attach: is missing; allowed: ".into(),
        "host.certficate = \"certs/xmpp.my.isp\": there is no such key, did you mean certificate?".into(),
        "surprise = {…}: there is no such key".into(),
    ];
    let mut said = folder.refused(text);
    expected.sort();
    said.sort();
    for (line, expected) in said.iter().zip(&expected) {
        assert!(line.starts_with(expected.as_str()), "{line}\nis not\n{expected}…");
    }
    assert_eq!(said.len(), expected.len(), "{said:#?}");
}

/// What is wrong with the host's certificate, and what the line about it says.
#[test]
fn a_host_certificate_that_is_wrong_is_78() {
    let host = || Request::new(["xmpp.my.isp"], KeyKind::P256);
    let now = Now::read().unix;
    let expired = Request { not_before: Some(now - 7200), not_after: Some(now - 3600), ..host() };
    let early = Request { not_before: Some(now + 3600), ..host() };
    let other = Request::new(["xmpp.other.isp"], KeyKind::P256);
    let cases = [
        (expired, ": the certificate expired at 20"),
        (early, ": the certificate is not valid before 20"),
        (other, ": the certificate is for xmpp.other.isp, not for xmpp.my.isp"),
    ];
    for (request, why) in cases {
        let folder = Folder::new();
        folder.issue("xmpp.my.isp", &request);
        let said = folder.refused(&format!("{HOST}{LISTEN}"));
        let key = format!("host.certificate = {}{why}", folder.shown("certs/xmpp.my.isp"));
        assert!(said.len() == 1 && said[0].starts_with(&key), "{said:?}\nis not\n{key}…");
        assert!(said[0].ends_with("valid now and for xmpp.my.isp"), "{said:?}");
    }
}

#[test]
fn a_host_certificate_that_is_not_there_or_has_another_key_is_78() {
    let folder = Folder::new();
    let key = folder.file("certs/xmpp.my.isp/privkey.pem");
    fs::write(&key, folder.authority.issue(&Request::new(["x.lit"], KeyKind::P256)).unwrap().key_pem).unwrap();
    let said = folder.refused(&format!("{HOST}{LISTEN}"));
    assert!(said.len() == 1 && said[0].contains("is not the key of the first certificate in "), "{said:?}");
    fs::remove_file(&key).unwrap();
    let said = folder.refused(&format!("{HOST}{LISTEN}"));
    assert!(said.len() == 1 && said[0].contains("privkey.pem: No such file"), "{said:?}");
}

#[test]
fn roots_that_trust_nobody_are_78() {
    let folder = Folder::new();
    let said = folder.refused(&format!("[host]\nname = 'xmpp.my.isp'\n[tls]\nroots = []\n{LISTEN}"));
    assert_eq!(said, ["tls.roots = []: nobody would be trusted; allowed: \"system\" or a list of PEM files"]);
}

/// Only the daemon needs the host's key, which an ordinary user cannot read.
#[test]
fn the_records_can_be_printed_without_the_hosts_key() {
    let folder = Folder::new();
    fs::remove_file(folder.file("certs/xmpp.my.isp/privkey.pem")).unwrap();
    assert_eq!(folder.output("dns", &format!("{HOST}{LISTEN}")).status.code(), Some(0));
}
