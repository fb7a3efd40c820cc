//! What callers hand in and get back, apart from the events themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tmq_wire::layout::LOSS_REASONS;

/// Facts about a recording that are known before it begins. They end up in the `metadata` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordingConfig {
    /// The recorded command.
    pub argv: Vec<String>,
    /// Working directory of the command.
    pub cwd: String,
    /// Name of the machine.
    pub hostname: String,
    /// Kernel release.
    pub kernel: String,
    /// Processors that the command may use.
    pub cpus: u32,
    /// Where time stamps come from, e.g. `tsc`.
    pub clock_source: String,
    /// Mean bytes between samples; 0 records every allocation.
    pub sample_interval: u64,
    /// Most recent frames kept per stack; 0: no limit.
    pub max_depth: u32,
    /// Whether children are recorded too.
    pub follow: bool,
    /// Whether frees have stacks.
    pub free_stacks: bool,
    /// Every how many stacks one was unwound again and compared; 0: never.
    pub verify_every: u32,
    /// More pairs for the `metadata` table.
    pub extra: BTreeMap<String, String>,
}

/// Counters of one process image at its end, see `tmq_wire::ProcessSlot`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessCounters {
    /// Records lost, by `tmq_wire::layout::LossReason`.
    pub losses: [u64; LOSS_REASONS],
    /// Stacks that were compared with an unwind from scratch.
    pub verified: u64,
    /// Of these, stacks that differed.
    pub mismatches: u64,
    /// Bytes that the recorder had mapped.
    pub recorder_bytes: u64,
    /// Calls of allocation hooks, if the recorder counts them.
    pub hooks: u64,
}

/// How to finish a recording.
#[derive(Clone, Debug, Default)]
pub struct SealOptions {
    /// Do not look for functions and lines.
    pub no_symbols: bool,
    /// Where separate debug files are looked for, before `/usr/lib/debug`.
    pub debug_dirs: Vec<PathBuf>,
    /// Where resolved symbols are kept between runs; `None` keeps nothing.
    pub symbol_cache: Option<PathBuf>,
    /// Threads for symbols; 0: one per processor.
    pub threads: usize,
}

/// How far sealing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealProgress {
    /// Reads the journal of an interrupted recording.
    Replaying {
        /// Bytes read.
        done: u64,
        /// Bytes to read.
        total: u64,
    },
    /// Writes the last allocations.
    Allocations,
    /// Looks for functions and lines.
    Symbols {
        /// Addresses finished.
        done: usize,
        /// Addresses in all.
        total: usize,
    },
    /// Writes a table.
    Table(&'static str),
}

/// What a recording contains, in numbers. Heap only; blocks and bytes of a sampled recording are estimates.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Where the recording is.
    pub path: PathBuf,
    /// Process images.
    pub processes: u64,
    /// Threads.
    pub threads: u64,
    /// Allocations: every call that returned a block.
    pub allocations: u64,
    /// Blocks given back.
    pub frees: u64,
    /// Bytes asked for in all allocations.
    pub bytes_allocated: u64,
    /// Blocks that lived until their process ended.
    pub live_blocks: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Most bytes live at one time in all processes.
    pub peak_bytes: u64,
    /// When that was.
    pub peak_ns: i64,
    /// Rows of `allocations`, memory maps included.
    pub rows: u64,
    /// Distinct stacks.
    pub stacks: u64,
    /// Stacks whose unwinding ended early, or that could not be captured or resolved.
    pub broken_stacks: u64,
    /// Events that were not recorded.
    pub lost_events: u64,
    /// Processes in which another `malloc` comes before the recorder's, so that nothing of it was seen.
    pub bypassed_processes: u64,
    /// From the start to the last event.
    pub duration_ns: i64,
    /// Mean bytes between samples; 0: exact.
    pub sampling_interval: u64,
    /// Stacks compared with an unwind from scratch.
    pub verified: u64,
    /// Of these, stacks that differed.
    pub mismatches: u64,
    /// Bytes of all files.
    pub size_on_disk: u64,
    /// Whether the recording was interrupted and repaired.
    pub interrupted: bool,
}
