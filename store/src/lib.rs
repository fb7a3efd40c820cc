//! Recordings on disk: collecting them from shared memory, Parquet tables, symbols, sealing and opening.
pub mod collect;
pub mod schema;
