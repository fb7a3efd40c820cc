//! Unwind rules condensed to 31 bits, and the table that finds them by return address.
//!
//! An entry is one 64-bit word, rule and tag together, so readers and writers need no lock and cannot see half of one.
//! The tag and the bucket together are the whole address (below 2^48): a hit is exact.

use core::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::arena;

/// log2 of the buckets. 2^15 buckets of 4 rules, 1 MiB: programs have some ten thousand return addresses on stacks of
/// allocations; a larger table would cost cache misses, a smaller one evictions at ~300 ns each.
const BUCKET_BITS: u32 = 15;
const WAYS: usize = 4;
const ENTRIES: usize = WAYS << BUCKET_BITS;
const RULE_BITS: u32 = 31;

/// How a frame's caller is found. `cfa` is the stack pointer of the caller once the frame has returned; the return
/// address lies right below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// cfa = rsp + offset; rbp is unchanged.
    Sp {
        /// Bytes.
        offset: u32,
    },
    /// cfa = rsp + offset; rbp was saved at cfa + saved.
    SpSaved {
        /// Bytes.
        offset: u32,
        /// Bytes.
        saved: i32,
    },
    /// cfa = rbp + offset; rbp was saved at cfa + saved.
    BpSaved {
        /// Bytes.
        offset: u32,
        /// Bytes.
        saved: i32,
    },
    /// cfa = rbp + offset; rbp is unchanged.
    Bp {
        /// Bytes.
        offset: u32,
    },
    /// A frame that realigned its stack: cfa = *(rbp + offset); rbp was saved at rbp + saved.
    Realigned {
        /// Bytes, a negative number.
        offset: i32,
        /// Bytes.
        saved: i32,
    },
    /// The outermost frame.
    End,
    /// Anything else: a signal frame, code without call frame information, rules that need other registers.
    Special,
}

const KIND_SHIFT: u32 = 28;
/// Offsets are multiples of 8, so 14 bits reach 128 KiB.
const FIELD: u32 = (1 << 14) - 1;

impl Rule {
    /// The 31-bit form; `None` if an offset does not fit (the frame is then looked up each time).
    #[must_use]
    pub fn pack(self) -> Option<u32> {
        let unsigned = |v: u32| (v.is_multiple_of(8) && v / 8 <= FIELD).then_some(v / 8);
        let signed =
            |v: i32| (v % 8 == 0 && (-(1 << 13)..1 << 13).contains(&(v / 8))).then_some((v / 8) as u32 & FIELD);
        let pack = |kind: u32, a: u32, b: u32| kind << KIND_SHIFT | a << 14 | b;
        Some(match self {
            Self::Sp { offset } => pack(1, unsigned(offset)?, 0),
            Self::SpSaved { offset, saved } => pack(2, unsigned(offset)?, signed(saved)?),
            Self::BpSaved { offset, saved } => pack(3, unsigned(offset)?, signed(saved)?),
            Self::Bp { offset } => pack(4, unsigned(offset)?, 0),
            Self::Realigned { offset, saved } => pack(5, signed(offset)?, signed(saved)?),
            Self::End => pack(6, 0, 0),
            Self::Special => pack(7, 0, 0),
        })
    }

    /// Undoes [`Self::pack`].
    #[inline(always)]
    #[must_use]
    pub fn unpack(bits: u32) -> Self {
        let offset = (bits >> 14 & FIELD) * 8;
        let signed = |field: u32| ((field << 18) as i32 >> 18) * 8;
        let saved = signed(bits & FIELD);
        match bits >> KIND_SHIFT {
            1 => Self::Sp { offset },
            2 => Self::SpSaved { offset, saved },
            3 => Self::BpSaved { offset, saved },
            4 => Self::Bp { offset },
            5 => Self::Realigned { offset: signed(bits >> 14 & FIELD), saved },
            6 => Self::End,
            _ => Self::Special,
        }
    }
}

/// The table.
#[derive(Debug)]
pub struct RuleTable {
    entries: AtomicPtr<AtomicU64>,
}

impl RuleTable {
    /// A table without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: AtomicPtr::new(core::ptr::null_mut()) }
    }

    /// Maps the table. False: no memory.
    #[must_use]
    pub fn prepare(&self) -> bool {
        if self.entries.load(Acquire).is_null() {
            let Some(memory) = arena::map(ENTRIES * 8) else { return false };
            self.entries.store(memory.cast(), Release);
        }
        true
    }

    #[inline(always)]
    fn bucket(&self, pc: u64) -> (&[AtomicU64; WAYS], u64) {
        let tag = pc >> BUCKET_BITS;
        // Any function of the tag keeps (bucket, tag) unique for an address; this one spreads modules over the table.
        let spread = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BUCKET_BITS);
        let index = (pc ^ spread) & ((1 << BUCKET_BITS) - 1);
        // SAFETY: `prepare` mapped 2^BUCKET_BITS buckets before any look-up.
        let bucket = unsafe { &*self.entries.load(Relaxed).cast::<[AtomicU64; WAYS]>().add(index as usize) };
        (bucket, tag)
    }

    /// The rule of return address `pc`.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, pc: u64) -> Option<Rule> {
        let (bucket, tag) = self.bucket(pc);
        for entry in bucket {
            let word = entry.load(Relaxed);
            if word >> RULE_BITS == tag {
                return (word as u32 & ((1 << RULE_BITS) - 1) != 0)
                    .then(|| Rule::unpack(word as u32 & ((1 << RULE_BITS) - 1)));
            }
        }
        None
    }

    /// Remembers the rule of `pc`, in the place of an older one if the bucket is full.
    pub fn put(&self, pc: u64, rule: Rule) {
        let Some(bits) = rule.pack() else { return };
        let (bucket, tag) = self.bucket(pc);
        if tag >> (64 - RULE_BITS) != 0 {
            return; // not a user-space address of today's processors
        }
        let way = bucket.iter().position(|e| e.load(Relaxed) == 0).unwrap_or((bits ^ tag as u32) as usize % WAYS);
        bucket[way].store(tag << RULE_BITS | u64::from(bits), Relaxed);
    }

    /// Forgets the rules of addresses in `start..=end` (a return address may lie one past the last instruction).
    pub fn purge(&self, start: u64, end: u64) {
        for index in 0..ENTRIES {
            // SAFETY: the table has this many entries.
            let entry = unsafe { &*self.entries.load(Relaxed).add(index) };
            let word = entry.load(Relaxed);
            let tag = word >> RULE_BITS;
            if word != 0 && tag >= start >> BUCKET_BITS && tag <= end >> BUCKET_BITS {
                entry.store(0, Relaxed);
            }
        }
    }
}

impl Default for RuleTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_packing() {
        let rules = [
            Rule::Sp { offset: 8 },
            Rule::Sp { offset: 131_064 },
            Rule::SpSaved { offset: 64, saved: -16 },
            Rule::BpSaved { offset: 16, saved: -16 },
            Rule::Bp { offset: 0 },
            Rule::Realigned { offset: -8, saved: 0 },
            Rule::End,
            Rule::Special,
        ];
        for rule in rules {
            assert_eq!(Rule::unpack(rule.pack().unwrap()), rule);
        }
        assert_eq!(Rule::Sp { offset: 131_080 }.pack(), None);
        assert_eq!(Rule::Sp { offset: 12 }.pack(), None);
    }

    #[test]
    fn a_hit_is_exact() {
        let table = RuleTable::new();
        assert!(table.prepare());
        let mut pc = 0x5555_0000_1234u64;
        for i in 0..200_000u32 {
            pc = pc.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(i.into()) & ((1 << 47) - 1);
            let rule = Rule::Sp { offset: i % 1000 * 8 };
            table.put(pc, rule);
            assert_eq!(table.get(pc), Some(rule));
            for near in [pc ^ 1, pc ^ 1 << 20, pc ^ 1 << 46] {
                assert!(table.get(near).is_none() || near == pc);
            }
        }
        table.purge(0, u64::MAX >> 1);
        assert_eq!(table.get(pc), None);
    }
}
