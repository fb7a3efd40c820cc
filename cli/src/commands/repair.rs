//! `tmq repair`: completes a recording whose recorder died.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::ui::Ui;

/// Complete a recording that was interrupted, for example by a crash or a full disk
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq repair app.4711.tmq

Everything that had reached the recording before the interruption is kept. A complete recording is left alone.")]
pub(crate) struct Repair {
    /// Directory of the recording
    #[arg(value_name = "DIR")]
    recording: PathBuf,
}

impl Repair {
    pub(crate) fn run(self, _ui: Ui) -> Result<()> {
        todo!("store::repair")
    }
}
