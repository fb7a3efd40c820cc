//! Memory for the blocks of pages: pieces of a few lengths, cut from chunks and kept in lists when they are given back.

use super::packed::Packed;
use crate::prefetch::prefetch;

/// Room of pieces by class, in blocks; class 0 has no memory. A page has at most 64 blocks, so none is of the last classes.
const ROOM: [u8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 64, 64, 64];
/// Blocks of the first chunk (16 KiB); each has twice as many as the one before, up to 16 MiB.
const FIRST_CHUNK: usize = 1 << 10;
const LARGEST_CHUNK: usize = 1 << 20;

/// Neighbouring places for blocks: from the lowest bits up, the first place in the chunk (32 bits), the chunk (16), the
/// class (8, a number in [`ROOM`]) and the places in use (8, kept by its owner). It is one word because it is written in
/// one event and read in the next: what was written in parts would have to leave the store buffer before it can be read
/// as a whole, some 15 cycles.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece(u64);

const CHUNK: u32 = 32;
const CLASS: u32 = 48;
const LEN: u32 = 56;

impl Piece {
    #[inline]
    fn new(first: usize, chunk: usize, class: u8) -> Self {
        Self(first as u64 | (chunk as u64) << CHUNK | u64::from(class) << CLASS)
    }

    #[inline]
    fn first(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    fn chunk(self) -> usize {
        (self.0 >> CHUNK) as u16 as usize
    }

    #[inline]
    fn class(self) -> u8 {
        (self.0 >> CLASS) as u8
    }

    /// How many places are in use.
    #[inline]
    pub(super) fn len(self) -> usize {
        (self.0 >> LEN) as usize
    }

    /// The same with one block more; there must be room for it.
    #[inline]
    pub(super) fn longer(self) -> Self {
        Self(self.0.wrapping_add(1 << LEN))
    }

    #[inline]
    fn empty(self) -> Self {
        Self(self.0 & ((1 << LEN) - 1))
    }

    /// How many blocks it has room for.
    #[inline]
    pub(super) fn room(self) -> usize {
        usize::from(ROOM[usize::from(self.class()) % ROOM.len()])
    }

    /// Whether there is room for one more.
    #[inline]
    pub(super) fn has_room(self) -> bool {
        self.len() < self.room()
    }

    #[inline]
    fn places(self) -> std::ops::Range<usize> {
        self.first()..self.first() + self.len()
    }
}

/// All places.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// As long as they are used.
    chunks: Vec<Vec<Packed>>,
    /// Pieces that were given back, by class.
    free: [Vec<Piece>; ROOM.len()],
}

impl Pool {
    /// What is in a piece.
    pub(super) fn get(&self, piece: Piece) -> &[Packed] {
        if piece.len() == 0 { &[] } else { &self.chunks[piece.chunk()][piece.places()] }
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn blocks(&mut self, piece: Piece) -> &mut [Packed] {
        if piece.len() == 0 { &mut [] } else { &mut self.chunks[piece.chunk()][piece.places()] }
    }

    /// One of the blocks in a piece; `rank` is below its length.
    #[inline(always)]
    pub(super) fn block(&mut self, piece: Piece, rank: usize) -> &mut Packed {
        &mut self.chunks[piece.chunk()][piece.first() + rank]
    }

    /// Asks for the cache line of the place `rank` of a piece.
    #[inline(always)]
    pub(super) fn prefetch(&self, piece: Piece, rank: usize) {
        if let Some(chunk) = self.chunks.get(piece.chunk()) {
            prefetch(chunk, piece.first() + rank);
        }
    }

    /// Moves the content of a piece that is full to a longer one. Neighbouring pages have about as many blocks, so one
    /// that had none has room for as many as `neighbour` has.
    #[cold]
    pub(super) fn grow(&mut self, piece: Piece, neighbour: Piece) -> Piece {
        let class = match piece.class() {
            0 => ROOM.iter().position(|room| usize::from(*room) >= neighbour.len().max(1)).unwrap_or(1) as u8,
            class => class + 1,
        };
        let mut longer = self.take(class);
        let (from, to, place) = (piece.chunk(), longer.chunk(), longer.first());
        if from == to {
            self.chunks[to].copy_within(piece.places(), place);
        } else if let Ok([from, to]) = self.chunks.get_disjoint_mut([from, to]) {
            to[place..place + piece.len()].copy_from_slice(&from[piece.places()]);
        }
        self.give_back(piece);
        longer.0 |= piece.0 & !piece.empty().0;
        longer
    }

    /// Moves what is to stay in a piece to its beginning: `places` has a bit for each place in use, `stay` those of them
    /// that stay.
    #[cold]
    pub(super) fn keep(&mut self, piece: Piece, mut places: u64, stay: u64) -> Piece {
        let blocks = self.blocks(piece);
        let mut kept = piece.empty();
        for at in 0..blocks.len() {
            let bit = places & places.wrapping_neg();
            places ^= bit;
            if stay & bit != 0 {
                blocks[kept.len()] = blocks[at];
                kept = kept.longer();
            }
        }
        kept
    }

    /// A piece of a class, whatever is in it.
    fn take(&mut self, class: u8) -> Piece {
        if let Some(piece) = self.free[usize::from(class)].pop() {
            return piece;
        }
        let room = usize::from(ROOM[usize::from(class)]);
        if self.chunks.last().is_none_or(|last| last.capacity() - last.len() < room) {
            // What is left of the last one, less than a page's worth, is lost.
            self.add_chunk();
        }
        let chunk = self.chunks.len() - 1;
        let last = &mut self.chunks[chunk];
        let first = last.len();
        last.resize(first + room, Packed::default());
        Piece::new(first, chunk, class)
    }

    fn add_chunk(&mut self) {
        let blocks = self.chunks.last().map_or(FIRST_CHUNK, |last| last.capacity() * 2);
        self.chunks.push(Vec::with_capacity(blocks.min(LARGEST_CHUNK)));
    }

    /// A piece is not used any more.
    #[inline]
    pub(super) fn give_back(&mut self, piece: Piece) {
        if piece.class() > 0 {
            self.free[usize::from(piece.class())].push(piece.empty());
        }
    }
}
