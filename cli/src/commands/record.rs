//! `tmq record`: runs a program and records its allocations.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tmq_store::collect::{self, Outcome, Verdict};
use tmq_store::ingest::{SealOptions, SealProgress, Summary};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::output::format_size;
use crate::preload;
use crate::progress::Progress;
use crate::ui::Ui;

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
    #[arg(short, long, value_name = "DIR")]
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

    /// Command to run, with its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = false)]
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

impl Record {
    pub(crate) fn run(self, ui: Ui) -> Result<Exit> {
        let output = self.prepare_output()?;
        let beside = output.as_deref().and_then(Path::parent).filter(|p| !p.as_os_str().is_empty());
        let options = collect::Options {
            preload: preload::library(beside.unwrap_or(Path::new(".")))?,
            config: self.config(),
            command: self.command,
            output,
            wait_for_descendants: true,
            run_anyway: false,
        };
        let mut watcher = Watcher { ui, command: options.command[0].to_string_lossy().into_owned() };
        let line = Progress::new(ui, "finishing the recording");
        let outcome = collect::record(&options, &seal_options(), &mut watcher, &|step| show_step(&line, step));
        drop(line);
        report(ui, outcome.map_err(start_error)?)
    }

    /// The directory to write, cleared if `--force` says so.
    fn prepare_output(&self) -> Result<Option<PathBuf>> {
        if let (Some(path), true) = (&self.output, self.force)
            && path.join("tmq.json").exists()
        {
            std::fs::remove_dir_all(path)
                .map_err(|e| Error::new(format!("cannot replace {}: {e}", path.display())))?;
        }
        Ok(self.output.clone())
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

/// Size of one chunk of shared memory, and how many there may be (see `tmq_wire::layout`).
const CHUNK_BYTES: u64 = 32 << 10;
const MIN_CHUNKS: u64 = 16;
const MAX_CHUNKS: u64 = 1 << 16;

/// Says on stderr what a user should know while the program runs.
struct Watcher {
    ui: Ui,
    command: String,
}

impl collect::Observer for Watcher {
    fn inspected(&mut self, verdict: &Verdict) {
        if let Verdict::Partial { reason, advice } = verdict {
            self.ui.warn(format_args!("{}: {reason}; {advice}", self.command));
        }
    }

    fn waiting_for_descendants(&mut self, processes: usize) {
        let are = if processes == 1 { "process that it started runs" } else { "processes that it started run" };
        self.ui.note(format_args!("{} has ended; {processes} {are} on and is recorded (Ctrl-C ends the recording)", self.command));
    }

    fn failed(&mut self, error: &collect::SinkError) {
        self.ui.warn(format_args!("recording stopped: {error}; {} runs on", self.command));
    }
}

/// Where symbols are looked for and kept.
pub(super) fn seal_options() -> SealOptions {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    SealOptions { symbol_cache: cache.map(|path| path.join("tmq/symbols")), ..SealOptions::default() }
}

/// Shows a step of sealing.
pub(super) fn show_step(line: &Progress, step: SealProgress) {
    match step {
        SealProgress::Replaying { done, total } => line.step("reading the journal", done, total),
        SealProgress::Allocations => line.step("writing the last allocations", 0, 0),
        SealProgress::Symbols { done, total } => line.step("looking up functions and lines", done as u64, total as u64),
        SealProgress::Table(name) => line.step(&format!("writing {name}"), 0, 0),
        _ => {}
    }
}

fn start_error(error: collect::Error) -> Error {
    let exit = match &error {
        collect::Error::CannotRecord { .. } => Exit::CannotRecord,
        collect::Error::Launch { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::CommandNotFound,
        collect::Error::Launch { .. } => Exit::NotExecutable,
        _ => Exit::Failure,
    };
    match error {
        collect::Error::CannotRecord { program, reason, advice } => {
            Error::new(format!("cannot record {program}: {reason}")).hint(advice).exit(exit)
        }
        other => Error::new(other).exit(exit),
    }
}

/// Says what was recorded and ends like the program.
fn report(ui: Ui, outcome: Outcome) -> Result<Exit> {
    let status = outcome.ended.exit.map_or(0, collect::Exit::status);
    let exit = Exit::Target(u8::try_from(status).unwrap_or(1));
    match outcome.summary {
        Ok(summary) if summary.processes == 0 => {
            // Nothing is in it: not worth keeping.
            let _ = std::fs::remove_dir_all(&outcome.ended.directory);
            let reason = outcome.ended.nothing_recorded.unwrap_or_else(|| "the program did not load the recorder".to_owned());
            ui.warn(format_args!("nothing was recorded: {reason}"));
            Ok(if status == 0 { Exit::CannotRecord } else { exit })
        }
        Ok(summary) => {
            summarize(ui, &summary);
            Ok(exit)
        }
        Err(error) => {
            ui.warn(&error);
            Ok(if status == 0 { Exit::Failure } else { exit })
        }
    }
}

/// The summary on stderr.
pub(super) fn summarize(ui: Ui, s: &Summary) {
    let size = |bytes: u64| format_size(bytes as f64, false);
    let seconds = |ns: i64| format!("{:.2} s", ns as f64 / 1e9);
    let estimated = if s.sampling_interval > 0 { " (estimated)" } else { "" };
    ui.note(format_args!(
        "recorded {} in {}: {} allocations, {}{estimated}",
        count(s.processes, "process", "processes"),
        seconds(s.duration_ns),
        grouped(s.allocations),
        size(s.bytes_allocated),
    ));
    ui.note(format_args!(
        "peak {} after {}; {} in {} still live at the end",
        size(s.peak_bytes),
        seconds(s.peak_ns),
        size(s.live_bytes),
        count(s.live_blocks, "block", "blocks"),
    ));
    if s.lost_events > 0 {
        ui.warn(format_args!(
            "{} lost: `tmq sql -r {} 'select * from losses'` says why",
            count(s.lost_events, "event was", "events were"),
            s.path.display()
        ));
    }
    if s.verified > 0 {
        ui.note(format_args!("{} verified, {}", count(s.verified, "stack", "stacks"), count(s.mismatches, "mismatch", "mismatches")));
    }
    ui.note(format_args!("{} in {}; next: tmq top {}", size(s.size_on_disk), s.path.display(), s.path.display()));
}

/// `n thing` or `n things`.
fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// A number with thousands separated.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
