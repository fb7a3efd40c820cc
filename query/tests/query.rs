//! Tests of the query crate over recordings made by a deterministic generator.
//!
//! - `contract`: what CPython's tracemalloc answers, in Rust types, in SQL, in pickles.
//! - `duckdb`: the canned questions in another engine.
//! - `grouping`: groups of small keys beside DataFusion's.
//! - `moments`: several moments side by side, addresses.
//! - `reports`: every report against a naive computation.
//! - `session`: opening, several recordings, permissions.
//! - `slt`: behaviour in SQL, in files.
//! - `views`: every view is documented, planned and answers.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a failure ends it with its place")]

mod contract;
mod duckdb;
mod grouping;
mod moments;
mod reports;
mod session;
mod slt;
mod support;
mod views;
