//! Memory for the blocks of pages: pieces of a few lengths, cut from chunks and kept in lists when they are given back.

use super::blocks::Block;
use crate::prefetch::prefetch;

/// Room of pieces by class, in blocks; class 0 has no memory. A page has at most 64 blocks, so none is of the last classes.
const ROOM: [u8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 64, 64, 64];
/// Blocks of the first chunk (24 KiB); each has twice as many as the one before, up to 24 MiB.
const FIRST_CHUNK: usize = 1 << 10;
const LARGEST_CHUNK: usize = 1 << 20;

/// Neighbouring places for blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    /// First place in the chunk.
    first: u32,
    chunk: u16,
    /// Number in [`ROOM`].
    class: u8,
    /// Blocks in it, kept by its owner.
    pub(super) len: u8,
}

impl Piece {
    /// How many blocks it has room for.
    #[inline]
    pub(super) fn room(self) -> u8 {
        ROOM[usize::from(self.class) % ROOM.len()]
    }

    #[inline]
    fn places(self) -> std::ops::Range<usize> {
        self.first as usize..self.first as usize + usize::from(self.len)
    }
}

/// All places.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// As long as they are used.
    chunks: Vec<Vec<Block>>,
    /// Pieces that were given back, by class.
    free: [Vec<Piece>; ROOM.len()],
}

impl Pool {
    /// What is in a piece.
    pub(super) fn get(&self, piece: Piece) -> &[Block] {
        if piece.len == 0 { &[] } else { &self.chunks[usize::from(piece.chunk)][piece.places()] }
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn blocks(&mut self, piece: Piece) -> &mut [Block] {
        if piece.len == 0 { &mut [] } else { &mut self.chunks[usize::from(piece.chunk)][piece.places()] }
    }

    /// Asks for the cache line of the place `rank` of a piece.
    #[inline]
    pub(super) fn prefetch(&self, piece: Piece, rank: usize) {
        if let Some(chunk) = self.chunks.get(usize::from(piece.chunk)) {
            prefetch(chunk, piece.first as usize + rank);
        }
    }

    /// Moves the content of a piece that is full to a longer one.
    #[cold]
    pub(super) fn grow(&mut self, piece: Piece) -> Piece {
        let longer = self.take(piece.class + 1);
        let (from, to) = (usize::from(piece.chunk), usize::from(longer.chunk));
        let place = longer.first as usize;
        if from == to {
            self.chunks[to].copy_within(piece.places(), place);
        } else if let Ok([from, to]) = self.chunks.get_disjoint_mut([from, to]) {
            to[place..place + usize::from(piece.len)].copy_from_slice(&from[piece.places()]);
        }
        self.give_back(piece);
        Piece { len: piece.len, ..longer }
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
        last.resize(first + room, Block::default());
        Piece { first: first as u32, chunk: chunk as u16, class, len: 0 }
    }

    fn add_chunk(&mut self) {
        let blocks = self.chunks.last().map_or(FIRST_CHUNK, |last| last.capacity() * 2);
        self.chunks.push(Vec::with_capacity(blocks.min(LARGEST_CHUNK)));
    }

    /// A piece is not used any more.
    #[inline]
    pub(super) fn give_back(&mut self, piece: Piece) {
        if piece.class > 0 {
            self.free[usize::from(piece.class)].push(Piece { len: 0, ..piece });
        }
    }
}
