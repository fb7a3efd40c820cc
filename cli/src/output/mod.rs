//! Data on its way out: to stdout or a file, in one of several formats, batch by batch.
//!
//! This module is the only one that writes to stdout. Results are never collected: a table takes its column widths from
//! the first rows and streams the rest, the other formats stream from the start.

mod columnar;
mod destination;
mod format;
mod table;
mod values;

pub(crate) use destination::{Destination, stdout_was_closed};
pub(crate) use format::{Format, Written, open, terminal_width};
