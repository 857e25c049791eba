//! What `check` found, for people and for scripts.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, ConfigErrors};

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something will not work, or not as expected.
    Warning,
    /// Good to know.
    Info,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: a domain, a key, a listener, an entry.
    pub subject: String,
    /// What is wrong.
    pub problem: String,
    /// Why that matters, or what was seen.
    pub why: String,
    /// What to do.
    pub advice: String,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether there is no error.
    pub ok: bool,
    /// The worst first.
    pub findings: Vec<Finding>,
}

impl Finding {
    pub(super) fn error(subject: impl ToString, problem: &str, why: impl ToString, advice: &str) -> Self {
        Self::new(Level::Error, subject, problem, why, advice)
    }

    pub(super) fn new(level: Level, subject: impl ToString, problem: &str, why: impl ToString, advice: &str) -> Self {
        let (subject, why) = (subject.to_string(), why.to_string());
        Self { level, subject, problem: problem.to_owned(), why, advice: advice.to_owned() }
    }
}

impl Report {
    /// Of these findings.
    #[must_use]
    pub fn new(findings: Vec<Finding>) -> Self {
        Self { ok: findings.iter().all(|finding| finding.level != Level::Error), findings }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Finding { level, subject, problem, why, advice } in &self.findings {
            let level = match level {
                Level::Error => "error",
                Level::Warning => "warning",
                Level::Info => "info",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{level}: {subject}: {problem}\n    why: {why}\n    do:  {advice}");
        }
        text + if self.ok { "no errors\n" } else { "there are errors\n" }
    }
}

impl From<&ConfigErrors> for Report {
    fn from(errors: &ConfigErrors) -> Self {
        Self::new(errors.iter().map(of_configuration).collect())
    }
}

fn of_configuration(error: &ConfigError) -> Finding {
    match error {
        ConfigError::Key { key, value, problem, allowed } => {
            let problem = problem.to_string();
            let why =
                value.as_ref().map_or_else(|| "nothing usable is set".to_owned(), |value| format!("it is {value}"));
            let advice =
                if allowed.is_empty() { "remove or rename the key".into() } else { format!("allowed: {allowed}") };
            Finding::error(key, &problem, why, &advice)
        }
        ConfigError::Unreadable { file, reason } => Finding::error(
            file.display(),
            "cannot be read",
            reason,
            "name the configuration with -c, and make it readable",
        ),
        ConfigError::Syntax { line, column, message } => {
            Finding::error(format!("line {line}, column {column}"), "is not TOML", message, "correct the line")
        }
    }
}
