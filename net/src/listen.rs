//! Listening sockets, and telling TLS from plain XMPP by the first byte.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

/// A listening socket at `addr`, non-blocking, for `tokio::net::TcpListener::from_std`.
///
/// # Errors
///
/// What the system says, with the address.
pub fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let _ = addr;
    unimplemented!()
}

/// Whether the peer begins with a TLS handshake record; takes nothing off the stream.
///
/// # Errors
///
/// `UnexpectedEof` if the peer closes without a byte.
pub async fn first_byte_is_tls(stream: &TcpStream) -> io::Result<bool> {
    let _ = stream;
    unimplemented!()
}
