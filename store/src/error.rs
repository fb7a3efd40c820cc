//! What can go wrong with a recording. Messages say which file is concerned and what to do about it.
#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};

use crate::version::StoreVersion;

/// Why a recording could not be made, read or repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, e.g. "write".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file could not be written because the disk is full.
    #[error("cannot write {}: no space left on the device; what was written before is kept, free some space and run `tmq repair`", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing at this path.
    #[error("no recording at {}: make one with `tmq record`, or check the path", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// Something is there, but it is not a recording.
    #[error("{} is not a recording: {reason}", path.display())]
    NotARecording {
        /// The path.
        path: PathBuf,
        /// What was expected.
        reason: String,
    },
    /// No recording is in this directory.
    #[error("no *.tmq recording in {}: make one with `tmq record`, or name one", path.display())]
    NoneInDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The directory to record into is already there.
    #[error("{} already exists: choose another name, or remove it", path.display())]
    AlreadyExists {
        /// The path.
        path: PathBuf,
    },
    /// A live `tmq` writes this recording.
    #[error("{} is being recorded right now by process {pid}: wait until it ends", path.display())]
    StillRecording {
        /// The recording.
        path: PathBuf,
        /// Process id of the recorder; 0 if unknown.
        pid: u32,
    },
    /// The recorder died before it could finish the recording.
    #[error("{0} was interrupted before it was complete: run `tmq repair {0}`", path.display())]
    Interrupted {
        /// The recording.
        path: PathBuf,
    },
    /// The recording needs no repair.
    #[error("{} is complete: there is nothing to repair", path.display())]
    AlreadySealed {
        /// The recording.
        path: PathBuf,
    },
    /// Made by a newer tmq.
    #[error("{} was made by a newer tmq (format {found}; this tmq reads {}.x): upgrade tmq", path.display(), reads.major)]
    TooNew {
        /// The recording.
        path: PathBuf,
        /// Its version.
        found: StoreVersion,
        /// Newest version that this build reads.
        reads: StoreVersion,
    },
    /// Made by an older tmq whose format is no longer read.
    #[error("{} was made by an older tmq (format {found}; this tmq reads {reads} and later): read it with that tmq, or record again", path.display())]
    TooOld {
        /// The recording.
        path: PathBuf,
        /// Its version.
        found: StoreVersion,
        /// Oldest version that this build reads.
        reads: StoreVersion,
    },
    /// A file of a complete recording is missing.
    #[error("{} is missing: copy the whole directory, or record again", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A file of a complete recording has another size than when it was written.
    #[error("{} is damaged: it has {found} bytes, {expected} were written; copy the recording again, or record again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes now.
        found: u64,
        /// Bytes when it was written.
        expected: u64,
    },
    /// A file's content cannot be read.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A Parquet file could not be written or read.
    #[error("cannot {action} {}: {source}", path.display())]
    Parquet {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The library's reason.
        source: parquet::errors::ParquetError,
    },
    /// The background encoder is gone; the reason was reported before.
    #[error("the writer of {} has stopped", path.display())]
    WriterStopped {
        /// The recording.
        path: PathBuf,
    },
    /// More of something than a recording can number.
    #[error("too many {what}: a recording holds at most {limit}; sample, or record a shorter run")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is possible.
        limit: u64,
    },
}

impl Error {
    /// Makes an I/O error, or [`Error::DiskFull`] where that is the reason.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { action, path, source },
        }
    }

    /// Makes an error from the Parquet library's; I/O reasons inside it are unpacked.
    pub(crate) fn parquet(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.as_ref().to_owned();
        move |source| match source {
            parquet::errors::ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(io) => Self::io(action, path)(*io),
                Err(inner) => Self::Parquet { action, path, source: parquet::errors::ParquetError::External(inner) },
            },
            source => Self::Parquet { action, path, source },
        }
    }
}
