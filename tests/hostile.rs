//! Streams of enemies, in every role: they dial us, we dial them, as a host and as a component.
//!
//! Each ends with a defined error or is cut off in time, and the bystanders of the stage, on a link and a
//! component of their own, go on talking.

mod components;
mod dialled;
mod handshakes;
mod links;

use heteronym::demo::authority::{KeyKind, Request};

use crate::support::domain::Domain;
use crate::support::host::Host;
use crate::support::link::Link;
use crate::support::name;
use crate::support::stage::{Stage, World};

/// The enemy: a host with a good certificate, whose name lets the router choose the link.
const THIRD: &str = "xmpp.third.isp";
/// A domain of the enemy's, which is its own by every rule.
pub(crate) const ENEMY: &str = "x@third.lit";
/// Somebody at one of the router's domains.
pub(crate) const JOSE: &str = "jose@saramago.lit/x";

/// A host called `called` with a good certificate, whose records its domains name.
async fn host(world: &World, called: &str, domain: &str) -> Host {
    let host = Host::new(called, &world.authority.issue(&Request::new([called], KeyKind::P256)).unwrap()).await;
    world.names.set_srv(domain, vec![(0, 0, host.port(), called.into())]);
    world.names.set_addresses(called, vec!["127.0.0.1".parse().unwrap()]);
    host
}

/// A host whose name lets the router choose the link, and which serves third.lit.
pub(crate) async fn third(stage: &Stage) -> Host {
    host(&stage.world, THIRD, "third.lit").await
}

/// A link of the third host's with the pair of third.lit and saramago.lit active.
pub(crate) async fn active(stage: &Stage, host: &Host) -> Link {
    let issued = stage.world.authority.issue(&Request::new(["third.lit"], KeyKind::P256)).unwrap();
    let own = Domain::new(name("third.lit"), host.name.clone(), &issued);
    let mut link = host.dial(&stage.world.router).await;
    link.settle().await;
    link.activate(&own, "saramago.lit").await;
    link
}
