//! A session over one or more recordings: the place where SQL is planned and run.

use std::path::PathBuf;

use crate::report::Report;
use crate::{Error, Info, RecordingRef, Rows};

/// Limits and permissions of a [`Session`].
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Bytes that queries may use before they spill to disk; none: half of the memory of the machine or its cgroup.
    pub memory_limit: Option<usize>,
    /// Directory for spilled data; none: the system's directory for temporary files.
    pub spill_dir: Option<PathBuf>,
    /// Whether statements that change or copy something (`COPY`, `CREATE`, `SET`, ...) may run.
    pub allow_write: bool,
    /// Threads that a query uses; none: one per processor.
    pub threads: Option<usize>,
}

/// Recordings opened for questions.
#[derive(Debug)]
pub struct Session {
    recordings: Vec<RecordingRef>,
}

impl Session {
    /// Opens recordings with default options. Reads a few small files; needs no runtime.
    ///
    /// # Errors
    /// A recording cannot be read, or two have the same name.
    pub fn open(recordings: &[RecordingRef]) -> Result<Self, Error> {
        Self::open_with(recordings, &SessionOptions::default())
    }

    /// Opens recordings.
    ///
    /// # Errors
    /// A recording cannot be read, or two have the same name.
    pub fn open_with(recordings: &[RecordingRef], _options: &SessionOptions) -> Result<Self, Error> {
        if recordings.is_empty() {
            return Err(Error::NoRecording);
        }
        Ok(Self { recordings: recordings.to_vec() })
    }

    /// The open recordings, in the order given; reports refer to them by position.
    #[must_use]
    pub fn recordings(&self) -> &[RecordingRef] {
        &self.recordings
    }

    /// Runs one SQL statement. Rows come as they are made; dropping them stops the query.
    ///
    /// # Errors
    /// The statement is wrong or not allowed.
    pub async fn sql(&self, _sql: &str) -> Result<Rows, Error> {
        Err(Error::Report("queries do not run yet".to_owned()))
    }

    /// Answers a report, in its order.
    ///
    /// # Errors
    /// The report contradicts itself or the recording.
    pub async fn report(&self, report: &Report) -> Result<Rows, Error> {
        self.sql(&self.report_sql(report)?).await
    }

    /// The SQL behind a report: it runs as it is in [`Session::sql`] and gives the same rows in the same order.
    ///
    /// # Errors
    /// The report contradicts itself or the recording.
    pub fn report_sql(&self, _report: &Report) -> Result<String, Error> {
        Err(Error::Report("reports do not run yet".to_owned()))
    }

    /// Totals of one recording.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn info(&self, _recording: usize) -> Result<Info, Error> {
        Err(Error::Report("info does not run yet".to_owned()))
    }

    /// Names for completion: tables, views, their columns, functions, relations; sorted, without duplicates.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
