//! Why the demonstration failed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::authority::AuthorityError;
use super::component::ComponentError;
use crate::config::ConfigErrors;
use crate::launch::LaunchError;

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The temporary folder or something in it cannot be written.
    #[error("{}: {error}", folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There are no certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// There is no name server.
    #[error("the demonstration's name server: {0}")]
    NameServer(io::Error),
    /// The routers do not accept their configuration or their certificates: a mistake here.
    #[error("the demonstration's own configuration: {0}")]
    Config(#[from] ConfigErrors),
    /// A router does not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A component is not let in.
    #[error("{host}: {error}")]
    Component {
        /// By which host.
        host: &'static str,
        /// Why.
        error: ComponentError,
    },
    /// A router ended a component's link.
    #[error("a router closed the link of its component")]
    LinkEnded,
    /// A component received what nobody sent.
    #[error("a component received something unexpected: {0}")]
    Unexpected(String),
    /// Pairs did not become active in time.
    #[error("{missing} of {total} pairs did not become active: {list}")]
    Inactive {
        /// How many.
        missing: usize,
        /// Of how many.
        total: usize,
        /// Some of them, with the reason.
        list: List,
    },
    /// An echo did not come back.
    #[error("no echo from {to} to {from}")]
    NoEcho {
        /// Who asked.
        from: String,
        /// Who should have answered.
        to: String,
    },
    /// Stanzas neither arrived nor came back.
    #[error("{lost} of {sent} stanzas were lost: {list}")]
    Lost {
        /// How many.
        lost: u64,
        /// Of how many.
        sent: u64,
        /// Some of the flows that lack any.
        list: List,
    },
    /// Stanzas arrived twice or in another order.
    #[error("{duplicated} stanzas arrived more than once, {disordered} out of order")]
    Disturbed {
        /// How many more than once.
        duplicated: u64,
        /// How many out of order.
        disordered: u64,
    },
    /// Somebody has seen enough.
    #[error("interrupted")]
    Interrupted,
    /// Nobody can be told.
    #[error("standard output: {0}")]
    Output(io::Error),
}

/// The first few of many, in words.
#[derive(Debug)]
pub struct List {
    shown: Vec<String>,
    more: usize,
}

impl List {
    /// How many of them are named.
    pub(super) const NAMED: usize = 5;

    /// Names those in `shown`, which stand for `total`.
    pub(super) fn new(shown: Vec<String>, total: usize) -> Self {
        Self { more: total - shown.len(), shown }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown.join("; "))?;
        if self.more > 0 { write!(f, "; and {} more", self.more) } else { Ok(()) }
    }
}
