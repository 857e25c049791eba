//! Asks a running daemon for its status.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::Agent;

use crate::config::Config;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest document that is read: a hundred thousand pairs with long errors.
const DOCUMENT_BYTES: u64 = 256 << 20;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The configuration switches the admin interface off.
    #[error("listen.admin is empty in the configuration: the daemon has no admin interface to ask")]
    NoListener,
    /// Nobody listens, or it does not speak HTTP.
    #[error("no answer from {url}: {reason}; is the daemon running with this configuration?")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// Why there was no answer.
        reason: ureq::Error,
    },
    /// The daemon, or somebody else on its port, answered something else.
    #[error("{url} answered {status}: {text}")]
    Refused {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The first line of the answer.
        text: String,
    },
    /// The answer is not a status document.
    #[error("{url} answered something else than a status: {reason}")]
    Malformed {
        /// What was asked.
        url: String,
        /// What does not fit.
        reason: serde_json::Error,
    },
}

/// Asks the daemon that `config` describes, and returns its document as a `T`.
///
/// # Errors
/// [`QueryError`] if it does not answer with one.
pub fn query<T: DeserializeOwned>(config: &Config) -> Result<T, QueryError> {
    let listener = *config.listen.admin.first().ok_or(QueryError::NoListener)?;
    let url = format!("http://{}/api/status", reachable(listener));
    let mut request = agent().get(&url);
    if let Some(token) = &config.admin.token {
        request = request.header("Authorization", format!("Bearer {}", token.expose()));
    }
    let no_answer = |reason| QueryError::NoAnswer { url: url.clone(), reason };
    let mut response = request.call().map_err(no_answer)?;
    let text = response.body_mut().with_config().limit(DOCUMENT_BYTES).read_to_string().map_err(no_answer)?;
    let status = response.status();
    if !status.is_success() {
        let text = text.lines().next().unwrap_or("").to_owned();
        return Err(QueryError::Refused { url, status: status.as_u16(), text });
    }
    serde_json::from_str(&text).map_err(|reason| QueryError::Malformed { url, reason })
}

/// An agent that goes straight to the daemon, whatever proxy the environment names.
fn agent() -> Agent {
    let config = Agent::config_builder().proxy(None).http_status_as_error(false).timeout_global(Some(PATIENCE));
    config.build().into()
}

/// Where `listener` can be dialled: an unspecified address means every address, loopback included.
fn reachable(listener: SocketAddr) -> SocketAddr {
    match listener {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}
