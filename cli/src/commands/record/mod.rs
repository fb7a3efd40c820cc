//! `tmq record`: runs a program and records its allocations.
//!
//! While the program runs the terminal is its own: tmq shows no progress and says only what cannot wait. Whatever goes
//! wrong after its start is reported when it has ended, and the exit status is the program's wherever it has one.

mod summary;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use tmq_store::Recording;
use tmq_store::collect::{self, Outcome};

use super::seal::{SealArgs, SealWatcher};
use crate::error::{Error, Result, reason};
use crate::exit::Exit;
use crate::preload;
use crate::ui::Ui;
use watch::Watcher;

/// Run a program and record its allocations
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq record ./app --fast              writes app.<pid>.tmq
  tmq record -o run1.tmq -- ./app -v   -- where the command could be taken for an option
  tmq record --sample 512K ./server    a sample every 512 KiB: next to no overhead, for production
  tmq record --depth 1 python3 x.py    only the most recent frame of each stack

The program's input, output and exit status are its own; tmq reports on stderr when it has ended. \
Children are recorded too. Ctrl-C goes to the program; what was recorded until then is kept.")]
pub(crate) struct Record {
    /// Directory to write [default: NAME.PID.tmq]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    output: Option<PathBuf>,

    /// Replace a recording that is already there
    #[arg(long)]
    force: bool,

    /// Record a sample every BYTES allocated on average (512K, 1M), unbiased in count and bytes; 0 records everything
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = crate::bytes::parse)]
    sample: u64,

    /// Keep at most the N most recent frames of each stack; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 0)]
    depth: u32,

    /// Do not record the program's children
    #[arg(long)]
    no_follow: bool,

    /// What the program does when it allocates faster than tmq can write: wait, so that nothing is lost, or drop
    /// records, which are counted
    #[arg(long, value_enum, default_value_t = OnFull::Wait, value_name = "ACTION")]
    on_full: OnFull,

    /// Record where blocks are freed, too
    #[arg(long)]
    free_stacks: bool,

    /// Check every N-th stack against an unwind from scratch and count differences
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..), help_heading = "Diagnosis")]
    verify: Option<u32>,

    /// Shared memory between the program and tmq
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = crate::bytes::parse, help_heading = "Diagnosis")]
    buffer_size: u64,

    /// Run the program even if nothing of it can be recorded: it may start others
    #[arg(long)]
    anyway: bool,

    #[command(flatten)]
    seal: SealArgs,

    /// Command to run, with its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true,
          value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// `--on-full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFull {
    // It waits: nothing is lost.
    Wait,
    // It goes on: what was lost is counted.
    Drop,
}

/// Size of one chunk of shared memory, and how many there may be (see `tmq_wire::layout`).
const CHUNK_BYTES: u64 = 32 << 10;
const MIN_CHUNKS: u64 = 16;
const MAX_CHUNKS: u64 = 1 << 16;

impl Record {
    pub(crate) fn run(self, ui: Ui) -> Result<Exit> {
        if let Some(path) = &self.output {
            prepare(path, self.force)?;
        }
        let beside = self.output.as_deref().and_then(Path::parent).filter(|p| !p.as_os_str().is_empty());
        let options = collect::Options {
            preload: preload::library(beside.unwrap_or(Path::new(".")))?,
            config: self.config(),
            command: self.command,
            output: self.output,
            wait_for_descendants: true,
            run_anyway: self.anyway,
        };
        let mut watcher = Watcher::new(&options.command, ui);
        let sealing = SealWatcher::new(ui);
        let outcome = collect::record(&options, &self.seal.options(), &mut watcher, &|step| sealing.step(step));
        drop(sealing);
        report(outcome.map_err(not_started)?, ui)
    }

    fn config(&self) -> collect::Config {
        let chunks = (self.buffer_size / CHUNK_BYTES).clamp(MIN_CHUNKS, MAX_CHUNKS);
        collect::Config {
            chunks: u32::try_from(chunks).unwrap_or(u32::MAX),
            sample_interval: self.sample,
            max_depth: self.depth,
            on_full: match self.on_full {
                OnFull::Wait => collect::OnFull::Wait,
                OnFull::Drop => collect::OnFull::Drop,
            },
            follow: !self.no_follow,
            verify_every: self.verify.unwrap_or(0),
            free_stacks: self.free_stacks,
        }
    }
}

/// Makes room for the recording: `--force` removes an older one, never anything else.
fn prepare(path: &Path, force: bool) -> Result<()> {
    let occupied = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) || path.is_file();
    if !occupied {
        return Ok(());
    }
    let exists = format!("{} already exists", path.display());
    match Recording::open(path) {
        Err(tmq_store::Error::StillRecording { pid, .. }) => {
            Err(Error::new(format!("{} is being recorded right now by process {pid}", path.display())))
        }
        Err(tmq_store::Error::NotARecording { .. } | tmq_store::Error::NotFound { .. }) => {
            Err(Error::new(format!("{exists} and is not a recording")).hint("choose another name with -o"))
        }
        _ if !force => Err(Error::new(exists).hint("--force replaces it")),
        _ => {
            std::fs::remove_dir_all(path).map_err(|e| Error::io(format_args!("cannot replace {}", path.display()), &e))
        }
    }
}

/// Why the program was not started.
fn not_started(error: collect::Error) -> Error {
    match error {
        collect::Error::CannotRecord { program, reason, advice } => {
            Error::new(format!("cannot record {program}: {reason}"))
                .hint(format!("{advice}; --anyway runs it nevertheless"))
                .exit(Exit::CannotRecord)
        }
        collect::Error::Launch { program, source } => {
            let missing = source.kind() == std::io::ErrorKind::NotFound;
            let (reason, exit) = match missing {
                true if program.contains('/') => ("no such file".to_owned(), Exit::CommandNotFound),
                true => ("command not found".to_owned(), Exit::CommandNotFound),
                false => (reason(&source), Exit::NotExecutable),
            };
            let error = Error::new(format!("cannot run {program}: {reason}")).exit(exit);
            // The current directory is not searched, which surprises people.
            match missing && !program.contains('/') && Path::new(&program).is_file() {
                true => error.hint(format!("did you mean ./{program}?")),
                false => error,
            }
        }
        other => Error::new(other),
    }
}

/// Says what was recorded and ends like the program. Where that succeeded, a recording that failed does not.
fn report(outcome: Outcome, ui: Ui) -> Result<Exit> {
    let exit = match outcome.ended.exit {
        Some(exit) => Exit::Target(u8::try_from(exit.status()).unwrap_or(1)),
        None => Exit::Success,
    };
    let unless_ours = |ours: Exit| if exit.code() == 0 { ours } else { exit };
    match outcome.summary {
        Ok(summary) if summary.processes == 0 => {
            // A recording of nothing would only be in the way.
            let _ = std::fs::remove_dir_all(&outcome.ended.directory);
            let reason = outcome.ended.nothing_recorded;
            let reason = reason.as_deref().unwrap_or("the program did not load the recorder");
            ui.warn(format_args!("nothing was recorded: {reason}"));
            Ok(unless_ours(Exit::CannotRecord))
        }
        Ok(summary) => {
            summary::print(&summary, ui);
            Ok(exit)
        }
        Err(error) => {
            ui.error(&Error::from(error));
            Ok(unless_ours(Exit::Failure))
        }
    }
}

pub(super) use summary::print as print_summary;
