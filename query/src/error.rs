//! What can go wrong between a question and its rows. Messages say what to do.

use std::path::PathBuf;

use datafusion::error::DataFusionError;

/// Why a recording could not be opened or a question not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recording cannot be read.
    #[error(transparent)]
    Store(#[from] tmq_store::Error),
    /// The query is wrong, or failed while it ran.
    #[error("{}", datafusion_message(.0))]
    Query(#[from] DataFusionError),
    /// The statement would change something.
    #[error("{0}: queries are read-only here; allow writing to run statements that change or copy data")]
    ReadOnly(String),
    /// There is no SQL in the text.
    #[error("the query is empty: write a statement such as SELECT * FROM allocations LIMIT 10")]
    EmptyQuery,
    /// No recording was given.
    #[error("no recording to open: name at least one")]
    NoRecording,
    /// Two recordings would have the same name in SQL.
    #[error("two recordings are named {name:?}: give one of them another name with NAME=PATH")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A report or function names a recording that is not open.
    #[error("no recording named {name:?} is open: there is {open}")]
    UnknownRecording {
        /// What was asked for.
        name: String,
        /// The names of the open ones.
        open: String,
    },
    /// A moment could not be understood.
    #[error(
        "unknown moment {text:?}: use start, end, peak, a time such as 1.5s or 300ms, a share such as 40%, or mark:NAME"
    )]
    Moment {
        /// What was written.
        text: String,
    },
    /// The recording has no mark of this name.
    #[error("{} has no mark {name:?}: {marks}", recording.display())]
    NoSuchMark {
        /// The recording.
        recording: PathBuf,
        /// The mark asked for.
        name: String,
        /// The marks that it has.
        marks: String,
    },
    /// A grouping could not be understood.
    #[error(
        "unknown key_type: {}: use one of {}",
        crate::tracemalloc::repr::repr(text),
        crate::report::GroupBy::names()
    )]
    GroupBy {
        /// What was written.
        text: String,
    },
    /// A filter could not be understood.
    #[error("bad filter {text:?}: {reason}")]
    Filter {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The options of a report contradict each other.
    #[error("{0}")]
    Report(String),
    /// A pickle is not a snapshot of tracemalloc, or is damaged.
    #[error("{} is not a snapshot of tracemalloc: byte {offset}: {reason}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A file outside a recording could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// The message of the engine without its wrappers and its advice to report a bug in it.
fn datafusion_message(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let text = text.split("\nThis issue was likely caused by a bug").next().unwrap_or(&text);
    text.trim_end().to_owned()
}
