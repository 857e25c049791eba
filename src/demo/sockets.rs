//! How many TCP connections there are between the two hosts, as the operating system counts them.

use std::collections::HashSet;
use std::net::SocketAddr;

use procfs::ProcResult;
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};

/// The established connections with one end at one of the `listeners`.
///
/// # Errors
/// Where there is no `/proc/net/tcp`.
pub(super) fn connections(listeners: &[SocketAddr]) -> ProcResult<usize> {
    // Without IPv6 there is no second table.
    let entries = tcp()?.into_iter().chain(tcp6().unwrap_or_default());
    Ok(count(entries.filter(|entry| entry.state == TcpState::Established), listeners))
}

/// Both ends of a connection are on this machine, so each is in the table twice.
fn count(entries: impl Iterator<Item = TcpNetEntry>, listeners: &[SocketAddr]) -> usize {
    let ends = entries.map(|entry| (canonical(entry.local_address), canonical(entry.remote_address)));
    let between = ends.filter(|(local, remote)| listeners.contains(local) || listeners.contains(remote));
    between.map(|(one, two)| if one < two { (one, two) } else { (two, one) }).collect::<HashSet<_>>().len()
}

/// IPv4 as IPv4, whichever kind of socket carries it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn every_connection_is_counted_once() {
        let listeners = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(connections(&addresses).unwrap(), 0);
        let streams = [addresses[0], addresses[1], addresses[1], elsewhere.local_addr().unwrap()];
        let _streams = streams.map(|address| TcpStream::connect(address).unwrap());
        assert_eq!(connections(&addresses).unwrap(), 3);
    }
}
