//! Reports as values: what the commands ask. A report becomes SQL text ([`crate::Session::report_sql`]) made of the
//! files in `sql/reports/`, which is also what runs.
//!
//! Every report of groups has the same columns, so that one piece of code can show all of them:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `filename` | text, null | file of the group's frame |
//! | `lineno` | bigint, null | its line; 0 if unknown and for groups by file |
//! | `function` | text, null | its function |
//! | `module` | text, null | name of its module |
//! | `label` | text | the group in one text, for people |
//! | `size` | bigint | bytes |
//! | `count` | bigint | blocks |
//! | `average` | double, null | bytes per block; null where there is no block |
//! | `size_error`, `count_error` | double | standard errors of the estimates; 0 in exact recordings |
//! | `traceback` | list of {filename, lineno, function} | frames of the group, most recent first; null where it has none |
//!
//! Diffs have `old_size`, `size`, `size_diff`, `old_count`, `count`, `count_diff` instead of `size` and `count`, and no errors.
//! Rows come in the contract's order: size, count and key, all descending; for diffs |size_diff|, size, |count_diff|,
//! count and key.

mod blocks;
mod counted;
mod filter;
mod group;
mod keys;
mod sql;
mod template;

pub(crate) use blocks::{frames_sql, live_rows_sql, moment_sql, traced_memory_sql};
pub use filter::{DomainFilter, Filters, FrameFilter, Subject};
pub use group::{GroupBy, Mode};
pub(crate) use sql::sql;

use crate::Moment;

/// A question that has a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// `top`, `allocators`, `leaks`, `temporary`, `traceback`: groups of blocks, largest first.
    Groups(Groups),
    /// `diff`: how groups changed between two or more moments, of one recording or of several.
    Diff(Diff),
    /// `addr`: what happened at an address.
    Address(Address),
}

/// What a group adds up.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// Blocks live at a moment.
    Live(Moment),
    /// Every block ever allocated.
    Allocated,
    /// Blocks freed before their thread allocated again.
    Temporary,
}

/// Groups of blocks by where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// Position of the recording in [`crate::Session::recordings`].
    pub recording: usize,
    /// What is added up.
    pub measure: Measure,
    /// What makes a group.
    pub group_by: GroupBy,
    /// Which frames of a stack count.
    pub mode: Mode,
    /// Which blocks count.
    pub filters: Filters,
    /// Most groups to return; none: all.
    pub limit: Option<usize>,
}

impl Default for Groups {
    /// `tmq top`: by site, at the peak of the first recording, ten groups.
    fn default() -> Self {
        Self {
            recording: 0,
            measure: Measure::Live(Moment::Peak),
            group_by: GroupBy::Site,
            mode: Mode::MostRecent,
            filters: Filters::default(),
            limit: Some(10),
        }
    }
}

/// How groups changed from the first side to the last. With more than two sides, the columns
/// `size_1`, `count_1`, `size_2`, ... follow for the sides in order, and `trend`: `grows` or `shrinks` if no step goes the
/// other way, `steady` if all sizes are equal, else `varies`. `size` and `count` are those of the last side.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// What is compared, oldest first; at least two. Groups are matched by content.
    pub sides: Vec<Side>,
    /// What makes a group.
    pub group_by: GroupBy,
    /// Which frames of a stack count.
    pub mode: Mode,
    /// Which blocks count.
    pub filters: Filters,
    /// Most groups to return; none: all.
    pub limit: Option<usize>,
}

/// One side of a [`Diff`].
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// Position of the recording in [`crate::Session::recordings`].
    pub recording: usize,
    /// What is added up.
    pub measure: Measure,
}

/// The history of an address: each block that contained it, in order of time.
///
/// An imported recording has no addresses.
///
/// Columns: `pid`, `process_id`, `thread_id`, `thread`, `state` (`live`, `freed` or `later` at the moment), `address`,
/// `offset_bytes` (of the asked address in the block), `size`, `kind`, `domain`, `alloc_ns`, `free_ns`, `free_thread_id`,
/// `filename`, `lineno`, `function`, `module` (of the most recent frame a person would name), `traceback`, `free_traceback`.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    /// Position of the recording in [`crate::Session::recordings`].
    pub recording: usize,
    /// The address; it may lie inside a block.
    pub address: u64,
    /// The moment for `state`; none: the end of the recording.
    pub moment: Option<Moment>,
    /// Only this process (its id in the operating system).
    pub pid: Option<i32>,
    /// Most rows to return, those nearest to the moment; none: all.
    pub limit: Option<usize>,
}
