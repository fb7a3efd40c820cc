//! Open blocks as the table keeps them: 16 bytes each, a third less than what they say.
//!
//! There are millions of them, each met twice and far apart: what the table takes is what the kernel has to provide, and
//! what misses the processor's caches. Nearly all blocks fit; the few that do not are kept whole beside the table.
//!
//! ```text
//! word 0: | thread 16 | time in ns 48 |          word 1: | kind 4 | site 28 | size 32 |
//! kind 15: the block is kept whole, at the index in word 0
//! ```

use zerocopy::{Immutable, IntoBytes};

use super::block::Block;

const TIME_BITS: u32 = 48;
const SIZE_BITS: u32 = 32;
const SITE_BITS: u32 = 28;
const THREAD_BITS: u32 = 64 - TIME_BITS;
const KIND_SHIFT: u32 = SIZE_BITS + SITE_BITS;
/// Instead of a kind: the block is kept whole.
const WHOLE: u64 = 15;

/// A block in 16 bytes. The words are read as they were written, one by one (see [`super::pool`]).
#[derive(Clone, Copy, Debug, Default, IntoBytes, Immutable)]
#[repr(transparent)]
pub(super) struct Packed([u64; 2]);

const _: () = assert!(size_of::<Packed>() == 16 && KIND_SHIFT + 4 == 64);

impl Packed {
    /// `None`: it does not fit.
    #[inline(always)]
    fn of(block: &Block) -> Option<Self> {
        let (time, size) = (block.alloc_ns.cast_unsigned(), block.size());
        let (site, thread, kind) = (u64::from(block.site), u64::from(block.thread), u64::from(block.kind()));
        // One question instead of five: what lies beyond the bits of any.
        let beyond = time >> TIME_BITS | size >> SIZE_BITS | site >> SITE_BITS | thread >> THREAD_BITS;
        (beyond == 0 && kind < WHOLE)
            .then_some(Self([time | thread << TIME_BITS, size | site << SIZE_BITS | kind << KIND_SHIFT]))
    }

    #[inline(always)]
    fn whole(self) -> Option<usize> {
        let Self([index, high]) = self;
        (high >> KIND_SHIFT == WHOLE).then_some(index as usize)
    }

    /// From its bytes.
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        const { assert!(cfg!(target_endian = "little"), "blocks are saved as they are in memory") };
        let both = u128::from_le_bytes(bytes);
        Self([both as u64, (both >> 64) as u64])
    }

    /// What it says, `whole` being the blocks that are kept whole; `None` if it is said to be one of those and is not.
    pub(super) fn unpacked(self, whole: &[Block]) -> Option<Block> {
        match self.whole() {
            None => Some(self.block()),
            Some(index) => whole.get(index).copied(),
        }
    }

    #[inline(always)]
    fn block(self) -> Block {
        let Self([low, high]) = self;
        let time = (low & ((1 << TIME_BITS) - 1)).cast_signed();
        let site = (high >> SIZE_BITS) as u32 & ((1 << SITE_BITS) - 1);
        Block::new((high >> KIND_SHIFT) as u8, time, high as u32 as u64, site, (low >> TIME_BITS) as u32)
    }
}

/// Packs and unpacks blocks; holds those that do not fit: times beyond 78 hours, sizes from 4 GiB on, threads beyond 2^16,
/// sites beyond 2^28.
#[derive(Debug, Default)]
pub(super) struct Packer {
    whole: Vec<Block>,
    unused: Vec<u32>,
}

impl Packer {
    /// Packs a block; it must be unpacked once by [`Packer::take`].
    #[inline(always)]
    pub(super) fn pack(&mut self, block: &Block) -> Packed {
        Packed::of(block).unwrap_or_else(|| self.keep(block))
    }

    #[cold]
    fn keep(&mut self, block: &Block) -> Packed {
        let index = match self.unused.pop() {
            Some(index) => {
                self.whole[index as usize] = *block;
                u64::from(index)
            }
            None => {
                self.whole.push(*block);
                self.whole.len() as u64 - 1
            }
        };
        Packed([index, WHOLE << KIND_SHIFT])
    }

    /// Unpacks a block for the last time.
    #[inline(always)]
    pub(super) fn take(&mut self, packed: Packed) -> Block {
        match packed.whole() {
            None => packed.block(),
            Some(index) => self.give_back(index),
        }
    }

    #[cold]
    fn give_back(&mut self, index: usize) -> Block {
        self.unused.push(index as u32);
        self.whole[index]
    }

    /// The blocks that are kept whole, and some that are no more.
    pub(super) fn whole(&self) -> &Vec<Block> {
        &self.whole
    }

    /// What a block says.
    #[inline]
    pub(super) fn get(&self, packed: Packed) -> Block {
        packed.whole().map_or_else(|| packed.block(), |index| self.whole[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_as_they_were() {
        let mut packer = Packer::default();
        let around = |limit: u64| [0, 1, limit - 1, limit, limit + 1];
        let mut kept = Vec::new();
        for ns in around(1 << TIME_BITS).map(u64::cast_signed).into_iter().chain([-1, i64::MIN, i64::MAX]) {
            for size in around(1 << SIZE_BITS).into_iter().chain([(1 << 56) - 1]) {
                for site in around(1 << SITE_BITS).into_iter().chain([u32::MAX.into()]) {
                    for thread in around(1 << THREAD_BITS).into_iter().chain([u32::MAX.into()]) {
                        let block = Block::new((size % 6) as u8, ns, size, site as u32, thread as u32);
                        kept.push((packer.pack(&block), block));
                    }
                }
            }
        }
        let whole = kept.iter().filter(|(packed, _)| packed.whole().is_some()).count();
        assert_eq!((whole, packer.whole.len()), (kept.len() - 3 * 3 * 3 * 3, whole));
        for (packed, block) in &kept {
            assert_eq!(packer.get(*packed), *block);
        }
        for (packed, block) in &kept {
            assert_eq!(packer.take(*packed), *block);
        }
        for (_, block) in &kept {
            packer.pack(block);
        }
        assert_eq!(packer.whole.len(), whole, "places are used again");
    }
}
