//! What is known of an open block.

use serde::{Deserialize, Serialize};

/// Bits of a size; the kind lies above.
const SIZE_BITS: u32 = 56;

/// A block that was handed out and not given back yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// When it was handed out.
    pub alloc_ns: i64,
    /// Bytes asked for, and the kind above.
    size_kind: u64,
    /// Index of its site.
    pub site: u32,
    /// Index of the thread that allocated it.
    pub thread: u32,
}

const _: () = assert!(size_of::<Block>() == 24);

impl Block {
    /// A block of `size` bytes, less than 2^56. `kind`: the call that made it, as a number of `rows::KINDS`.
    #[inline]
    pub(crate) fn new(kind: u8, alloc_ns: i64, size: u64, site: u32, thread: u32) -> Self {
        Self { alloc_ns, size_kind: size | u64::from(kind) << SIZE_BITS, site, thread }
    }

    /// The call that made it.
    #[inline]
    pub(crate) fn kind(&self) -> u8 {
        (self.size_kind >> SIZE_BITS) as u8
    }

    /// Bytes asked for.
    #[inline]
    pub(crate) fn size(&self) -> u64 {
        self.size_kind & ((1 << SIZE_BITS) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_says_what_it_was_told() {
        let block = Block::new(5, -1, 1 << 47, 8, 9);
        assert_eq!((block.kind(), block.size(), block.alloc_ns, block.site, block.thread), (5, 1 << 47, -1, 8, 9));
    }
}
