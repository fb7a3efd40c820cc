//! `tmq mark`: gives the present moment of a running recording a name.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use tmq_store::recording::MANIFEST_NAME;
use tmq_store::{Recording, collect};

use crate::error::{Error, Result};
use crate::ui::Ui;

/// Set in every recorded process: `/proc/PID/fd/N`, where PID is the `tmq` that records it.
const REGION_VARIABLE: &str = "TMQ_REGION";

/// What `tmq mark --header` prints.
const HEADER: &str = include_str!("../../../recorder/preload/include/tmq.h");

/// Name the present moment of a running recording
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq mark loaded               in a script that is being recorded, or beside the running recording
  tmq mark loaded app.4711.tmq  if several recordings run
  tmq top @mark:loaded          later: what was live at that moment
  tmq mark --header > tmq.h     to name moments from inside a C or C++ program: TMQ_MARK(\"loaded\")")]
pub(crate) struct Mark {
    /// Name of the moment
    #[arg(value_name = "NAME", required_unless_present = "header")]
    name: Option<String>,

    /// Print the C header with which a program names moments itself
    #[arg(long, conflicts_with_all = ["name", "recording"])]
    header: bool,

    /// Running recording [default: the one this script is part of, or the only one that runs here]
    #[arg(value_name = "REC")]
    recording: Option<PathBuf>,
}

impl Mark {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        if self.header {
            return Ok(io::stdout().write_all(HEADER.as_bytes())?);
        }
        let name = self.name.unwrap_or_default();
        let directory = match self.recording {
            Some(directory) => directory,
            None => running()?,
        };
        collect::mark(&directory, &name).map_err(Error::new)?;
        ui.note(format_args!("marked {name} in {}", directory.display()));
        Ok(())
    }
}

/// The recording that this process is part of, or the only one that runs in the current directory.
fn running() -> Result<PathBuf> {
    if let Some(directory) = recorder().and_then(directory_of) {
        return Ok(directory);
    }
    let entries = fs::read_dir(".").map_err(|e| Error::io("cannot list the current directory", &e))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| {
            let path = PathBuf::from(entry.ok()?.file_name());
            let recording = path.extension().is_some_and(|e| e == "tmq");
            let runs = recording && matches!(Recording::open(&path), Err(tmq_store::Error::StillRecording { .. }));
            runs.then_some(path)
        })
        .collect();
    found.sort_unstable();
    match found.as_slice() {
        [] => Err(Error::new("no recording is running here").hint("name it: tmq mark NAME app.4711.tmq")),
        [_] => Ok(found.remove(0)),
        several => {
            let names = several.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ");
            Err(Error::new(format!("several recordings are running: {names}")).hint("name one: tmq mark NAME REC"))
        }
    }
}

/// Process id of the `tmq` that records this process.
fn recorder() -> Option<u32> {
    let region = std::env::var(REGION_VARIABLE).ok()?;
    region.strip_prefix("/proc/")?.split('/').next()?.parse().ok()
}

/// The recording that a process holds the lock of.
fn directory_of(pid: u32) -> Option<PathBuf> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    descriptors.flatten().find_map(|descriptor| {
        let target = fs::read_link(descriptor.path()).ok()?;
        let directory = target.parent().filter(|_| target.file_name() == Some("lock".as_ref()))?;
        directory.join(MANIFEST_NAME).is_file().then(|| Path::to_owned(directory))
    })
}
