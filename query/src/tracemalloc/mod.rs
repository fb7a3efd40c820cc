//! Python's `tracemalloc` as data types, to the letter: snapshots, filters, statistics, differences, tracebacks and
//! their text. The seed is the module of Python 3.4: frames are ordered most recent first. [`Order`] gives the order of
//! Python 3.7 and later where it differs.
//!
//! A [`Snapshot`] comes from a moment of a recording ([`crate::Session::snapshot`]) or from a file that
//! `tracemalloc.Snapshot.dump` wrote ([`Snapshot::load`]), and goes to such a file ([`Snapshot::dump`]) or to a recording
//! ([`Snapshot::write_recording`]), which answers the same questions in SQL.

mod filter;
mod fnmatch;
mod format;
mod frame;
mod pickle;
mod recording;
pub(crate) mod repr;
mod snapshot;
mod statistic;

pub use filter::{AnyFilter, DomainFilter, Filter};
pub use fnmatch::{Pattern, normalize_filename};
pub use format::format_size;
pub use frame::{Frame, Order, Source, SourceFiles, Trace, Traceback, UNKNOWN};
pub use pickle::DumpFor;
pub use snapshot::{ContractError, KeyType, Snapshot};
pub use statistic::{Statistic, StatisticDiff};
