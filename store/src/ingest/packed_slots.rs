//! Slots as the journal keeps them: without most of their zeros.
//!
//! What the journal takes is what the kernel has to copy, find room for and free again, a tenth of what a recording costs;
//! and of a slot's second word most events need little. Any slots come back as they were.
//!
//! ```text
//! number of slots u64 | groups of four slots: | 2 bits a slot: length of its second word, 0, 4 or 8 bytes | words |
//! ```

use tmq_wire::record::{self, Kind, NO_STACK, Slot};

const COUNT_BYTES: usize = 8;
const SLOTS: usize = 4;
/// Longest group.
const GROUP_BYTES: usize = 1 + SLOTS * size_of::<Slot>();

/// The second word of a free without a stack, soon after the event before: it takes no bytes.
const FREE: u64 = record::event(Kind::Free, 0, 0, NO_STACK, 0)[1];
/// Bits that a word of four bytes does not keep: time since the event before if it is long, sizes from 4 KiB on, and
/// stacks from the millionth on.
const LONG: u64 = !(0xFFF << SIZE_BIT | 0xF_FFFF << STACK_BIT);
const SIZE_BIT: u32 = 12;
const STACK_BIT: u32 = 36;
const STACK_BIT_SHORT: u32 = 12;

const _: () = assert!(FREE & LONG == 0 && FREE >> STACK_BIT == NO_STACK as u64);

/// Bytes that so many slots take at most.
pub(super) const fn most_bytes(slots: usize) -> usize {
    COUNT_BYTES + slots.div_ceil(SLOTS) * GROUP_BYTES
}

/// Packs slots to the beginning of `out`, which has [`most_bytes`]; returns how many bytes they take.
pub(super) fn pack(slots: &[Slot], out: &mut [u8]) -> usize {
    out[..COUNT_BYTES].copy_from_slice(&(slots.len() as u64).to_le_bytes());
    let mut at = COUNT_BYTES;
    let (groups, rest) = slots.as_chunks::<SLOTS>();
    for group in groups {
        at += pack_group(group, &mut out[at..]);
    }
    if !rest.is_empty() {
        let mut group = [[0, FREE]; SLOTS];
        group[..rest.len()].copy_from_slice(rest);
        at += pack_group(&group, &mut out[at..]);
    }
    at
}

#[inline(always)]
fn pack_group(group: &[Slot; SLOTS], out: &mut [u8]) -> usize {
    let Some(out) = out.first_chunk_mut::<GROUP_BYTES>() else { return 0 };
    let (mut lengths, mut at) = (0, 1);
    for (i, &[first, second]) in group.iter().enumerate() {
        let length = u8::from(second != FREE) + u8::from(second & LONG != 0);
        let short = second >> SIZE_BIT & 0xFFF | second >> (STACK_BIT - STACK_BIT_SHORT) & 0xFFFF_F000;
        let kept = if length == 2 { second } else { short };
        // Both words whole: what is too much of the second is overwritten by the next.
        let both = u128::from(first) | u128::from(kept) << 64;
        out[at..at + size_of::<Slot>()].copy_from_slice(&both.to_le_bytes());
        at += 8 + 4 * usize::from(length);
        lengths |= length << (2 * i);
    }
    out[0] = lengths;
    at
}

/// Appends packed slots to `slots`; `None`, and what there was before the damage, if there are fewer than they say.
pub(super) fn unpack(bytes: &[u8], slots: &mut Vec<Slot>) -> Option<()> {
    let (count, mut rest) = bytes.split_first_chunk::<COUNT_BYTES>()?;
    let mut left = u64::from_le_bytes(*count);
    while left > 0 {
        let (&lengths, after) = rest.split_first()?;
        rest = after;
        for i in 0..left.min(SLOTS as u64) {
            let first = take::<8>(&mut rest)?;
            let second = match lengths >> (2 * i) & 3 {
                0 => FREE,
                1 => {
                    let short = take::<4>(&mut rest)?;
                    (short & 0xFFF) << SIZE_BIT | (short >> STACK_BIT_SHORT) << STACK_BIT
                }
                2 => take::<8>(&mut rest)?,
                _ => return None,
            };
            slots.push([first, second]);
        }
        left = left.saturating_sub(SLOTS as u64);
    }
    Some(())
}

/// Takes a number of so many bytes.
fn take<const BYTES: usize>(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk::<BYTES>()?;
    *rest = after;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::testing::Rng;

    fn round_trip(slots: &[Slot]) -> usize {
        let mut bytes = vec![0xEE; most_bytes(slots.len())];
        let length = pack(slots, &mut bytes);
        let mut back = Vec::new();
        assert_eq!(unpack(&bytes[..length], &mut back), Some(()));
        assert_eq!(back, slots);
        for cut in (0..length).step_by(1 + length / 50) {
            let mut part = Vec::new();
            let whole = unpack(&bytes[..cut], &mut part).is_some();
            assert!(!whole || !slots.len().is_multiple_of(SLOTS), "{cut} of {length}");
            assert!(slots.starts_with(&part));
        }
        length
    }

    #[test]
    fn slots_come_back() {
        let mut rng = Rng::new(5);
        round_trip(&[]);
        for len in (1..40).chain([2048]) {
            round_trip(&vec![[u64::MAX, u64::MAX]; len]);
            round_trip(&vec![[0, 0]; len]);
            let slots: Vec<Slot> = (0..len)
                .map(|_| {
                    let second = match rng.below(6) {
                        0 => FREE,
                        1 => !LONG,
                        2 => FREE ^ 1 << rng.below(64),
                        3 => rng.below(u64::MAX),
                        4 => record::event(
                            Kind::Malloc,
                            0,
                            rng.below(5000),
                            rng.below(1 << 21) as u32,
                            rng.below(1 << 16),
                        )[1],
                        _ => rng.below(u64::MAX) & !LONG,
                    };
                    [rng.below(u64::MAX), second]
                })
                .collect();
            round_trip(&slots);
        }
    }

    #[test]
    fn usual_events_take_ten_bytes() {
        let pair = [
            record::event(Kind::Malloc, 0x5555_0000, 100, 1000, 300),
            record::event(Kind::Free, 0x5555_0000, 0, NO_STACK, 300),
        ];
        assert_eq!(round_trip(&pair.repeat(1000)), COUNT_BYTES + 2000 * 10 + 500);
    }

    #[test]
    fn damage_is_told() {
        let mut slots = Vec::new();
        assert_eq!(unpack(&[], &mut slots), None);
        assert_eq!(unpack(&u64::MAX.to_le_bytes(), &mut slots), None);
        assert_eq!(
            unpack(&[1, 0, 0, 0, 0, 0, 0, 0, 3, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9], &mut slots),
            None
        );
        assert!(slots.is_empty());
    }
}
