//! What can go wrong while measuring. Every message says which run of what failed, because a figure of a broken run is
//! worse than none.

use std::io;
use std::path::PathBuf;

/// A measurement that was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{what} failed with status {status}: {text}")]
    Failed { what: String, status: i32, text: String },
    #[error("{what} did not end within {seconds} s")]
    TooLong { what: String, seconds: u64 },
    #[error("{what}: the program's output is not that of the bare run")]
    OutputChanged { what: String },
    #[error("{what}: {measure} is {got}, expected {expected} within {slack}")]
    NotAsExpected { what: String, measure: &'static str, got: f64, expected: f64, slack: f64 },
    #[error("cannot make sense of {what}: {text}")]
    NotUnderstood { what: String, text: String },
    #[error("missing: {0}")]
    Missing(String),
    #[error("{0}")]
    System(io::Error),
}

/// Result of a measurement.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names the file of an I/O error.
pub fn in_file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { path, source }
}
