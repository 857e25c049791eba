//! A cut-out of a long list.

use serde::Deserialize;

/// Which entries of a long list are asked for (`?offset=&limit=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Page {
    /// How many entries come before it.
    pub offset: usize,
    /// How many entries it has at most.
    pub limit: usize,
}

/// More entries than anybody reads; fewer than would fill the memory.
const MOST: usize = 100_000;

impl Default for Page {
    fn default() -> Self {
        Self { offset: 0, limit: 1000 }
    }
}

impl Page {
    /// The page with a limit that one answer can carry.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { limit: self.limit.min(MOST), ..self }
    }

    /// The entries of this page.
    pub fn of<T>(self, entries: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        entries.into_iter().skip(self.offset).take(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_cut_out() {
        let page = |offset, limit| Page { offset, limit }.of(0..5).collect::<Vec<_>>();
        assert_eq!(page(1, 2), [1, 2]);
        assert_eq!(page(4, 9), [4]);
        assert!(page(9, 9).is_empty());
    }

    #[test]
    fn a_page_has_an_end() {
        assert_eq!(Page { offset: 3, limit: usize::MAX }.bounded(), Page { offset: 3, limit: MOST });
    }
}
