//! The tables of a recording: the one place that says which columns exist, with type, unit and meaning.
//!
//! Each file holds one or a few closely related tables, declared with [`define_table!`](define). From a declaration come
//! the Arrow schema, a typed columnar buffer (`XxxColumns`), the Parquet writer's column list, `tmq schema`, the
//! DataFusion registration and `SCHEMA.md`.
//!
//! Conventions: signed integers only (unsigned subtraction wraps silently in SQL engines); `*_ns` are nanoseconds since
//! the start of the recording as plain INT64; ids are dense and start at 0; hashes are stable across runs.
#![forbid(unsafe_code)]

mod allocations;
mod code;
mod define;
mod markdown;
mod run;
mod summary;

pub use allocations::*;
pub use code::*;
pub use define::{Column, ColumnValue, Columns, Table};
pub use markdown::markdown;
pub use run::*;
pub use summary::*;

/// Every table of a recording, in the order in which documentation lists them.
pub static TABLES: &[&Table] = &[
    &ALLOCATIONS,
    &STACKS,
    &STACK_FRAMES,
    &FRAMES,
    &CALLSITES,
    &MODULES,
    &PROCESSES,
    &THREADS,
    &TIMELINE,
    &MOMENTS,
    &STACK_STATS,
    &PEAK,
    &LOSSES,
    &METADATA,
];

/// The table with this name.
#[must_use]
pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().copied().find(|t| t.name == name)
}
