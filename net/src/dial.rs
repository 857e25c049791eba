//! Dialling: a staggered race over the addresses of a host (RFC 8305).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

/// A host to dial, as an SRV record named it, with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The host's name.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// In the order to try them.
    pub addresses: Vec<IpAddr>,
}

/// Why no connection came about: each address with what happened there.
#[derive(Debug, thiserror::Error)]
#[error("no address to dial")]
pub struct DialError {}

/// Connects to the first of `addresses` that answers.
///
/// The next one is tried when `delay` has passed or the one before has failed; after `limit` all
/// that is still open is given up.
///
/// # Errors
///
/// When none answered.
pub async fn race(
    addresses: &[SocketAddr],
    source: &[IpAddr],
    delay: Duration,
    limit: Duration,
) -> Result<TcpStream, DialError> {
    let _ = (addresses, source, delay, limit);
    unimplemented!()
}
