//! One Parquet file of a table, from creation to its final name.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;

use super::properties::writer_properties;
use super::unfinished::Unfinished;
use crate::Error;
use crate::recording::TableFile;
use crate::schema::Table;

/// Writes rows of one table into one file, which gets its final name in [`TableWriter::finish`]. A writer that is
/// dropped before leaves nothing behind.
#[derive(Debug)]
pub struct TableWriter {
    unfinished: Unfinished,
    writer: ArrowWriter<BufWriter<File>>,
    rows: u64,
}

impl TableWriter {
    /// Begins the file `name` (relative to the recording directory `dir`) of `table`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(dir: &Path, name: &str, table: &'static Table) -> Result<Self, Error> {
        Self::create_for(dir, name, table, None)
    }

    /// As [`TableWriter::create`], for so many rows, if that is known.
    pub(crate) fn create_for(
        dir: &Path,
        name: &str,
        table: &'static Table,
        rows: Option<usize>,
    ) -> Result<Self, Error> {
        let (unfinished, file) = Unfinished::create(dir, name, table)?;
        let writer = ArrowWriter::try_new(file, table.schema(), Some(writer_properties(table, rows)))
            .map_err(Error::parquet("write", unfinished.path()))?;
        Ok(Self { unfinished, writer, rows: 0 })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// The file cannot be written, or the batch has another schema.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.writer.write(batch).map_err(Error::parquet("write", self.unfinished.path()))?;
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
        // Flushes, too.
        self.writer.finish().map_err(Error::parquet("write", self.unfinished.path()))?;
        self.unfinished.finish(self.rows, self.writer.bytes_written() as u64)
    }
}
