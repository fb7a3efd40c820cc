//! A whole recording: the collector writing into the store's ingest, sealed when all has ended.

use std::path::Path;

use super::error::Error;
use super::facts::facts;
use super::record::{Ended, Observer, Options, record_into};
use crate::ingest::{Ingest, SealOptions, SealProgress, Summary};

/// What became of a recording.
#[derive(Debug)]
pub struct Outcome {
    /// How the run ended.
    pub ended: Ended,
    /// What was recorded; the error if the recording could not be sealed (what was committed is still there for
    /// [`crate::ingest::repair`]).
    pub summary: Result<Summary, crate::Error>,
}

/// Runs a command, records it and seals the recording.
///
/// # Errors
/// Only before the command runs; what goes wrong later is in the [`Outcome`], because by then the exit status of the
/// command is what callers need most.
pub fn record(
    options: &Options,
    seal: &SealOptions,
    observer: &mut dyn Observer,
    progress: &(dyn Fn(SealProgress) + Sync),
) -> Result<Outcome, Error> {
    let config = facts(options);
    let create = |directory: &Path| Ingest::create(directory, &config);
    let (ended, ingest) = record_into(options, observer, create)?;
    let summary = match &ended.failure {
        // What failed was most likely writing; sealing would fail the same way and spoil what is there.
        Some(_) => Err(crate::Error::Interrupted { path: ended.directory.clone() }),
        None => ingest.seal(seal, progress),
    };
    Ok(Outcome { ended, summary })
}
