//! The routes to links that one who sends has found: looked up again only once a route to a link has changed.

use std::sync::Arc;

use super::Routes;
use crate::keyed::HashMap;
use crate::mux::Slot;
use crate::pair::Pair;
use crate::remembered::Remembered;

/// See the module. `D` reaches a link, as in [`Routes`].
#[derive(Debug)]
pub struct KnownRoutes<D> {
    /// A link's place below, and the pair's there.
    places: Remembered<(u32, Slot)>,
    links: Vec<Arc<D>>,
    /// By where they are.
    link_places: HashMap<usize, u32>,
    /// Of the route table, up to now.
    changes: u64,
}

impl<D> Default for KnownRoutes<D> {
    fn default() -> Self {
        let (places, links, link_places) = (Remembered::default(), Vec::new(), HashMap::default());
        Self { places, links, link_places, changes: 0 }
    }
}

impl<D> KnownRoutes<D> {
    /// Where the stanzas of a pair go, if that was found before and is still true; both names are normalised.
    pub fn find<C>(&mut self, routes: &Routes<D, C>, pair: (&str, &str)) -> Option<(&Arc<D>, Slot)> {
        let changes = routes.changes();
        if changes != self.changes {
            self.places.forget();
            self.links.clear();
            self.link_places.clear();
            self.changes = changes;
        }
        let (link, slot) = self.places.find(pair)?;
        Some((self.links.get(link as usize)?, slot))
    }

    /// Remembers what was looked up because [`Self::find`] had not found it.
    pub fn remember(&mut self, pair: &Pair, link: Arc<D>, slot: Slot) {
        let Ok(next) = u32::try_from(self.links.len()) else { return };
        let place = *self.link_places.entry(Arc::as_ptr(&link).addr()).or_insert(next);
        if place == next {
            self.links.push(link);
        }
        self.places.remember(pair, (place, slot));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Route;
    use super::*;
    use crate::name::Name;

    #[test]
    fn what_was_found_is_true_until_a_route_to_a_link_changes() {
        let name = |text| Name::parse(text).unwrap();
        let pair = |remote| Pair { local: name("a.lit"), remote: name(remote) };
        let (first, second) = (Arc::new("first"), Arc::new("second"));
        let (routes, mut known) = (Routes::<&str, ()>::default(), KnownRoutes::default());
        let mut find = |routes: &Routes<_, _>, remote| {
            if let Some((link, slot)) = known.find(routes, ("a.lit", remote)) {
                return Some((true, **link, slot));
            }
            let Some(Route::Link { link, slot }) = routes.of(&pair(remote)) else { return None };
            known.remember(&pair(remote), Arc::clone(&link), slot);
            Some((false, *link, slot))
        };
        routes.insert(pair("b.lit"), Route::Link { link: Arc::clone(&first), slot: 1 });
        assert_eq!(["b.lit", "b.lit"].map(|of| find(&routes, of)), [false, true].map(|was| Some((was, "first", 1))));
        routes.insert(pair("c.lit"), Route::Link { link: Arc::clone(&second), slot: 1 });
        assert_eq!(["c.lit", "c.lit"].map(|of| find(&routes, of)), [false, true].map(|was| Some((was, "second", 1))));
        assert_eq!(find(&routes, "b.lit"), Some((true, "first", 1)), "another one is new");
        routes.insert(pair("b.lit"), Route::Link { link: second, slot: 2 });
        assert_eq!(["b.lit", "b.lit"].map(|of| find(&routes, of)), [false, true].map(|was| Some((was, "second", 2))));
        routes.insert(pair("c.lit"), Route::Link { link: first, slot: 1 });
        assert_eq!(find(&routes, "c.lit"), Some((false, "first", 1)));
        routes.remove_if(&pair("b.lit"), |_| true);
        assert_eq!((find(&routes, "b.lit"), find(&routes, "c.lit")), (None, Some((false, "first", 1))));
    }
}
