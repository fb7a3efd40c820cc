//! From streams of wire records to rows and sums, in one pass over ordered events and with bounded memory.
//!
//! ```text
//! Input ─▶ journal (log of inputs, for `repair`)
//!   └────▶ state ─ streams: pending slots, decoded and merged by stamp up to the watermark (merge)
//!                ├ model: open blocks, stacks, sites, peak, timeline (pairing)
//!                └ rows of freed blocks ─▶ encoder thread ─▶ allocations/part-*.parquet
//! ```
//!
//! Rules (cited by number in the code):
//! 1. Input is hostile. A stream that cannot be decoded is ignored from there on and counted in `losses`; numbers that
//!    processes choose never size a table directly.
//! 2. Memory is bounded by live blocks, distinct stacks, processes and fixed buffers, never by the number of events.
//! 3. The state after some inputs depends on nothing but these inputs, so replaying the journal from a checkpoint gives
//!    the same state and the same rows, but for the order of equal stamps in different streams (see
//!    [`Ingest::only_missing`]).
//! 4. Per address, allocations and frees alternate in time. A free whose stamp is up to [`INVERSION_NS`] later than that
//!    of the next allocation at its address still belongs to the older block.
//! 5. A record that comes when later ones have been applied is applied all the same and its stream counted in `losses`
//!    (`late_records`). No block ends before it began.
#![forbid(unsafe_code)]

mod block;
mod blocks;
mod books;
mod checkpoint;
mod clock;
mod code;
mod config;
mod encoder;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod input;
mod journal;
mod left;
mod maps;
mod model;
mod packed;
mod packed_slots;
mod pool;
mod process;
mod recorder;
mod region_index;
mod repair;
mod rows;
mod sampling;
mod saved;
mod sites;
mod state;
mod streams;
#[cfg(test)]
mod testing;
mod timeline;
mod tree;

pub use config::{ProcessCounters, RecordingConfig, SealOptions, SealProgress, Summary};
pub use input::Input;
pub use recorder::Ingest;
pub use repair::repair;

pub(crate) use code::{Code, Stack};
pub(crate) use encoder::Encoder;
pub(crate) use process::Process;
pub(crate) use rows::{KINDS, NO_ID, NO_TIME, Part, Row, Rows, Word};
pub(crate) use sampling::Sampling;
pub(crate) use sites::{Amount, Site};
pub(crate) use state::State;
pub(crate) use tree::{NO_MODULE, ROOTS};

/// How much later than the next allocation at its address the stamp of a free may be: time stamp counters are read
/// without serialising, and threads move between processors.
pub const INVERSION_NS: i64 = 10_000;
