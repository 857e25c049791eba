//! DNS as it is: what is published, what is not, and what does not answer. Each says what becomes of
//! the stanza.

mod absence;
mod targets;
mod time;

use heteronym::demo::name_server::Srv;

use crate::support::local::Local;
use crate::support::stage::World;

const JOSE: &str = "jose@saramago.lit/x";
const ANA: &str = "ana@pessoa.lit";
/// Where the federation records of pessoa.lit are.
const SERVICE: &str = "_xmpp-federation._tcp.pessoa.lit";

/// A record of the peer host of `world`.
fn of_the_peer(world: &World, priority: u16) -> Srv {
    (priority, 0, world.host.port(), world.host.name.to_string())
}

/// A message of a user to pessoa.lit arrives at the peer host, which the router dials for it.
async fn is_delivered(world: &World, local: &mut Local) {
    local.tell(JOSE, ANA, "out").await;
    let mut link = world.host.accept().await;
    link.settle().await;
    link.serve(&world.domain("pessoa.lit")).await;
    link.expect("out").await;
}

/// A message of a user to pessoa.lit comes back with this condition and this in its text.
async fn is_bounced(local: &mut Local, condition: &str, text: &str) {
    local.tell(JOSE, ANA, "out").await;
    local.expect_error_saying("out", condition, text).await;
}
