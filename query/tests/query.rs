//! Tests of the query crate over recordings made by a deterministic generator.
//!
//! `reports`: every report against a naive computation. `session`: opening, several recordings, permissions. `views`: every view is documented and planned.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a failure ends it with its place")]

mod reports;
mod session;
mod support;
mod views;
