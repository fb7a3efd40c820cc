//! A file of pages whose rows come one by one: they are kept by column until they make a page.

use std::path::Path;

use super::page_file::PageFile;
use super::pages::{Chunk, Encoder, Physical, Tools};
use crate::Error;
use crate::recording::TableFile;
use crate::schema::Table;

/// The file, and the rows that are not in it yet.
pub(super) struct Buffered<const COLUMNS: usize> {
    file: PageFile,
    chunks: Vec<Chunk>,
    tools: Tools,
    /// Values of the next page, of lists one after the other.
    pub(super) columns: [Vec<i64>; COLUMNS],
}

impl<const COLUMNS: usize> Buffered<COLUMNS> {
    /// Begins the file of a table in the recording directory `dir`. `columns`: name, type and encoding of each.
    pub(super) fn create(
        dir: &Path,
        table: &'static Table,
        columns: &[(&str, Physical, Encoder); COLUMNS],
    ) -> Result<Self, Error> {
        Ok(Self {
            file: PageFile::create(dir, &format!("{}.parquet", table.name), table)?,
            chunks: columns.iter().map(|c| Chunk::new(c.1, c.2)).collect(),
            tools: Tools::new().map_err(Error::io("begin to write into", dir))?,
            columns: [const { Vec::new() }; COLUMNS],
        })
    }

    /// Makes a page of the `rows` rows in `columns`. `lists`: which column is one of lists, and the length of each.
    pub(super) fn flush(&mut self, rows: usize, lists: Option<(usize, &[usize])>) -> Result<(), Error> {
        if rows == 0 {
            return Ok(());
        }
        let mut write = || {
            for (place, (chunk, values)) in self.chunks.iter_mut().zip(&mut self.columns).enumerate() {
                match lists {
                    Some((of_lists, lengths)) if of_lists == place => {
                        chunk.list_page(&mut self.tools, values, lengths)?;
                    }
                    _ => chunk.page(&mut self.tools, values, None, rows, false)?,
                }
                values.clear();
            }
            self.file.appended(rows, &mut self.chunks, &mut self.tools)
        };
        write().map_err(self.file.error())
    }

    /// Completes the file; all rows are in it.
    pub(super) fn finish(mut self) -> Result<TableFile, Error> {
        self.file.finish(&mut self.chunks, &mut self.tools)
    }
}
