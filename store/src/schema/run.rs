//! What ran: processes, threads, losses, named moments and facts about the recording as a whole.

use super::define::define_table;

define_table! {
    /// One row per process image: a program from exec (or a child from fork) to its end.
    "processes", PROCESSES, ProcessesColumns, ProcessesRow {
        /// Dense number in order of appearance, the key of this table; 0 is the program that was started.
        process_id: i32,
        /// Process id in the operating system.
        pid: i32,
        /// Parent's process id.
        ppid: i32,
        /// Process image that this one came from (by fork or exec); null for the first.
        parent_process_id: Option<i32>,
        /// start (the recorded command), fork or exec.
        origin: &'static str,
        /// Path of the executable.
        exe: String,
        /// Command line, most of it.
        argv: Vec<String>,
        /// When recording of it began.
        start_ns: i64 ["ns"],
        /// When it was replaced by exec, or its end was noticed: that of the recorded command mostly at once, others mostly
        /// within 20 ms, rarely 50. Null: still running when the recording was closed.
        end_ns: Option<i64> ["ns"],
        /// Exit status, if tmq could see it (the recorded command itself).
        exit_code: Option<i32>,
        /// Signal that ended it, if tmq could see it.
        exit_signal: Option<i32>,
        /// Heap allocations recorded (rows, not weighted).
        allocations: i64,
        /// Heap blocks freed.
        frees: i64,
        /// Bytes of all heap allocations, weighted.
        bytes_allocated: i64 ["bytes"],
        /// Most heap bytes live at one time in this process, weighted.
        peak_bytes: i64 ["bytes"],
        /// When that was.
        peak_ns: i64 ["ns"],
        /// Heap blocks live at its end.
        live_blocks: i64,
        /// Their bytes, weighted.
        live_bytes: i64 ["bytes"],
        /// Frees of blocks whose allocation was not recorded (inherited by fork, made before recording, unsampled).
        foreign_frees: i64,
        /// Memory that the recorder used inside the process.
        recorder_bytes: i64 ["bytes"],
    }
}

define_table! {
    /// One row per thread.
    "threads", THREADS, ThreadsColumns, ThreadsRow {
        /// Dense number, the key of this table.
        thread_id: i32,
        /// See `processes`.
        process_id: i32,
        /// Thread id in the operating system.
        tid: i32,
        /// Last name seen.
        name: String,
        /// First event.
        start_ns: i64 ["ns"],
        /// Last event.
        end_ns: i64 ["ns"],
    }
}

define_table! {
    /// What the recording does not contain, and why. No rows: nothing was lost.
    "losses", LOSSES, LossesColumns, LossesRow {
        /// Process image concerned; null: the recording as a whole.
        process_id: Option<i32>,
        /// Thread concerned, if known.
        thread_id: Option<i32>,
        /// When it was noticed; null if it is spread over the run.
        at_ns: Option<i64> ["ns"],
        /// Short name of the reason, e.g. no_chunk, nested_signal, stack_mismatch, broken_stacks, unpaired,
        /// corrupt_stream, late_records, no_symbols.
        reason: String,
        /// How many events, stacks or processes.
        count: i64,
        /// One sentence for people.
        detail: String,
    }
}

define_table! {
    /// Named moments of the recording: start, end, peak and marks.
    "moments", MOMENTS, MomentsColumns, MomentsRow {
        /// Name: start, end, peak, or the name given to `tmq mark`.
        name: String,
        /// start, end, peak or mark.
        kind: &'static str,
        /// When.
        at_ns: i64 ["ns"],
        /// Process that set the mark; null otherwise.
        process_id: Option<i32>,
        /// Heap bytes live just then in all processes, weighted; at the end: what lived until its process ended.
        live_bytes: i64 ["bytes"],
        /// Heap blocks live just then, weighted.
        live_blocks: i64,
    }
}

define_table! {
    /// Facts about the recording as text: versions, host, clock, sampling, command.
    "metadata", METADATA, MetadataColumns, MetadataRow {
        /// Name of the fact.
        key: String,
        /// Its value.
        value: String,
    }
}
