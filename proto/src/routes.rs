//! The route table: where the stanzas of a pair go. Written on the control path, read per stanza.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::mapref::entry::Entry;

use crate::hosted;
use crate::keyed::DashMap;
use crate::mux::Slot;
use crate::pair::{AsPair, Pair};

/// Where a pair's stanzas go. `D` reaches a host stream, `C` a classic one.
#[derive(Debug)]
pub enum Route<D, C> {
    /// The pair is active on a link.
    Link {
        /// The link.
        link: D,
        /// The pair's place there.
        slot: Slot,
    },
    /// The pair may send on a classic stream.
    Classic {
        /// The stream.
        stream: C,
        /// The pair, as its stanzas are sent by it.
        pair: Pair,
    },
    /// From a classic stream to a link: the stanzas wait in the Router until the stream has ended, whatever link
    /// has the pair already.
    Moving,
    /// Both domains are ours.
    Local {
        /// Who serves the other domain.
        entry: hosted::Entry,
        /// Stanzas that went this way.
        stanzas: AtomicU64,
    },
}

/// See the module. Cheap to clone.
#[derive(Debug)]
pub struct Routes<D, C> {
    table: Arc<DashMap<Pair, Arc<Route<D, C>>>>,
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
    /// Where stanzas from `local` to `remote` go; both are normalised.
    #[must_use]
    pub fn find(&self, local: &str, remote: &str) -> Option<Arc<Route<D, C>>> {
        let key = (local, remote);
        self.table.get(&key as &dyn AsPair).map(|route| Arc::clone(&route))
    }

    /// Where the stanzas of a pair go.
    #[must_use]
    pub fn of(&self, pair: &Pair) -> Option<Arc<Route<D, C>>> {
        self.table.get(pair).map(|route| Arc::clone(&route))
    }

    /// Writes a route; the one that was there before.
    pub fn insert(&self, pair: Pair, route: Route<D, C>) -> Option<Arc<Route<D, C>>> {
        self.table.insert(pair, Arc::new(route))
    }

    /// Writes a route unless there is one that `keeps` its place; whether it was written. The one that was
    /// there before is `keeps`' to look at.
    pub fn insert_unless(&self, pair: Pair, route: Route<D, C>, keeps: impl FnOnce(&Route<D, C>) -> bool) -> bool {
        match self.table.entry(pair) {
            Entry::Occupied(taken) if keeps(taken.get()) => false,
            Entry::Occupied(mut taken) => {
                taken.insert(Arc::new(route));
                true
            }
            Entry::Vacant(free) => {
                free.insert(Arc::new(route));
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
            Route::Local { stanzas, .. } => Some((pair.clone(), stanzas.load(Ordering::Relaxed))),
            Route::Link { .. } | Route::Classic { .. } | Route::Moving => None,
        };
        self.table.iter().filter_map(|item| local(item.key(), item.value())).collect()
    }
}
