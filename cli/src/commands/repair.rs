//! `tmq repair`: completes a recording whose recorder died.

use std::path::PathBuf;

use clap::Args;

use super::record::print_summary;
use super::seal::{SealArgs, SealWatcher};
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

    #[command(flatten)]
    seal: SealArgs,
}

impl Repair {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let sealing = SealWatcher::new(ui);
        let result = tmq_store::ingest::repair(&self.recording, &self.seal.options(), &|step| sealing.step(step));
        drop(sealing);
        match result {
            Ok(summary) => print_summary(&summary, ui),
            Err(tmq_store::Error::AlreadySealed { path }) => {
                ui.note(format_args!("{} is complete: there is nothing to repair", path.display()));
            }
            Err(tmq_store::Error::NotFound { path }) => return Err(crate::input::missing(&path)),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
