//! `tmq import`: makes a recording from another tool's file.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::ui::Ui;

/// Make a recording from a snapshot of Python's tracemalloc
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq import snapshot.pickle -o app.tmq     a file written by tracemalloc.Snapshot.dump
  tmq top app.tmq -g lineno                 then ask as usual")]
pub(crate) struct Import {
    /// File to read
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Recording to make [default: the file's name with .tmq]
    #[arg(short, long, value_name = "REC")]
    output: Option<PathBuf>,
}

impl Import {
    pub(crate) fn run(self, _ui: Ui) -> Result<()> {
        Err(Error::new(format!("cannot import {} to {:?} yet", self.file.display(), self.output)))
    }
}
