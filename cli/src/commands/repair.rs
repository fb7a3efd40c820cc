//! `tmq repair`: completes a recording whose recorder died.

use std::path::PathBuf;

use clap::Args;

use super::record::{seal_options, show_step, summarize};
use crate::error::{Error, Result};
use crate::progress::Progress;
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
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let line = Progress::new(ui, "repairing");
        let result = tmq_store::ingest::repair(&self.recording, &seal_options(), &|step| show_step(&line, step));
        drop(line);
        match result {
            Ok(summary) => {
                summarize(ui, &summary);
                Ok(())
            }
            Err(tmq_store::Error::AlreadySealed { path }) => {
                ui.note(format_args!("{} is complete: there is nothing to repair", path.display()));
                Ok(())
            }
            Err(error) => Err(Error::new(error)),
        }
    }
}
