//! `tmq mark`: gives the present moment of a running recording a name.

use clap::Args;

use crate::error::{Error, Result};
use crate::ui::Ui;

/// Name the present moment of a running recording
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq mark loaded            in a script that is being recorded, or with one recording running
  tmq top @mark:loaded       later: what was live at that moment")]
pub(crate) struct Mark {
    /// Name of the moment
    #[arg(value_name = "NAME")]
    name: String,

    /// Process of the recording, if several are running
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

impl Mark {
    pub(crate) fn run(self, _ui: Ui) -> Result<()> {
        Err(Error::new(format!("cannot mark {:?} yet ({:?})", self.name, self.pid)))
    }
}
