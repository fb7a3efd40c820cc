//! A recording's directory while somebody writes into it: creation, locking, manifest.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::manifest::{Manifest, State, TableFile};
use crate::Error;
use crate::schema::TABLES;

/// Directory of the journal within a recording.
pub(crate) const JOURNAL_DIR: &str = "journal";
const LOCK_NAME: &str = "lock";
/// Readers hold the lock for microseconds to see whether a writer does; a writer outwaits them.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A recording's directory, locked for writing until it is dropped.
#[derive(Debug)]
pub(crate) struct RecordingDirectory {
    path: PathBuf,
    manifest: Manifest,
    lock: File,
}

impl RecordingDirectory {
    /// Creates the directory, its manifest and its lock. An existing empty directory is taken over.
    pub(crate) fn create(path: &Path, command: Vec<String>) -> Result<Self, Error> {
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && is_empty_directory(path) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::AlreadyExists { path: path.to_owned() });
            }
            Err(e) => return Err(Error::io("create", path)(e)),
        }
        let manifest = Manifest::new(unix_now_ns(), command);
        manifest.write(path)?;
        let lock = take_lock(path)?;
        for table in TABLES.iter().filter(|t| t.parts) {
            let parts = path.join(table.name);
            fs::create_dir(&parts).map_err(Error::io("create", &parts))?;
        }
        Ok(Self { path: path.to_owned(), manifest, lock })
    }

    /// Opens the directory of an interrupted recording.
    pub(crate) fn reopen(path: &Path) -> Result<Self, Error> {
        let manifest = Manifest::read(path)?;
        if manifest.state == State::Sealed {
            return Err(Error::AlreadySealed { path: path.to_owned() });
        }
        let lock = take_lock(path)?;
        // The recorder may have sealed it between the two lines above.
        let manifest = Manifest::read(path)?;
        if manifest.state == State::Sealed {
            return Err(Error::AlreadySealed { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), manifest, lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// When it was created, in nanoseconds since 1970.
    pub(crate) fn created_unix_ns(&self) -> i64 {
        self.manifest.created_unix_ns
    }

    /// Declares the recording complete and gives the directory up.
    pub(crate) fn seal(mut self, files: Vec<TableFile>) -> Result<(), Error> {
        self.manifest.state = State::Sealed;
        self.manifest.files = files;
        self.manifest.write(&self.path)?;
        let journal = self.path.join(JOURNAL_DIR);
        if journal.exists() {
            fs::remove_dir_all(&journal).map_err(Error::io("remove", &journal))?;
        }
        let lock = self.path.join(LOCK_NAME);
        fs::remove_file(&lock).map_err(Error::io("remove", &lock))?;
        drop(self.lock);
        Ok(())
    }
}

/// Name of part `number` of a table, relative to the recording.
pub(crate) fn part_name(table: &str, number: usize) -> String {
    format!("{table}/part-{number:05}.parquet")
}

/// Nanoseconds since 1970, now.
pub(crate) fn unix_now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// The process that writes into `dir` at the moment, if one does; 0 if its id is unknown.
pub(crate) fn writer_of(dir: &Path) -> Option<u32> {
    let file = File::open(dir.join(LOCK_NAME)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(pid_in(&file)),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn pid_in(mut file: &File) -> u32 {
    let mut text = String::new();
    let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
    text.trim().parse().unwrap_or(0)
}

fn is_empty_directory(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn take_lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK_NAME);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(Error::io("create", &path))?;
    let mut attempts = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempts < LOCK_ATTEMPTS => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::StillRecording { path: dir.to_owned(), pid: pid_in(&file) });
            }
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
        }
        attempts += 1;
    }
    let mut write = || -> io::Result<()> {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    write().map_err(Error::io("write", &path))?;
    Ok(file)
}
