//! Listening sockets, and telling TLS from plain XMPP by the first byte.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

/// Connections that may wait to be accepted; the system caps it (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;
/// The content type of a TLS handshake record (RFC 8446 §5.1); no XML begins with it.
const HANDSHAKE: u8 = 0x16;
/// Ports tried where the system chooses: one that is free for TCP may be somebody's for UDP.
const TRIES: usize = 16;

/// A listening socket at `addr`, non-blocking, for `tokio::net::TcpListener::from_std`.
///
/// `[::]` takes IPv4 as well; on a machine without IPv6 it is all of IPv4. A port that an earlier
/// run left behind can be taken at once.
///
/// # Errors
///
/// What the system says, with the address.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    match listen(addr) {
        Err(error) if addr.ip().is_unspecified() && addr.is_ipv6() && lacks_ipv6(&error) => {
            listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port())))
        }
        result => result,
    }
    .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")))
}

/// A UDP socket and a listening one at `addr`, on one port even where that is 0: what DNS is asked over.
///
/// Both are non-blocking; what is said of [`bind`] holds for them.
///
/// # Errors
///
/// What the system says, with the address.
pub fn bind_both(addr: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 1;
    loop {
        let tcp = bind(addr)?;
        match datagrams(tcp.local_addr()?) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && addr.port() == 0 && tries < TRIES => tries += 1,
            Err(error) => return Err(io::Error::new(error.kind(), format!("cannot listen on {addr} (UDP): {error}"))),
        }
    }
}

fn datagrams(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // No address is used again here: for UDP that would share somebody's port instead of refusing it.
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// No such address family in the kernel, or it is there but switched off.
fn lacks_ipv6(error: &io::Error) -> bool {
    // Linux's number: std has no ErrorKind for it.
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// Whether the peer begins with a TLS handshake record; takes nothing off the stream.
///
/// Waits for the first byte without an end: the caller has the deadline.
///
/// # Errors
///
/// `UnexpectedEof` if the peer closes without a byte.
pub async fn first_byte_is_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed without a byte")),
        _ => Ok(first[0] == HANDSHAKE),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::{bind, bind_both, first_byte_is_tls};

    async fn accepted(first: &[u8]) -> TcpStream {
        let listener = TcpListener::from_std(bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let mut dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        dialled.write_all(first).await.unwrap();
        listener.accept().await.unwrap().0
    }

    #[tokio::test]
    async fn a_tls_handshake_is_told_by_its_first_byte_which_stays() {
        let mut stream = accepted(&[0x16, 3, 1]).await;
        assert!(first_byte_is_tls(&stream).await.unwrap());
        assert_eq!(stream.read_u8().await.unwrap(), 0x16);
    }

    #[tokio::test]
    async fn xml_is_not_tls() {
        assert!(!first_byte_is_tls(&accepted(b"<stream:stream").await).await.unwrap());
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_an_end_of_file() {
        let error = first_byte_is_tls(&accepted(b"").await).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn the_unspecified_address_takes_ipv4_too() {
        let listener = TcpListener::from_std(bind("[::]:0".parse().unwrap()).unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
    }

    #[test]
    fn a_port_in_use_is_named_in_the_error() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
    }

    #[test]
    fn udp_and_tcp_have_one_port() {
        for addr in ["127.0.0.1:0", "[::]:0"] {
            let (udp, tcp) = bind_both(addr.parse().unwrap()).unwrap();
            assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
            assert_ne!(udp.local_addr().unwrap().port(), 0);
        }
    }

    #[test]
    fn a_port_that_is_used_for_either_is_named_in_the_error() {
        // No other test is given a port of this address.
        let (udp, tcp) = bind_both("127.5.3.3:0".parse().unwrap()).unwrap();
        let address = udp.local_addr().unwrap();
        drop(tcp);
        let error = bind_both(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("cannot listen on {address} (UDP): ")), "{error}");
        drop(udp);
        let _tcp = bind(address).unwrap();
        assert_eq!(bind_both(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
