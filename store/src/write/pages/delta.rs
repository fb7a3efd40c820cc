//! The encoding DELTA_BINARY_PACKED: differences of neighbours in blocks of 128, packed in four groups of 32.

use multiversion::multiversion;

use super::bits;

const BLOCK: usize = 128;
const GROUP: usize = 32;

/// Appends values; those of 32-bit columns have differences of 32 bits.
#[multiversion(targets("x86_64+avx2+bmi1+bmi2+lzcnt+popcnt"))]
pub(super) fn encode(out: &mut Vec<u8>, values: &[i64], is_32_bit: bool) {
    bits::varint(out, BLOCK as u64);
    bits::varint(out, (BLOCK / GROUP) as u64);
    bits::varint(out, values.len() as u64);
    let Some(&first) = values.first() else {
        bits::zigzag(out, 0);
        return;
    };
    bits::zigzag(out, first);
    let mut block = [0i64; BLOCK];
    for start in (1..values.len()).step_by(BLOCK) {
        let count = BLOCK.min(values.len() - start);
        let (before, here) = (&values[start - 1..start - 1 + count], &values[start..start + count]);
        for ((place, a), b) in block.iter_mut().zip(before).zip(here) {
            *place = b.wrapping_sub(*a);
        }
        if is_32_bit {
            for difference in &mut block[..count] {
                *difference = i64::from(*difference as i32);
            }
        }
        encode_block(out, &block[..count], is_32_bit);
    }
}

#[inline(always)]
fn encode_block(out: &mut Vec<u8>, differences: &[i64], is_32_bit: bool) {
    let mut least = differences.first().copied().unwrap_or(0);
    for &difference in differences {
        least = if difference < least { difference } else { least };
    }
    let mask = if is_32_bit { u64::from(u32::MAX) } else { u64::MAX };
    let mut packed = [0u64; BLOCK];
    for (place, difference) in packed.iter_mut().zip(differences) {
        *place = difference.wrapping_sub(least).cast_unsigned() & mask;
    }
    bits::zigzag(out, least);
    let widths: [u32; BLOCK / GROUP] =
        std::array::from_fn(|g| bits::width(packed[g * GROUP..][..GROUP].iter().fold(0, |all, v| all | v)));
    out.extend(widths.map(|w| w as u8));
    for (group, width) in packed.chunks(GROUP).zip(widths).take(differences.len().div_ceil(GROUP)) {
        bits::pack(out, group, width);
    }
}
