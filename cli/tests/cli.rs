//! Tests of the `tmq` binary: what a user types, and what appears on stdout, on stderr and as exit status.
//!
//! Expected texts are files in `snapshots/`; `UPDATE_EXPECT=1 cargo test --test cli` writes them anew.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a failure ends it with its place")]

#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/fixture.rs"]
mod fixture;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/import.rs"]
mod import;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/record.rs"]
mod record;
#[path = "cli/reports.rs"]
mod reports;
#[path = "cli/sql.rs"]
mod sql;
#[path = "cli/support.rs"]
mod support;
