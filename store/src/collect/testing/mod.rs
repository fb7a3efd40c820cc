//! Tests of the collector against a recorder written for the purpose, in processes of their own where it matters.
//!
//! - [`writer`]: the targets' side of the protocol
//! - [`sink`]: a sink that checks what it is handed
//! - `programs`: what the test binary does when it is run as a target
//! - `drain`: rounds over a region with writers in this process
//! - `record`: whole recordings of child processes

mod drain;
mod hostile;
mod programs;
mod real;
mod record;
mod sink;
mod writer;
