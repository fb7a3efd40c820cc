//! One Parquet file of a table, from creation to its final name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;

use super::properties::writer_properties;
use crate::Error;
use crate::recording::TableFile;
use crate::schema::Table;

/// Writes rows of one table into one file, which gets its final name in [`TableWriter::finish`]. A writer that is
/// dropped before leaves nothing behind.
#[derive(Debug)]
pub struct TableWriter {
    table: &'static Table,
    name: String,
    path: PathBuf,
    temporary: PathBuf,
    writer: Option<ArrowWriter<Counted>>,
    rows: u64,
}

impl TableWriter {
    /// Begins the file `name` (relative to the recording directory `dir`) of `table`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(dir: &Path, name: &str, table: &'static Table) -> Result<Self, Error> {
        let path = dir.join(name);
        let temporary = dir.join(format!("{name}.tmp"));
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let writer = ArrowWriter::try_new(Counted { file, bytes: 0 }, table.schema(), Some(writer_properties(table)))
            .map_err(Error::parquet("write", &path))?;
        Ok(Self { table, name: name.to_owned(), path, temporary, writer: Some(writer), rows: 0 })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// The file cannot be written, or the batch has another schema.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(batch).map_err(Error::parquet("write", &self.path))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<TableFile, Error> {
        let Some(writer) = self.writer.take() else {
            return Err(Error::WriterStopped { path: self.path.clone() });
        };
        let counted = writer.into_inner().map_err(Error::parquet("write", &self.path))?;
        fs::rename(&self.temporary, &self.path).map_err(Error::io("write", &self.path))?;
        Ok(TableFile {
            table: self.table.name.to_owned(),
            path: self.name.clone(),
            rows: self.rows,
            bytes: counted.bytes,
        })
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        if self.writer.is_some() {
            // Nobody can be told that removing failed; the name says what the file is.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A file that knows how much was written to it.
#[derive(Debug)]
struct Counted {
    file: File,
    bytes: u64,
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
