//! Where a region of the program's memory is in the table of open blocks, by its number.
//!
//! A plain table with linear probing, at most half full: a look-up is a multiplication and mostly one comparison, of which
//! there are up to three per event. A general hash table, which finds its entries by groups of control bytes, took four
//! times as many instructions, a tenth of all that the collector executed.

/// No region: none has this number.
pub(super) const NOWHERE: u64 = u64::MAX;

const FIRST_SLOTS: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u64,
    index: u32,
}

const EMPTY: Slot = Slot { number: NOWHERE, index: 0 };

/// Numbers of regions and their indexes.
#[derive(Debug, Default)]
pub(super) struct RegionIndex {
    /// A power of two, or none.
    slots: Vec<Slot>,
    len: usize,
}

impl RegionIndex {
    /// Where `number` is looked for first. Bits of the product from the 32nd up depend on all bits that numbers have.
    #[inline(always)]
    fn home(&self, number: u64) -> usize {
        (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & self.slots.len().wrapping_sub(1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// The index of a region.
    #[inline(always)]
    pub(super) fn get(&self, number: u64) -> Option<u32> {
        let slot = self.slots.get(self.home(number))?;
        if slot.number == number { Some(slot.index) } else { self.get_further(number) }
    }

    #[inline(never)]
    fn get_further(&self, number: u64) -> Option<u32> {
        let slot = self.slots[self.position(number)];
        (slot.number == number).then_some(slot.index)
    }

    /// Where `number` is, or the free slot where it would be.
    fn position(&self, number: u64) -> usize {
        let mut at = self.home(number);
        while self.slots[at].number != number && self.slots[at].number != NOWHERE {
            at = self.after(at);
        }
        at
    }

    /// Adds a region that is not there.
    pub(super) fn insert(&mut self, number: u64, index: u32) {
        if self.len * 2 >= self.slots.len() {
            let more = (self.slots.len() * 2).max(FIRST_SLOTS);
            for slot in std::mem::replace(&mut self.slots, vec![EMPTY; more]) {
                if slot.number != NOWHERE {
                    self.put(slot);
                }
            }
        }
        self.put(Slot { number, index });
        self.len += 1;
    }

    fn put(&mut self, slot: Slot) {
        let at = self.position(slot.number);
        self.slots[at] = slot;
    }

    /// Takes a region out, if it is there, and moves those nearer to their homes that had to go further because of it.
    pub(super) fn remove(&mut self, number: u64) {
        if self.len == 0 {
            return;
        }
        let mut free = self.position(number);
        if self.slots[free].number == NOWHERE {
            return;
        }
        let mut at = self.after(free);
        while self.slots[at].number != NOWHERE {
            let mask = self.slots.len() - 1;
            let distance = |from: usize| at.wrapping_sub(from) & mask;
            if distance(self.home(self.slots[at].number)) >= distance(free) {
                self.slots[free] = self.slots[at];
                free = at;
            }
            at = self.after(at);
        }
        self.slots[free] = EMPTY;
        self.len -= 1;
    }

    /// All indexes, in no order.
    pub(super) fn indexes(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().filter(|slot| slot.number != NOWHERE).map(|slot| slot.index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ingest::testing::Rng;

    #[test]
    fn behaves_like_a_map() {
        let mut rng = Rng::new(3);
        let (mut index, mut model) = (RegionIndex::default(), HashMap::new());
        assert_eq!(index.get(5), None);
        index.remove(5);
        for step in 0..200_000u32 {
            // Neighbours, and numbers whose homes are the same.
            let number = rng.below(300) << if step % 2 == 0 { 0 } else { 40 };
            match model.get(&number) {
                Some(_) if rng.below(2) == 0 => {
                    model.remove(&number);
                    index.remove(number);
                }
                Some(_) => {}
                None => {
                    model.insert(number, step);
                    index.insert(number, step);
                }
            }
            assert_eq!(index.get(number), model.get(&number).copied());
        }
        assert!((0..300u64).flat_map(|n| [n, n << 40]).all(|n| index.get(n) == model.get(&n).copied()));
        let mut all: Vec<u32> = index.indexes().collect();
        let mut expected: Vec<u32> = model.into_values().collect();
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }
}
