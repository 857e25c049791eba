//! Two host streams against each other, and one against whatever a peer may send.

mod activation;
mod attacks;
mod bench;
mod bounds;
mod broken_links;
mod chaos;
mod choice;
mod operator;
mod peer;
mod refusals;
mod sessions;
mod stanzas;
mod time;
mod trains;
mod vault;
mod wire;
