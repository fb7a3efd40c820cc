//! Repetition and definition levels of a page: which of its values belong to one row, and which are there.

use super::bits;

/// How the values of a page lie in its rows.
pub(super) struct Levels {
    /// Repetition levels, then definition levels, encoded.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the repetition levels.
    pub(super) repetition: usize,
    pub(super) rows: usize,
    /// Nulls included.
    pub(super) values: usize,
}

impl Levels {
    /// Those of a column of single values with these definition levels.
    pub(super) fn single(definition: Vec<u8>, rows: usize) -> Self {
        Self { bytes: definition, repetition: 0, rows, values: rows }
    }

    /// Those of lists of these lengths, none of them empty, of items that may be null but are not.
    pub(super) fn of_lists(lengths: &[usize]) -> Self {
        /// From here on a run takes less room than bits.
        const LONG: usize = 16;
        let (mut bytes, mut bits) = (Vec::new(), Vec::new());
        for &length in lengths {
            debug_assert!(length > 0);
            bits.push(0);
            let missing = bits.len().next_multiple_of(8) - bits.len();
            let others = length.saturating_sub(1);
            if others < missing + LONG {
                bits.resize(bits.len() + others, 1);
            } else {
                bits.resize(bits.len() + missing, 1);
                bits::packed_run(&mut bytes, &bits, 1);
                bits.clear();
                bits::run(&mut bytes, 1, others - missing, 1);
            }
        }
        if !bits.is_empty() {
            bits::packed_run(&mut bytes, &bits, 1);
        }
        let (repetition, values) = (bytes.len(), lengths.iter().sum());
        // The list is there, and the item.
        bits::run(&mut bytes, 2, values, 2);
        Self { bytes, repetition, rows: lengths.len(), values }
    }
}
