//! The open blocks of one process: address → block, the busiest table of ingestion.
//!
//! Open addressing with linear probing and backward-shift deletion: one cache line per look-up as a rule, no
//! tombstones. The hash is one multiplication; addresses of neighbouring blocks land in neighbouring lines.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

/// Bits of a key: an address without its three zero bits.
const KEY_BITS: u32 = 48;
const KEY_MASK: u64 = (1 << KEY_BITS) - 1;
/// Slots of the first table.
const FIRST_SLOTS: usize = 64;

/// A block that was handed out and not given back yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Key in the low 48 bits (0: no block), kind above.
    key_kind: u64,
    /// When it was handed out.
    pub alloc_ns: i64,
    /// Bytes asked for.
    pub size: u64,
    /// Index of its site.
    pub site: u32,
    /// Index of the thread that allocated it.
    pub thread: u32,
}

const _: () = assert!(size_of::<Block>() == 32);

impl Block {
    /// A block at `address`, which must be a multiple of 8 and not 0.
    pub(crate) fn new(address: u64, kind: u8, alloc_ns: i64, size: u64, site: u32, thread: u32) -> Self {
        Self { key_kind: key_of(address) | u64::from(kind) << KEY_BITS, alloc_ns, size, site, thread }
    }

    /// Its address.
    pub(crate) fn address(&self) -> u64 {
        self.key() << 3
    }

    /// The call that made it, as a number of `rows::KINDS`.
    pub(crate) fn kind(&self) -> u8 {
        (self.key_kind >> KEY_BITS) as u8
    }

    #[inline]
    fn key(&self) -> u64 {
        self.key_kind & KEY_MASK
    }
}

#[inline]
fn key_of(address: u64) -> u64 {
    (address >> 3) & KEY_MASK
}

/// Open blocks by address.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Vec<Block>")]
pub(crate) struct Blocks {
    /// A power of two of slots, or none.
    slots: Vec<Block>,
    len: usize,
    /// Blocks at which the table grows.
    limit: usize,
    shift: u32,
}

impl Blocks {
    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    /// Adds a block; returns the one that was open at its address.
    #[inline]
    pub(crate) fn insert(&mut self, block: Block) -> Option<Block> {
        if self.len >= self.limit {
            self.grow();
        }
        let key = block.key();
        let mask = self.slots.len() - 1;
        let mut at = self.home(key) & mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.key() == key {
                return Some(std::mem::replace(slot, block));
            }
            if slot.key() == 0 {
                *slot = block;
                self.len += 1;
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    /// Takes out the block at `address`.
    #[inline]
    pub(crate) fn remove(&mut self, address: u64) -> Option<Block> {
        if self.slots.is_empty() {
            return None;
        }
        let key = key_of(address);
        let mask = self.slots.len() - 1;
        let mut at = self.home(key) & mask;
        loop {
            let found = self.slots[at].key();
            if found == 0 {
                return None;
            }
            if found == key {
                break;
            }
            at = (at + 1) & mask;
        }
        let block = self.slots[at];
        self.len -= 1;
        // Moves later blocks of the run back so that none is behind an empty slot.
        let mut hole = at;
        loop {
            at = (at + 1) & mask;
            let candidate = self.slots[at];
            if candidate.key() == 0 {
                break;
            }
            let home = self.home(candidate.key()) & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = candidate;
                hole = at;
            }
        }
        self.slots[hole].key_kind = 0;
        Some(block)
    }

    /// Takes out all blocks, youngest first.
    pub(crate) fn drain(&mut self) -> Vec<Block> {
        let mut blocks: Vec<Block> = std::mem::take(self).slots.into_iter().filter(|b| b.key() != 0).collect();
        blocks.sort_unstable_by_key(|b| std::cmp::Reverse((b.alloc_ns, b.key())));
        blocks
    }

    #[cold]
    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![Block::default(); slots]);
        self.shift = 64 - slots.trailing_zeros();
        self.limit = slots / 4 * 3;
        self.len = 0;
        for block in old {
            if block.key() != 0 {
                self.insert(block);
            }
        }
    }
}

impl From<Vec<Block>> for Blocks {
    fn from(blocks: Vec<Block>) -> Self {
        let mut table = Self::default();
        for block in blocks {
            if block.key() != 0 {
                table.insert(block);
            }
        }
        table
    }
}

impl Serialize for Blocks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut blocks = serializer.serialize_seq(Some(self.len))?;
        for block in self.slots.iter().filter(|b| b.key() != 0) {
            blocks.serialize_element(block)?;
        }
        blocks.end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ingest::testing::Rng;

    #[test]
    fn behaves_like_a_map() {
        let mut rng = Rng::new(7);
        let mut table = Blocks::default();
        let mut model = HashMap::new();
        for step in 0..200_000u64 {
            let address = (1 + rng.below(3000)) * 16;
            if rng.below(2) == 0 {
                let block = Block::new(address, (step % 7) as u8, step as i64, step, 1, 2);
                assert_eq!(table.insert(block), model.insert(address, block));
            } else {
                assert_eq!(table.remove(address), model.remove(&address));
            }
            assert_eq!(table.len(), model.len());
        }
        let restored: Blocks = postcard::from_bytes(&postcard::to_extend(&table, Vec::new()).unwrap()).unwrap();
        assert_eq!(restored.len(), model.len());
        let drained = table.drain();
        assert!(drained.is_sorted_by_key(|b| std::cmp::Reverse(b.alloc_ns)));
        assert!(drained.iter().all(|b| model[&b.address()] == *b));
        assert_eq!((drained.len(), table.len()), (model.len(), 0));
    }
}
