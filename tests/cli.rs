//! The command line: exit codes, and what goes to which stream.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const RIGHT: &str = "host = { name = 'xmpp.my.isp' }\n[[local]]\nname = 'a'\ndomains = ['saramago.lit']\n\
                     attach = { kind = 'component', secret = 'x' }\n";
const WRONG: &str = "[host]\n[log]\nlevel = 'loud'\n[limits]\nstanza_wiat = '30s'\n";

/// `heteronym ARGS` without a configuration of this machine.
fn heteronym(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heteronym"));
    command.args(args).env_remove("HETERONYM_CONFIG");
    command
}

fn output(args: &[&str]) -> Output {
    heteronym(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn file(folder: &TempDir, content: &str) -> PathBuf {
    let file = folder.path().join("heteronym.toml");
    fs::write(&file, content).unwrap();
    file
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

#[test]
fn no_arguments_are_bad_usage() {
    let output = output(&[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("Usage: heteronym"), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_the_command_line_does_not_know_is_bad_usage() {
    for args in [&["frobnicate"][..], &["run", "--loud"], &["demo", "--domains", "0"], &["demo", "--domains", "x"]] {
        let output = output(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_are_fine() {
    assert_eq!(output(&["--help"]).status.code(), Some(0));
    let version = output(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(text(&version.stdout), concat!("heteronym ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_bad_configuration_is_78_and_a_line_for_each_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(&folder, WRONG);
    for command in ["run", "check", "status", "dns"] {
        let output = output(&[command, "-c", path(&file)]);
        assert_eq!(output.status.code(), Some(78), "{command}");
        let expected = "host.name: is missing; allowed: the DNS name of this XMPP host\n\
                        log.level = \"loud\": is none of the words; allowed: error | warn | info | debug | trace\n\
                        limits.stanza_wiat = \"30s\": there is no such key, did you mean stanza_wait?\n";
        assert_eq!(text(&output.stderr), expected, "{command}");
        assert!(output.stdout.is_empty(), "{command}");
    }
}

#[test]
fn a_configuration_that_is_not_there_is_78() {
    let output = output(&["run", "-c", "/nowhere/heteronym.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).starts_with("/nowhere/heteronym.toml: "), "{output:?}");
}

#[test]
fn the_environment_names_the_configuration_and_the_option_wins() {
    let (right_folder, wrong_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (right, wrong) = (file(&right_folder, RIGHT), file(&wrong_folder, WRONG));
    let code =
        |args: &[&str], variable| heteronym(args).env("HETERONYM_CONFIG", variable).output().unwrap().status.code();
    assert_eq!(code(&["dns"], &right), Some(0));
    assert_eq!(code(&["dns"], &wrong), Some(78));
    assert_eq!(code(&["dns", "-c", path(&right)], &wrong), Some(0));
}

#[test]
fn dns_prints_the_records_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let output = output(&["dns", "-c", path(&file(&folder, RIGHT))]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("\n_xmpp-federation._tcp.saramago.lit. 3600 IN SRV 5 0 5270 xmpp.my.isp.\n"));
    assert!(output.stderr.is_empty());
}

#[test]
fn dns_as_json_is_one_document() {
    let folder = tempfile::tempdir().unwrap();
    let output = output(&["dns", "--json", "-c", path(&file(&folder, RIGHT))]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!({"name": "_xmpp-federation._tcp.saramago.lit", "ttl": 3600, "type": "SRV",
        "priority": 5, "weight": 0, "port": 5270, "target": "xmpp.my.isp"});
    assert_eq!((document["host"].as_str(), &document["records"][0]), (Some("xmpp.my.isp"), &expected));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_daemon_that_is_not_there_has_no_status() {
    // Nobody is given port 1 by chance.
    let folder = tempfile::tempdir().unwrap();
    let file = file(&folder, &format!("listen = {{ admin = ['127.0.0.1:1'] }}\n{RIGHT}"));
    let output = output(&["status", "-c", path(&file)]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.starts_with("heteronym: no answer from http://127.0.0.1:1/api/status: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn without_an_admin_listener_there_is_no_status() {
    let folder = tempfile::tempdir().unwrap();
    let output = output(&["status", "-c", path(&file(&folder, &format!("listen = {{ admin = [] }}\n{RIGHT}")))]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("listen.admin is empty"), "{output:?}");
}
