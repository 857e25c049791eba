//! Routers between real servers.

use std::process::Command;

#[test]
#[ignore = "needs prosody, ejabberd, jabberd2, openssl and python3 with slixmpp: run tests/run"]
#[allow(clippy::print_stdout, reason = "with --nocapture the servers' own summary is shown")]
fn real_servers_talk_over_routers() {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/run");
    let output = Command::new(run).arg(env!("CARGO_BIN_EXE_heteronym")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let summaries: Vec<_> = said.lines().filter(|line| line.ends_with(" failed")).collect();
    let all = format!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{all}");
    assert_eq!(summaries.len(), 4, "the module alone, two routers, one, and faults: {all}");
    for summary in summaries {
        let (passed, failed) = summary.split_once(" passed, ").expect("PASSED passed, FAILED failed");
        assert!(passed.parse::<u32>().unwrap() > 0 && failed == "0 failed", "{summary}\n{all}");
    }
}
