//! Finished allocations on their way to the encoder.

use serde::{Deserialize, Serialize};
use tmq_wire::record::Kind;

use crate::schema::{DOMAIN_HEAP, DOMAIN_MMAP};

/// Names of `allocations.kind`, by [`Row::kind`].
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
/// [`Row::free_thread`] and [`Row::free_stack`] where there is none.
pub(crate) const NO_ID: u32 = u32::MAX;

/// One row of `allocations`; ids are those of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub alloc_ns: i64,
    pub free_ns: i64,
    pub address: u64,
    pub size: u64,
    pub process: u32,
    pub thread: u32,
    pub free_thread: u32,
    pub stack: u32,
    pub free_stack: u32,
    pub kind: u8,
    pub is_mmap: bool,
}

const _: () = assert!(size_of::<Row>() == 56);

impl Row {
    /// `allocations.domain`.
    pub(crate) fn domain(&self) -> i32 {
        if self.is_mmap { DOMAIN_MMAP } else { DOMAIN_HEAP }
    }
}
