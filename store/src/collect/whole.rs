//! A whole recording: the collector writing into the store's ingest, sealed when all has ended.

use std::cell::Cell;
use std::path::Path;

use super::error::Error;
use super::facts::facts;
use super::inspect::Verdict;
use super::record::{Ended, Observer, Options, record_into};
use crate::ingest::{Ingest, Input, SealOptions, SealProgress, Summary};

/// What became of a recording.
#[derive(Debug)]
pub struct Outcome {
    /// How the run ended. Its `failure`, if there was one, is the error in `summary`.
    pub ended: Ended,
    /// What was recorded; the error if recording stopped early or the recording could not be sealed (what was committed is
    /// still there for [`crate::ingest::repair`]).
    pub summary: Result<Summary, crate::Error>,
}

/// Runs a command to its end, records it and seals the recording.
///
/// Ctrl-C is the command's; a request to end (`SIGTERM`, `SIGHUP`) sent to this process is passed on to it once. There
/// can be one recording in a process at a time.
///
/// # Errors
/// Only before the command runs, and then nothing is left on disk; what goes wrong later is in the [`Outcome`], because
/// by then the exit status of the command is what callers need most.
pub fn record(
    options: &Options,
    seal: &SealOptions,
    observer: &mut dyn Observer,
    progress: &(dyn Fn(SealProgress) + Sync),
) -> Result<Outcome, Error> {
    let config = facts(options);
    let created = Cell::new(None);
    let create = |directory: &Path| {
        let ingest = Ingest::create(directory, &config)?;
        created.set(Some(directory.to_owned()));
        Ok(ingest)
    };
    let (mut ended, ingest) = record_into(options, observer, create).inspect_err(|_| {
        if let Some(directory) = created.take() {
            // The command did not run, so there is nothing in it.
            let _ = std::fs::remove_dir_all(directory);
        }
    })?;
    let summary = match ended.failure.take() {
        // What failed was most likely writing; sealing would fail the same way and spoil what is there.
        Some(failure) => Err(failure),
        None => finish(ingest, &ended, seal, progress),
    };
    Ok(Outcome { ended, summary })
}

/// Notes what is missing, and seals.
fn finish(
    mut ingest: Ingest,
    ended: &Ended,
    options: &SealOptions,
    progress: &(dyn Fn(SealProgress) + Sync),
) -> Result<Summary, crate::Error> {
    let mut lose = |reason, detail: &str| ingest.input(Input::Loss { incarnation: None, reason, count: 1, detail });
    if let Some(reason) = &ended.nothing_recorded {
        lose("nothing_recorded", reason)?;
    }
    if let Verdict::Partial { reason, .. } = &ended.verdict {
        lose("partial", reason)?;
    }
    ingest.seal(options, progress)
}
