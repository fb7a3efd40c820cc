//! Questions about recordings: a DataFusion session over their Parquet tables, views and functions for it, typed reports
//! with the order and the semantics of Python's `tracemalloc`, and that module's data types.
//!
//! ```text
//! RecordingRef ─▶ Session ─┬─ sql(text) ───────────▶ Rows (a stream of record batches)
//!                          ├─ report(&Report) ─────▶ Rows, in the contract's order
//!                          ├─ report_sql(&Report) ─▶ the SQL behind it, which runs as printed
//!                          └─ info(recording) ─────▶ Info
//! ```
//! SQL lives in `sql/`: one file per view and per report part. Nothing here prints or exits.
//!
//! ```no_run
//! use tmq_query::report::{GroupBy, Groups, Report};
//! use tmq_query::{RecordingRef, Session};
//!
//! # async fn example() -> Result<(), tmq_query::Error> {
//! let session = Session::open(&[RecordingRef::parse("app.4711.tmq")?])?;
//! let top = Report::Groups(Groups { group_by: GroupBy::Lineno, limit: Some(10), ..Groups::default() });
//! println!("{}", session.report_sql(&top)?);
//! let batches = session.report(&top).await?.collect().await?;
//! let same = session.sql(&session.report_sql(&top)?).await?.collect().await?;
//! assert_eq!(batches, same);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

mod catalog;
mod error;
pub mod functions;
mod grouping;
mod info;
mod memory;
mod moment;
mod planner;
mod recording;
pub mod relations;
pub mod report;
mod rows;
mod session;
mod tables;
pub mod tracemalloc;
pub mod views;

pub use datafusion::{arrow, parquet};
pub use error::Error;
pub use info::{Info, ProcessInfo};
pub use moment::{Moment, RecordingRef};
pub use rows::Rows;
pub use session::{Session, SessionOptions};
