//! Doors for the fuzz targets (`tests/fuzz`) to what is no interface of the crate. Only with `--cfg fuzzing`.

pub use crate::collect::fuzzing::{drain, drain_seeds};
pub use crate::ingest::fuzzing::{Unwritten, checkpoint_file, journal_frame, packed_slots, read_checkpoint};
