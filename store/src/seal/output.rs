//! A table written in slices, so that long tables need little memory.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::recording::TableFile;
use crate::schema::Columns;
use crate::write::TableWriter;

/// Values collected before they are written.
const SLICE: usize = 256 << 10;

/// A table with a single file that grows.
#[derive(Debug)]
pub(super) struct Output<C: Columns> {
    dir: PathBuf,
    /// Made when it is known whether the table is small.
    writer: Option<TableWriter>,
    columns: C,
    values: usize,
}

impl<C: Columns> Output<C> {
    /// Begins the table's file.
    pub(super) fn create(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), writer: None, columns: C::default(), values: 0 }
    }

    /// The buffer to append to; `values` is how many values the caller is about to append to its longest column.
    pub(super) fn buffer(&mut self, values: usize) -> Result<&mut C, Error> {
        if self.values >= SLICE {
            self.flush()?;
        }
        self.values += values;
        Ok(&mut self.columns)
    }

    fn begin(&self, rows: Option<usize>) -> Result<TableWriter, Error> {
        let table = C::table();
        TableWriter::create_for(&self.dir, &format!("{}.parquet", table.name), table, rows)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.values = 0;
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.begin(None)?,
        };
        writer.write(&self.columns.take())?;
        self.writer = Some(writer);
        Ok(())
    }

    /// Completes the file.
    pub(super) fn finish(mut self) -> Result<TableFile, Error> {
        let batch = self.columns.take();
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.begin(Some(batch.num_rows()))?,
        };
        writer.write(&batch)?;
        writer.finish()
    }
}
