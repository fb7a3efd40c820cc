//! The shared-memory protocol between a recorded process and `tmq record`, both directions.
//!
//! A recording owns one [region](layout): a header, process slots, chunk headers and chunks. Recorded threads append
//! 16-byte [records](record) to a chunk they own; the collector reads what is committed and hands drained chunks back.
//! Encode and decode stand side by side so that they cannot drift, and everything that decodes treats the other side as
//! hostile: lengths are checked, nothing panics, nothing is trusted to be initialised.
//!
//! The crate has no dependencies, allocates nothing and contains no `unsafe`: mapping the region is the business of its
//! users. `FORMAT.md` draws the bytes.
#![no_std]
#![forbid(unsafe_code)]

pub mod layout;
pub mod payload;
pub mod record;

pub use layout::{ChunkHeader, ProcessSlot, RegionHeader};
pub use record::{DecodeError, Decoder, Record};

/// Version of region layout and records. The preload library and the collector of one build always agree; a mismatch
/// (an old library still mapped, a foreign file) makes the library stay inactive.
///
/// Changelog:
/// - 1: first version.
/// - 2: the header counts the process slots that were in use; losses of two more kinds.
pub const WIRE_VERSION: u32 = 2;

/// First eight bytes of a region.
pub const MAGIC: u64 = u64::from_le_bytes(*b"tmqwire\0");

/// Environment variable that names the region to open: a path such as `/proc/1234/fd/5`.
pub const ENV_REGION: &str = "TMQ_REGION";
