//! `tmq-bench`: what tmq costs, measured beside other profilers in the same run. See `README.md` beside this package.
//!
//! - [`cost`]: programs run bare and under each profiler;
//! - [`hot_path`]: instructions of a malloc/free pair, stage by stage, against a golden file;
//! - [`ingest`]: what the collector costs per row;
//! - [`queries`]: how long answers take;
//! - [`measure`]: one run of a whole tree of processes; [`programs`]: compiling and finding what is run; [`sys`]: system
//!   calls.
//!
//! Figures go to stdout, progress to stderr.

mod cost;
mod error;
mod hot_path;
mod ingest;
mod measure;
mod programs;
mod queries;
mod sys;

use std::process::ExitCode;

use clap::Parser;

/// Measure what tmq costs
#[derive(Debug, Parser)]
#[command(name = "benches/run")]
enum Arguments {
    Cost(cost::Arguments),
    HotPath(hot_path::Arguments),
    Ingest(ingest::Arguments),
    Queries(queries::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Arguments::Cost(arguments) => cost::run(&arguments),
        Arguments::HotPath(arguments) => hot_path::run(&arguments),
        Arguments::Ingest(arguments) => ingest::run(&arguments),
        Arguments::Queries(arguments) => queries::run(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
