//! Doors to ingestion: a recording that is never written, journal frames, checkpoints.

use std::path::Path;

use tmq_wire::record::Slot;

use super::checkpoint::{self, Checkpoint};
use super::rows::{NO_TIME, Rows};
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

    /// Says that only some streams are missing before a stamp, true or not.
    ///
    /// # Panics
    /// A row is impossible.
    pub fn only_missing(&mut self, missing: &[(u32, u32)], tsc: u64) {
        self.0.merge_until_missing(missing, tsc, &mut check).expect("nothing is written");
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

fn check(rows: &mut Rows) -> Result<(), Error> {
    loop {
        for row in rows.iter() {
            assert!(row.free_ns == NO_TIME || row.free_ns >= row.alloc_ns, "{row:?}");
        }
        if !rows.next() {
            return Ok(());
        }
    }
}

/// Slots as they are in frames of the journal.
#[must_use]
pub fn packed_slots(slots: &[Slot]) -> Vec<u8> {
    journal::packed(slots)
}

/// A journal frame with a checksum that matches, whatever is in it. `key`: that of the recording.
#[must_use]
pub fn journal_frame(key: u64, segment: u64, kind: u32, writer: (u32, u32), payload: &[u8]) -> Vec<u8> {
    journal::frame(key, segment, kind, writer, payload)
}

/// A checkpoint file with a checksum that matches, if `body`, what follows the checksum, can be taken apart at all.
#[must_use]
pub fn checkpoint_file(body: &[u8]) -> Vec<u8> {
    let sum = checkpoint::split(body).map_or(0, |(head, state)| checkpoint::sum(head, state));
    [checkpoint::MAGIC, &sum.to_le_bytes(), body].concat()
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
