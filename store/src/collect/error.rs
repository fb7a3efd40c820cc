//! Why a recording could not be made.

use std::io;
use std::path::PathBuf;

/// Errors before the target runs, of `mark`, and of the recording's files. None of them has any effect on a target that
/// is running already.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No command was given.
    #[error("no command to record")]
    NoCommand,
    /// The command could not be started.
    #[error("cannot run {program}: {source}")]
    Launch {
        /// What was to be run.
        program: String,
        /// What exec said.
        source: io::Error,
    },
    /// The recorder cannot see into this program.
    #[error("cannot record {program}: {reason}; {advice}")]
    CannotRecord {
        /// What was to be run.
        program: String,
        /// Why not.
        reason: String,
        /// What to do instead.
        advice: String,
    },
    /// The preload library cannot be used.
    #[error("cannot use the recorder library {}: {source}", path.display())]
    Preload {
        /// Where it was expected.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The system refused something that recording needs.
    #[error("cannot {action}: {source}")]
    System {
        /// What was to be done.
        action: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// The files of the recording could not be made.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// A mark without a usable name.
    #[error("{name:?} cannot name a mark: a name has 1 to {limit} bytes and no control characters")]
    MarkName {
        /// The name.
        name: String,
        /// Longest name.
        limit: usize,
    },
    /// Nobody took the mark.
    #[error("no recording is running in {}: {source}", directory.display())]
    Mark {
        /// The recording.
        directory: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl Error {
    /// Makes an error of a system call.
    pub(super) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}
