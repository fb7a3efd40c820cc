//! `tmq record`: runs a program and records its allocations.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::error::{Error, Result};
use crate::exit::Exit;
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
    pub(crate) fn run(self, _ui: Ui) -> Result<Exit> {
        Err(Error::new(format!("cannot record yet: {:?}", self)))
    }
}
