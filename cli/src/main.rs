//! The `tmq` binary; everything is in the library, so that tests and tools can reach it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tmq_cli::run(std::env::args_os())
}
