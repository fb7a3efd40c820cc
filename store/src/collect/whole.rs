//! A whole recording: the collector writing into the store's ingest, sealed when all has ended.

use std::path::Path;

use super::error::Error;
use super::record::{Ended, Observer, Options, record_into};
use crate::ingest::{Ingest, RecordingConfig, SealOptions, SealProgress, Summary};

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
    let config = recording_config(options);
    let create = |directory: &Path| Ok(Ingest::create(directory, &config)?);
    let (ended, ingest) = record_into(options, observer, create)?;
    let summary = match &ended.failure {
        // What failed was most likely writing; sealing would fail the same way and spoil what is there.
        Some(_) => Err(crate::Error::Interrupted { path: ended.directory.clone() }),
        None => ingest.seal(seal, progress),
    };
    Ok(Outcome { ended, summary })
}

fn recording_config(options: &Options) -> RecordingConfig {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    RecordingConfig {
        argv: options.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        cwd: std::env::current_dir().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        hostname: read("/proc/sys/kernel/hostname"),
        kernel: read("/proc/sys/kernel/osrelease"),
        cpus: std::thread::available_parallelism().map_or(0, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        sample_interval: options.config.sample_interval,
        max_depth: options.config.max_depth,
        follow: options.config.follow,
        free_stacks: options.config.free_stacks,
        verify_every: options.config.verify_every,
        extra: std::collections::BTreeMap::new(),
    }
}
