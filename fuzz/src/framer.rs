//! The framer: the same frames in whatever pieces a stream arrives, those that rxml sees, nothing lost, and bounded
//! memory.

use bytes::BytesMut;
use heteronym_proto::framer::{Frame, Framer, FramingError};
use rxml::error::EndOrError;
use rxml::{Event, Parse as _, Parser};

/// Limits of an element: one that most inputs exceed, one that some do, and none.
const LIMITS: [usize; 3] = [8, 200, 1 << 20];
/// More than the framer keeps of anything but an element within its limit.
const KEPT_BYTES: usize = 64 << 10;
/// What an attacker may go on with, whatever went before.
const FILLERS: [&[u8]; 6] = [b"x", b" ", b"<a>", b"</a>", b"='", b"]]"];
const CHUNK_BYTES: usize = 4096;

/// What a stream was cut into, and how that ended.
type Cut = (Vec<Frame>, Result<(), FramingError>);

/// Cuts `data` as a stream.
///
/// # Panics
/// If what comes out depends on the pieces, is not what went in, or memory grows without bound.
pub fn run(data: &[u8]) {
    let hash = hash(data);
    for limit in LIMITS {
        let whole = cut(&mut Framer::new(limit), &[data]);
        account_for(data, &whole);
        if limit == LIMITS[2] {
            agree_with_rxml(data, &whole.0);
        }
        let mut pieced = Framer::new(limit);
        assert_same(&cut(&mut pieced, &pieces(data, hash)), &whole);
        // That takes a hundred times as long as all the rest.
        if whole.1.is_ok() && hash.is_multiple_of(16) {
            flood(&mut pieced, limit, FILLERS[(hash >> 32) as usize % FILLERS.len()]);
        }
        if data.len() <= 512 {
            let bytes: Vec<_> = data.chunks(1).collect();
            assert_same(&cut(&mut Framer::new(limit), &bytes), &whole);
        }
    }
}

/// Which of several faults ends a stream may depend on how much of it is there.
fn assert_same(pieced: &Cut, whole: &Cut) {
    assert_eq!((&pieced.0, pieced.1.is_ok()), (&whole.0, whole.1.is_ok()));
}

fn cut(framer: &mut Framer, pieces: &[&[u8]]) -> Cut {
    let mut frames = Vec::new();
    for piece in pieces {
        framer.push(BytesMut::from(*piece));
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(fault) => {
                    assert_eq!(framer.next_frame(), Err(fault), "a fault stays");
                    return (frames, Err(fault));
                }
            }
        }
    }
    (frames, Ok(()))
}

/// Frames are the input's own bytes, in order, with nothing but white space between them.
fn account_for(data: &[u8], (frames, _): &Cut) {
    let mut rest = data;
    for frame in frames {
        rest = rest.trim_ascii_start();
        let (begins_with, length) = match frame {
            Frame::Header(bytes) | Frame::Element(bytes) => (&bytes[..], bytes.len()),
            Frame::TooLarge { head, bytes } => (&head[..], *bytes),
            Frame::End => (&b"</stream:stream"[..], rest.iter().position(|&byte| byte == b'>').map_or(0, |at| at + 1)),
        };
        assert!(rest.starts_with(begins_with) && begins_with.len() <= length, "{frame:?}");
        rest = &rest[length..];
    }
}

/// Where rxml can read all there is, the framer sees as many elements on the stream.
fn agree_with_rxml(data: &[u8], frames: &[Frame]) {
    let (mut depth, mut seen, mut has_text) = (0_usize, 0_usize, false);
    let read = Parser::default().parse_all(&mut &data[..], false, |event| match event {
        Event::XmlDeclaration(..) => {}
        Event::StartElement(..) => depth += 1,
        Event::Text(_, text) => has_text |= depth <= 1 && !text.trim_ascii().is_empty(),
        Event::EndElement(_) => {
            depth -= 1;
            seen += usize::from(depth == 1);
        }
    });
    if matches!(read, Ok(()) | Err(EndOrError::NeedMoreData)) && !has_text {
        let is_element = |frame: &&Frame| matches!(frame, Frame::Element(_) | Frame::TooLarge { .. });
        assert_eq!(frames.iter().filter(is_element).count(), seen);
    }
}

/// Goes on with more of one thing than may be kept.
fn flood(framer: &mut Framer, limit: usize, filler: &[u8]) {
    let chunk = filler.repeat(CHUNK_BYTES / filler.len());
    let bound = limit.max(KEPT_BYTES) + chunk.len();
    for _ in 0..=2 * KEPT_BYTES / CHUNK_BYTES {
        if cut(framer, &[&chunk]).1.is_err() {
            return;
        }
        assert!(framer.buffered() <= bound, "{} bytes are kept", framer.buffered());
    }
}

/// Cuts at places that are as good as random, and the same for the same data.
fn pieces(data: &[u8], mut hash: u64) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        hash = hash.rotate_left(9).wrapping_mul(0x0100_0000_01b3);
        let (piece, others) = rest.split_at((1 + hash as usize % 37).min(rest.len()));
        pieces.push(piece);
        rest = others;
    }
    pieces
}

/// FNV-1a.
fn hash(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
