//! Finishing a recording whose recorder died.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::checkpoint::{self, Checkpoint};
use super::config::{SealOptions, SealProgress, Summary};
use super::encoder::Encoder;
use super::journal;
use crate::recording::{RecordingDirectory, TableFile, check_file, part_name};
use crate::schema::ALLOCATIONS;
use crate::{Error, seal};

/// Finishes the interrupted recording in `dir`: restores the last checkpoint, drops rows written after it, and applies
/// the journal from there as if it had just come. Repairing can itself be interrupted and repeated.
///
/// # Errors
/// The recording is complete, is still being recorded, a part that its checkpoint counts on is missing or cut, or its
/// files cannot be read or written.
pub fn repair(dir: &Path, options: &SealOptions, progress: &(dyn Fn(SealProgress) + Sync)) -> Result<Summary, Error> {
    let directory = RecordingDirectory::reopen(dir)?;
    let checkpoint = Checkpoint::read(dir)?;
    // Before anything is removed: what is left of the recording may still be worth something to somebody.
    for part in &checkpoint.parts {
        check_file(dir, part)?;
    }
    let mut state = checkpoint::restore(&checkpoint.state, dir)?;
    remove_unfinished(dir, &checkpoint.parts)?;
    let mut encoder = Encoder::start(dir, state.model.sampling, checkpoint.parts)?;
    journal::replay(dir, checkpoint.segment, checkpoint.key, |input, done, total| {
        progress(SealProgress::Replaying { done, total });
        state.apply(input, &mut |rows| encoder.rows(rows))
    })?;
    seal::seal(directory, state, encoder, options, true, progress)
}

/// Removes parts that the checkpoint does not know and files that were never finished.
fn remove_unfinished(dir: &Path, parts: &[TableFile]) -> Result<(), Error> {
    let parts_dir = dir.join(ALLOCATIONS.name);
    for dir in [dir, &parts_dir] {
        for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
            let path = entry.map_err(Error::io("list", dir))?.path();
            if path.extension() == Some(OsStr::new("tmp")) {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
    }
    for number in parts.len().. {
        let path = dir.join(part_name(ALLOCATIONS.name, number));
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => break,
            Err(e) => return Err(Error::io("remove", &path)(e)),
        }
    }
    Ok(())
}
