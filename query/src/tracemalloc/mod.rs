//! Python's `tracemalloc` as data types, to the letter: snapshots, filters, statistics, differences, tracebacks and
//! their text. The seed is the module of Python 3.4: frames are ordered most recent first.

mod fnmatch;
mod format;

pub use fnmatch::{Pattern, normalize_filename};
pub use format::format_size;
