//! Finished allocations on their way to the encoder.

use serde::{Deserialize, Serialize};
use tmq_wire::record::Kind;

use crate::schema::{DOMAIN_HEAP, DOMAIN_MMAP};

/// Names of `allocations.kind`, by [`Part::KIND`].
pub(crate) const KINDS: [&str; 6] = ["malloc", "calloc", "memalign", "realloc", "mmap", "mremap"];

/// The number in [`KINDS`] of a kind that hands out memory; `None` for others.
pub(crate) fn kind_number(kind: Kind) -> Option<u8> {
    Some(match kind {
        Kind::Malloc => 0,
        Kind::Calloc => 1,
        Kind::Memalign => 2,
        Kind::ReallocNull | Kind::ReallocNew => 3,
        Kind::Mmap => 4,
        Kind::MremapNew => 5,
        _ => return None,
    })
}

/// [`Row::free_ns`] of blocks that were never freed, and the other fields that may be unknown.
pub(crate) const NO_TIME: i64 = i64::MIN;
/// [`Part::FREE_THREAD`] and [`Part::FREE_STACK`] where there is none.
pub(crate) const NO_ID: u32 = u32::MAX;

/// One row of `allocations`; ids are those of the table. Seven words, so that seven comparisons tell whether two rows
/// differ, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub alloc_ns: i64,
    pub free_ns: i64,
    pub address: u64,
    pub size: u64,
    /// Of [`Row::who`].
    pub who: u64,
    /// Of [`Row::freed_by`].
    pub freed_by: u64,
    /// Of [`Row::what`].
    pub what: u64,
}

const _: () = assert!(size_of::<Row>() == 56);

/// A column that is a part of a word of [`Row`]: how far to shift it, and its bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part(u32, u64);

const UPPER: Part = Part(32, u32::MAX as u64);
const LOWER: Part = Part(0, u32::MAX as u64);

impl Part {
    /// `process_id`, a part of [`Row::who`].
    pub(crate) const PROCESS: Self = UPPER;
    /// `thread_id`, a part of [`Row::who`].
    pub(crate) const THREAD: Self = LOWER;
    /// `free_thread_id`, a part of [`Row::freed_by`].
    pub(crate) const FREE_THREAD: Self = UPPER;
    /// `free_stack_id`, a part of [`Row::freed_by`].
    pub(crate) const FREE_STACK: Self = LOWER;
    /// `stack_id`, a part of [`Row::what`].
    pub(crate) const STACK: Self = LOWER;
    /// `kind`, a part of [`Row::what`].
    pub(crate) const KIND: Self = Self(32, 0xFF);
    /// Whether the domain is that of mappings, a part of [`Row::what`].
    pub(crate) const IS_MMAP: Self = Self(40, 1);

    /// This part of a word.
    #[inline(always)]
    pub(crate) fn of(self, word: u64) -> u64 {
        word >> self.0 & self.1
    }

    #[inline(always)]
    const fn with(self, value: u64) -> u64 {
        value << self.0
    }
}

impl Row {
    /// Which process and thread allocated.
    #[inline(always)]
    pub(crate) fn who(process: u32, thread: u32) -> u64 {
        Part::PROCESS.with(process.into()) | Part::THREAD.with(thread.into())
    }

    /// Which thread freed, and where.
    #[inline(always)]
    pub(crate) fn freed_by(thread: u32, stack: u32) -> u64 {
        Part::FREE_THREAD.with(thread.into()) | Part::FREE_STACK.with(stack.into())
    }

    /// By which call, and where.
    #[inline(always)]
    pub(crate) fn what(stack: u32, kind: u8, is_mmap: bool) -> u64 {
        Part::STACK.with(stack.into()) | Part::KIND.with(kind.into()) | Part::IS_MMAP.with(is_mmap.into())
    }

    /// `allocations.domain` by what [`Part::IS_MMAP`] says.
    pub(crate) fn domain(is_mmap: u64) -> i32 {
        if is_mmap != 0 { DOMAIN_MMAP } else { DOMAIN_HEAP }
    }
}
