//! Memory for the blocks of pages: pieces of a few lengths, cut from chunks and kept in lists when they are given back.

use super::blocks::Block;

/// Lengths of pieces, in blocks. A page has room for 64.
const LENGTHS: [usize; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
/// Blocks of a chunk: 96 KiB.
const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Neighbouring places for blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    /// First place, counted through all chunks.
    first: u32,
    /// Number in [`LENGTHS`] plus one; 0: an empty piece.
    class: u8,
    len: u8,
}

impl Piece {
    /// How many blocks it holds.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.len.into()
    }
}

/// All places.
#[derive(Debug, Default)]
pub(super) struct Pool {
    chunks: Vec<Box<[Block]>>,
    /// Places of the last chunk that were never used.
    rest: usize,
    /// First places of pieces that were given back, by class.
    free: [Vec<u32>; LENGTHS.len()],
}

impl Pool {
    /// What is in a piece.
    pub(super) fn get(&self, piece: Piece) -> &[Block] {
        if piece.len == 0 {
            return &[];
        }
        let (chunk, first) = (piece.first >> CHUNK_BITS, piece.first as usize % CHUNK);
        &self.chunks[chunk as usize][first..first + piece.len()]
    }

    /// The places of a piece.
    #[inline]
    pub(super) fn blocks(&mut self, piece: Piece) -> &mut [Block] {
        if piece.len == 0 {
            return &mut [];
        }
        let (chunk, first) = (piece.first >> CHUNK_BITS, piece.first as usize % CHUNK);
        &mut self.chunks[chunk as usize][first..first + piece.len()]
    }

    /// Moves the content of a piece that is full to a longer one.
    #[cold]
    pub(super) fn grow(&mut self, piece: Piece) -> Piece {
        let longer = self.take(piece.class);
        let (from, to) = (piece.first >> CHUNK_BITS, longer.first >> CHUNK_BITS);
        let (at, place) = (piece.first as usize % CHUNK, longer.first as usize % CHUNK);
        if piece.len > 0 {
            if from == to {
                self.chunks[to as usize].copy_within(at..at + piece.len(), place);
            } else if let Ok([from, to]) = self.chunks.get_disjoint_mut([from as usize, to as usize]) {
                to[place..place + piece.len()].copy_from_slice(&from[at..at + piece.len()]);
            }
            self.give_back(piece);
        }
        longer
    }

    /// A piece of class `number`, whatever is in it.
    fn take(&mut self, number: u8) -> Piece {
        let len = LENGTHS[usize::from(number)];
        let piece = |first| Piece { first, class: number + 1, len: len as u8 };
        if let Some(first) = self.free[usize::from(number)].pop() {
            return piece(first);
        }
        if self.rest < len {
            // What is left of the chunk is shorter than any page that would want it soon; it is lost, at most 1.5 %.
            self.chunks.push(vec![Block::default(); CHUNK].into_boxed_slice());
            self.rest = CHUNK;
        }
        let first = self.chunks.len() * CHUNK - self.rest;
        self.rest -= len;
        piece(first as u32)
    }

    /// A piece is not used any more.
    #[inline]
    pub(super) fn give_back(&mut self, piece: Piece) {
        if let Some(class) = usize::from(piece.class).checked_sub(1) {
            self.free[class].push(piece.first);
        }
    }
}
