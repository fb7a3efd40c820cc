//! The `tmq` binary; everything is in the library, so that tests and tools can reach it. `unsafe` is in `allocator` only.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    tmq_cli::run(std::env::args_os())
}
