//! What recording costs: programs run bare, under tmq and under other profilers, in turns.
//!
//! - [`workloads`] and [`redis`]: what is run, with generated input;
//! - [`variants`]: how it is run, and whether it was run right: the program's output is that of the bare run, and the
//!   number of allocations seen is that of an independent count (`programs/count.c`);
//! - [`results`]: figures, from medians over the rounds.

mod redis;
mod results;
mod scale;
mod variants;
mod workloads;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use crate::error::{Error, Result};
use crate::sys;
use results::Results;
pub use scale::Scale;
use variants::{Peers, Variant};

/// Measure the cost of recording beside heaptrack and jemalloc's profiler
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every workload is run in turns bare and under each profiler; all figures are medians over the runs. The machine should \
do nothing else. A peer that is not installed is an error unless --allow-missing is given.")]
pub struct Arguments {
    /// Runs of each workload under each profiler
    #[arg(long, default_value_t = 5)]
    runs: usize,

    /// Measure only this workload; can be repeated
    #[arg(long, value_name = "WORKLOAD", value_parser = clap::builder::PossibleValuesParser::new(workloads::NAMES))]
    only: Vec<String>,

    /// One run of workloads a tenth as large: shows that everything works, not what it costs
    #[arg(long)]
    quick: bool,

    /// Workloads so many times as large: what long runs cost, of which starting and sealing are little
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "quick")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100))]
    times: u64,

    /// Measure the samplers only, tmq's and jemalloc's
    #[arg(long)]
    samplers: bool,

    /// Measure without the peers that are not installed
    #[arg(long)]
    allow_missing: bool,

    /// How to print the figures
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Directory for recordings and inputs [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Measures and prints.
///
/// # Errors
/// A program is missing, fails, or did not do what it should.
pub fn run(arguments: &Arguments) -> Result<bool> {
    sys::adopt_orphans().map_err(Error::System)?;
    let base = arguments.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = tempfile::tempdir_in(base).map_err(Error::System)?;
    let (peers, mut missing) = Peers::find(scratch.path())?;
    if arguments.samplers {
        missing.retain(|peer| !peer.starts_with("heaptrack"));
    }
    if !missing.is_empty() && !arguments.allow_missing {
        return Err(Error::Missing(format!("{} (--allow-missing goes on without)", missing.join("; "))));
    }
    missing.iter().for_each(|peer| eprintln!("NOT MEASURED: {peer}"));
    let chosen = |name: &&&str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == **name);
    let mut all = Vec::new();
    for name in workloads::NAMES.iter().filter(chosen) {
        let results = measure(name, arguments, &peers, scratch.path())?;
        if arguments.format == Format::Table {
            print!("{}", results.table());
        }
        all.push(results);
    }
    match arguments.format {
        Format::Table => {
            print!("{}", results::summary_head());
            all.iter().for_each(|results| print!("{}", results.summary()));
            missing.iter().for_each(|peer| println!("not measured: {peer}"));
        }
        Format::Json => {
            let workloads: Vec<_> = all.iter().map(Results::json).collect();
            let Arguments { quick, times, samplers, .. } = arguments;
            let figures = json!({
                "quick": quick, "times": times, "samplers": samplers, "missing": missing, "workloads": workloads,
            });
            println!("{figures:#}");
        }
    }
    Ok(true)
}

/// The Python program, which other measurements record, too: many stacks, deep ones, and millions of allocations.
///
/// # Errors
/// There is no Python.
pub fn prepare_python(directory: &Path, scale: Scale) -> Result<workloads::Workload> {
    workloads::prepare("python", directory, scale)
}

/// All rounds of a workload.
fn measure(name: &str, arguments: &Arguments, peers: &Peers, scratch: &Path) -> Result<Results> {
    let scale = if arguments.quick { Scale::QUICK } else { Scale::times(arguments.times) };
    let workload = workloads::prepare(name, scratch, scale)?;
    // Also the run that warms caches of files.
    let expected = peers.count(&workload, scratch)?;
    let mut results = Results::new(&workload, scale, &expected);
    let is_measured = |variant: &Variant| peers.has(*variant) && (variant.is_for_samplers() || !arguments.samplers);
    let variants: Vec<Variant> = Variant::ALL.into_iter().filter(is_measured).collect();
    let rounds = if arguments.quick { 1 } else { arguments.runs.max(1) };
    for round in 0..rounds {
        eprintln!("{name}: round {} of {rounds}", round + 1);
        // Another one is first in each round, so that none always runs after the same one.
        for i in 0..variants.len() {
            let variant = variants[(i + round) % variants.len()];
            results.add(variant, peers.run(variant, &workload, &expected, scratch)?);
        }
    }
    Ok(results)
}
