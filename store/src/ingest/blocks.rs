//! The open blocks of one process: address → block, the busiest table of ingestion.
//!
//! Extendible hashing: the first bits of an address's hash choose a segment, the next ones a slot in it, where linear
//! probing with backward-shift deletion begins. A full segment is split in two, so the table grows in small steps, never
//! holds two copies of itself, and no event waits for a rehash of everything. The hash is one multiplication.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use crate::prefetch::prefetch;

/// Bits of a key: an address without its three zero bits.
const KEY_BITS: u32 = 48;
const KEY_MASK: u64 = (1 << KEY_BITS) - 1;
/// Slots of the first segment.
const FIRST_SLOTS: usize = 64;
/// Slots of a segment that is split instead of doubled: 128 KiB.
const SEGMENT_SLOTS: usize = 1 << 12;
/// Most bits of a hash that choose a segment, 2^44 blocks.
const MAX_DEPTH: u32 = 32;

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

#[inline]
fn hash(key: u64) -> u64 {
    key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A power of two of slots, part of the table.
#[derive(Debug)]
struct Segment {
    slots: Vec<Block>,
    len: usize,
    /// How many first bits the hashes of all its keys have in common.
    depth: u32,
    /// Shift of a hash, after these bits are gone, that leaves a slot's index.
    shift: u32,
}

impl Segment {
    fn new(slots: usize, depth: u32) -> Self {
        Self { slots: vec![Block::default(); slots], len: 0, depth, shift: 64 - slots.trailing_zeros() }
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        (hash(key) << self.depth >> self.shift) as usize
    }

    /// Three quarters: longer runs cost more than memory.
    #[inline]
    fn is_full(&self) -> bool {
        self.len >= self.slots.len() / 4 * 3
    }

    /// The slot of `key`, or the empty one where it belongs.
    #[inline]
    fn find(&self, key: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.home(key) & mask;
        loop {
            let found = self.slots[at].key();
            if found == key || found == 0 {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn insert(&mut self, block: Block) -> Option<Block> {
        let at = self.find(block.key());
        let slot = &mut self.slots[at];
        let older = std::mem::replace(slot, block);
        if older.key() == 0 {
            self.len += 1;
            return None;
        }
        Some(older)
    }

    #[inline]
    fn remove(&mut self, key: u64) -> Option<Block> {
        let mut hole = self.find(key);
        let block = self.slots[hole];
        if block.key() == 0 {
            return None;
        }
        self.len -= 1;
        let mask = self.slots.len() - 1;
        // Moves later blocks of the run back so that none is behind an empty slot.
        let mut at = hole;
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

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.slots.iter().filter(|b| b.key() != 0)
    }
}

/// Open blocks by address.
#[derive(Debug, Deserialize)]
#[serde(from = "Vec<Block>")]
pub(crate) struct Blocks {
    /// Number of the segment by the first `depth` bits of a hash.
    directory: Vec<u32>,
    segments: Vec<Segment>,
    depth: u32,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { directory: vec![0], segments: vec![Segment::new(FIRST_SLOTS, 0)], depth: 0 }
    }
}

impl Blocks {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.segments.iter().map(|s| s.len).sum()
    }

    #[inline]
    fn segment_of(&self, key: u64) -> usize {
        // A shift by 64 is none, hence two.
        let entry = hash(key) >> 1 >> (63 - self.depth);
        self.directory[entry as usize] as usize
    }

    /// Asks for the cache line where a look-up of `address` will begin.
    #[inline]
    pub(crate) fn prefetch(&self, address: u64) {
        // One segment is in a cache anyway.
        if self.depth > 0 {
            let key = key_of(address);
            let segment = &self.segments[self.segment_of(key)];
            prefetch(&segment.slots, segment.home(key));
        }
    }

    /// Adds a block; returns the one that was open at its address.
    #[inline]
    pub(crate) fn insert(&mut self, block: Block) -> Option<Block> {
        let mut number = self.segment_of(block.key());
        while self.segments[number].is_full() {
            self.grow(number);
            number = self.segment_of(block.key());
        }
        self.segments[number].insert(block)
    }

    /// Takes out the block at `address`.
    #[inline]
    pub(crate) fn remove(&mut self, address: u64) -> Option<Block> {
        let key = key_of(address);
        let number = self.segment_of(key);
        self.segments[number].remove(key)
    }

    /// Takes out all blocks, youngest first.
    pub(crate) fn drain(&mut self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::with_capacity(self.len());
        for segment in std::mem::take(self).segments {
            blocks.extend(segment.blocks());
        }
        blocks.sort_unstable_by_key(|b| std::cmp::Reverse((b.alloc_ns, b.key())));
        blocks
    }

    /// Makes room in a segment: doubles it while it is small, then splits it.
    #[cold]
    fn grow(&mut self, number: usize) {
        let segment = &mut self.segments[number];
        if segment.slots.len() < SEGMENT_SLOTS || segment.depth == MAX_DEPTH {
            let mut larger = Segment::new(segment.slots.len() * 2, segment.depth);
            for &block in segment.blocks() {
                larger.insert(block);
            }
            *segment = larger;
            return;
        }
        let depth = segment.depth + 1;
        let mut halves = [Segment::new(SEGMENT_SLOTS, depth), Segment::new(SEGMENT_SLOTS, depth)];
        for &block in segment.blocks() {
            halves[(hash(block.key()) >> (64 - depth) & 1) as usize].insert(block);
        }
        let [low, high] = halves;
        *segment = low;
        self.segments.push(high);
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|&entry| [entry, entry]).collect();
            self.depth = depth;
        }
        let new = self.segments.len() as u32 - 1;
        let bit = 1 << (self.depth - depth);
        for (i, entry) in self.directory.iter_mut().enumerate() {
            if *entry as usize == number && i & bit != 0 {
                *entry = new;
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
        let mut blocks = serializer.serialize_seq(Some(self.len()))?;
        for block in self.segments.iter().flat_map(Segment::blocks) {
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
            // Many at first, so that segments split; then fewer addresses, so that most are hit again.
            let address = (1 + rng.below(if step < 50_000 { 1 << 40 } else { 3000 })) * 16;
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
