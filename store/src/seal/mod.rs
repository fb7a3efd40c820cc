//! Finishing a recording: the last rows, symbols, and every table but `allocations`.
//!
//! Memory is that of distinct stacks as a tree, and of distinct addresses with their names; the long tables
//! (`stack_frames`, `stacks`) are written in slices.
#![forbid(unsafe_code)]

mod frames;
mod hash;
mod output;
mod run;
mod stacks;
mod sums;

use crate::Error;
use crate::ingest::{Encoder, SealOptions, SealProgress, State, Summary};
use crate::recording::{RecordingDirectory, TableFile, part_name};
use crate::schema::{ALLOCATIONS, Columns, MetadataColumns, MetadataRow};
use crate::write::{TableWriter, write_table};

/// Tells how far sealing is.
pub(crate) type Progress<'a> = &'a (dyn Fn(SealProgress) + Sync);

/// Finishes the recording in `directory`.
pub(crate) fn seal(
    directory: RecordingDirectory,
    mut state: State,
    mut encoder: Encoder,
    options: &SealOptions,
    interrupted: bool,
    progress: Progress<'_>,
) -> Result<Summary, Error> {
    progress(SealProgress::Allocations);
    if interrupted {
        let detail = "tmq was killed while it recorded; what had not reached it by then is missing.";
        state.model.lose(None, "interrupted", 1, detail);
    }
    state.finish(&mut |rows| encoder.rows(rows))?;
    // The encoder works on while symbols are looked up.
    let frames = frames::Frames::resolve(&state.model.code, options, progress);
    let mut files = encoder.finish()?;
    let dir = directory.path().to_owned();
    if files.is_empty() {
        files.push(TableWriter::create(&dir, &part_name(ALLOCATIONS.name, 0), &ALLOCATIONS)?.finish()?);
    }
    let written = stacks::write(&dir, &state.model.code, &frames, progress)?;
    files.extend(written.files);
    let mut summary = run::summary(&state, &written.quality, interrupted);
    let mut tables = Tables { files, dir: &dir, progress };
    tables.write(frames.table())?;
    tables.write(run::modules(&state, &frames))?;
    tables.write(run::processes(&state))?;
    tables.write(run::threads(&state))?;
    tables.write(run::losses(&state, &written.quality, &frames))?;
    tables.write(sums::timeline(&state))?;
    tables.write(sums::moments(&state))?;
    tables.write(sums::stack_stats(&state))?;
    tables.write(sums::peak(&state))?;
    let mut metadata = MetadataColumns::default();
    for (key, value) in run::metadata(&state, &summary) {
        metadata.push(MetadataRow { key, value });
    }
    tables.write(metadata)?;
    summary.size_on_disk = tables.files.iter().map(|f| f.bytes).sum();
    summary.path.clone_from(&dir);
    directory.seal(tables.files)?;
    Ok(summary)
}

struct Tables<'a> {
    files: Vec<TableFile>,
    dir: &'a std::path::Path,
    progress: Progress<'a>,
}

impl Tables<'_> {
    fn write<C: Columns>(&mut self, mut columns: C) -> Result<(), Error> {
        (self.progress)(SealProgress::Table(C::table().name));
        self.files.push(write_table(self.dir, &mut columns)?);
        Ok(())
    }
}
