//! A stream by hand: bytes out, frames in.

use bytes::BytesMut;
use heteronym_proto::checker::Scope;
use heteronym_proto::element::Element;
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::header::Header;
use heteronym_proto::stream_error::{Condition, StreamError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::soon;

/// More than any router of these tests lets through.
const ELEMENT_BYTES: usize = 4 << 20;

/// One end of a stream.
pub(crate) struct Wire<S> {
    io: S,
    buffer: BytesMut,
    framer: Framer,
    scope: Scope,
    /// Whether barriers are told, which a component answers or not as it likes.
    pub(crate) hears_barriers: bool,
}

/// What comes out of a stream.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The start of the stream.
    Header(Header),
    /// A whole element.
    Element(Element),
    /// `</stream:stream>`.
    End,
    /// The connection's end, in good order or not.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// An end of a stream whose elements are in `scope`.
    pub(crate) fn new(io: S, scope: Scope) -> Self {
        Self { io, buffer: BytesMut::new(), framer: Framer::new(ELEMENT_BYTES), scope, hears_barriers: false }
    }

    /// Sends bytes, whatever they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("sending", async {
            self.io.write_all(bytes.as_ref()).await.unwrap();
            self.io.flush().await.unwrap();
        })
        .await;
    }

    /// Sends bytes to somebody who may be gone.
    ///
    /// # Errors
    /// What the connection died of.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.io.write_all(bytes.as_ref()).await?;
        self.io.flush().await
    }

    /// Says that nothing more will come, without an end of the stream.
    pub(crate) async fn half_close(&mut self) {
        soon("closing one half", self.io.shutdown()).await.unwrap();
    }

    /// A header comes next, as after SASL.
    pub(crate) fn restart(&mut self) {
        self.framer.restart();
    }

    /// The connection, where nothing that was read is left.
    pub(crate) fn into_io(mut self) -> S {
        assert!(self.framer.take_rest().is_empty(), "bytes that nobody has looked at");
        self.io
    }

    /// What comes next.
    pub(crate) async fn hear(&mut self) -> Heard {
        soon("the other end", self.frame()).await
    }

    async fn frame(&mut self) -> Heard {
        loop {
            match self.framer.next_frame().unwrap() {
                Some(Frame::Header(bytes)) => return Heard::Header(Header::parse(&bytes).unwrap()),
                Some(Frame::Element(bytes)) => {
                    let element = Element::parse(&bytes, &self.scope).unwrap();
                    if self.hears_barriers || !is_barrier(&element) {
                        return Heard::Element(element);
                    }
                    continue;
                }
                Some(Frame::TooLarge { bytes, .. }) => panic!("an element of {bytes} bytes"),
                Some(Frame::End) => return Heard::End,
                None => (),
            }
            match self.io.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Heard::Closed,
                Ok(_) => self.framer.push(self.buffer.split()),
            }
        }
    }

    /// The header that comes next.
    pub(crate) async fn header(&mut self) -> Header {
        match self.hear().await {
            Heard::Header(header) => header,
            other => panic!("expected a header: {other:?}"),
        }
    }

    /// The element that comes next.
    pub(crate) async fn element(&mut self) -> Element {
        match self.hear().await {
            Heard::Element(element) => element,
            other => panic!("expected an element: {other:?}"),
        }
    }

    /// Expects a stream error, behind which stream and connection end.
    pub(crate) async fn expect_error(&mut self, condition: Condition) {
        self.hear_error(condition).await;
    }

    /// The same; the text of the error.
    pub(crate) async fn hear_error(&mut self, condition: Condition) -> String {
        let element = self.element().await;
        let error = StreamError::from_element(&element);
        assert_eq!(error.as_ref().map(|error| error.condition), Some(condition), "{element:?}");
        self.expect_end().await;
        error.and_then(|error| error.text).unwrap_or_default()
    }

    /// Expects the end of the stream, and of the connection.
    pub(crate) async fn expect_end(&mut self) {
        let end = self.hear().await;
        assert!(matches!(end, Heard::End), "expected the end of the stream: {end:?}");
        // The answer to an end is an end (RFC 6120 §4.4); the router may be gone already.
        let _ = soon("ending", self.io.shutdown()).await;
        self.expect_closed().await;
    }

    /// Expects the end of the connection.
    pub(crate) async fn expect_closed(&mut self) {
        let end = self.hear().await;
        assert!(matches!(end, Heard::Closed), "expected the end of the connection: {end:?}");
    }
}

/// Whether it is a ping by which the router sees what was read.
fn is_barrier(element: &Element) -> bool {
    element.name() == "iq" && element.attr("id").is_some_and(|id| id.starts_with("barrier-"))
}
