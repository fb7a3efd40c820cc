//! A recording from beginning to end: look at the program, start it, drain until it and what it started have ended.
//!
//! One thread does the draining, the caller's; sinks encode elsewhere. Until the target runs every error is an error; from
//! then on nothing that goes wrong may touch the target: recording stops, the target runs to its end, and the error is
//! reported then.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clock::Calibration;
use super::error::Error;
use super::heartbeat::Heartbeat;
use super::inspect::{Verdict, inspect};
use super::launch::{self, Launch, Preload};
use super::mark::Control;
use super::procfs::Births;
use super::region::{Config, Region};
use super::session::Session;
use super::sink::Sink;
use super::sys::signals::Signals;
use super::sys::{self, Exit};
use crate::Error as StoreError;

/// What to record, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// The recording to make; `None`: `PROGRAM.PID.tmq` in the current directory.
    pub output: Option<PathBuf>,
    /// The preload library.
    pub preload: PathBuf,
    /// What the recorder in the target is told.
    pub config: Config,
    /// Go on until everything that the command started has ended, too, and not only the command itself.
    pub wait_for_descendants: bool,
    /// Record even a program of which nothing will be seen; it may start others.
    pub run_anyway: bool,
}

impl Options {
    /// Everything about `command` and what it starts, recorded by the library `preload`.
    #[must_use]
    pub fn new(command: Vec<OsString>, preload: PathBuf) -> Self {
        Self {
            command,
            output: None,
            preload,
            config: Config::default(),
            wait_for_descendants: true,
            run_anyway: false,
        }
    }
}

/// How far a recording is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Since the target was started.
    pub elapsed: Duration,
    /// Record slots collected.
    pub slots: u64,
    /// Process images recorded now.
    pub processes: usize,
}

/// Hears what happens in a recording while it happens. Called by the thread that drains, so it must return at once.
pub trait Observer {
    /// The program was looked at.
    fn inspected(&mut self, _verdict: &Verdict) {}
    /// The target runs.
    fn started(&mut self, _directory: &Path, _pid: u32) {}
    /// About ten times a second.
    fn progress(&mut self, _progress: Progress) {}
    /// The command has ended, but so many processes that it started run on and are recorded; Ctrl-C ends that.
    fn waiting_for_descendants(&mut self, _processes: usize) {}
    /// Recording stopped early; the target runs on.
    fn failed(&mut self, _error: &StoreError) {}
}

/// Hears nothing.
impl Observer for () {}

/// What is known after the target has ended, before the recording is sealed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended {
    /// The recording.
    pub directory: PathBuf,
    /// How the command ended; `None`: it runs on unrecorded.
    pub exit: Option<Exit>,
    /// What was said about the program before it ran.
    pub verdict: Verdict,
    /// No process registered: a sentence about the likely reason.
    pub nothing_recorded: Option<String>,
    /// Why recording stopped early.
    pub failure: Option<StoreError>,
    /// Record slots collected.
    pub slots: u64,
    /// Rounds of the drain.
    pub rounds: u64,
    /// Keeps Ctrl-C from ending `tmq` while it seals: the first is swallowed.
    _signals: Signals,
}

/// Records a command into the sink that `open` makes for the directory, and returns both when all has ended.
///
/// # Errors
/// Only before the target runs; later ones are in [`Ended::failure`].
pub(super) fn record_into<S: Sink>(
    options: &Options,
    observer: &mut dyn Observer,
    open: impl FnOnce(&Path) -> Result<S, StoreError>,
) -> Result<(Ended, S), Error> {
    let program = options.command.first().ok_or(Error::NoCommand)?;
    let name = || program.to_string_lossy().into_owned();
    let not_run = |source| Error::Launch { program: name(), source };
    let inspection = inspect(&options.command).map_err(not_run)?;
    observer.inspected(&inspection.verdict);
    if let (Verdict::CannotRecord { reason, advice }, false) = (&inspection.verdict, options.run_anyway) {
        return Err(Error::CannotRecord { program: name(), reason: reason.clone(), advice: advice.clone() });
    }
    let preload =
        Preload::new(&options.preload).map_err(|source| Error::Preload { path: options.preload.clone(), source })?;
    let signals = Signals::install().map_err(Error::system("handle signals"))?;
    let region = Region::create(&options.config).map_err(Error::system("make the shared region"))?;
    let launch = Launch::prepare(&options.command, preload, &region.path(), signals.inherited()).map_err(not_run)?;

    let directory = options.output.clone().unwrap_or_else(|| launch::default_directory(program, launch.pid()));
    let mut sink = match open(&directory) {
        Ok(sink) => sink,
        Err(error) => {
            launch.cancel();
            return Err(error.into());
        }
    };
    std::thread::scope(|scope| {
        let _heartbeat = Heartbeat::start(scope, &region).map_err(Error::system("start a thread"))?;
        // A file system without sockets costs marks from outside, not the recording.
        let control = Control::bind(&directory).ok();
        let calibration = Calibration::start();
        let births = Births::since(launch.pid());
        let child = launch.run().map_err(not_run)?;
        sys::raise_file_limit();
        observer.started(&directory, child.pid);

        let mut session = Session::new(options, &region, child, &signals, control, calibration, births);
        let failure = session.run(&mut sink, observer).err();
        if let Some(failure) = &failure {
            observer.failed(failure);
            session.outlive_target();
        }
        Ok(Report {
            exit: session.child.poll(),
            nothing_recorded: session.nothing_recorded(&inspection.verdict),
            failure,
            slots: session.slots,
            rounds: session.rounds,
        })
    })
    .map(|report: Report| {
        signals.allow_one_more();
        let Report { exit, nothing_recorded, failure, slots, rounds } = report;
        let verdict = inspection.verdict;
        (Ended { directory, exit, verdict, nothing_recorded, failure, slots, rounds, _signals: signals }, sink)
    })
}

/// What a session leaves behind.
struct Report {
    exit: Option<Exit>,
    nothing_recorded: Option<String>,
    failure: Option<StoreError>,
    slots: u64,
    rounds: u64,
}
