//! A connection while its stream is negotiated: frames in, bytes out, TLS in between, all in time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use heteronym_net::listen::first_byte_is_tls;
use heteronym_net::tls::{ServerSecured, ServerTls, TlsError};
use heteronym_net::wire::{Reader, Stream, Writer, join, split};
use heteronym_proto::classic::ClassicError;
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::limits::{UNAUTHENTICATED_BYTES, UNAUTHENTICATED_TOTAL};
use heteronym_proto::stream_error::{Condition, StreamError};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::LINGER;
use crate::metrics::Metrics;

/// Why a negotiation ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Classic(ClassicError),
    #[error("{0}")]
    Connection(String),
}

impl Fault {
    fn told(condition: Condition, text: &str) -> Self {
        Self::Classic(ClassicError::Told(StreamError::new(condition, text)))
    }

    /// RFC 6120 §4.9.3.3.
    fn late() -> Self {
        Self::told(Condition::ConnectionTimeout, "no stream within the time for connecting")
    }

    /// Whether another domain of ours may fare better.
    pub(super) fn is_about_our_domain(&self) -> bool {
        match self {
            Self::Classic(error) => error.is_about_our_domain(),
            Self::Connection(_) => false,
        }
    }

    pub(super) fn farewell(&self) -> Bytes {
        match self {
            Self::Classic(error) => error.farewell(),
            Self::Connection(_) => Bytes::new(),
        }
    }
}

/// A negotiation's connection.
pub(super) struct Talk {
    /// Gone while TLS takes the connection over.
    pub(super) halves: Option<(Reader, Writer)>,
    pub(super) framer: Framer,
    pub(super) address: SocketAddr,
    /// The other side's certificates, leaf first.
    pub(super) chain: Vec<Vec<u8>>,
    until: Instant,
    read: u64,
}

impl Talk {
    /// On this connection, to be over within `limit`.
    pub(super) fn new(tcp: TcpStream, limit: Duration) -> Result<Self, String> {
        let address = tcp.peer_addr().map_err(|error| error.to_string())?;
        let halves = Some(split(Stream::Plain(tcp)));
        let until = Instant::from_std(crate::now().instant) + limit;
        Ok(Self { halves, framer: Framer::new(UNAUTHENTICATED_BYTES), address, chain: Vec::new(), until, read: 0 })
    }

    /// Whether the other side begins with TLS (XEP-0368).
    pub(super) async fn begins_with_tls(&mut self) -> Result<bool, Fault> {
        let gone = |why: String| Fault::Connection(why);
        let tcp = self.plain().map_err(gone)?;
        let first = timeout_at(self.until, first_byte_is_tls(&tcp)).await;
        self.halves = Some(split(Stream::Plain(tcp)));
        first.map_err(|_| Fault::late())?.map_err(|error| gone(error.to_string()))
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let (_, writer) = self.halves.as_mut().ok_or_else(gone)?;
        let written = timeout_at(self.until, writer.write(bytes)).await.map_err(|_| Fault::late())?;
        written.map_err(|error| Fault::Connection(error.to_string()))
    }

    pub(super) async fn frame(&mut self) -> Result<Frame, Fault> {
        loop {
            match self.framer.next_frame() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => (),
                Err(error) => return Err(Fault::Classic(ClassicError::Told(error.stream_error()))),
            }
            if self.read > UNAUTHENTICATED_TOTAL {
                return Err(Fault::told(Condition::PolicyViolation, "too much before authentication"));
            }
            let (reader, _) = self.halves.as_mut().ok_or_else(gone)?;
            let read = timeout_at(self.until, reader.read()).await.map_err(|_| Fault::late())?;
            let read = read.map_err(|error| Fault::Connection(error.to_string()))?;
            let read = read.ok_or_else(|| Fault::Connection("it closed the connection".to_owned()))?;
            self.read += read.len() as u64;
            self.framer.push(read);
        }
    }

    /// Says goodbye as well as it can; gives back why.
    pub(super) async fn give_up(self, farewell: Bytes, why: String) -> String {
        if let Some((_reader, mut writer)) = self.halves {
            let goodbye = async {
                let _ = writer.write(&farewell).await;
                let _ = writer.shutdown().await;
            };
            let _ = tokio::time::timeout(LINGER, goodbye).await;
        }
        why
    }

    pub(super) async fn secure_as_client(
        &mut self,
        tls: &ServerTls,
        metrics: &Metrics,
        (local, remote): (&str, &str),
    ) -> Result<(), Fault> {
        let tcp = self.plain().map_err(Fault::Connection)?;
        let secured = timeout_at(self.until, tls.connect(tcp, local, remote)).await;
        self.secured(metrics, "client", secured.map_err(|_| Fault::late())?)
    }

    pub(super) async fn secure_as_server(
        &mut self,
        tls: &ServerTls,
        metrics: &Metrics,
        to: Option<&str>,
    ) -> Result<(), Fault> {
        let tcp = self.plain().map_err(Fault::Connection)?;
        let secured = timeout_at(self.until, tls.accept(tcp, to)).await;
        self.secured(metrics, "server", secured.map_err(|_| Fault::late())?)
    }

    /// The connection below, on which TLS begins now; nothing may have been sent ahead of it.
    fn plain(&mut self) -> Result<TcpStream, String> {
        if self.framer.buffered() > 0 {
            return Err("bytes behind the request for STARTTLS, which TLS does not protect".to_owned());
        }
        let (reader, writer) = self.halves.take().ok_or(GONE)?;
        join(reader, writer).ok_or_else(|| GONE.to_owned())
    }

    fn secured(
        &mut self,
        metrics: &Metrics,
        role: &'static str,
        secured: Result<ServerSecured, TlsError>,
    ) -> Result<(), Fault> {
        metrics.tls_handshake(role, secured.is_ok());
        let ServerSecured { stream, peer_chain } = secured.map_err(|error| Fault::Connection(error.to_string()))?;
        self.halves = Some(split(stream));
        self.framer = Framer::new(UNAUTHENTICATED_BYTES);
        self.chain = peer_chain;
        Ok(())
    }
}

fn gone() -> Fault {
    Fault::Connection(GONE.to_owned())
}

const GONE: &str = "the connection is gone";
