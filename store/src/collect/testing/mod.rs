//! Tests of the collector against a recorder written for the purpose, in processes of their own where it matters.
//!
//! - [`writer`]: the targets' side of the protocol
//! - [`sink`]: a sink that checks what it is handed
//! - `programs`: what the test binary does when it is run as a target
//! - `drain`: rounds over a region with writers in this process
//! - `hostile`, `fuzzing`: rounds over a region that is scribbled over, at random and as a fuzzer says
//! - `record`: whole recordings of child processes

#[cfg(test)]
mod drain;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod real;
#[cfg(test)]
mod record;
// The fuzz target counts no events and plays no disk that is full.
#[cfg_attr(fuzzing, allow(dead_code))]
mod sink;
#[cfg(test)]
mod writer;
