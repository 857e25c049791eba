//! What heteronym decides: the XMPP federation protocol, sans-IO.
//!
//! No socket, no clock, no randomness and no runtime lives here: bytes, `now` and random bytes come
//! in as arguments, and what is to be done goes out as values. See `docs/protocol.md`.

pub mod acks;
pub mod activation;
mod back_off;
pub mod batch;
#[doc(hidden)]
pub mod broken;
pub mod checker;
pub mod classic;
pub mod component;
mod conditions;
pub mod control;
pub mod crypto;
pub mod dialback;
pub mod digest_md5;
pub mod domain_pair;
pub mod element;
mod escape;
pub mod fair_queue;
pub mod framer;
pub mod header;
pub mod host_iq;
pub mod host_stream;
pub mod hosted;
pub mod identities;
pub mod identity;
pub mod jabberd2;
pub mod jid;
mod keyed;
pub mod limits;
pub mod link_choice;
pub mod local_stream;
pub mod mux;
pub mod name;
pub mod negotiation;
pub mod now;
pub mod pair;
pub mod pairs;
pub mod pins;
pub mod refusal;
pub mod registry;
pub mod remembered;
pub mod routes;
mod rows;
pub mod sent;
pub mod shown;
pub mod stanza;
pub mod stanza_error;
pub mod status;
pub mod stream_error;
pub mod suite;
mod taken;
pub mod traffic;
pub mod train;
pub mod transcript;
pub mod turns;
mod undelivered;
pub mod waiting;
pub mod way;
