//! `[admin]` and `[log]`: what operators see.

use std::path::PathBuf;

use heteronym_proto::shown::Jids;
use tracing::level_filters::LevelFilter;

use super::error::Problem;
use super::network::Listen;
use super::reader::Section;
use super::secret::Secret;
use super::value::{Choice, Refusal, choice};

/// `[admin]`: who may use the admin interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The file with the token.
    pub token_file: Option<PathBuf>,
    /// The token itself; none: whoever reaches the listener may use it.
    pub token: Option<Secret>,
}

/// `[log]`: what is written to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: LevelFilter,
    /// How a line looks.
    pub format: LogFormat,
    /// How much of an address a line may show.
    pub jids: Jids,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Choice for Jids {
    const WORDS: &'static [(&'static str, Self)] =
        &[("full", Self::Full), ("domain", Self::Domain), ("none", Self::None)];
}

impl Choice for LevelFilter {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::ERROR),
        ("warn", Self::WARN),
        ("info", Self::INFO),
        ("debug", Self::DEBUG),
        ("trace", Self::TRACE),
    ];
}

impl Admin {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        match section.secret_file("token_file") {
            Some((file, token)) => Self { token_file: Some(file), token },
            None => Self::default(),
        }
    }

    /// Refuses every address of the admin listener that others could reach without a token.
    pub(super) fn check_listener(&self, listen: &Listen, root: &Section<'_>) {
        if self.token_file.is_some() {
            return;
        }
        for address in listen.admin.iter().filter(|address| !address.ip().to_canonical().is_loopback()) {
            let allowed = "a loopback address such as \"127.0.0.1:9280\", or a token in admin.token_file".into();
            root.refuse(
                "listen.admin",
                Some(format!("\"{address}\"")),
                Refusal { problem: Problem::Unprotected, allowed },
            );
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LevelFilter::INFO, format: LogFormat::default(), jids: Jids::default() }
    }
}

impl Log {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            level: section.value("level", choice).unwrap_or(default.level),
            format: section.value("format", choice).unwrap_or(default.format),
            jids: section.value("jids", choice).unwrap_or(default.jids),
        }
    }
}
