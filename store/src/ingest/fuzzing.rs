//! Doors to ingestion: a recording that is never written, journal frames, checkpoints.

use std::path::Path;

use super::checkpoint::{self, Checkpoint};
use super::rows::{NO_TIME, Row};
use super::state::State;
use super::{Input, RecordingConfig, journal};
use crate::Error;

/// A recording whose rows are checked and dropped.
#[derive(Debug)]
pub struct Unwritten(State);

impl Unwritten {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new(config: RecordingConfig) -> Self {
        Self(State::new(config, 0))
    }

    /// Takes one input in.
    ///
    /// # Panics
    /// A row is impossible.
    pub fn input(&mut self, input: &Input<'_>) {
        self.0.apply(input, &mut check).expect("nothing is written");
    }

    /// Takes the rest in; a saved state comes back as it was, once what waits is appended again.
    ///
    /// # Panics
    /// A row is impossible.
    pub fn finish(mut self) {
        let saved = checkpoint::save(&self.0, Path::new("")).expect("a state that can be saved");
        let restored = checkpoint::restore(&saved, Path::new("")).expect("a state that can be restored");
        let older = std::mem::replace(&mut self.0, restored);
        for (incarnation, stream, slots) in older.waiting() {
            self.input(&Input::Slots { incarnation, stream, slots });
        }
        self.0.finish(&mut check).expect("nothing is written");
    }
}

fn check(rows: &mut Vec<Row>) -> Result<(), Error> {
    for row in rows.iter() {
        assert!(row.free_ns == NO_TIME || row.free_ns >= row.alloc_ns, "{row:?}");
    }
    rows.clear();
    Ok(())
}

/// The checksum of journal frames and checkpoints.
#[must_use]
pub fn checksum(bytes: &[u8], seed: u64) -> u64 {
    journal::checksum(bytes, seed)
}

/// Reads the checkpoint of `dir` and the state within it; its key and the number of the next segment.
///
/// # Errors
/// It is damaged.
pub fn read_checkpoint(dir: &Path) -> Result<(u64, u64), Error> {
    let found = Checkpoint::read(dir)?;
    checkpoint::restore(&found.state, dir)?;
    Ok((found.key, found.segment))
}
