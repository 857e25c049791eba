//! Dialling: a staggered race over the addresses of a host (RFC 8305).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpSocket, TcpStream};

/// How long an attempt gets before the next one starts beside it (RFC 8305 §5).
pub const STAGGER: Duration = Duration::from_millis(250);

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

impl Candidate {
    /// What [`race`] dials.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        self.addresses.iter().map(|address| SocketAddr::new(*address, self.port)).collect()
    }
}

/// Why no connection came about: each address with what happened there, in the order of the ends.
///
/// Empty if there was nothing to dial.
#[derive(Debug, thiserror::Error)]
pub struct DialError {
    /// The addresses tried.
    pub attempts: Vec<(SocketAddr, io::Error)>,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("no address to dial");
        }
        for (n, (address, error)) in self.attempts.iter().enumerate() {
            let comma = if n == 0 { "" } else { "; " };
            write!(f, "{comma}{address}: {error}")?;
        }
        Ok(())
    }
}

/// Connects to the first of `addresses` that answers, without Nagle's delay.
///
/// The next address is tried when `delay` (as a rule [`STAGGER`]) has passed or the one before has
/// failed; the ones before stay in the race. After `limit` whatever is still open is given up.
/// `source` are the local addresses to dial from: the first of the right family is used; none given
/// means the system's choice.
///
/// # Errors
///
/// When none answered: every address with its error; those not reached within `limit` included.
pub async fn race(
    addresses: &[SocketAddr],
    source: &[IpAddr],
    delay: Duration,
    limit: Duration,
) -> Result<TcpStream, DialError> {
    let mut waiting = addresses.iter().copied();
    let mut open = FuturesUnordered::new();
    let mut failed = Vec::new();
    let end = tokio::time::sleep(limit);
    tokio::pin!(end);
    loop {
        open.extend(waiting.next().map(|address| attempt(address, source)));
        if open.is_empty() {
            return Err(DialError { attempts: failed });
        }
        tokio::select! {
            Some((address, result)) = open.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(error) => failed.push((address, error)),
            },
            () = tokio::time::sleep(delay), if waiting.len() > 0 => {}
            () = &mut end => return Err(out_of_time(addresses, failed)),
        }
    }
}

async fn attempt(address: SocketAddr, source: &[IpAddr]) -> (SocketAddr, io::Result<TcpStream>) {
    (address, connect(address, source).await)
}

async fn connect(address: SocketAddr, source: &[IpAddr]) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !source.is_empty() {
        let from = source.iter().find(|from| from.is_ipv4() == address.is_ipv4());
        let from = from.ok_or_else(|| io::Error::other("host.source has no address of this family"))?;
        socket.bind(SocketAddr::new(*from, 0))?;
    }
    // Writes are coalesced above: what is written is meant to leave at once.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

fn out_of_time(addresses: &[SocketAddr], mut failed: Vec<(SocketAddr, io::Error)>) -> DialError {
    for address in addresses {
        if failed.iter().all(|(tried, _)| tried != address) {
            failed.push((*address, io::Error::new(io::ErrorKind::TimedOut, "no answer in time")));
        }
    }
    DialError { attempts: failed }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{IpAddr, SocketAddr};
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::{Candidate, STAGGER, race};

    const LIMIT: Duration = Duration::from_secs(5);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address where nobody listens, for as long as the socket is kept.
    fn closed() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// An address that swallows connections without a word: a backlog that is full.
    async fn silent() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
            held.push(stream);
        }
        (listener, held, address)
    }

    #[tokio::test]
    async fn a_refused_address_is_skipped_without_the_stagger() {
        let (_closed, dead) = closed();
        let (_listener, alive) = listener().await;
        let never = Duration::from_secs(3600);
        let stream = race(&[dead, alive], &[], never, LIMIT).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_silent_address_is_overtaken_after_the_stagger() {
        let (_silent, _held, dead) = silent().await;
        let (_listener, alive) = listener().await;
        let stream = race(&[dead, alive], &[], Duration::from_millis(5), LIMIT).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), alive);
    }

    #[tokio::test]
    async fn the_error_lists_every_address_with_its_reason() {
        let (_closed, refused) = closed();
        let (_silent, _held, silent) = silent().await;
        let error = race(&[refused, silent], &[], STAGGER, Duration::from_millis(20)).await.unwrap_err();
        let kinds: Vec<_> = error.attempts.iter().map(|(address, error)| (*address, error.kind())).collect();
        assert_eq!(kinds, [(refused, io::ErrorKind::ConnectionRefused), (silent, io::ErrorKind::TimedOut)]);
        assert!(error.to_string().contains(&format!("; {silent}: no answer in time")), "{error}");
    }

    #[tokio::test]
    async fn nothing_to_dial_is_said_at_once() {
        let error = race(&[], &[], STAGGER, LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), "no address to dial");
    }

    #[tokio::test]
    async fn the_source_address_is_used() {
        let (listener, address) = listener().await;
        let source: IpAddr = "127.0.0.2".parse().unwrap();
        let _stream = race(&[address], &[source], STAGGER, LIMIT).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1.ip(), source);
    }

    #[tokio::test]
    async fn an_address_without_a_source_of_its_family_is_not_dialled() {
        let (_listener, address) = listener().await;
        let error = race(&[address], &["::1".parse().unwrap()], STAGGER, LIMIT).await.unwrap_err();
        assert!(error.to_string().contains("no address of this family"), "{error}");
    }

    #[test]
    fn a_candidate_has_one_port_for_all_its_addresses() {
        let addresses = vec!["::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        let candidate = Candidate { host: "xmpp.my.isp".to_owned(), port: 5270, addresses };
        assert_eq!(candidate.sockets(), ["[::1]:5270".parse().unwrap(), "192.0.2.1:5270".parse().unwrap()]);
    }
}
