//! An XEP-0114 component, as small as one can be: stanzas in, stanzas out.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use heteronym_proto::component::{Dialled, Dialler, Secret};
use heteronym_proto::framer::{Frame, Framer, FramingError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// How long the router may take to let it in.
const ATTACH: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ: usize = 64 << 10;
/// The largest stanza that is taken, in bytes: more than any router lets through.
const STANZA: usize = 16 << 20;

/// Why a component is not attached, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The connection failed.
    #[error("the connection to the component port: {0}")]
    Io(#[from] io::Error),
    /// The router said no: a domain that it does not know, a wrong secret, a conflict.
    #[error("the router does not take the component: {0}")]
    Refused(#[from] heteronym_proto::component::ComponentError),
    /// The router sent what is no stream.
    #[error("the router's stream: {0}")]
    Framing(#[from] FramingError),
    /// The router did not answer.
    #[error("the router did not answer the component within {}s", ATTACH.as_secs())]
    Timeout,
}

/// A component that is attached to a router.
///
/// One link serves every domain of its `[[local]]` entry. Nothing is answered by itself, pings included.
#[derive(Debug)]
pub struct Component {
    sender: Sender,
    receiver: Receiver,
}

/// The half that sends.
#[derive(Debug)]
pub struct Sender(OwnedWriteHalf);

/// The half that receives.
#[derive(Debug)]
pub struct Receiver {
    stream: OwnedReadHalf,
    buffer: BytesMut,
    framer: Framer,
}

impl Component {
    /// Attaches to the router whose component port is at `address`, as `domain`.
    ///
    /// # Errors
    /// If the router is not there or does not take it.
    pub async fn attach(address: SocketAddr, domain: &str, secret: &str) -> Result<Self, ComponentError> {
        let attaching = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (read, write) = stream.into_split();
            let receiver = Receiver { stream: read, buffer: BytesMut::new(), framer: Framer::new(STANZA) };
            let mut component = Self { sender: Sender(write), receiver };
            component.shake_hands(domain, secret).await?;
            Ok(component)
        };
        timeout(ATTACH, attaching).await.unwrap_or(Err(ComponentError::Timeout))
    }

    async fn shake_hands(&mut self, domain: &str, secret: &str) -> Result<(), ComponentError> {
        let (mut dialler, header) = Dialler::new(domain, Secret::new(secret.to_owned()));
        self.sender.send(&header).await?;
        loop {
            let frame = self.receiver.frame().await?.unwrap_or(Frame::End);
            match dialler.frame(frame)? {
                Dialled::Send(bytes) => self.sender.send(&bytes).await?,
                Dialled::Up => return Ok(()),
            }
        }
    }

    /// Sends a stanza, or many in one piece; returns when the system has taken them.
    ///
    /// # Errors
    /// If the connection has failed.
    pub async fn send(&mut self, stanzas: &[u8]) -> io::Result<()> {
        self.sender.send(stanzas).await
    }

    /// The next element, which may be a stream error; `None` at the end of the stream or connection.
    /// Nothing is lost if it is dropped while it waits.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.receiver.next().await
    }

    /// One half for each direction, so that sending does not wait for receiving.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Ends the stream in good order.
    ///
    /// # Errors
    /// If the connection has failed.
    pub async fn close(mut self) -> io::Result<()> {
        self.sender.close().await
    }
}

impl Sender {
    /// As [`Component::send`].
    ///
    /// # Errors
    /// If the connection has failed.
    pub async fn send(&mut self, stanzas: &[u8]) -> io::Result<()> {
        self.0.write_all(stanzas).await
    }

    /// Ends our direction of the stream.
    ///
    /// # Errors
    /// If the connection has failed.
    pub async fn close(&mut self) -> io::Result<()> {
        self.0.write_all(b"</stream:stream>").await?;
        self.0.shutdown().await
    }
}

impl Receiver {
    /// As [`Component::next`].
    pub async fn next(&mut self) -> Option<Bytes> {
        match self.frame().await {
            Ok(Some(Frame::Element(bytes))) => Some(bytes),
            Ok(Some(Frame::Header(_) | Frame::TooLarge { .. } | Frame::End) | None) | Err(_) => None,
        }
    }

    /// What has arrived already, without waiting: the rest of what [`next`](Self::next) read at once.
    pub fn try_next(&mut self) -> Option<Bytes> {
        match self.framer.next_frame() {
            Ok(Some(Frame::Element(bytes))) => Some(bytes),
            Ok(Some(Frame::Header(_) | Frame::TooLarge { .. } | Frame::End) | None) | Err(_) => None,
        }
    }

    async fn frame(&mut self) -> Result<Option<Frame>, ComponentError> {
        loop {
            if let Some(frame) = self.framer.next_frame()? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(READ);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
            self.framer.push(self.buffer.split());
        }
    }
}
