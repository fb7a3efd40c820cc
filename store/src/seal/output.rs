//! A table written in slices, so that long tables need little memory.

use std::path::Path;

use crate::Error;
use crate::recording::TableFile;
use crate::schema::Columns;
use crate::write::TableWriter;

/// Values collected before they are written.
const SLICE: usize = 256 << 10;

/// A table with a single file that grows.
#[derive(Debug)]
pub(super) struct Output<C: Columns> {
    writer: TableWriter,
    columns: C,
    values: usize,
}

impl<C: Columns> Output<C> {
    /// Begins the table's file.
    pub(super) fn create(dir: &Path) -> Result<Self, Error> {
        let table = C::table();
        let writer = TableWriter::create(dir, &format!("{}.parquet", table.name), table)?;
        Ok(Self { writer, columns: C::default(), values: 0 })
    }

    /// The buffer to append to; `values` is how many values the caller is about to append to its longest column.
    pub(super) fn buffer(&mut self, values: usize) -> Result<&mut C, Error> {
        if self.values >= SLICE {
            self.flush()?;
        }
        self.values += values;
        Ok(&mut self.columns)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.values = 0;
        self.writer.write(&self.columns.take())
    }

    /// Completes the file.
    pub(super) fn finish(mut self) -> Result<TableFile, Error> {
        self.flush()?;
        self.writer.finish()
    }
}
