//! Places for handshakes under way: so many in all, and so many from one network, so that nobody alone
//! keeps everybody else waiting.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use heteronym_proto::limits::{HANDSHAKES, HANDSHAKES_OF_ONE_NETWORK};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// See the module. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Handshakes {
    all: Arc<Semaphore>,
    counts: Counts,
    listener: &'static str,
    metrics: Arc<Metrics>,
}

type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A place, free again when it is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    network: IpAddr,
    of: Handshakes,
    result: &'static str,
}

impl Place {
    /// Somebody has shown who it is.
    pub fn established(mut self) {
        self.result = "established";
    }

    /// It took too long.
    pub fn late(mut self) {
        self.result = "late";
    }
}

impl Handshakes {
    /// For one kind of listener, which the metrics name.
    pub(super) fn new(listener: &'static str, metrics: Arc<Metrics>) -> Self {
        Self { all: Arc::new(Semaphore::new(HANDSHAKES)), counts: Counts::default(), listener, metrics }
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
        if *count >= HANDSHAKES_OF_ONE_NETWORK {
            self.metrics.incoming_connection(self.listener, "crowded");
            return None;
        }
        *count += 1;
        self.metrics.handshakes(self.listener, 1);
        Some(Place { _permit: permit, network, of: self.clone(), result: "failed" })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let of = &self.of;
        of.metrics.handshakes(of.listener, -1);
        of.metrics.incoming_connection(of.listener, self.result);
        let mut counts = of.counts.lock().unwrap_or_else(PoisonError::into_inner);
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
    use futures_util::FutureExt as _;

    use super::*;

    #[actix_rt::test]
    async fn one_network_does_not_get_every_place() {
        let handshakes = Handshakes::new("federation", Arc::new(Metrics::new().unwrap()));
        let (enemy, neighbour) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:0:ffff::2".parse().unwrap());
        let mut places = Vec::new();
        for _ in 0..HANDSHAKES_OF_ONE_NETWORK {
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
        assert_eq!(handshakes.all.available_permits(), HANDSHAKES);
    }

    #[actix_rt::test]
    async fn all_networks_together_have_so_many_places() {
        let handshakes = Handshakes::new("federation", Arc::new(Metrics::new().unwrap()));
        let mut places = Vec::new();
        for n in 0..HANDSHAKES {
            let network = IpAddr::from([192, 0, 2, u8::try_from(n / HANDSHAKES_OF_ONE_NETWORK).unwrap()]);
            places.push(handshakes.take(handshakes.free().await.unwrap(), network).unwrap());
        }
        let mut waiting = Box::pin(handshakes.free());
        assert!(waiting.as_mut().now_or_never().is_none(), "the next waits to be accepted");
        places.pop();
        assert!(waiting.await.is_some());
    }
}
