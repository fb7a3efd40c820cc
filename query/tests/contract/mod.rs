//! CPython's own pure-data tests of `tracemalloc` (Lib/test/test_tracemalloc.py), on the Rust types and on the SQL
//! reports over the same snapshots as recordings.

mod data;
mod differential;
mod pickle;
mod relations;
mod text;
