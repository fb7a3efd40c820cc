//! End-to-end tests: the real binary on real programs.
//!
//! One test binary of the `tmq` package, so that `CARGO_BIN_EXE_tmq` is known; it links none of tmq's crates. What belongs
//! where:
//!
//! - [`support`]: running things with a bound, compiling workloads, asking a recording;
//! - [`exactness`]: totals equal to Valgrind's, peaks, stacks that name the right functions;
//! - [`torture`]: one small program per behaviour of `tests/workloads`, bare and recorded;
//! - [`stacks`]: random call trees, deep recursion, many stacks, compared with other unwinders;
//! - [`processes`]: forks, execs, pipelines, servers;
//! - [`kills`]: processes killed at random moments, repair;
//! - [`refusals`]: what cannot be recorded, and faults of the machine;
//! - [`sampling`]: estimates within the error they state;
//! - [`notebooks`]: the README's Python, and every table in other engines;
//! - [`leaks`]: a server that leaks, and moments named from inside;
//! - [`layering`]: crate dependencies, exported symbols.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a failure ends it with its place")]

mod exactness;
mod kills;
mod layering;
mod leaks;
mod notebooks;
mod processes;
mod refusals;
mod sampling;
mod stacks;
mod support;
mod torture;
