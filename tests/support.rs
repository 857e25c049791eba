//! What the tests of a whole router share: the router itself, and everybody it talks to, by hand.
//!
//! Everything is real but the people: TLS, DNS, sockets and keys; a peer host and a local server are
//! scripts that say what a test wants them to say. Whatever a test waits for, it waits for as an event
//! with a deadline that only a broken router misses.

pub(crate) mod activation;
pub(crate) mod domain;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod jabberd2;
pub(crate) mod keys;
pub(crate) mod link;
pub(crate) mod local;
pub(crate) mod metrics;
pub(crate) mod router;
pub(crate) mod server;
pub(crate) mod silence;
pub(crate) mod stage;
pub(crate) mod wire;

use std::time::Duration;

use heteronym_proto::name::Name;
use tokio::time::timeout;

/// How long anything may take: nobody measures here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for `event`, and fails where it does not come.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, event).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("{what}: nothing within {DEADLINE:?}"),
    }
}

/// The name that `text` is.
pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A message with its id as the text.
pub(crate) fn message(from: &str, to: &str, id: &str) -> String {
    format!("<message from='{from}' to='{to}' id='{id}' type='chat'><body>{id}</body></message>")
}
