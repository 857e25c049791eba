//! The route table: where the stanzas of a pair go. Written on the control path, read per stanza.

mod known;
mod shard;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ahash::RandomState;

use crate::hosted;
use crate::mux::Slot;
use crate::pair::{AsPair, Pair};

pub use known::KnownRoutes;
use shard::Shard;

/// Where a pair's stanzas go. `D` reaches a host stream, `C` a classic one. As there are as many as pairs, it is small,
/// and all pairs of a stream share what reaches it.
#[derive(Debug)]
pub enum Route<D, C> {
    /// The pair is active on a link.
    Link {
        /// The link.
        link: Arc<D>,
        /// The pair's place there.
        slot: Slot,
    },
    /// The pair may send on a classic stream.
    Classic {
        /// The stream.
        stream: Arc<C>,
    },
    /// From a classic stream to a link: the stanzas wait in the Router until the stream has ended, whatever link
    /// has the pair already.
    Moving,
    /// Both domains are ours.
    Local(Arc<Inside>),
}

/// A pair whose both domains are ours.
#[derive(Debug)]
pub struct Inside {
    /// Who serves the other domain.
    pub entry: hosted::Entry,
    /// Stanzas that went this way.
    pub stanzas: AtomicU64,
}

impl<D, C> Clone for Route<D, C> {
    fn clone(&self) -> Self {
        match self {
            Self::Link { link, slot } => Self::Link { link: Arc::clone(link), slot: *slot },
            Self::Classic { stream } => Self::Classic { stream: Arc::clone(stream) },
            Self::Moving => Self::Moving,
            Self::Local(inside) => Self::Local(Arc::clone(inside)),
        }
    }
}

/// See the module. Cheap to clone.
#[derive(Debug)]
pub struct Routes<D, C> {
    table: Arc<Table<Route<D, C>>>,
}

/// A million routes take little, and threads that look meet one another only in one of many shards.
#[derive(Debug)]
struct Table<V> {
    shards: [Locked<V>; SHARDS],
    /// How often a route to a link was changed or removed.
    changes: AtomicU64,
    /// Strangers choose names.
    hasher: RandomState,
}

const SHARDS: usize = 64;

/// On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Locked<V>(RwLock<Shard<V>>);

impl<D, C> Clone for Routes<D, C> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table) }
    }
}

impl<D, C> Default for Routes<D, C> {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Locked(RwLock::default()));
        Self { table: Arc::new(Table { shards, changes: AtomicU64::new(0), hasher: RandomState::new() }) }
    }
}

impl<V> Locked<V> {
    fn read(&self) -> RwLockReadGuard<'_, Shard<V>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shard<V>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Table<V> {
    fn shard(&self, hash: u64) -> &Locked<V> {
        // The lowest bits and the highest ones are what a shard finds its entries by.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    fn with<T>(&self, pair: &dyn AsPair, look: impl FnOnce(&Pair, &V) -> T) -> Option<T> {
        let hash = self.hasher.hash_one(pair);
        self.shard(hash).read().get(hash, pair).map(|(pair, value)| look(pair, value))
    }

    /// Writes to a shard. `write` says whether a route to a link was there and is no more, which is told before anybody
    /// can look again.
    fn write(&self, shard: &Locked<V>, write: impl FnOnce(&mut Shard<V>, &Cell<bool>)) {
        let (mut shard, changed) = (shard.write(), Cell::new(false));
        write(&mut shard, &changed);
        if changed.get() {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }
}

impl<D, C> Route<D, C> {
    /// Whether stanzas go to a link by it.
    fn is_link(&self) -> bool {
        match self {
            Self::Link { .. } => true,
            Self::Classic { .. } | Self::Moving | Self::Local(_) => false,
        }
    }

    /// Whether both lead to the same place on the same link.
    fn is_same_link(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Link { link, slot }, Self::Link { link: of, slot: at }) => Arc::ptr_eq(link, of) && slot == at,
            (Self::Link { .. } | Self::Classic { .. } | Self::Moving | Self::Local(_), _) => false,
        }
    }
}

impl<D, C> Routes<D, C> {
    /// The pair and where its stanzas go, if there is a route; both names are normalised.
    #[must_use]
    pub fn find(&self, local: &str, remote: &str) -> Option<(Pair, Route<D, C>)> {
        self.table.with(&(local, remote), |pair, route| (pair.clone(), route.clone()))
    }

    /// How often a route to a link was changed or removed: while it is the same, each that was found stays true.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.table.changes.load(Ordering::Acquire)
    }

    /// Where the stanzas of a pair go.
    #[must_use]
    pub fn of(&self, pair: &Pair) -> Option<Route<D, C>> {
        self.table.with(pair, |_, route| route.clone())
    }

    /// Writes a route, whatever was there before.
    pub fn insert(&self, pair: Pair, route: Route<D, C>) {
        self.insert_unless(pair, route, |_| false);
    }

    /// Writes a route unless there is one that `keeps` its place; whether it was written. The one that was
    /// there before is `keeps`' to look at.
    pub fn insert_unless(&self, pair: Pair, route: Route<D, C>, keeps: impl FnOnce(&Route<D, C>) -> bool) -> bool {
        let (hasher, mut written) = (&self.table.hasher, false);
        let hash = hasher.hash_one(&pair);
        self.table.write(self.table.shard(hash), |shard, changed| {
            let new = route.clone();
            let keeps = |before: &Route<D, C>| {
                let keeps = keeps(before);
                changed.set(!keeps && before.is_link() && !before.is_same_link(&new));
                keeps
            };
            written = shard.insert_unless(hasher, hash, (pair, route), keeps);
        });
        written
    }

    /// Removes a pair's route if `obsolete` says that it is the one meant.
    pub fn remove_if(&self, pair: &Pair, obsolete: impl Fn(&Route<D, C>) -> bool) {
        let hasher = &self.table.hasher;
        let hash = hasher.hash_one(pair);
        self.table.write(self.table.shard(hash), |shard, changed| {
            shard.remove_if(hasher, hash, pair, |route| goes(route, obsolete(route), changed));
        });
    }

    /// Removes every route that `obsolete` names.
    pub fn remove_all(&self, obsolete: impl Fn(&Pair, &Route<D, C>) -> bool) {
        for shard in &self.table.shards {
            self.table.write(shard, |shard, changed| {
                shard.remove_all(&self.table.hasher, |pair, route| goes(route, obsolete(pair, route), changed));
            });
        }
    }

    /// Pairs whose both domains are ours, with the stanzas that went this way.
    #[must_use]
    pub fn local_pairs(&self) -> Vec<(Pair, u64)> {
        let local = |(pair, route): &(Pair, Route<D, C>)| match route {
            Route::Local(inside) => Some((pair.clone(), inside.stanzas.load(Ordering::Relaxed))),
            Route::Link { .. } | Route::Classic { .. } | Route::Moving => None,
        };
        let of = |shard: &Locked<_>| shard.read().iter().filter_map(local).collect::<Vec<_>>();
        self.table.shards.iter().flat_map(of).collect()
    }
}

/// Whether a route goes; noted, where it is one to a link.
fn goes<D, C>(route: &Route<D, C>, goes: bool, changed: &Cell<bool>) -> bool {
    changed.set(changed.get() || goes && route.is_link());
    goes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_route_to_a_link_that_is_no_more_is_a_change() {
        let name = |text: &str| crate::name::Name::parse(text).unwrap();
        let pair = |n: usize| Pair { local: name("a.lit"), remote: name(&format!("b{n}.lit")) };
        let (link, routes) = (Arc::new(()), Routes::<(), ()>::default());
        let route = |slot| Route::Link { link: Arc::clone(&link), slot };
        let elsewhere = || Route::Classic { stream: Arc::default() };
        (0..100).for_each(|n| routes.insert(pair(n), route(1)));
        routes.insert(pair(7), route(1));
        routes.insert_unless(pair(7), route(2), |_| true);
        (0..3).for_each(|_| routes.insert(pair(100), elsewhere()));
        routes.insert(pair(100), Route::Moving);
        routes.remove_if(&pair(7), |_| false);
        routes.remove_if(&pair(100), |_| true);
        routes.remove_if(&pair(100), |_| true);
        routes.remove_all(|_, _| false);
        assert_eq!(routes.changes(), 0);
        routes.insert(pair(7), route(2));
        assert_eq!(routes.changes(), 1);
        routes.insert(pair(7), Route::Link { link: Arc::default(), slot: 2 });
        assert_eq!(routes.changes(), 2);
        routes.insert(pair(7), elsewhere());
        assert_eq!(routes.changes(), 3);
        routes.remove_if(&pair(8), |_| true);
        assert_eq!(routes.changes(), 4);
        routes.remove_all(|other, _| *other == pair(9) || *other == pair(7));
        assert_eq!(routes.changes(), 5);
    }

    #[test]
    fn a_route_is_small() {
        assert!(size_of::<(Pair, Route<String, String>)>() <= 32);
    }
}
