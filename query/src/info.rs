//! What one recording contains, in numbers.

use serde::Serialize;

/// Totals of one recording. Heap only: anonymous memory maps are not counted. Under sampling, blocks and bytes are
/// estimates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Info {
    /// Name of the recording in SQL.
    pub recording: String,
    /// Directory of the recording.
    pub path: String,
    /// Command line of the first process.
    pub command: Vec<String>,
    /// Process images.
    pub processes: i64,
    /// Threads.
    pub threads: i64,
    /// Allocations.
    pub allocations: i64,
    /// Frees of blocks whose allocation was recorded.
    pub frees: i64,
    /// Bytes of all allocations.
    pub bytes_allocated: i64,
    /// Blocks never freed, each process at its own end.
    pub live_blocks: i64,
    /// Their bytes.
    pub live_bytes: i64,
    /// Most bytes live at one time, all processes together.
    pub peak_bytes: i64,
    /// Blocks live just then.
    pub peak_blocks: i64,
    /// When that was.
    pub peak_ns: i64,
    /// Events that were not recorded; the table `losses` says why.
    pub lost_events: i64,
    /// From the start of the recording to its end.
    pub duration_ns: i64,
    /// Bytes between samples on average; 0: every allocation was recorded.
    pub sampling_interval: i64,
    /// Distinct stacks.
    pub stacks: i64,
    /// Bytes on disk.
    pub size_on_disk: i64,
    /// Everything in the table `metadata`.
    pub metadata: std::collections::BTreeMap<String, String>,
    /// Each process image.
    pub process_list: Vec<ProcessInfo>,
}

/// One process image of a recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessInfo {
    /// Process id in the operating system.
    pub pid: i32,
    /// Path of the executable.
    pub exe: String,
    /// Command line.
    pub argv: Vec<String>,
    /// When recording of it began.
    pub start_ns: i64,
    /// When it ended; none: it was still running.
    pub end_ns: Option<i64>,
    /// Exit status, if known.
    pub exit_code: Option<i32>,
    /// Signal that ended it, if known.
    pub exit_signal: Option<i32>,
    /// Allocations.
    pub allocations: i64,
    /// Bytes of all allocations.
    pub bytes_allocated: i64,
    /// Most bytes live at one time in this process.
    pub peak_bytes: i64,
    /// Blocks live at its end.
    pub live_blocks: i64,
    /// Their bytes.
    pub live_bytes: i64,
}
