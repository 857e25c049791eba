//! Cuts a stream into its header and its top-level elements.

use bytes::{Bytes, BytesMut};

use crate::stream_error::{Condition, StreamError};

/// What a stream consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An XML declaration, if there was one, and the stream's start tag.
    Header(Bytes),
    /// One complete top-level element, not checked yet.
    Element(Bytes),
    /// An element over the limit; it was skipped, and the stream goes on behind it.
    TooLarge {
        /// The root's start tag.
        head: Bytes,
        /// How long the whole element was.
        bytes: usize,
    },
    /// The stream's end tag.
    End,
}

/// Why a stream cannot be cut any further. Every such error ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A comment, processing instruction or DTD (RFC 6120 §11.1).
    #[error("comments, processing instructions and document types are not allowed")]
    Restricted,
    /// Something other than white space between two elements, or a tag that cannot stand there.
    #[error("text outside of an element")]
    Misplaced,
    /// The header, a start tag or an element is longer than is worth skipping.
    #[error("an element of endless length")]
    Endless,
}

impl FramingError {
    /// What the other side is told before its stream ends.
    #[must_use]
    pub fn stream_error(&self) -> StreamError {
        let condition = match self {
            Self::Restricted => Condition::RestrictedXml,
            Self::Misplaced => Condition::NotWellFormed,
            Self::Endless => Condition::PolicyViolation,
        };
        StreamError::new(condition, self.to_string())
    }
}

/// Finds where headers and elements end, whatever pieces they arrive in.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    max_bytes: usize,
}

impl Framer {
    /// A framer that expects a stream header and keeps elements up to `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), max_bytes }
    }

    /// Changes the limit, as after authentication.
    pub fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Takes in what was read from the socket.
    pub fn push(&mut self, chunk: BytesMut) {
        self.buffer.unsplit(chunk);
    }

    /// The next complete part of the stream; `None` until more bytes are there.
    ///
    /// # Errors
    /// [`FramingError`] ends the stream.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        Ok(None)
    }

    /// The next frame must be a header again, as after SASL (RFC 6120 §4.3.3).
    pub fn restart(&mut self) {}

    /// Takes out the bytes that were not read yet.
    pub fn take_rest(&mut self) -> BytesMut {
        std::mem::take(&mut self.buffer)
    }

    /// How many bytes wait here.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }
}
