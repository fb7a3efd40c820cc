//! The fact table: one row per allocation with its free.

use super::define::define_table;

/// [`AllocationsRow::domain`]: blocks of the heap (`malloc` and its relatives).
pub const DOMAIN_HEAP: i32 = 0;
/// [`AllocationsRow::domain`]: anonymous memory maps. Not part of heap totals, peaks and reports unless asked for.
pub const DOMAIN_MMAP: i32 = 1;

define_table! {
    /// One row per allocation, with its free. A `realloc` ends one row and begins another.
    /// Rows are written when a block is freed, so they are ordered by `free_ns` (blocks that live to the end come last, by address).
    "allocations" parts true, ALLOCATIONS, AllocationsColumns, AllocationsRow {
        /// Process image that allocated the block; see `processes`.
        process_id: i32,
        /// Thread that allocated it; see `threads`.
        thread_id: i32,
        /// When the block was handed out.
        alloc_ns: i64 ["ns"],
        /// When it was given back; null: it lived until its process ended (`processes.end_ns`) or the recording was closed.
        free_ns: Option<i64> ["ns"],
        /// Thread that freed it; null while live, and where the address was handed out again before a free was seen.
        free_thread_id: Option<i32>,
        /// Address of the block in its process.
        address: i64,
        /// Bytes asked for (not the usable size, no allocator overhead).
        size: i64 ["bytes"],
        /// Stack of the allocation; see `stacks`.
        stack_id: i32,
        /// Stack of the free; null unless the recording was made with --free-stacks and the block was freed.
        free_stack_id: Option<i32>,
        /// Which call made the block: malloc, calloc, memalign (any aligned call), realloc, mmap, mremap.
        kind: &'static str,
        /// 0: heap, 1: anonymous memory map; imported recordings keep their own numbers.
        domain: i32,
        /// How many allocations this row stands for: 1 in an exact recording, 1/p for a block sampled with probability
        /// p. Counts are sum(weight), bytes are sum(size * weight).
        weight: f64,
    }
}
