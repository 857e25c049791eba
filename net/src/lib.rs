//! What heteronym touches: DNS, TCP, TLS, certificates, keys, and bytes on sockets.
//!
//! Nothing in here looks inside a stanza or knows an actor. What comes from the network never
//! panics; what fails is an enum that says whose fault it is, in words for the log. This is also
//! the only place with a clock ([`clock`]) and with randomness ([`random`]): the protocol crate
//! gets both as arguments.
//!
//! ```text
//! dns ──► dial ──► tls ──► wire          trust: is this chain good for that name?
//!         listen ──┘                     keys:  sign, verify, seal, open
//!         steering: DNS for our own servers
//! ```

pub mod certificate;
pub mod clock;
pub mod dial;
pub mod dns;
pub mod keepalive;
pub mod keys;
pub mod listen;
pub mod random;
pub mod state;
pub mod steering;
pub mod tls;
pub mod trust;
pub mod wire;

#[cfg(test)]
mod testing;
