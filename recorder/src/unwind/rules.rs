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
/// log2 of the bytes of code that share a bucket: as few return addresses lie in them as a bucket has room for. What lies
/// together in the program lies together in the table, so that a short program touches few of its pages.
const GRAIN_BITS: u32 = 4;
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
/// Kinds up to this one are common; of those less one, bit 0 says that the frame pointer finds the caller, and bit 1 that
/// rbp was saved.
const LAST_COMMON: u32 = 4;
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
            Self::Bp { offset } => pack(2, unsigned(offset)?, 0),
            Self::SpSaved { offset, saved } => pack(3, unsigned(offset)?, signed(saved)?),
            Self::BpSaved { offset, saved } => pack(4, unsigned(offset)?, signed(saved)?),
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
            2 => Self::Bp { offset },
            3 => Self::SpSaved { offset, saved },
            4 => Self::BpSaved { offset, saved },
            5 => Self::Realigned { offset: signed(bits >> 14 & FIELD), saved },
            6 => Self::End,
            _ => Self::Special,
        }
    }
}

/// A rule in its 31 bits, to be applied as it is; 0: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedRule(u32);

impl PackedRule {
    /// No rule.
    pub const NONE: Self = Self(0);

    /// A rule, if it fits.
    #[must_use]
    pub fn of(rule: Rule) -> Option<Self> {
        rule.pack().map(Self)
    }

    /// The rule; `None`: there is none.
    #[must_use]
    pub fn unpack(self) -> Option<Rule> {
        (self != Self::NONE).then(|| Rule::unpack(self.0))
    }

    #[inline(always)]
    const fn kind(self) -> u32 {
        (self.0 >> KIND_SHIFT).wrapping_sub(1)
    }

    /// Whether it is [`Rule::Sp`], [`Rule::Bp`], [`Rule::SpSaved`] or [`Rule::BpSaved`], which the methods below tell
    /// apart.
    #[inline(always)]
    #[must_use]
    pub const fn is_common(self) -> bool {
        self.kind() < LAST_COMMON
    }

    /// Of a common rule: whether the caller is found by rbp, not by rsp.
    #[inline(always)]
    #[must_use]
    pub const fn is_by_bp(self) -> bool {
        self.kind() & 1 != 0
    }

    /// Of a common rule: whether rbp was saved.
    #[inline(always)]
    #[must_use]
    pub const fn saves_bp(self) -> bool {
        self.kind() & 2 != 0
    }

    /// Of a common rule: distance of the canonical frame address, bytes.
    #[inline(always)]
    #[must_use]
    pub const fn offset(self) -> u64 {
        ((self.0 >> 14 & FIELD) * 8) as u64
    }

    /// Of a common rule that saves rbp: distance from the canonical frame address to where, bytes.
    #[inline(always)]
    #[must_use]
    pub const fn saved(self) -> i64 {
        (((self.0 & FIELD) << 18) as i32 >> 18) as i64 * 8
    }
}

/// What turns bits of a bucket's number, by what lies above them in addresses. Any function of that keeps (bucket, tag)
/// unique for an address; this one spreads modules over the table.
#[inline(always)]
const fn spread(high: u64) -> u64 {
    high.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BUCKET_BITS)
}

/// The address whose rule `word` in bucket `index` is.
const fn address_of(word: u64, index: u64) -> u64 {
    let tag = word >> RULE_BITS;
    let high = tag >> GRAIN_BITS;
    (high << BUCKET_BITS | (index ^ spread(high))) << GRAIN_BITS | tag & ((1 << GRAIN_BITS) - 1)
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
        let (grain, high) = (pc >> GRAIN_BITS, pc >> (GRAIN_BITS + BUCKET_BITS));
        let index = (grain ^ spread(high)) & ((1 << BUCKET_BITS) - 1);
        let tag = high << GRAIN_BITS | pc & ((1 << GRAIN_BITS) - 1);
        // SAFETY: `prepare` mapped 2^BUCKET_BITS buckets before any look-up.
        let bucket = unsafe { &*self.entries.load(Relaxed).cast::<[AtomicU64; WAYS]>().add(index as usize) };
        (bucket, tag)
    }

    /// The rule of return address `pc`.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, pc: u64) -> PackedRule {
        let (bucket, tag) = self.bucket(pc);
        for entry in bucket {
            let word = entry.load(Relaxed);
            if word >> RULE_BITS == tag {
                return PackedRule(word as u32 & ((1 << RULE_BITS) - 1));
            }
        }
        PackedRule::NONE
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
            if word != 0 && (start..=end).contains(&address_of(word, (index / WAYS) as u64)) {
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
            let packed = PackedRule::of(rule).unwrap();
            assert_eq!(packed.unpack(), Some(rule));
            let (by_bp, saves, offset, saved) = match rule {
                Rule::Sp { offset } => (false, false, offset, 0),
                Rule::Bp { offset } => (true, false, offset, 0),
                Rule::SpSaved { offset, saved } => (false, true, offset, saved),
                Rule::BpSaved { offset, saved } => (true, true, offset, saved),
                _ => {
                    assert!(!packed.is_common());
                    continue;
                }
            };
            assert!(packed.is_common());
            assert_eq!((packed.is_by_bp(), packed.saves_bp()), (by_bp, saves));
            assert_eq!((packed.offset(), packed.saved()), (offset.into(), saved.into()));
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
            assert_eq!(table.get(pc).unpack(), Some(rule));
            for near in [pc ^ 1, pc ^ 1 << 4, pc ^ 1 << 14, pc ^ 1 << 18, pc ^ 1 << 19, pc ^ 1 << 20, pc ^ 1 << 46] {
                assert!(table.get(near) == PackedRule::NONE || near == pc);
            }
        }
        let rule = Some(Rule::Bp { offset: 0 });
        for near in [pc - 1, pc, pc + 1, pc + 2] {
            table.put(near, Rule::Bp { offset: 0 });
        }
        table.purge(pc, pc + 1);
        let left = [pc - 1, pc, pc + 1, pc + 2].map(|near| table.get(near).unpack());
        assert_eq!(left, [rule, None, None, rule]);
        table.purge(0, u64::MAX);
        assert_eq!(table.get(pc - 1), PackedRule::NONE);
    }
}
