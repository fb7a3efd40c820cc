//! What a recording is on disk, opening one, and owning one while it is made.
//!
//! ```text
//! app.4711.tmq/
//!   tmq.json                      manifest: format, version, state, and every file with its size once sealed
//!   lock                          locked by the `tmq` that records or repairs; holds its process id
//!   allocations/part-00000.parquet ...
//!   stacks.parquet, frames.parquet, ...      one file per table of `schema`
//!   journal/                      only while recording: what `tmq repair` needs after a crash
//! ```
//!
//! Rules:
//! 1. The manifest is written before anything else and replaced atomically (temporary file, rename).
//! 2. A file under its final name is complete; unfinished files end in `.tmp`.
//! 3. `state` is `sealed` only when every table is there; a reader needs nothing but sealed recordings.
//! 4. Whoever writes into the directory holds an exclusive lock on `lock`; the kernel drops it with the process.
#![forbid(unsafe_code)]

mod bounded;
mod directory;
mod manifest;
mod open;

pub(crate) use directory::{JOURNAL_DIR, RecordingDirectory, part_name};
pub use manifest::{MANIFEST_NAME, Manifest, State, TableFile};
pub use open::Recording;
pub(crate) use open::check_file;
