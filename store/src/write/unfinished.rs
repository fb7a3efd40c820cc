//! A Parquet file under its temporary name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
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
    /// Creates the file `name` (relative to the recording directory `dir`) of `table`.
    pub(super) fn create(dir: &Path, name: &str, table: &'static Table) -> Result<(Self, Counted), Error> {
        let path = dir.join(name);
        let temporary = dir.join(format!("{name}.tmp"));
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let counted = Counted { file: BufWriter::with_capacity(WRITE_BYTES, file), bytes: 0 };
        Ok((Self { table, name: name.to_owned(), path, temporary, is_finished: false }, counted))
    }

    /// Its final path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name; everything has been written to it.
    pub(super) fn finish(mut self, rows: u64, file: Counted) -> Result<TableFile, Error> {
        let bytes = file.finish().map_err(Error::io("write", &self.path))?;
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

/// A file that knows how much was written to it.
#[derive(Debug)]
pub(super) struct Counted {
    file: BufWriter<File>,
    /// Bytes so far.
    bytes: u64,
}

impl Counted {
    /// Hands everything to the kernel; returns how many bytes that are.
    fn finish(mut self) -> io::Result<u64> {
        self.file.flush()?;
        Ok(self.bytes)
    }
}

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
