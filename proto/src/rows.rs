//! A list that grows without being copied: blocks of memory, one behind the other.

/// Items of a block.
const BLOCK: usize = 1 << 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    /// All full but the last.
    blocks: Vec<Vec<T>>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

impl<T> Rows<T> {
    /// Adds an item behind the last.
    pub(crate) fn push(&mut self, item: T) {
        match self.blocks.last_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => block.push(item),
            None => self.blocks.push(vec![item]),
        }
    }

    /// Takes the item at `place`, and puts the last one there.
    pub(crate) fn swap_remove(&mut self, place: u32) -> Option<T> {
        let last = self.blocks.last_mut()?.pop();
        if self.blocks.last().is_some_and(Vec::is_empty) {
            self.blocks.pop();
        }
        let here = self.blocks.get_mut(place as usize / BLOCK).and_then(|block| block.get_mut(place as usize % BLOCK));
        match (here, last) {
            (Some(here), Some(last)) => Some(std::mem::replace(here, last)),
            (None, last) => last,
            (Some(_), None) => None,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }

    /// All of them, in order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flatten()
    }
}

impl<T> std::ops::Index<u32> for Rows<T> {
    type Output = T;

    fn index(&self, place: u32) -> &T {
        &self.blocks[place as usize / BLOCK][place as usize % BLOCK]
    }
}

impl<T> std::ops::IndexMut<u32> for Rows<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.blocks[place as usize / BLOCK][place as usize % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_where_they_were_put() {
        let mut rows = Rows::default();
        for n in 0..3 * BLOCK + 1 {
            assert_eq!(rows.len(), n);
            rows.push(n);
        }
        rows[0] = 7;
        assert_eq!((rows[0], rows[BLOCK as u32 - 1], rows[BLOCK as u32]), (7, BLOCK - 1, BLOCK));
        rows.iter_mut().for_each(|n| *n += 1);
        assert_eq!(rows.iter().sum::<usize>(), 7 + (1..=3 * BLOCK + 1).sum::<usize>());
    }

    #[test]
    fn the_last_item_takes_the_place_of_one_that_goes() {
        let mut rows = Rows::default();
        (0..BLOCK + 2).for_each(|n| rows.push(n));
        assert_eq!((rows.swap_remove(1), rows[1]), (Some(1), BLOCK + 1));
        assert_eq!((rows.swap_remove(BLOCK as u32), rows.len()), (Some(BLOCK), BLOCK));
        assert_eq!((rows.swap_remove(BLOCK as u32 - 1), rows.len()), (Some(BLOCK - 1), BLOCK - 1));
        (0..BLOCK - 1).for_each(|_| assert!(rows.swap_remove(0).is_some()));
        assert_eq!((rows.swap_remove(0), rows.len(), rows.blocks.len()), (None, 0, 0));
    }
}
