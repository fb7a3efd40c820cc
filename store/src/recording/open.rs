//! Opening a complete recording.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use arrow::array::{RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::bounded::Bounded;
use super::directory::writer_of;
use super::manifest::{Manifest, State, TableFile};
use crate::Error;
use crate::guard::guarded;
use crate::schema::{METADATA, TABLES, Table};

/// A complete recording: a directory of Parquet files whose presence and sizes have been checked.
#[derive(Clone, Debug)]
pub struct Recording {
    path: PathBuf,
    manifest: Manifest,
}

impl Recording {
    /// Opens the recording in directory `dir`.
    ///
    /// # Errors
    /// Says which of these it is: nothing there, not a recording, being recorded by a live process, interrupted (and
    /// how to repair it), made by a tmq too new or too old, a file missing or cut.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let mut manifest = Manifest::read(dir)?;
        if manifest.state == State::Recording {
            if let Some(pid) = writer_of(dir) {
                return Err(Error::StillRecording { path: dir.to_owned(), pid });
            }
            // It may have been sealed since the manifest was read.
            manifest = Manifest::read(dir)?;
            if manifest.state == State::Recording {
                return Err(Error::Interrupted { path: dir.to_owned() });
            }
        }
        let recording = Self { path: dir.to_owned(), manifest };
        recording.check_files()?;
        Ok(recording)
    }

    /// Opens the newest recording named `*.tmq` in `dir`, by the time it was created.
    ///
    /// # Errors
    /// [`Error::NoneInDirectory`], or why the newest one cannot be opened.
    pub fn newest_in(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let entries = fs::read_dir(dir).map_err(Error::io("list", dir))?;
        let newest = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                if path.extension() != Some(OsStr::new("tmq")) || !path.is_dir() {
                    return None;
                }
                // One that cannot be read is a candidate by its age, so that the user learns why it cannot.
                let created = Manifest::read(&path).map_or_else(|_| modified_ns(&path), |m| m.created_unix_ns);
                Some((created, path))
            })
            .max();
        match newest {
            Some((_, path)) => Self::open(path.strip_prefix(".").unwrap_or(&path)),
            None => Err(Error::NoneInDirectory { path: dir.to_owned() }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Paths of the Parquet files of a table, in order; every table has at least one.
    #[must_use]
    pub fn table_files(&self, table: &Table) -> Vec<PathBuf> {
        self.files_of(table).map(|f| self.path.join(&f.path)).collect()
    }

    /// Rows of a table.
    #[must_use]
    pub fn rows(&self, table: &Table) -> u64 {
        self.files_of(table).map(|f| f.rows).sum()
    }

    /// Bytes of all its tables.
    #[must_use]
    pub fn size_on_disk(&self) -> u64 {
        self.manifest.files.iter().map(|f| f.bytes).sum()
    }

    /// All rows of a table; for tables that are small.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self, table: &Table) -> Result<Vec<RecordBatch>, Error> {
        let mut batches = Vec::new();
        for path in self.table_files(table) {
            batches.append(&mut read_file(&path)?);
        }
        Ok(batches)
    }

    /// The `metadata` table as a map.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut map = BTreeMap::new();
        for path in self.table_files(&METADATA) {
            for batch in read_file(&path)? {
                let (keys, values) = (texts(&batch, "key", &path)?, texts(&batch, "value", &path)?);
                let pairs = keys.iter().zip(values).filter_map(|(key, value)| key.zip(value));
                map.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
            }
        }
        Ok(map)
    }

    fn files_of<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a TableFile> {
        self.manifest.files.iter().filter(move |f| f.table == table.name)
    }

    fn check_files(&self) -> Result<(), Error> {
        for file in &self.manifest.files {
            check_file(&self.path, file)?;
        }
        for table in TABLES {
            if self.files_of(table).next().is_none() {
                return Err(Error::NotARecording {
                    path: self.path.clone(),
                    reason: format!("its manifest lists no file of table {}", table.name),
                });
            }
        }
        Ok(())
    }
}

/// Checks that a file of the recording `dir` lies within it, and is as long as it was when it was written.
pub(crate) fn check_file(dir: &Path, file: &TableFile) -> Result<(), Error> {
    if !Path::new(&file.path).components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(Error::NotARecording {
            path: dir.to_owned(),
            reason: format!("its manifest names a file outside of it, {:?}", file.path),
        });
    }
    let path = dir.join(&file.path);
    let found = match fs::metadata(&path) {
        Ok(meta) => meta.len(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::MissingFile { path }),
        Err(e) => return Err(Error::io("open", &path)(e)),
    };
    if found != file.bytes {
        return Err(Error::Truncated { path, found, expected: file.bytes });
    }
    Ok(())
}

fn modified_ns(path: &Path) -> i64 {
    let modified = fs::metadata(path).and_then(|m| m.modified()).ok();
    modified
        .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

fn read_file(path: &Path) -> Result<Vec<RecordBatch>, Error> {
    let file = File::open(path).and_then(Bounded::new).map_err(Error::io("open", path))?;
    let damaged = |reason: String| Error::Damaged { path: path.to_owned(), offset: 0, reason };
    let read = || Ok(ParquetRecordBatchReaderBuilder::try_new(file)?.build()?.collect::<Result<Vec<_>, _>>()?);
    guarded(read).map_err(damaged)?.map_err(|error: ParquetError| match Error::parquet("read", path)(error) {
        Error::Parquet { source, .. } => damaged(source.to_string()),
        Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
            damaged("it says that more is in it than there is".to_owned())
        }
        other => other,
    })
}

fn texts<'a>(batch: &'a RecordBatch, column: &str, path: &Path) -> Result<&'a StringArray, Error> {
    let array = batch.column_by_name(column).and_then(|c| c.as_any().downcast_ref::<StringArray>());
    let reason = || format!("it has no text column {column}");
    array.ok_or_else(|| Error::Damaged { path: path.to_owned(), offset: 0, reason: reason() })
}
