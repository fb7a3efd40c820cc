//! A file whose columns come as pages of [`super::pages`], from creation to its final name.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use parquet::arrow::ArrowWriter;
use parquet::errors::Result as ParquetResult;
use parquet::file::writer::SerializedFileWriter;

use super::pages::{Chunk, Tools, write_row_group};
use super::properties::{ROW_GROUP_ROWS, writer_properties};
use super::unfinished::Unfinished;
use crate::Error;
use crate::recording::TableFile;
use crate::schema::Table;

/// The file; who writes it holds the columns.
pub(super) struct PageFile {
    unfinished: Unfinished,
    file: SerializedFileWriter<BufWriter<File>>,
    rows_in_group: usize,
    rows: u64,
}

impl PageFile {
    /// Begins the file `name` (relative to the recording directory `dir`) of `table`.
    pub(super) fn create(dir: &Path, name: &str, table: &'static Table) -> Result<Self, Error> {
        let (unfinished, file) = Unfinished::create(dir, name, table)?;
        let begin = || -> ParquetResult<_> {
            let writer = ArrowWriter::try_new(file, table.schema(), Some(writer_properties(table, None)))?;
            // The Arrow writer has put the schema into the metadata; the rows come without it.
            Ok(writer.into_serialized_writer()?.0)
        };
        let file = begin().map_err(Error::parquet("write", unfinished.path()))?;
        Ok(Self { unfinished, file, rows_in_group: 0, rows: 0 })
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// What to make of an error of the Parquet library.
    pub(super) fn error(&self) -> impl FnOnce(parquet::errors::ParquetError) -> Error {
        Error::parquet("write", self.unfinished.path())
    }

    /// `rows` rows were appended to all columns, which are written if that completes a row group.
    pub(super) fn appended(&mut self, rows: usize, chunks: &mut [Chunk], tools: &mut Tools) -> ParquetResult<()> {
        self.rows += rows as u64;
        self.rows_in_group += rows;
        if self.rows_in_group >= ROW_GROUP_ROWS { self.close_group(chunks, tools) } else { Ok(()) }
    }

    fn close_group(&mut self, chunks: &mut [Chunk], tools: &mut Tools) -> ParquetResult<()> {
        self.rows_in_group = 0;
        write_row_group(&mut self.file, chunks, tools)
    }

    /// Completes the file and gives it its name.
    pub(super) fn finish(mut self, chunks: &mut [Chunk], tools: &mut Tools) -> Result<TableFile, Error> {
        let mut end = || -> ParquetResult<u64> {
            if self.rows_in_group > 0 {
                self.close_group(chunks, tools)?;
            }
            // Flushes, too.
            self.file.finish()?;
            Ok(self.file.bytes_written() as u64)
        };
        let bytes = end().map_err(self.error())?;
        self.unfinished.finish(self.rows, bytes)
    }
}
