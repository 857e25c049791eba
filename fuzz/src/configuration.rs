//! The configuration: whatever stands in the file, it is read, or every fault is told in a line of its own.

use std::path::Path;

use toml::Table;

use crate::config::{Config, ConfigError, ConfigErrors, Draft};

/// Reads `data` as a configuration.
///
/// # Panics
/// If a fault has no place, or the same configuration written differently is read differently.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let table = text.parse::<Table>();
    let written = table.as_ref().map(|table| table.to_string()).unwrap_or_default();
    // Secrets are read from files: some of those have no end.
    if ["/dev", "/proc", "/sys"].iter().any(|folder| written.contains(folder)) {
        return;
    }
    let outcome = read(text);
    match &outcome {
        Ok(config) => drop(config.warnings()),
        Err(errors) => expect_places(text, errors, table.is_ok()),
    }
    if table.is_ok() {
        assert_eq!(told(read(&written)), told(outcome), "for {written}");
    }
}

fn read(text: &str) -> Result<Config, ConfigErrors> {
    let draft = Draft::parse(text, Path::new("folder"))?;
    let is_named = draft.config().is_some();
    let finished = draft.finish();
    assert!(is_named || finished.is_err(), "nothing is accepted without the name of the host");
    finished
}

fn told(outcome: Result<Config, ConfigErrors>) -> Result<String, Vec<String>> {
    let lines = |errors: ConfigErrors| {
        let mut lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        lines.sort();
        lines
    };
    outcome.map(|config| format!("{config:?}")).map_err(lines)
}

/// Each fault is one line, and names a key, or a line of the text.
fn expect_places(text: &str, errors: &ConfigErrors, is_toml: bool) {
    assert!(errors.iter().next().is_some());
    for error in errors {
        let line = error.to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
        match error {
            ConfigError::Syntax { line, column, .. } => {
                assert!(!is_toml, "{error}");
                let there = text.split('\n').nth(line - 1).map(|line| line.chars().count() + 1);
                assert!(there.is_some_and(|length| (1..=length).contains(column)), "{error}");
            }
            ConfigError::Key { key, .. } => assert!(is_toml && !key.is_empty(), "{error}"),
            ConfigError::Unreadable { .. } => panic!("no file was named: {error}"),
        }
    }
}
