//! The open blocks of one process: address → block, the busiest table of ingestion.
//!
//! ```text
//! region: 32 KiB of the program's memory ─▶ its pages: 512 bytes each ─▶ the page's blocks, in the order of addresses
//! found by a hash                           a bit for each place         in a piece of the pool
//! ```
//!
//! Programs use memory in runs: what is allocated or freed together mostly lies together. A table that scatters addresses
//! by a hash misses the processor's caches at nearly every event, and the translation of its addresses, too, once there
//! are some hundred thousand blocks. Here what lies together in the program lies together in the table: the blocks of a
//! page are neighbours, found by counting bits, and a run of events stays in one region. Little is left empty, so it takes
//! less memory, too.
//!
//! A block that goes leaves its place to the next one that begins where it began, as allocators soon have it: neither moves
//! the others. Places without a block are given up before a piece grows, so a piece has room for the most blocks that were
//! open in its page at one time, and no more than is left of its class.

use std::collections::VecDeque;

use serde::Deserialize;

use super::block::Block;
use super::packed::{Packed, Packer};
use super::pool::{Piece, Pool};
use super::region_index::{NOWHERE, RegionIndex};
use super::saved::Saved;
use crate::prefetch::prefetch;

/// Blocks begin at multiples of 8 bytes.
const GRANULE_BITS: u32 = 3;
/// Granules of a page, one bit each: 512 bytes.
const PAGE_BITS: u32 = 6;
/// Pages of a region: 32 KiB.
const REGION_BITS: u32 = 6;
const PAGES: usize = 1 << REGION_BITS;
/// Longest piece that an empty page keeps.
const LONGEST_KEPT: usize = 3;
/// Regions without blocks that are kept.
const MOST_EMPTIED: usize = 64;

/// 512 bytes of the program's memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Page {
    /// Where open blocks begin.
    begins: u64,
    /// Where blocks with a place in the piece begin, open or not.
    places: u64,
    /// Their places, in the pool.
    piece: Piece,
}

/// 32 KiB of the program's memory.
#[derive(Debug)]
pub(super) struct Region {
    number: u64,
    /// Blocks in all pages.
    blocks: u32,
    /// Whether it is among [`Blocks::emptied`].
    is_emptied: bool,
    /// Apart, so that more regions do not move them.
    pages: Box<[Page; PAGES]>,
}

/// Where a block belongs.
#[derive(Clone, Copy)]
pub(super) struct Place {
    region: u64,
    page: usize,
    bit: u64,
}

impl Place {
    #[inline]
    fn of(address: u64) -> Self {
        let granule = address >> GRANULE_BITS;
        let page = granule >> PAGE_BITS;
        Self { region: page >> REGION_BITS, page: page as usize % PAGES, bit: 1 << (granule % (1 << PAGE_BITS)) }
    }

    /// Where the lowest of `bits` is in a page of a region; `None` beyond all addresses.
    pub(super) fn new(region: u64, page: u8, bits: u64) -> Option<Self> {
        let page = usize::from(page);
        let is_address =
            region < 1 << (u64::BITS - REGION_BITS - PAGE_BITS - GRANULE_BITS) && page < PAGES && bits != 0;
        is_address.then_some(Self { region, page, bit: bits & bits.wrapping_neg() })
    }

    pub(super) fn address(self) -> u64 {
        let page = self.region << REGION_BITS | self.page as u64;
        (page << PAGE_BITS | u64::from(self.bit.trailing_zeros())) << GRANULE_BITS
    }
}

impl Region {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    pub(super) fn pages(&self) -> &[Page] {
        &self.pages[..]
    }
}

impl Page {
    /// Whether no block is open.
    pub(super) fn is_empty(&self) -> bool {
        self.begins == 0
    }

    /// Where open blocks begin, a bit for each granule.
    pub(super) fn begins(&self) -> u64 {
        self.begins
    }

    /// How many places lie before that of `bit`. (One instruction where the loop of ingestion is compiled for today's
    /// processors, a dozen elsewhere.)
    #[inline(always)]
    fn rank(&self, bit: u64) -> usize {
        (self.places & (bit - 1)).count_ones() as usize
    }
}

/// Open blocks by address.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Saved")]
pub(crate) struct Blocks {
    len: usize,
    /// Regions in use.
    index: RegionIndex,
    regions: Vec<Region>,
    /// Regions that lost their last block, the oldest first; they may have got another one since.
    emptied: VecDeque<u32>,
    /// Regions without a number.
    unused: Vec<u32>,
    pool: Pool,
    packer: Packer,
    /// Number and index of the last region: most events are in the one of the event before.
    last: (u64, u32),
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            len: 0,
            index: RegionIndex::default(),
            regions: Vec::new(),
            emptied: VecDeque::new(),
            unused: Vec::new(),
            pool: Pool::default(),
            packer: Packer::default(),
            last: (NOWHERE, 0),
        }
    }
}

impl Blocks {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a block at `address`, a multiple of 8; returns the one that was open there.
    #[inline(always)]
    pub(crate) fn insert(&mut self, address: u64, block: Block) -> Option<Block> {
        let place = Place::of(address);
        let number = match self.find(place.region) {
            Some(number) => number,
            None => self.add_region(place.region),
        };
        let region = &mut self.regions[number as usize];
        let page = &mut region.pages[place.page];
        if page.places & place.bit == 0 {
            if page.places < place.bit && page.piece.has_room() {
                // Behind all others, as where a program fills new memory.
                (page.places, page.piece) = (page.places | place.bit, page.piece.longer());
            } else {
                self.add_place(number, address);
            }
        }
        let region = &mut self.regions[number as usize];
        let page = &mut region.pages[place.page];
        let at = self.pool.block(page.piece, page.rank(place.bit));
        let older = std::mem::replace(at, self.packer.pack(&block));
        if page.begins & place.bit != 0 {
            return Some(self.packer.take(older));
        }
        page.begins |= place.bit;
        region.blocks += 1;
        self.len += 1;
        None
    }

    /// Makes a place where there is none; what is in it means nothing. (The page before the first is the last: no worse a
    /// guess than none.)
    #[inline(never)]
    fn add_place(&mut self, number: u32, address: u64) {
        let place = Place::of(address);
        let region = &mut self.regions[number as usize];
        let neighbour = region.pages[(place.page + PAGES - 1) % PAGES].piece;
        let page = &mut region.pages[place.page];
        if !page.piece.has_room() {
            if page.places == page.begins {
                page.piece = self.pool.grow(page.piece, neighbour);
            } else {
                page.piece = self.pool.keep(page.piece, page.places, page.begins);
                page.places = page.begins;
            }
        }
        let rank = page.rank(place.bit);
        (page.places, page.piece) = (page.places | place.bit, page.piece.longer());
        let mut moved = Packed::default();
        for at in &mut self.pool.blocks(page.piece)[rank..] {
            std::mem::swap(at, &mut moved);
        }
    }

    /// Whether there is one at `address`.
    #[inline(always)]
    pub(crate) fn is_open(&mut self, address: u64) -> bool {
        let place = Place::of(address);
        self.find(place.region)
            .is_some_and(|number| self.regions[number as usize].pages[place.page].begins & place.bit != 0)
    }

    /// Takes out the block at `address`.
    #[inline(always)]
    pub(crate) fn remove(&mut self, address: u64) -> Option<Block> {
        let place = Place::of(address);
        let number = self.find(place.region)?;
        let region = &mut self.regions[number as usize];
        let page = &mut region.pages[place.page];
        if page.begins & place.bit == 0 {
            return None;
        }
        let block = *self.pool.block(page.piece, page.rank(place.bit));
        page.begins &= !place.bit;
        if page.begins == 0 && page.piece.room() > LONGEST_KEPT {
            self.pool.give_back(std::mem::take(page).piece);
        }
        region.blocks -= 1;
        self.len -= 1;
        if region.blocks == 0 && !region.is_emptied {
            self.empty(number);
        }
        Some(self.packer.take(block))
    }

    /// Takes out all blocks.
    pub(crate) fn drain(&mut self) -> Remaining {
        let blocks = std::mem::take(self);
        let number = |index: &u32| std::cmp::Reverse(blocks.regions[*index as usize].number);
        let mut regions: Vec<u32> = blocks.index.indexes().collect();
        regions.sort_unstable_by_key(number);
        Remaining { blocks, regions }
    }

    /// All regions, those without blocks included.
    pub(super) fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.iter()
    }

    /// What packed blocks that do not fit say.
    pub(super) fn kept_whole(&self) -> &Vec<Block> {
        self.packer.whole()
    }

    /// The open blocks of a page as they are kept, in the order of their addresses. `room` is for where they do not lie side
    /// by side.
    pub(super) fn open_in_page<'a>(&'a self, page: &Page, room: &'a mut [Packed; 64]) -> &'a [Packed] {
        let blocks = self.pool.get(page.piece);
        if page.begins == page.places {
            return blocks;
        }
        let (mut places, mut len) = (page.places, 0);
        for block in blocks {
            let bit = places & places.wrapping_neg();
            places ^= bit;
            room[len % room.len()] = *block;
            len += usize::from(page.begins & bit != 0);
        }
        &room[..len]
    }

    /// The blocks of a region with their addresses, in the order of these.
    fn in_region<'a>(&'a self, region: &'a Region) -> impl Iterator<Item = (u64, Block)> + 'a {
        region.pages.iter().enumerate().flat_map(move |(number, page)| {
            let mut places = page.places;
            let blocks = self.pool.get(page.piece).iter().map(move |&block| {
                let bit = places & places.wrapping_neg();
                places &= places - 1;
                (bit, block)
            });
            let open = blocks.filter(|(bit, _)| page.begins & bit != 0);
            open.map(move |(bit, block)| {
                (Place { region: region.number, page: number, bit }.address(), self.packer.get(block))
            })
        })
    }

    /// Whether there are more blocks than a near cache holds.
    #[inline]
    pub(crate) fn are_many(&self) -> bool {
        self.len >= 1 << 14
    }

    /// Asks for the page of a block that is to go a while later.
    #[inline(always)]
    pub(crate) fn prefetch_page(&self, address: u64) {
        let place = Place::of(address);
        if let Some(region) = self.look_up_far(place.region) {
            prefetch(&self.regions[region as usize].pages[..], place.page);
        }
    }

    /// Asks for a block that is to go soon, and whose page was asked for.
    #[inline(always)]
    pub(crate) fn prefetch_block(&self, address: u64) {
        let place = Place::of(address);
        if let Some(region) = self.look_up_far(place.region) {
            let page = &self.regions[region as usize].pages[place.page];
            self.pool.prefetch(page.piece, page.rank(place.bit));
        }
    }

    /// Index of a region, unless it is the one where events are now.
    #[inline(always)]
    fn look_up_far(&self, region: u64) -> Option<u32> {
        if self.last.0 == region {
            return None;
        }
        self.index.get(region)
    }

    /// Index of a region.
    #[inline(always)]
    fn find(&mut self, region: u64) -> Option<u32> {
        if self.last.0 != region {
            self.last = (region, self.look_up_far(region)?);
        }
        Some(self.last.1)
    }

    #[cold]
    fn add_region(&mut self, region: u64) -> u32 {
        let number = match self.unused.pop() {
            Some(number) => {
                self.regions[number as usize].number = region;
                number
            }
            None => {
                let pages = Box::new([Page::default(); PAGES]);
                self.regions.push(Region { number: region, blocks: 0, is_emptied: false, pages });
                self.regions.len() as u32 - 1
            }
        };
        self.index.insert(region, number);
        self.last = (region, number);
        number
    }

    /// A region has lost its last block. It may soon have another one, so it is not given up before many others have lost
    /// theirs.
    #[cold]
    fn empty(&mut self, number: u32) {
        self.regions[number as usize].is_emptied = true;
        self.emptied.push_back(number);
        if self.emptied.len() > MOST_EMPTIED
            && let Some(number) = self.emptied.pop_front()
        {
            let region = &mut self.regions[number as usize];
            region.is_emptied = false;
            if region.blocks == 0 {
                self.remove_region(number);
            }
        }
    }

    fn remove_region(&mut self, number: u32) {
        let region = &mut self.regions[number as usize];
        region.pages.iter_mut().for_each(|page| self.pool.give_back(std::mem::take(page).piece));
        self.index.remove(region.number);
        self.unused.push(number);
        self.last = (NOWHERE, 0);
    }
}

/// Blocks taken out, where they lie: there may be millions, of which a sorted copy would take longer than their rows.
#[derive(Debug)]
pub(crate) struct Remaining {
    blocks: Blocks,
    /// Regions that have not been asked for, the first one last.
    regions: Vec<u32>,
}

impl Remaining {
    /// How many there were.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len
    }

    /// The blocks of the next region with their addresses, all in the order of these.
    pub(crate) fn next_region(&mut self) -> Option<impl Iterator<Item = (u64, Block)>> {
        let index = self.regions.pop()?;
        Some(self.blocks.in_region(&self.blocks.regions[index as usize]))
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
        for step in 0..400_000u64 {
            // Far apart at first, then so near that pages fill to the last granule, then few addresses that are hit again.
            let address = match step {
                0..100_000 => (1 + rng.below(1 << 40)) * 16,
                100_000..300_000 => 0x7000_0000_0000 + rng.below(1 << 14) * 8,
                _ => (1 + rng.below(3000)) * 16,
            };
            if rng.below(5) < 3 {
                let block = Block::new((step % 7) as u8, step as i64, step, 1, 2);
                assert_eq!(table.insert(address, block), model.insert(address, block));
            } else {
                assert_eq!(table.remove(address), model.remove(&address));
            }
            assert_eq!(table.len(), model.len());
        }
        let restored: Blocks = postcard::from_bytes(&postcard::to_extend(&table, Vec::new()).unwrap()).unwrap();
        assert_eq!(restored.len(), model.len());
        let (mut drained, mut remaining) = (Vec::new(), table.drain());
        assert_eq!((remaining.len(), table.len()), (model.len(), 0));
        while let Some(blocks) = remaining.next_region() {
            drained.extend(blocks);
        }
        assert!(drained.is_sorted_by_key(|(address, _)| *address));
        assert!(drained.iter().all(|(address, block)| model[address] == *block));
        assert_eq!(drained.len(), model.len());
    }

    #[test]
    fn memory_is_used_again() {
        let mut table = Blocks::default();
        for round in 0..50u64 {
            let addresses = (0..1000).map(|i| 0x1000_0000 * (round + 1) + i * 4096);
            assert!(addresses.clone().all(|address| table.insert(address, Block::new(0, 0, 1, 0, 0)).is_none()));
            assert!(addresses.clone().all(|address| table.remove(address).is_some()));
        }
        // As many as one round needs, eight blocks in each, and what was kept.
        assert_eq!((table.len(), table.index.indexes().count()), (0, MOST_EMPTIED));
        assert_eq!(table.regions.len(), 1000 / 8 + MOST_EMPTIED);
    }
}
