//! Everything that can happen to a recording while it is made. The journal is the log of these.

use serde::{Deserialize, Serialize};
use tmq_wire::record::Slot;

use super::config::ProcessCounters;

/// One thing that happened. Apart from [`Input::Slots`] they may come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input<'a> {
    /// All streams are complete below this stamp: events below it may be ordered and paired.
    Watermark {
        /// The stamp.
        tsc: u64,
    },
    /// A process image appeared.
    ProcessSeen {
        /// Its number.
        incarnation: u32,
        /// Its process id.
        pid: u32,
        /// The image that forked it, 0 for none.
        forked_from: u32,
        /// When it began.
        start_tsc: u64,
    },
    /// What an image is, as far as others can see it; what it says itself counts more.
    ProcessImage {
        /// Its number.
        incarnation: u32,
        /// Process id of its parent.
        ppid: u32,
        /// Path of its executable.
        exe: &'a str,
        /// Its arguments, each with a zero behind it.
        argv: &'a str,
    },
    /// Fixes time zero and the rate of the counter; the first one counts. Nothing is ordered before it has come.
    Clock {
        /// Counter at time zero.
        tsc: u64,
        /// The same moment in nanoseconds since 1970.
        unix_ns: i64,
        /// Rate of the counter.
        ticks_per_second: f64,
    },
    /// Resident memory of all recorded processes.
    Rss {
        /// When.
        tsc: u64,
        /// How much.
        bytes: i64,
    },
    /// Name of a thread; the last one counts.
    ThreadName {
        /// Its image.
        incarnation: u32,
        /// Its thread id.
        tid: u32,
        /// The name.
        name: &'a str,
    },
    /// An image ended: its open blocks are no longer live. Comes after its last slots.
    ProcessEnded {
        /// Its number.
        incarnation: u32,
        /// When, not before its last event; `None`: it was still running when the recording was closed.
        tsc: Option<u64>,
        /// Exit status, if it could be seen.
        exit_code: Option<i32>,
        /// Signal that ended it, if it could be seen.
        exit_signal: Option<i32>,
        /// Its counters.
        counters: ProcessCounters,
    },
    /// Something was not recorded.
    Loss {
        /// Image concerned, if one is.
        incarnation: Option<u32>,
        /// Short name, e.g. `static_program`.
        reason: &'a str,
        /// How many.
        count: u64,
        /// One sentence for people.
        detail: &'a str,
    },
    /// A named moment set from outside the recorded processes.
    Mark {
        /// When.
        tsc: u64,
        /// Its name.
        name: &'a str,
    },
    /// Newly committed slots of a stream, in stream order. It has its own form in the journal, and must be the last
    /// variant: serde numbers the others differently on the two sides otherwise.
    #[serde(skip)]
    Slots {
        /// Image of the writer.
        incarnation: u32,
        /// Its stream.
        stream: u32,
        /// Whole records as a rule; a cut record waits for its rest.
        slots: &'a [Slot],
    },
}
