//! From a recording to answers: whole commands beside other tools' on their own recordings of the same program, and
//! questions in SQL beside DuckDB on the same files.
//!
//! - [`commands`]: a process from its start to its last row;
//! - [`duckdb`]: the same questions, the same rows, without the start of the process.

mod commands;
mod duckdb;

use std::path::PathBuf;

use crate::cost::{Scale, prepare_python};
use crate::error::{Error, Result};
use crate::measure::METER;
use crate::{programs, sys};

/// Measure how long answers take, beside heaptrack_print, memray and DuckDB
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Runs of each command
    #[arg(long, default_value_t = 5)]
    runs: usize,

    /// One run on a recording a tenth as large: shows that everything works, not how long it takes
    #[arg(long)]
    quick: bool,

    /// Measure without the peers that are not installed
    #[arg(long)]
    allow_missing: bool,
}

/// What both parts need.
struct Bench {
    tmq: PathBuf,
    meter: PathBuf,
    directory: PathBuf,
    runs: usize,
    /// The program that is recorded, and its variables.
    command: Vec<std::ffi::OsString>,
    environment: &'static [(&'static str, &'static str)],
}

/// Records, asks, prints.
///
/// # Errors
/// A program is missing or fails, or engines disagree on rows.
pub fn run(arguments: &Arguments) -> Result<bool> {
    sys::adopt_orphans().map_err(Error::System)?;
    let scratch = tempfile::tempdir().map_err(Error::System)?;
    let missing: Vec<&str> = [commands::missing(), duckdb::missing()].into_iter().flatten().collect();
    if !missing.is_empty() && !arguments.allow_missing {
        return Err(Error::Missing(format!("{} (--allow-missing goes on without)", missing.join("; "))));
    }
    let program = prepare_python(scratch.path(), if arguments.quick { Scale::QUICK } else { Scale::ONE })?;
    let bench = Bench {
        tmq: programs::tmq()?,
        meter: programs::compile("meter", &scratch.path().join(METER), &["-static".as_ref()])?,
        directory: scratch.path().to_owned(),
        runs: if arguments.quick { 1 } else { arguments.runs.max(1) },
        command: program.command,
        environment: program.environment,
    };
    let recording = commands::compare(&bench)?;
    if duckdb::missing().is_none() {
        duckdb::compare(&bench, &recording)?;
    }
    missing.iter().for_each(|peer| println!("NOT MEASURED: {peer}"));
    Ok(true)
}
