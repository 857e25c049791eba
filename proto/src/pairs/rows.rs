//! A list that grows without being copied: blocks of memory, one behind the other.

use crate::mux::Slot;

/// Items of a block.
const BLOCK: usize = 1 << 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Rows<T> {
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
    pub(super) fn push(&mut self, item: T) {
        match self.blocks.last_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => block.push(item),
            None => self.blocks.push(vec![item]),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }

    /// All of them, in order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.blocks.iter_mut().flatten()
    }
}

impl<T> std::ops::Index<Slot> for Rows<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        &self.blocks[slot as usize / BLOCK][slot as usize % BLOCK]
    }
}

impl<T> std::ops::IndexMut<Slot> for Rows<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        &mut self.blocks[slot as usize / BLOCK][slot as usize % BLOCK]
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
        assert_eq!((rows[0], rows[BLOCK as Slot - 1], rows[BLOCK as Slot]), (7, BLOCK - 1, BLOCK));
        rows.iter_mut().for_each(|n| *n += 1);
        assert_eq!(rows.iter().sum::<usize>(), 7 + (1..=3 * BLOCK + 1).sum::<usize>());
    }
}
