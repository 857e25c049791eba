//! Addresses of this machine that swallow connections without a word, as a black hole does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// A connection that is not up after this never will be: nothing leaves the machine.
const SWALLOWED: Duration = Duration::from_millis(100);

/// Listeners that take nothing: their backlogs are full.
pub(crate) struct Silent {
    port: u16,
    _listeners: Vec<TcpListener>,
    _backlogs: Vec<TcpStream>,
}

impl Silent {
    /// On these addresses, with one port.
    pub(crate) async fn on(addresses: &[&str]) -> Self {
        let (mut port, mut listeners, mut backlogs) = (0, Vec::new(), Vec::new());
        for address in addresses {
            let address: IpAddr = address.parse().unwrap();
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
            socket.bind((address, port).into()).unwrap();
            let listener = socket.listen(0).unwrap();
            let bound = listener.local_addr().unwrap();
            port = bound.port();
            backlogs.extend(fill(bound).await);
            listeners.push(listener);
        }
        Self { port, _listeners: listeners, _backlogs: backlogs }
    }

    /// Their port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

async fn fill(address: SocketAddr) -> Vec<TcpStream> {
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = timeout(SWALLOWED, TcpStream::connect(address)).await {
        held.push(stream);
    }
    held
}
