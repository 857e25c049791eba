//! A configuration on its way: what could be read, and everything that is wrong so far.

use std::fs;
use std::path::Path;

use super::error::{ConfigError, ConfigErrors};
use super::network::Tls;
use super::reader::Report;
use super::{Config, syntax};

/// What was read of a file, whether it is right or not.
pub struct Draft {
    config: Option<Config>,
    tls: Tls,
    errors: Vec<ConfigError>,
}

impl Draft {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or is not TOML: then nothing can be said about its keys.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let unreadable =
            |error: std::io::Error| ConfigError::Unreadable { file: path.into(), reason: error.to_string() };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let mut draft = Self::parse(&text, path.parent().unwrap_or(Path::new("")))?;
        draft.config.iter_mut().for_each(|config| config.file = Some(path.to_owned()));
        Ok(draft)
    }

    /// Reads `text`; relative paths in it are relative to `folder`.
    ///
    /// # Errors
    /// If it is not TOML.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigErrors> {
        let report = Report::new(folder);
        let (config, tls) = report.read(syntax::parse(text)?, Config::read);
        Ok(Self { config, tls, errors: report.into_errors() })
    }

    /// The configuration, where wrong keys have their defaults; none without a host name.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// Whom it trusts, whatever else is missing.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Adds what is wrong beyond the file itself.
    pub fn refuse(&mut self, errors: impl IntoIterator<Item = ConfigError>) {
        self.errors.extend(errors);
    }

    /// The configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn finish(self) -> Result<Config, ConfigErrors> {
        match (self.config, ConfigErrors::from_list(self.errors)) {
            (_, Some(errors)) => Err(errors),
            (Some(config), None) => Ok(config),
            (None, None) => unreachable!("a part is missing only where an error was reported"),
        }
    }
}
