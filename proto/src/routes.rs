//! The route table: where the stanzas of a pair go. Written on the control path, read per stanza.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::mapref::entry::Entry;

use crate::hosted;
use crate::keyed::DashMap;
use crate::mux::Slot;
use crate::pair::{AsPair, Pair};

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
    table: Arc<DashMap<Pair, Route<D, C>>>,
}

impl<D, C> Clone for Routes<D, C> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table) }
    }
}

impl<D, C> Default for Routes<D, C> {
    fn default() -> Self {
        Self { table: Arc::default() }
    }
}

impl<D, C> Routes<D, C> {
    /// Gives `look` the pair and where its stanzas go, if there is a route; both names are normalised. Whoever writes a
    /// route waits meanwhile, and `look` may not ask for one.
    pub fn with<T>(&self, local: &str, remote: &str, look: impl FnOnce(&Pair, &Route<D, C>) -> T) -> Option<T> {
        let key = (local, remote);
        self.table.get(&key as &dyn AsPair).map(|found| look(found.key(), found.value()))
    }

    /// Where the stanzas of a pair go.
    #[must_use]
    pub fn of(&self, pair: &Pair) -> Option<Route<D, C>> {
        self.table.get(pair).map(|route| route.clone())
    }

    /// Writes a route; the one that was there before.
    pub fn insert(&self, pair: Pair, route: Route<D, C>) -> Option<Route<D, C>> {
        self.table.insert(pair, route)
    }

    /// Writes a route unless there is one that `keeps` its place; whether it was written. The one that was
    /// there before is `keeps`' to look at.
    pub fn insert_unless(&self, pair: Pair, route: Route<D, C>, keeps: impl FnOnce(&Route<D, C>) -> bool) -> bool {
        match self.table.entry(pair) {
            Entry::Occupied(taken) if keeps(taken.get()) => false,
            Entry::Occupied(mut taken) => {
                taken.insert(route);
                true
            }
            Entry::Vacant(free) => {
                free.insert(route);
                true
            }
        }
    }

    /// Removes a pair's route if `obsolete` says that it is the one meant.
    pub fn remove_if(&self, pair: &Pair, obsolete: impl Fn(&Route<D, C>) -> bool) {
        self.table.remove_if(pair, |_, route| obsolete(route));
    }

    /// Removes every route that `obsolete` names.
    pub fn remove_all(&self, obsolete: impl Fn(&Pair, &Route<D, C>) -> bool) {
        self.table.retain(|pair, route| !obsolete(pair, route));
    }

    /// Pairs whose both domains are ours, with the stanzas that went this way.
    #[must_use]
    pub fn local_pairs(&self) -> Vec<(Pair, u64)> {
        let local = |pair: &Pair, route: &Route<D, C>| match route {
            Route::Local(inside) => Some((pair.clone(), inside.stanzas.load(Ordering::Relaxed))),
            Route::Link { .. } | Route::Classic { .. } | Route::Moving => None,
        };
        self.table.iter().filter_map(|item| local(item.key(), item.value())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_small() {
        assert!(size_of::<(Pair, Route<String, String>)>() <= 32);
    }
}
