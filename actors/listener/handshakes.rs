//! Places for handshakes under way: so many in all, and so many from one network, so that nobody alone
//! keeps everybody else waiting.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Handshakes at once, per kind of listener; a connection more waits to be accepted.
const ALL: usize = 1024;
/// Of these, from one network. A peer host needs one, and a second where it dials anew.
const OF_ONE_NETWORK: usize = 64;

/// See the module. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Handshakes {
    all: Arc<Semaphore>,
    counts: Counts,
}

type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A place, free again when it is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    network: IpAddr,
    counts: Counts,
}

impl Handshakes {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), counts: Counts::default() }
    }

    /// Waits for a place that anybody may have.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// Gives the place to `address`, unless its network has enough of them.
    pub(super) fn take(&self, permit: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if *count >= OF_ONE_NETWORK {
            return None;
        }
        *count += 1;
        Some(Place { _permit: permit, network, counts: Arc::clone(&self.counts) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

/// An IPv4 address, or the 64 bits of IPv6 that one subscriber has for the asking.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn one_network_does_not_get_every_place() {
        let handshakes = Handshakes::new();
        let (enemy, neighbour) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:0:ffff::2".parse().unwrap());
        let mut places = Vec::new();
        for _ in 0..OF_ONE_NETWORK {
            places.push(handshakes.take(handshakes.free().await.unwrap(), enemy).unwrap());
        }
        assert!(handshakes.take(handshakes.free().await.unwrap(), neighbour).is_none(), "the same 64 bits");
        for other in ["2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.1"] {
            assert!(handshakes.take(handshakes.free().await.unwrap(), other.parse().unwrap()).is_some(), "{other}");
        }
        places.pop();
        assert!(handshakes.take(handshakes.free().await.unwrap(), neighbour).is_some(), "a place was given back");
        places.clear();
        assert!(handshakes.counts.lock().unwrap().is_empty(), "addresses are not collected");
        assert_eq!(handshakes.all.available_permits(), ALL);
    }
}
