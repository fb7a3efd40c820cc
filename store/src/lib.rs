//! Recordings on disk: collecting them from shared memory, Parquet tables, symbols, sealing and opening.
//!
//! ```text
//! collect ─▶ ingest (order, pair, sum) ─▶ write (Parquet parts) ─▶ seal (symbols, dimension tables)   recording: open
//!                └── journal, for `repair`
//! ```
//! [`schema`] says which tables there are, [`recording`] what lies where, [`version`] who can read what.

pub mod collect;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guard;
pub mod ingest;
mod prefetch;
pub mod recording;
pub mod schema;
mod seal;
pub mod symbolize;
pub mod version;
pub mod write;

pub use error::Error;
pub use recording::Recording;
