//! Streams from their first byte: negotiation between hosts, component links, and what a local
//! server may send.

mod classic;
mod component;
mod end;
mod hostile;
mod local;
mod negotiation;

use bytes::BytesMut;
use heteronym_proto::framer::{Frame, Framer};
use heteronym_proto::name::Name;

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// What `framer` makes of `text`.
fn frames(framer: &mut Framer, text: &[u8]) -> Vec<Frame> {
    framer.push(BytesMut::from(text));
    let mut frames = Vec::new();
    while let Some(frame) = framer.next_frame().expect("it can be framed") {
        frames.push(frame);
    }
    frames
}
