//! [`Ingest`]: a recording while it is made.

use std::fs;
use std::path::Path;

use tmq_wire::record::Slot;

use super::checkpoint::{self, Checkpoint};
use super::config::{RecordingConfig, SealOptions, SealProgress, Summary};
use super::encoder::Encoder;
use super::input::Input;
use super::journal::{self, Journal};
use super::state::State;
use crate::Error;
use crate::recording::{JOURNAL_DIR, RecordingDirectory};
use crate::seal;

/// Journal bytes after which a checkpoint is made at the earliest. It is the first that lets journal files be used again.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// ... and at the earliest after this many times what a checkpoint has to save, so that saving stays cheap.
const CHECKPOINT_FACTOR: u64 = 4;
/// ... unless that is less than this.
const SMALL_STATE: u64 = 1 << 20;
/// ... and after this part of all journal so far: each begins a part of `allocations`, and there should be few.
const CHECKPOINT_SHARE: u64 = 8;
/// ... which is limited, because it takes room on the disk, twice.
const MAX_CHECKPOINT_BYTES: u64 = 256 << 20;

/// Makes a recording from inputs. If it is dropped without [`Ingest::seal`], or its process dies, [`super::repair()`]
/// finishes the recording.
#[derive(Debug)]
pub struct Ingest {
    // Dropped first: its thread must not outlive the lock on the directory.
    encoder: Encoder,
    state: State,
    journal: Journal,
    /// Key of the journal's checksums.
    key: u64,
    directory: RecordingDirectory,
    checkpoint_bytes: u64,
    next_checkpoint: u64,
}

impl Ingest {
    /// Begins a recording in the directory `dir`, which must not exist or be empty.
    ///
    /// # Errors
    /// The directory is there already or cannot be written.
    pub fn create(dir: &Path, config: &RecordingConfig) -> Result<Self, Error> {
        let directory = RecordingDirectory::create(dir, config.argv.clone())?;
        let journal_dir = dir.join(JOURNAL_DIR);
        fs::create_dir(&journal_dir).map_err(Error::io("create", &journal_dir))?;
        let state = State::new(config.clone(), directory.created_unix_ns());
        let saved = checkpoint::save(&state, dir)?;
        let key = journal::new_key();
        Checkpoint { segment: 0, key, parts: Vec::new(), state: saved }.write(dir)?;
        Ok(Self {
            key,
            journal: Journal::create(dir, 0, key)?,
            encoder: Encoder::start(dir, state.model.sampling, Vec::new())?,
            directory,
            state,
            checkpoint_bytes: CHECKPOINT_BYTES,
            next_checkpoint: CHECKPOINT_BYTES,
        })
    }

    /// Takes one input in. After a watermark everything before it is with the kernel and survives this process.
    ///
    /// # Errors
    /// A file cannot be written; what was written before can be repaired.
    pub fn input(&mut self, input: Input<'_>) -> Result<(), Error> {
        self.journal.append(&input)?;
        let encoder = &mut self.encoder;
        self.state.apply(&input, &mut |rows| encoder.rows(rows))?;
        if let Input::Watermark { .. } = input {
            self.journal.flush()?;
            if self.journal.bytes() >= self.next_checkpoint {
                self.checkpoint_if_worth_it()?;
            }
        }
        Ok(())
    }

    /// Takes [`Input::Slots`] in. The buffer may be kept; another one is left then, whatever is in it.
    ///
    /// # Errors
    /// As for [`Ingest::input`].
    pub fn slots(&mut self, incarnation: u32, stream: u32, slots: &mut Vec<Slot>) -> Result<(), Error> {
        self.journal.append(&Input::Slots { incarnation, stream, slots })?;
        let encoder = &mut self.encoder;
        self.state.take_slots(incarnation, stream, slots, &mut |rows| encoder.rows(rows))
    }

    /// Puts in order what can be: everything before the stamp `tsc` has been taken in, ends of processes included, but what
    /// is to follow in the streams `missing`, by image and number. Returns the stamp before which everything is in order;
    /// to the journal it is a watermark.
    /// The result is the same as without, but for the order of equal stamps in different streams; less waits, and memory
    /// is used again sooner.
    ///
    /// # Errors
    /// As for [`Ingest::input`].
    pub fn only_missing(&mut self, missing: &[(u32, u32)], tsc: u64) -> Result<u64, Error> {
        let encoder = &mut self.encoder;
        let reached = self.state.merge_until_missing(missing, tsc, &mut |rows| encoder.rows(rows))?;
        if let Some(tsc) = reached {
            self.input(Input::Watermark { tsc })?;
        }
        Ok(reached.unwrap_or(0))
    }

    /// How many bytes of journal lie between checkpoints at least; for tests.
    #[doc(hidden)]
    pub fn set_checkpoint_bytes(&mut self, bytes: u64) {
        self.checkpoint_bytes = bytes;
        self.next_checkpoint = bytes;
    }

    /// Finishes the recording: the last rows, symbols, and all other tables.
    ///
    /// # Errors
    /// A file cannot be written; [`super::repair()`] can finish the recording later.
    pub fn seal(mut self, options: &SealOptions, progress: &(dyn Fn(SealProgress) + Sync)) -> Result<Summary, Error> {
        self.journal.flush()?;
        seal::seal(self.directory, self.state, self.encoder, options, false, progress)
    }

    /// Makes a checkpoint unless there is too much to save at the moment.
    fn checkpoint_if_worth_it(&mut self) -> Result<(), Error> {
        let bytes = self.state.estimated_bytes();
        let least = bytes * CHECKPOINT_FACTOR;
        if bytes < SMALL_STATE || self.journal.bytes() >= least {
            return self.checkpoint();
        }
        self.next_checkpoint = least;
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Error> {
        self.encoder.rows(&mut self.state.model.rows)?;
        let saved = checkpoint::save(&self.state, self.directory.path())?;
        let share = (self.journal.total_bytes() / CHECKPOINT_SHARE).min(MAX_CHECKPOINT_BYTES);
        self.next_checkpoint = self.checkpoint_bytes.max(share).max(saved.len() as u64 * CHECKPOINT_FACTOR);
        let segment = self.journal.rotate()?;
        for (incarnation, stream, slots) in self.state.waiting() {
            self.journal.append_again(incarnation, stream, slots)?;
        }
        // The checkpoint counts on these.
        self.journal.flush()?;
        self.encoder.checkpoint(segment, self.key, saved)
    }
}
