//! Cuts a stream into its header and its top-level elements.
//!
//! No byte is looked at twice, whatever the pieces in which a stream arrives; an element is handed out
//! as a slice of what was read from the socket, if it is long, and as a copy else. Only where things end is decided here: the
//! [checker](crate::checker) says whether they are right.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::checker::is_white;
use crate::limits::{COPIED_BYTES, SKIP_FACTOR};
use crate::stream_error::{Condition, StreamError};

mod scanner;
#[cfg(test)]
mod tests;

use scanner::Scanner;

/// The longest start tag that is kept of an element that is too large, in bytes: it is needed to tell
/// the sender, and no honest one is longer.
const HEAD_BYTES: usize = 64 << 10;
/// Bytes that are copied at least where a frame is to be completed: more than most frames have.
const JOINED_BYTES: usize = 2 << 10;
/// The longest end tag of a stream, in bytes: 16 and some white space.
const END_BYTES: usize = 64;

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
    /// Text between two elements, or a tag that cannot stand where it does.
    #[error("something other than an element")]
    NotWellFormed,
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
            Self::NotWellFormed => Condition::NotWellFormed,
            Self::Endless => Condition::PolicyViolation,
        };
        StreamError::new(condition, self.to_string())
    }
}

/// Finds where headers and elements end, whatever pieces they arrive in.
#[derive(Debug)]
pub struct Framer {
    /// What was not handed out yet, from the beginning of the frame that is being read.
    buffer: BytesMut,
    /// What was read behind it, where that stands elsewhere in memory.
    behind: BytesMut,
    /// Bytes that `behind` begins with and `buffer` ends with: as much as it takes to complete a frame.
    joined: usize,
    max_bytes: usize,
    stage: Stage,
}

/// What the buffer begins with.
#[derive(Debug)]
enum Stage {
    /// White space, then an XML declaration or the stream's start tag.
    Prolog,
    /// An XML declaration, of which so many bytes were looked at.
    Declaration(usize),
    /// A declaration of so many bytes, white space included, then the stream's start tag.
    Header(usize, Scanner),
    /// White space, then an element or the stream's end tag.
    Between,
    /// An element that may be within the limit.
    Element(Scanner),
    /// The rest of an element that is over it, with its start tag.
    Skipped(Bytes, Scanner),
    /// The stream's end tag.
    Closing,
    /// White space: the stream has ended.
    Ended,
    /// What cannot be understood.
    Failed(FramingError),
}

/// How far the bytes that are there have led.
enum Step {
    /// The buffer begins with something else now.
    Next(Stage),
    /// A frame is complete, and the buffer begins with something else now.
    Done(Frame, Stage),
    /// More bytes are needed.
    Starved(Stage),
}

impl Framer {
    /// A framer that expects a stream header and keeps elements of up to `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), behind: BytesMut::new(), joined: 0, max_bytes, stage: Stage::Prolog }
    }

    /// Changes the limit, as after authentication.
    pub fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Takes in what was read from the socket. Of what is read while a frame waits for its end, no more is copied
    /// than completes that frame.
    pub fn push(&mut self, chunk: BytesMut) {
        let follows = self.buffer.as_ptr().wrapping_add(self.buffer.len()) == chunk.as_ptr();
        if !self.behind.is_empty() {
            self.behind.unsplit(chunk);
        } else if self.buffer.is_empty() || follows {
            self.buffer.unsplit(chunk);
        } else {
            self.behind = chunk;
        }
    }

    /// Puts back what is left of [a block](Self::take_block).
    pub fn put_back(&mut self, rest: BytesMut) {
        if !rest.is_empty() {
            self.buffer = rest;
        }
    }

    /// Copies more of what stands elsewhere; whether there was any.
    fn join(&mut self) -> bool {
        let more = (self.behind.len() - self.joined).min(self.buffer.len().max(JOINED_BYTES));
        if more == 0 {
            return false;
        }
        if self.buffer.len() <= JOINED_BYTES {
            // Room in the memory of what was read before would be a whole block.
            let mut buffer = BytesMut::with_capacity(self.buffer.len() + more);
            buffer.extend_from_slice(&self.buffer);
            self.buffer = buffer;
        }
        self.buffer.extend_from_slice(&self.behind[self.joined..][..more]);
        self.joined += more;
        if self.joined == self.behind.len() {
            (self.behind, self.joined) = (BytesMut::new(), 0);
        }
        true
    }

    /// Goes on where the next bytes were read to, once the copy of them is not needed any more.
    fn part(&mut self) {
        if !self.behind.is_empty() && self.buffer.len() <= self.joined {
            self.behind.advance(self.joined - self.buffer.len());
            (self.buffer, self.joined) = (std::mem::take(&mut self.behind), 0);
        }
    }

    /// The next complete part of the stream; `None` until more bytes are there, and behind the end.
    ///
    /// # Errors
    /// [`FramingError`] ends the stream; it is returned from then on.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingError> {
        loop {
            self.part();
            let stage = std::mem::replace(&mut self.stage, Stage::Ended);
            match self.step(stage) {
                Ok(Step::Next(stage)) => self.stage = stage,
                Ok(Step::Done(frame, stage)) => {
                    self.stage = stage;
                    self.part();
                    return Ok(Some(frame));
                }
                Ok(Step::Starved(stage)) => {
                    self.stage = stage;
                    if !self.join() {
                        return Ok(None);
                    }
                }
                Err(fault) => {
                    self.stage = Stage::Failed(fault);
                    return Err(fault);
                }
            }
        }
    }

    /// Takes out what is there behind the last frame, if another element may begin there; what is left of it is
    /// to be [put back](Self::put_back). Empty otherwise.
    #[must_use]
    pub fn take_block(&mut self) -> BytesMut {
        match self.stage {
            Stage::Between if self.behind.is_empty() => std::mem::take(&mut self.buffer),
            Stage::Between
            | Stage::Prolog
            | Stage::Declaration(_)
            | Stage::Header(..)
            | Stage::Element(_)
            | Stage::Skipped(..)
            | Stage::Closing
            | Stage::Ended
            | Stage::Failed(_) => BytesMut::new(),
        }
    }

    /// The next frame must be a header again, as after SASL (RFC 6120 §4.3.3). Unread bytes stay.
    pub fn restart(&mut self) {
        self.stage = Stage::Prolog;
    }

    /// Takes out the bytes that were not read yet.
    ///
    /// If there are any where TLS should begin, somebody put them into the plain stream so that they would
    /// be read as if they had come through TLS.
    #[must_use]
    pub fn take_rest(&mut self) -> BytesMut {
        self.buffer.extend_from_slice(&self.behind[self.joined..]);
        (self.behind, self.joined) = (BytesMut::new(), 0);
        std::mem::take(&mut self.buffer)
    }

    /// How many bytes wait here.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len() + self.behind.len() - self.joined
    }

    fn step(&mut self, stage: Stage) -> Result<Step, FramingError> {
        match stage {
            Stage::Prolog => self.prolog(),
            Stage::Declaration(seen) => self.declaration(seen),
            Stage::Header(offset, scanner) => self.header(offset, scanner),
            Stage::Between => self.between(),
            Stage::Element(scanner) => self.element(scanner),
            Stage::Skipped(head, scanner) => self.skipped(head, scanner),
            Stage::Closing => self.closing(),
            Stage::Ended => self.ended(),
            Stage::Failed(fault) => Err(fault),
        }
    }

    fn prolog(&mut self) -> Result<Step, FramingError> {
        self.drop_white();
        match self.buffer[..] {
            [] | [b'<'] => Ok(Step::Starved(Stage::Prolog)),
            [b'<', b'?', ..] => Ok(Step::Next(Stage::Declaration(2))),
            [b'<', ..] => Ok(Step::Next(Stage::Header(0, Scanner::new()))),
            [..] => Err(FramingError::NotWellFormed),
        }
    }

    /// Nothing in an XML declaration may hold a `>` but its end (XML 1.0 §2.8).
    fn declaration(&mut self, seen: usize) -> Result<Step, FramingError> {
        let Some(at) = memchr(b'>', &self.buffer[seen..]) else {
            return self.starve_header(Stage::Declaration(self.buffer.len()));
        };
        let end = seen + at + 1;
        match self.buffer[..end].strip_prefix(b"<?xml") {
            Some([white, .., b'?', b'>']) if is_white(*white) => Ok(Step::Next(Stage::Header(end, Scanner::new()))),
            Some(_) | None => Err(FramingError::Restricted),
        }
    }

    fn header(&mut self, offset: usize, mut scanner: Scanner) -> Result<Step, FramingError> {
        let white = if scanner.length() == 0 { white_length(&self.buffer[offset..]) } else { 0 };
        let offset = offset + white;
        if self.buffer.get(offset).is_some_and(|&byte| byte != b'<') {
            return Err(FramingError::NotWellFormed);
        }
        if !scanner.scan_head(&self.buffer[offset + scanner.length()..])? {
            return self.starve_header(Stage::Header(offset, scanner));
        }
        let end = offset + scanner.length();
        if end > self.max_bytes {
            return Err(FramingError::Endless);
        }
        Ok(Step::Done(Frame::Header(self.split(end)), Stage::Between))
    }

    fn starve_header(&self, stage: Stage) -> Result<Step, FramingError> {
        if self.buffer.len() > self.max_bytes { Err(FramingError::Endless) } else { Ok(Step::Starved(stage)) }
    }

    fn between(&mut self) -> Result<Step, FramingError> {
        self.drop_white();
        match self.buffer[..] {
            [] | [b'<'] => Ok(Step::Starved(Stage::Between)),
            [b'<', b'/', ..] => Ok(Step::Next(Stage::Closing)),
            [b'<', ..] => Ok(Step::Next(Stage::Element(Scanner::new()))),
            [..] => Err(FramingError::NotWellFormed),
        }
    }

    fn element(&mut self, mut scanner: Scanner) -> Result<Step, FramingError> {
        let has_ended = scanner.scan(&self.buffer[scanner.length()..])?;
        let length = scanner.length();
        if scanner.head().is_some() && is_stream_tag(&self.buffer) {
            return Err(FramingError::NotWellFormed);
        }
        if length > self.max_bytes {
            self.skip(scanner, has_ended)
        } else if has_ended {
            Ok(Step::Done(Frame::Element(self.split(length)), Stage::Between))
        } else {
            Ok(Step::Starved(Stage::Element(scanner)))
        }
    }

    /// Keeps no more than the start tag of an element that turned out to be too large.
    fn skip(&mut self, scanner: Scanner, has_ended: bool) -> Result<Step, FramingError> {
        let length = scanner.length();
        match scanner.head() {
            Some(head) if head <= HEAD_BYTES => {
                // A copy, because a slice would keep the whole buffer alive.
                let head = Bytes::copy_from_slice(&self.buffer[..head]);
                self.buffer.advance(length);
                self.skipped_to(head, scanner, has_ended)
            }
            None if length <= HEAD_BYTES => Ok(Step::Starved(Stage::Element(scanner))),
            Some(_) | None => Err(FramingError::Endless),
        }
    }

    fn skipped(&mut self, head: Bytes, mut scanner: Scanner) -> Result<Step, FramingError> {
        let before = scanner.length();
        let has_ended = scanner.scan(&self.buffer)?;
        self.buffer.advance(scanner.length() - before);
        self.skipped_to(head, scanner, has_ended)
    }

    fn skipped_to(&mut self, head: Bytes, scanner: Scanner, has_ended: bool) -> Result<Step, FramingError> {
        let bytes = scanner.length();
        if bytes > self.max_bytes.saturating_mul(SKIP_FACTOR) {
            Err(FramingError::Endless)
        } else if has_ended {
            Ok(Step::Done(Frame::TooLarge { head, bytes }, Stage::Between))
        } else {
            self.release();
            Ok(Step::Starved(Stage::Skipped(head, scanner)))
        }
    }

    fn closing(&mut self) -> Result<Step, FramingError> {
        // The same, whatever pieces it comes in.
        let Some(at) = memchr(b'>', &self.buffer).filter(|at| *at < END_BYTES) else {
            let is_short = self.buffer.len() < END_BYTES;
            return if is_short { Ok(Step::Starved(Stage::Closing)) } else { Err(FramingError::NotWellFormed) };
        };
        match self.buffer[..at].strip_prefix(b"</stream:stream") {
            Some(white) if white_length(white) == white.len() => {
                self.buffer.advance(at + 1);
                Ok(Step::Done(Frame::End, Stage::Ended))
            }
            Some(_) | None => Err(FramingError::NotWellFormed),
        }
    }

    fn ended(&mut self) -> Result<Step, FramingError> {
        self.drop_white();
        if self.buffer.is_empty() { Ok(Step::Starved(Stage::Ended)) } else { Err(FramingError::NotWellFormed) }
    }

    /// White space between elements keeps connections alive (RFC 6120 §11.7) and is nothing else.
    fn drop_white(&mut self) {
        self.buffer.advance(white_length(&self.buffer));
        self.release();
    }

    /// An empty buffer would keep the memory of what was handed out from being used again.
    fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// A short frame is copied: one that waits must not keep all that was read with it.
    fn split(&mut self, length: usize) -> Bytes {
        if length > COPIED_BYTES {
            return self.buffer.split_to(length).freeze();
        }
        let frame = Bytes::copy_from_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        frame
    }
}

fn white_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_white(byte)).unwrap_or(bytes.len())
}

/// A second header where no restart is due would make the rest of the stream its content.
fn is_stream_tag(bytes: &[u8]) -> bool {
    match bytes.strip_prefix(b"<stream:stream") {
        Some([b'>' | b'/', ..]) => true,
        Some([byte, ..]) => is_white(*byte),
        Some([]) | None => false,
    }
}
