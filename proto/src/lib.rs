//! What heteronym decides: the XMPP federation protocol, sans-IO.
//!
//! No socket, no clock, no randomness and no runtime lives here: bytes, `now` and random bytes come
//! in as arguments, and what is to be done goes out as values. See `docs/protocol.md`.

pub mod checker;
mod conditions;
pub mod element;
mod escape;
pub mod framer;
pub mod header;
pub mod jid;
pub mod limits;
pub mod name;
pub mod stanza;
pub mod stanza_error;
pub mod stream_error;
