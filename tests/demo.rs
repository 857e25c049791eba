//! The demonstration, as a newcomer runs it.

use std::process::{Command, Output};

use serde_json::Value;

fn demo(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heteronym")).arg("demo").args(args).output().unwrap()
}

#[test]
fn one_connection_carries_every_pair_and_nothing_is_lost() {
    let output = demo(&["--domains", "2", "--stanzas", "5", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = [
        ("domains", 2),
        ("pairs_active", 4),
        ("host_connections", 1),
        ("classic_connections", 8),
        ("stanzas_sent", 40),
        ("stanzas_delivered", 40),
        ("stanzas_bounced", 0),
        ("stanzas_lost", 0),
    ];
    for (key, value) in expected {
        assert_eq!(document[key], value, "{key} in {document}");
    }
    for measured in ["activation_ms_p50", "activation_ms_p99", "round_trip_us_p50", "round_trip_us_p99", "seconds"] {
        assert!(document[measured].as_f64().unwrap() > 0.0, "{measured} in {document}");
    }
    assert_eq!(document.as_object().unwrap().len(), 13, "and nothing else: {document}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn without_a_terminal_there_is_the_table_and_no_bar() {
    let output = demo(&["--domains", "1", "--stanzas", "1"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("saramago.lit") && text.contains("pessoa.lit"), "{text}");
    assert!(text.contains("│ 1, where classic S2S needs 2"), "{text}");
    assert!(text.contains("│ 2 sent, 2 delivered, 0 bounced, 0 lost"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(output.stderr.is_empty());
}
