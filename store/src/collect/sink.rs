//! What the collector hands on: the one interface between shared memory and the store.

use tmq_wire::layout::LOSS_REASONS;
use tmq_wire::record::Slot;

/// One thing the collector learned. Slots of one stream arrive in stream order and end at record boundaries.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A process image began; comes before anything else about it.
    ProcessSeen {
        /// Number of the image within the recording.
        incarnation: u32,
        /// Process id, as the collector sees it where that is known.
        pid: u32,
        /// Incarnation that forked it; 0: none.
        forked_from: u32,
        /// When recording of it began.
        start_tsc: u64,
    },
    /// The next records of a stream.
    Slots {
        /// Process image.
        incarnation: u32,
        /// Stream within the recording.
        stream: u32,
        /// Records.
        slots: &'a [Slot],
    },
    /// No record with an earlier time stamp will arrive from now on.
    Watermark {
        /// Time stamp.
        tsc: u64,
    },
    /// How time stamps relate to time; sent once.
    Clock {
        /// A time stamp at the start of the recording.
        tsc: u64,
        /// The wall-clock time at that stamp, in nanoseconds since 1970.
        unix_ns: i64,
        /// Ticks of the time stamp counter in a second.
        ticks_per_second: f64,
    },
    /// Resident memory of all recorded processes together.
    Rss {
        /// When.
        tsc: u64,
        /// How much.
        bytes: u64,
    },
    /// A thread has this name from now on.
    ThreadName {
        /// Process image.
        incarnation: u32,
        /// Thread id.
        tid: u32,
        /// Name.
        name: &'a [u8],
    },
    /// A process image ended; nothing more about it follows.
    ProcessEnded {
        /// Process image.
        incarnation: u32,
        /// When.
        tsc: u64,
        /// Exit status, if known.
        exit_code: Option<i32>,
        /// Signal that ended it, if known.
        exit_signal: Option<i32>,
        /// What the recorder in it counted.
        counters: ProcessCounters,
    },
    /// Something is missing from the recording.
    Loss {
        /// Process image concerned; `None`: the recording as a whole.
        incarnation: Option<u32>,
        /// Short name of the reason.
        reason: &'a str,
        /// How many.
        count: u64,
        /// One sentence for people.
        detail: &'a str,
    },
    /// A named moment, set from outside.
    Mark {
        /// When.
        tsc: u64,
        /// Its name.
        name: &'a str,
        /// Process image concerned, if one is.
        incarnation: Option<u32>,
    },
}

/// What the recorder counted in one process image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessCounters {
    /// Lost records, by [`tmq_wire::layout::LossReason`].
    pub losses: [u64; LOSS_REASONS],
    /// Stacks that were compared with an unwind from scratch.
    pub verified: u64,
    /// Of these, stacks that differed.
    pub mismatches: u64,
    /// Bytes that the recorder mapped.
    pub recorder_bytes: u64,
    /// Allocations seen.
    pub hooks: u64,
}

/// An error of a sink: what became of the recording's files.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Takes what the collector learns.
pub trait Sink {
    /// Takes one input.
    ///
    /// # Errors
    /// The recording cannot go on, for example because the disk is full.
    fn input(&mut self, input: Input<'_>) -> Result<(), SinkError>;
}
