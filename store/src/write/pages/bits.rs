//! Bit packing, variable-length numbers, and the hybrid of runs and packed bits.

use multiversion::multiversion;

/// Bits needed for a value.
pub(super) fn width(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Appends an unsigned variable-length number.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed variable-length number.
pub(super) fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned());
}

/// Packs values of `width` bits, least significant first; the last byte is filled with zeros. Inlined, so that it is compiled
/// for the processors of its callers.
#[inline(always)]
pub(super) fn pack(out: &mut Vec<u8>, values: &[u64], width: u32) {
    if width == 0 {
        return;
    }
    let start = out.len();
    let bytes = (values.len() * width as usize).div_ceil(8);
    // Whole words are stored, so there is room for one more at the end.
    out.resize(start + bytes + 8, 0);
    let mut writer = Writer { place: &mut out[start..], word: 0, filled: 0 };
    // Several values make a word of at most 64 bits first: that is less work than to find each its place.
    let rest = match width {
        1..=16 => {
            let (fours, rest) = values.as_chunks::<4>();
            for [a, b, c, d] in fours {
                writer.put(a | b << width | c << (2 * width) | d << (3 * width), 4 * width);
            }
            rest
        }
        17..=32 => {
            let (twos, rest) = values.as_chunks::<2>();
            twos.iter().for_each(|[a, b]| writer.put(a | b << width, 2 * width));
            rest
        }
        _ => values,
    };
    rest.iter().for_each(|&value| writer.put(value, width));
    writer.finish();
    out.truncate(start + bytes);
}

/// Bits on their way to bytes.
struct Writer<'a> {
    place: &'a mut [u8],
    word: u64,
    /// Bits of the word.
    filled: u32,
}

impl Writer<'_> {
    /// Appends the lowest `width` bits of `bits`, the others of which are 0; `width` is at least 1.
    #[inline(always)]
    fn put(&mut self, bits: u64, width: u32) {
        self.word |= bits << self.filled;
        self.filled += width;
        if self.filled >= 64 {
            self.store();
            self.filled -= 64;
            // What did not fit; a shift by 64 is none.
            self.word = bits >> 1 >> (width - self.filled - 1);
        }
    }

    #[inline(always)]
    fn store(&mut self) {
        let place = std::mem::take(&mut self.place);
        if let Some((word, rest)) = place.split_first_chunk_mut::<8>() {
            *word = self.word.to_le_bytes();
            self.place = rest;
        }
    }

    fn finish(self) {
        let bytes = self.filled.div_ceil(8) as usize;
        let place = &mut self.place[..bytes];
        place.copy_from_slice(&self.word.to_le_bytes()[..bytes]);
    }
}

/// Appends a run of `count` times `value` in `width` bits, in the hybrid encoding.
pub(super) fn run(out: &mut Vec<u8>, value: u64, count: usize, width: u32) {
    varint(out, (count as u64) << 1);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
}

/// Appends values of `width` bits packed, in the hybrid encoding.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt+popcnt"))]
pub(super) fn packed_run(out: &mut Vec<u8>, values: &[u64], width: u32) {
    varint(out, (values.len().div_ceil(8) as u64) << 1 | 1);
    pack(out, values, width);
    let whole = values.len().div_ceil(8) * width as usize;
    let written = (values.len() * width as usize).div_ceil(8);
    out.resize(out.len() + whole - written, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bits_can_be_read_one_by_one() {
        for width in 0..=64u32 {
            let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
            let values: Vec<u64> = (0..77u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) & mask).collect();
            let mut out = vec![0xAA];
            pack(&mut out, &values, width);
            assert_eq!(out.len() - 1, (77 * width as usize).div_ceil(8));
            for (i, value) in values.iter().enumerate() {
                let bit = |b: usize| u64::from(out[1 + b / 8] >> (b % 8) & 1);
                let read = (0..width as usize).fold(0, |sum, b| sum | bit(i * width as usize + b) << b);
                assert_eq!(read, *value, "width {width}");
            }
        }
    }
}
