//! A whole recording from ready-made rows: importers and test fixtures.

use std::collections::BTreeMap;
use std::path::Path;

use super::table_writer::TableWriter;
use crate::Error;
use crate::recording::{RecordingDirectory, TableFile, part_name};
use crate::schema::{Columns, METADATA, MetadataColumns, MetadataRow, TABLES, Table};

/// Makes a recording from rows that exist already. Rows of a table are written in the order in which they come; ids must
/// be dense and references must hold, as `schema` says.
///
/// ```no_run
/// use tmq_store::schema::{ThreadsColumns, ThreadsRow};
/// use tmq_store::write::RecordingBuilder;
///
/// # fn main() -> Result<(), tmq_store::Error> {
/// let mut builder = RecordingBuilder::create("app.tmq", vec!["./app".to_owned()])?;
/// let mut threads = ThreadsColumns::default();
/// threads.push(ThreadsRow { thread_id: 0, process_id: 0, tid: 7, name: "main".to_owned(), start_ns: 0, end_ns: 9 });
/// builder.write(&mut threads)?;
/// builder.seal([("hostname".to_owned(), "example".to_owned())])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RecordingBuilder {
    directory: RecordingDirectory,
    /// Open files of tables with a single file, by the table's name.
    writers: BTreeMap<&'static str, TableWriter>,
    files: Vec<TableFile>,
}

impl RecordingBuilder {
    /// Creates the directory `dir`, which must not exist or be empty. `command` is what `tmq info` shows as recorded.
    ///
    /// # Errors
    /// The directory exists or cannot be created.
    pub fn create(dir: impl AsRef<Path>, command: Vec<String>) -> Result<Self, Error> {
        let directory = RecordingDirectory::create(dir.as_ref(), command)?;
        Ok(Self { directory, writers: BTreeMap::new(), files: Vec::new() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Appends the rows of `columns` to their table and empties the buffer. For a table of parts each call makes one
    /// part.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write<C: Columns>(&mut self, columns: &mut C) -> Result<(), Error> {
        let table = C::table();
        let batch = columns.take();
        if table.parts {
            let mut writer = self.next_part(table)?;
            writer.write(&batch)?;
            self.files.push(writer.finish()?);
            return Ok(());
        }
        self.writer(table)?.write(&batch)
    }

    /// Completes the recording. `metadata` becomes the `metadata` table; tables without rows become empty files.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn seal(mut self, metadata: impl IntoIterator<Item = (String, String)>) -> Result<(), Error> {
        let mut pairs = MetadataColumns::default();
        for (key, value) in metadata {
            pairs.push(MetadataRow { key, value });
        }
        self.write(&mut pairs)?;
        for table in TABLES.iter().copied() {
            if !table.parts {
                self.writer(table)?;
            } else if !self.files.iter().any(|f| f.table == table.name) {
                let empty = self.next_part(table)?.finish()?;
                self.files.push(empty);
            }
        }
        debug_assert!(self.writers.contains_key(METADATA.name));
        for (_, writer) in std::mem::take(&mut self.writers) {
            self.files.push(writer.finish()?);
        }
        self.directory.seal(self.files)
    }

    fn writer(&mut self, table: &'static Table) -> Result<&mut TableWriter, Error> {
        use std::collections::btree_map::Entry;
        Ok(match self.writers.entry(table.name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let name = format!("{}.parquet", table.name);
                entry.insert(TableWriter::create(self.directory.path(), &name, table)?)
            }
        })
    }

    fn next_part(&self, table: &'static Table) -> Result<TableWriter, Error> {
        let number = self.files.iter().filter(|f| f.table == table.name).count();
        TableWriter::create(self.directory.path(), &part_name(table.name, number), table)
    }
}
