//! Sums made when a recording is sealed, so that the usual questions do not read every allocation.

use super::define::define_table;

define_table! {
    /// Heap memory over time in bins of equal width (`bin_width_ns` in `metadata`), all processes together.
    "timeline", TIMELINE, TimelineColumns, TimelineRow {
        /// Start of the bin.
        bin_ns: i64 ["ns"],
        /// Heap bytes live at the end of the bin, weighted.
        live_bytes: i64 ["bytes"],
        /// Heap blocks live at the end of the bin, weighted.
        live_blocks: i64,
        /// Most heap bytes live at one time within the bin.
        max_live_bytes: i64 ["bytes"],
        /// Bytes allocated in the bin, weighted.
        allocated_bytes: i64 ["bytes"],
        /// Blocks allocated in the bin, weighted.
        allocated_blocks: i64,
        /// Bytes freed in the bin, weighted.
        freed_bytes: i64 ["bytes"],
        /// Blocks freed in the bin, weighted.
        freed_blocks: i64,
        /// Resident memory of all recorded processes as the kernel reports it, last sample in or before the bin; null
        /// before the first sample.
        rss_bytes: Option<i64> ["bytes"],
    }
}

define_table! {
    /// Sums per stack, process and domain. Under sampling, blocks and bytes are weighted estimates and the variance
    /// columns give their squared standard error.
    "stack_stats", STACK_STATS, StackStatsColumns, StackStatsRow {
        /// See `stacks`.
        stack_id: i32,
        /// See `processes`.
        process_id: i32,
        /// As in `allocations`.
        domain: i32,
        /// Allocations.
        allocated_blocks: f64,
        /// Their bytes.
        allocated_bytes: f64 ["bytes"],
        /// Blocks that lived until their process ended or the recording was closed.
        live_blocks: f64,
        /// Their bytes.
        live_bytes: f64 ["bytes"],
        /// Blocks live at the peak of the whole recording.
        peak_blocks: f64,
        /// Their bytes.
        peak_bytes: f64 ["bytes"],
        /// Temporary blocks: freed before the same thread allocated again.
        temporary_blocks: f64,
        /// Their bytes.
        temporary_bytes: f64 ["bytes"],
        /// Sum of the lifetimes of freed blocks.
        lifetime_sum_ns: f64 ["ns"],
        /// Shortest lifetime of a freed block; null if none was freed.
        lifetime_min_ns: Option<i64> ["ns"],
        /// Longest lifetime of a freed block; null if none was freed.
        lifetime_max_ns: Option<i64> ["ns"],
        /// Smallest block.
        size_min: i64 ["bytes"],
        /// Largest block.
        size_max: i64 ["bytes"],
        /// First allocation.
        first_ns: i64 ["ns"],
        /// Last allocation.
        last_ns: i64 ["ns"],
        /// Variance of allocated_blocks (0 in exact recordings).
        allocated_blocks_variance: f64,
        /// Variance of allocated_bytes (0 in exact recordings).
        allocated_bytes_variance: f64,
    }
}

define_table! {
    /// What was live at the exact peak of the whole recording, per stack and process; heap only.
    "peak", PEAK, PeakColumns, PeakRow {
        /// See `stacks`.
        stack_id: i32,
        /// See `processes`.
        process_id: i32,
        /// Live blocks, weighted.
        blocks: f64,
        /// Live bytes, weighted.
        bytes: f64 ["bytes"],
    }
}
