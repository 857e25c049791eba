//! Bytes in batches: large reads, coalesced writes.
//!
//! At low rates a stanza costs its wake-up and its system calls, at high rates its share of a full
//! TLS record: so a read takes everything that is there, and a write everything that waits. A lone
//! stanza is never held back for company.
//!
//! For single-threaded runtimes (`LocalSet`, an actix arbiter): the halves share the stream without
//! a lock and are not `Send`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;

mod stream;

pub use stream::Stream;

/// Bytes of one batch: four full TLS records.
pub const BATCH: usize = 64 << 10;
/// Room for a batch to be written, which may be more by what is not split.
const WRITTEN: usize = BATCH + (16 << 10);
/// With less room than this a fresh block is taken for reading: one TLS record always fits.
const LEAST_ROOM: usize = 16 << 10;

/// The reading half.
pub struct Reader {
    stream: Rc<RefCell<Stream>>,
    /// Empty between reads; its spare room is the rest of the current block.
    block: BytesMut,
    /// The end of the stream, seen while there were still bytes to hand out.
    ended: Option<io::Result<()>>,
}

/// The writing half.
pub struct Writer {
    stream: Rc<RefCell<Stream>>,
}

/// What [`pump`] writes.
pub trait Source {
    /// Appends what is to be written next, up to about `room` bytes; nothing appended: idle.
    ///
    /// It may go over by one stanza rather than split it. It must not wake the pump in here.
    fn fill(&mut self, out: &mut BytesMut, room: usize);

    /// Once it says so and nothing is left to fill, the write side is shut down.
    fn is_closed(&self) -> bool;
}

/// Splits a stream into halves for two tasks of one thread.
#[must_use]
pub fn split(stream: Stream) -> (Reader, Writer) {
    let stream = Rc::new(RefCell::new(stream));
    let reader = Reader { stream: Rc::clone(&stream), block: BytesMut::new(), ended: None };
    (reader, Writer { stream })
}

/// Puts the halves of a plain stream together again, for STARTTLS. `None`: they are not the halves
/// of one plain stream, and both are gone.
///
/// Everything read was handed out: whatever the peer sent behind `<starttls/>` or `<proceed/>` is
/// with the caller, who must refuse it (bytes from before TLS must not count as secured).
#[must_use]
pub fn join(reader: Reader, writer: Writer) -> Option<TcpStream> {
    if !Rc::ptr_eq(&reader.stream, &writer.stream) {
        return None;
    }
    drop(reader);
    match Rc::try_unwrap(writer.stream).ok()?.into_inner() {
        Stream::Plain(tcp) => Some(tcp),
        Stream::Tls(_) => None,
    }
}

impl Reader {
    /// Everything that is there, at most 64 KiB; `None` at the end of the stream.
    ///
    /// What it returns shares a block of 64 KiB with the reads before and after it, so that small
    /// reads cost no allocation: copy what is to be kept for long.
    ///
    /// # Errors
    ///
    /// What the connection died of, after all bytes before. `UnexpectedEof`: a TLS connection was
    /// cut off without its closing alert, by a careless peer or an attacker. Whether something is
    /// missing, `</stream:stream>` tells.
    pub async fn read(&mut self) -> io::Result<Option<BytesMut>> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<BytesMut>>> {
        if self.ended.is_none() {
            self.drain(cx);
        }
        if !self.block.is_empty() {
            return Poll::Ready(Ok(Some(self.block.split())));
        }
        match self.ended.take() {
            None => Poll::Pending,
            Some(end) => Poll::Ready(end.map(|()| None)),
        }
    }

    /// Reads until nothing is there, the batch is full, or the stream ends. TLS hands out a record
    /// at a time: without this loop a batch would be 16 KiB.
    fn drain(&mut self, cx: &mut Context<'_>) {
        if self.block.capacity() < LEAST_ROOM {
            // Takes the same block again if all that was handed out is gone.
            self.block.reserve(BATCH);
        }
        let size = self.block.capacity().min(BATCH);
        let mut stream = self.stream.borrow_mut();
        while self.block.len() < size {
            let room = size - self.block.len();
            let mut rest = (&mut self.block).limit(room);
            match pin!(stream.read_buf(&mut rest)).poll(cx) {
                Poll::Ready(Ok(0)) => self.ended = Some(Ok(())),
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(error)) => self.ended = Some(Err(error)),
                Poll::Pending => {}
            }
            return;
        }
    }
}

impl Writer {
    /// Writes all of `bytes` and sees it off: for negotiation, before there is a [`pump`].
    ///
    /// # Errors
    ///
    /// What the connection died of.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = self.poll(|stream, cx| stream.poll_write(cx, rest)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
        }
        self.poll(|stream, cx| stream.poll_flush(cx)).await
    }

    /// Says that nothing more will come; the peer may go on.
    ///
    /// # Errors
    ///
    /// What the connection died of.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.poll(|stream, cx| stream.poll_shutdown(cx)).await
    }

    /// Borrows the stream for one poll at a time: the reader has its turns in between.
    async fn poll<T>(
        &mut self,
        mut with: impl FnMut(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        poll_fn(|cx| with(Pin::new(&mut *self.stream.borrow_mut()), cx)).await
    }
}

/// Writes what `source` has until it is closed; waits for `wake` while it has nothing.
///
/// Wake it with `notify_one`, which is remembered while the pump is busy. Everything that came
/// together by the time the pump runs leaves in one batch.
///
/// # Errors
///
/// What the connection died of; what was filled but not written is lost with it.
pub async fn pump<S: Source>(mut writer: Writer, source: Rc<RefCell<S>>, wake: Rc<Notify>) -> io::Result<()> {
    let mut out = BytesMut::new();
    loop {
        // At once, so that it need not be copied while it grows.
        out.reserve(WRITTEN);
        source.borrow_mut().fill(&mut out, BATCH);
        if !out.is_empty() {
            writer.write(&out).await?;
            out.clear();
            continue;
        }
        if source.borrow().is_closed() {
            return writer.shutdown().await;
        }
        // Most connections are idle.
        out = BytesMut::new();
        wake.notified().await;
    }
}

#[cfg(test)]
mod tests;
