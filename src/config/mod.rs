//! The configuration: one TOML file, read and checked as a whole.
//!
//! A hand-walk takes key after key (`reader`), so that an operator sees every error at once, and what nobody took
//! is an unknown key. `config/heteronym.toml` shows every key with its default.

mod attach;
mod draft;
mod error;
mod federation;
mod limits;
mod local;
mod nearest;
mod network;
mod operations;
mod reader;
mod secret;
mod syntax;
#[cfg(test)]
mod tests;
mod value;
mod warning;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use heteronym_proto::limits::Limits;
use heteronym_proto::name::Name;

pub use attach::{Attach, AttachKind, LoopbackS2s};
pub use draft::Draft;
pub use error::{ConfigError, ConfigErrors, Problem};
pub use federation::{Classic, Delegation, Federation, Policy};
pub use local::Local;
pub use network::{Dns, Host, Listen, Peer, Roots, Tls};
pub use operations::{Admin, Log, LogFormat};
pub use secret::Secret;
pub use warning::Warning;

use reader::Section;

/// Where the configuration lies unless something else is said.
pub const DEFAULT_FILE: &str = "/etc/heteronym/heteronym.toml";
/// The environment variable that says something else.
pub const FILE_VARIABLE: &str = "HETERONYM_CONFIG";

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from, and is read again by a reload; none: from a text.
    pub file: Option<PathBuf>,
    /// `[host]`
    pub host: Host,
    /// `[listen]`
    pub listen: Listen,
    /// `[tls]`
    pub tls: Tls,
    /// `[dns]`
    pub dns: Dns,
    /// `[federation]`
    pub federation: Federation,
    /// `[classic]`
    pub classic: Classic,
    /// `[limits]`
    pub limits: Limits,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
    /// `[[local]]`, in the order of the file.
    pub locals: Vec<Local>,
    /// `[peers."…"]`
    pub peers: BTreeMap<Name, Peer>,
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it, and with the files that it names for secrets and domains.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Draft::load(path)?.finish()
    }

    /// Reads `text`; relative paths in it are relative to `folder`.
    ///
    /// # Errors
    /// Everything that is wrong with it, and with the files that it names for secrets and domains.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigErrors> {
        Draft::parse(text, folder)?.finish()
    }

    /// The configuration, and whom it trusts even if it lacks a host.
    fn read(root: &mut Section<'_>) -> (Option<Self>, Tls) {
        let host = root.section("host", Host::read);
        let listen = root.section("listen", Listen::read);
        let tls = root.section("tls", Tls::read);
        let dns = root.section("dns", Dns::read);
        dns.check_servers(&listen, root);
        let federation = root.section("federation", Federation::read);
        let classic = root.section("classic", Classic::read);
        let limits = root.section("limits", limits::read);
        let admin = root.section("admin", Admin::read);
        admin.check_listener(&listen, root);
        let log = root.section("log", Log::read);
        let locals = Local::read_all(root);
        let peers = Peer::read_all(root);
        let trusted = tls.clone();
        let config = host.map(|host| Self {
            file: None,
            host,
            listen,
            tls,
            dns,
            federation,
            classic,
            limits,
            admin,
            log,
            locals,
            peers,
        });
        (config, trusted)
    }
}

/// The file to read: `option` from the command line, else `$HETERONYM_CONFIG`, else [`DEFAULT_FILE`].
#[must_use]
pub fn choose_file(option: Option<PathBuf>) -> PathBuf {
    let variable = || env::var_os(FILE_VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from);
    option.or_else(variable).unwrap_or_else(|| DEFAULT_FILE.into())
}
