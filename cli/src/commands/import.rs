//! `tmq import`: makes a recording from another tool's file.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use tmq_query::tracemalloc::{Snapshot, format_size};

use crate::error::{Error, Result};
use crate::report::format_count;
use crate::ui::Ui;

/// Make a recording from a snapshot of Python's tracemalloc
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq import app.pickle                  a file of tracemalloc.Snapshot.dump: makes app.tmq
  tmq import app.pickle -o before.tmq    the same under another name
  tmq top app.tmq -g lineno              then ask as usual
  tmq diff before.tmq after.tmq -g lineno

Snapshots of every CPython from 3.4 on can be read. Nothing in the file is executed: a file that holds anything but \
a snapshot is refused, with the offset of the byte in question. What a snapshot does not say (functions, addresses, \
times, threads) the recording does not know.")]
pub(crate) struct Import {
    /// File to read
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Recording to make [default: the file's name with .tmq, in the current directory]
    #[arg(short, long, value_name = "REC", value_hint = ValueHint::DirPath)]
    output: Option<PathBuf>,
}

impl Import {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let output = match &self.output {
            Some(output) => output.clone(),
            None => {
                self.file.file_stem().map(|stem| PathBuf::from(stem).with_added_extension("tmq")).ok_or_else(|| {
                    Error::usage(format!("{} has no file name", self.file.display())).hint("name the recording with -o")
                })?
            }
        };
        // Before a large file is read for nothing. An empty directory is taken over.
        if output.exists() && !std::fs::read_dir(&output).is_ok_and(|mut entries| entries.next().is_none()) {
            return Err(Error::new(format!("{} exists", output.display())).hint("name another recording with -o"));
        }
        let snapshot = Snapshot::load(&self.file)?;
        snapshot.write_recording(&output)?;
        let bytes: f64 = snapshot.traces.iter().map(|trace| trace.size as f64).sum();
        let blocks = format_count(i64::try_from(snapshot.traces.len()).unwrap_or(i64::MAX), "block", "blocks");
        ui.note(format_args!("wrote {}: {blocks}, {}", output.display(), format_size(bytes, false)));
        ui.note(format_args!("next: tmq top {} -g lineno", output.display()));
        Ok(())
    }
}
