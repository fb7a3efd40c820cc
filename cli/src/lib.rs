//! The command line of tmq: arguments, the commands, and how their results are shown.
//!
//! ```text
//! run ─▶ args (clap) ─▶ commands/* ─┬─▶ tmq_store   record, repair, schema
//!                                   ├─▶ tmq_query   reports and SQL, batch by batch
//!                                   └─▶ output      stdout or a file, in one of several formats
//! ```
//! stdout is data; everything else goes to stderr (`ui`). This crate is the only one that prints or exits, and it does
//! both in few places: `output`, `ui` and [`run`].
#![forbid(unsafe_code)]

mod args;
mod bytes;
mod commands;
mod engine;
mod error;
mod exit;
mod input;
mod output;
mod preload;
mod progress;
mod report;
mod ui;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use args::command;
pub use exit::Exit;

use args::Cli;
use ui::Ui;

/// Runs `tmq` with these arguments, the first being the program's own name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return args::report(&error).into(),
    };
    let ui = Ui::new(cli.color, cli.quiet);
    match commands::run(cli.command, ui) {
        Ok(exit) => exit.into(),
        Err(_) if output::stdout_was_closed() => Exit::Success.into(),
        Err(error) => {
            ui.error(&error);
            error.code().into()
        }
    }
}
