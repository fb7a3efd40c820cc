//! Sums by small keys: an operator that finds groups by position instead of by hashing every row.
//!
//! Recordings are grouped by ids (small and dense), by kinds of calls (six short texts) and by classes (`CASE` with
//! literal results). DataFusion hashes each key of each row, and evaluates a `CASE` by splitting every batch once per
//! branch and merging the parts; beside the decoding of a few columns that is most of the time of such a question. A
//! rule replaces the first stage of these aggregations, in which all rows are seen; everything after it stays
//! DataFusion's.
//!
//! - [`keys`]: from rows to numbers of groups;
//! - [`operator`]: the plan node and its stream;
//! - [`rule`]: which aggregations it is for.

mod keys;
mod operator;
mod rule;

pub(crate) use rule::SmallKeys;
