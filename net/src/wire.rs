//! Bytes in batches: large reads, coalesced writes.
//!
//! For single-threaded runtimes (`LocalSet`, an actix arbiter): nothing here is `Send` once split.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsStream;

/// A connection, with or without TLS.
pub enum Stream {
    /// Nothing but TCP.
    Plain(TcpStream),
    /// TLS over TCP, whoever dialled.
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
}

impl Stream {
    /// The peer's address.
    ///
    /// # Errors
    ///
    /// If the connection is gone already.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        unimplemented!()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, _buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        unimplemented!()
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, _buf: &[u8]) -> Poll<io::Result<usize>> {
        unimplemented!()
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        unimplemented!()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        unimplemented!()
    }
}

/// The reading half.
pub struct Reader {
    _shared: Rc<RefCell<Stream>>,
}

/// The writing half.
pub struct Writer {
    _shared: Rc<RefCell<Stream>>,
}

/// What [`pump`] writes.
pub trait Source {
    /// Appends what is to be written next, up to about `room` bytes; nothing appended: idle.
    fn fill(&mut self, out: &mut BytesMut, room: usize);
    /// Once it says so and nothing is left, the write side is shut down.
    fn is_closed(&self) -> bool;
}

/// Splits a stream into halves for two tasks of one thread.
#[must_use]
pub fn split(stream: Stream) -> (Reader, Writer) {
    let _ = stream;
    unimplemented!()
}

/// Puts the halves of a plain stream together again, for STARTTLS. `None`: not the halves of one
/// plain stream.
#[must_use]
pub fn join(reader: Reader, writer: Writer) -> Option<TcpStream> {
    let _ = (reader, writer);
    unimplemented!()
}

impl Reader {
    /// Everything that is there, at most 64 KiB; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the connection died of.
    pub async fn read(&mut self) -> io::Result<Option<BytesMut>> {
        unimplemented!()
    }
}

/// Writes what `source` has until it is closed; waits for `wake` while it has nothing.
///
/// # Errors
///
/// What the connection died of.
pub async fn pump<S: Source>(writer: Writer, source: Rc<RefCell<S>>, wake: Rc<Notify>) -> io::Result<()> {
    let _ = (writer, source, wake);
    unimplemented!()
}
