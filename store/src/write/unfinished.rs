//! A Parquet file under its temporary name.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::recording::TableFile;
use crate::schema::Table;

/// Bytes handed to the kernel at once. The Parquet library writes 8 KiB at a time, for which the kernel takes twice as long.
const WRITE_BYTES: usize = 256 << 10;

/// A file that gets its final name in [`Unfinished::finish`], and is removed if it is dropped before.
#[derive(Debug)]
pub(super) struct Unfinished {
    table: &'static Table,
    name: String,
    path: PathBuf,
    temporary: PathBuf,
    is_finished: bool,
}

impl Unfinished {
    /// Creates the file `name` (relative to the recording directory `dir`) of `table`. Who writes it flushes it before
    /// [`Unfinished::finish`].
    pub(super) fn create(dir: &Path, name: &str, table: &'static Table) -> Result<(Self, BufWriter<File>), Error> {
        let path = dir.join(name);
        let temporary = dir.join(format!("{name}.tmp"));
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let unfinished = Self { table, name: name.to_owned(), path, temporary, is_finished: false };
        Ok((unfinished, BufWriter::with_capacity(WRITE_BYTES, file)))
    }

    /// Its final path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name; its content is complete, and with the kernel.
    pub(super) fn finish(mut self, rows: u64, bytes: u64) -> Result<TableFile, Error> {
        fs::rename(&self.temporary, &self.path).map_err(Error::io("write", &self.path))?;
        self.is_finished = true;
        Ok(TableFile { table: self.table.name.to_owned(), path: std::mem::take(&mut self.name), rows, bytes })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            // Nobody can be told that removing failed; the name says what the file is.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
