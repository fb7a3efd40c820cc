//! `tmq export`: stacks and their memory for other viewers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::error::{Error, Result};
use crate::input::RecordingArg;
use crate::ui::Ui;

/// Write stacks and their memory for another viewer
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq export --to collapsed | flamegraph.pl > app.svg
  tmq export --to speedscope -o app.json       open in speedscope.app
  tmq export --to pprof -o app.pb              go tool pprof -http : app.pb

For rows of a table use `tmq sql -o FILE`; the tables themselves are the Parquet files of the recording.")]
pub(crate) struct Export {
    #[command(flatten)]
    recording: RecordingArg,

    /// Format of the viewer
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Viewer,

    /// Write to FILE
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `--to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Viewer {
    /// One line per stack: frames from outermost to most recent, then bytes
    Collapsed,
    /// JSON of speedscope.app
    Speedscope,
    /// The protocol buffer of pprof
    Pprof,
}

impl Export {
    pub(crate) fn run(self, _ui: Ui) -> Result<()> {
        Err(Error::new(format!("cannot export {:?} as {:?} to {:?} yet", self.recording, self.to, self.output)))
    }
}
