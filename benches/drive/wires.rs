//! The links of both sides, and which pair goes over which.

use std::collections::HashMap;
use std::net::TcpStream;

use crate::Failure;
use crate::component::attach;
use crate::ground::Ground;
use crate::subject::{Attachment, Running};

/// Attached links.
pub(super) struct Wires {
    /// By side.
    pub(super) links: [Vec<TcpStream>; 2],
    /// By side, then by pair: which link its domain is on.
    pub(super) of_pair: [Vec<u32>; 2],
}

impl Wires {
    /// Attaches everywhere, for these pairs: places in the lists of domains of either side.
    ///
    /// # Errors
    /// If one is not let in, or a domain is on no link.
    pub(super) fn attach(running: &Running, ground: &Ground, pairs: &[(usize, usize)]) -> Result<Self, Failure> {
        let connect = |side: usize| running.sides[side].iter().map(attach).collect::<Result<Vec<_>, _>>();
        let links = [connect(0)?, connect(1)?];
        let by_domain = [on_links(running, ground, 0)?, on_links(running, ground, 1)?];
        let near = pairs.iter().map(|(near, _)| by_domain[0][*near]).collect();
        let far = pairs.iter().map(|(_, far)| by_domain[1][*far]).collect();
        Ok(Self { links, of_pair: [near, far] })
    }
}

/// The link of each domain of a side.
fn on_links(running: &Running, ground: &Ground, side: usize) -> Result<Vec<u32>, Failure> {
    let (mut places, mut bare) = (HashMap::new(), None);
    for (link, attachment) in (0..).zip(&running.sides[side]) {
        match attachment {
            Attachment::Bare { .. } => bare = Some(link),
            Attachment::Component { domains, .. } => places.extend(domains.iter().map(|domain| (domain, link))),
        }
    }
    let of = |domain: &String| {
        let link = places.get(domain).copied().or(bare);
        link.ok_or_else(|| format!("no link of side {side} serves {domain}").into())
    };
    ground.domains[side].iter().map(of).collect()
}
