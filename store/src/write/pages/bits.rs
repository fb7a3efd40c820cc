//! Bit packing, variable-length numbers, and the hybrid of runs and packed bits.

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

/// Packs values of `width` bits, least significant first; the last byte is filled with zeros.
pub(super) fn pack(out: &mut Vec<u8>, values: &[u64], width: u32) {
    if width == 0 {
        return;
    }
    let start = out.len();
    let bytes = (values.len() * width as usize).div_ceil(8);
    // Whole words are stored, so there is room for one more at the end.
    out.resize(start + bytes + 8, 0);
    let place = &mut out[start..];
    if width <= 32 {
        let (mut word, mut filled, mut at) = (0u64, 0, 0);
        for &value in values {
            word |= value << filled;
            filled += width;
            if filled >= 32 {
                place[at..at + 4].copy_from_slice(&(word as u32).to_le_bytes());
                at += 4;
                word >>= 32;
                filled -= 32;
            }
        }
        place[at..at + 8].copy_from_slice(&word.to_le_bytes());
    } else {
        let (mut word, mut filled, mut at) = (0u128, 0, 0);
        for &value in values {
            word |= u128::from(value) << filled;
            filled += width;
            if filled >= 64 {
                place[at..at + 8].copy_from_slice(&(word as u64).to_le_bytes());
                at += 8;
                word >>= 64;
                filled -= 64;
            }
        }
        place[at..at + 8].copy_from_slice(&(word as u64).to_le_bytes());
    }
    out.truncate(start + bytes);
}

/// Appends a run of `count` times `value` in `width` bits, in the hybrid encoding.
pub(super) fn run(out: &mut Vec<u8>, value: u64, count: usize, width: u32) {
    varint(out, (count as u64) << 1);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
}

/// Appends values of `width` bits packed, in the hybrid encoding.
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
