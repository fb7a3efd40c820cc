//! Instructions of one malloc/free pair inside the target, stage by stage, over an allocator that does nothing.
//!
//! Time is noisy and differs from machine to machine; the number of instructions is the same in every run of one build.
//! So a change that makes the path longer shows up here even on a busy machine, while what it costs in nanoseconds is
//! measured by [`cost`](crate::cost).
//!
//! - [`cases`]: which stacks, and one run under `tmq record` and Callgrind;
//! - [`callgrind`]: reading its profile; [`stages`]: whose instructions they are;
//! - [`golden`]: the committed table and what counts as worse.

mod callgrind;
mod cases;
mod golden;
mod stages;

use crate::error::{Error, Result};
use crate::programs;

/// Count instructions of a malloc/free pair by stage and compare them with golden/hot-path.txt
#[derive(Debug, clap::Args)]
#[command(after_help = "\
UPDATE_EXPECT=1 accepts the counts as the new golden file. The exit status is 1 if a pair has become longer.")]
pub struct Arguments {
    /// Percent by which a count may exceed the golden file's; compilers differ by less
    #[arg(long, default_value_t = 3.0)]
    tolerance: f64,
}

/// Counts and compares; whether nothing is worse.
///
/// # Errors
/// A program is missing or fails, or what it recorded is not what it did.
pub fn run(arguments: &Arguments) -> Result<bool> {
    if programs::find("valgrind").is_none() {
        return Err(Error::Missing("valgrind (Debian: apt-get install valgrind)".to_owned()));
    }
    let table = golden::Table::new(cases::count_all()?);
    print!("{}", table.render());
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        golden::write(&table)?;
        return Ok(true);
    }
    let verdict = golden::compare(&table, &golden::read()?, arguments.tolerance);
    verdict.notes.iter().for_each(|note| eprintln!("{note}"));
    Ok(verdict.is_good)
}
