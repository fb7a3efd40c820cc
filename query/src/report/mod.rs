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
///
/// ```
/// use tmq_query::report::{GroupBy, Groups, Report};
/// # use tmq_query::tracemalloc::{Frame, Snapshot, Trace, Traceback};
/// # use tmq_query::{RecordingRef, Session};
/// # let dir = std::env::temp_dir().join(format!("tmq-doc-groups-{}.tmq", std::process::id()));
/// # let trace = |size, line| Trace { domain: 0, size, traceback: Traceback::new(vec![Frame::new("a.py", line)]) };
/// # Snapshot::new(vec![trace(10, 2), trace(10, 2), trace(400, 9)], 1).write_recording(&dir)?;
/// let session = Session::open(&[RecordingRef::new(&dir)])?;
/// let largest = Report::Groups(Groups { group_by: GroupBy::Lineno, limit: Some(1), ..Groups::default() });
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # runtime.block_on(async {
/// let batches = session.report(&largest).await?.collect().await?;
/// assert_eq!(batches[0].num_rows(), 1);
/// assert_eq!(batches, session.sql(&session.report_sql(&largest)?).await?.collect().await?);
/// # Ok::<(), tmq_query::Error>(())
/// # })?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// How groups changed, largest change first.
///
/// ```
/// use tmq_query::Moment;
/// use tmq_query::report::{Diff, Filters, GroupBy, Measure, Mode, Report, Side};
/// # use tmq_query::tracemalloc::{Frame, Snapshot, Trace, Traceback};
/// # use tmq_query::{RecordingRef, Session};
/// # let dir = std::env::temp_dir().join(format!("tmq-doc-diff-{}.tmq", std::process::id()));
/// # let trace = |size, line| Trace { domain: 0, size, traceback: Traceback::new(vec![Frame::new("a.py", line)]) };
/// # Snapshot::new(vec![trace(10, 2), trace(10, 2), trace(400, 9)], 1).write_recording(&dir)?;
/// let session = Session::open(&[RecordingRef::new(&dir)])?;
/// let sides = [Moment::Start, Moment::End].map(|m| Side { recording: 0, measure: Measure::Live(m) }).to_vec();
/// let (group_by, mode, filters) = (GroupBy::Filename, Mode::MostRecent, Filters::default());
/// let sql = session.report_sql(&Report::Diff(Diff { sides, group_by, mode, filters, limit: None }))?;
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # runtime.block_on(async {
/// let sum = format!("SELECT sum(size_diff) AS grown FROM ({sql}) AS diff WHERE size_diff = 420");
/// assert_eq!(session.sql(&sum).await?.collect().await?[0].num_rows(), 1);
/// # Ok::<(), tmq_query::Error>(())
/// # })?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The comparison goes from the first side to the last. With more than two sides, the columns
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

/// The history of an address, as `tmq addr` shows it.
///
/// ```no_run
/// use tmq_query::report::{Address, Report};
/// use tmq_query::{Moment, RecordingRef, Session};
///
/// # async fn example() -> Result<(), tmq_query::Error> {
/// let session = Session::open(&[RecordingRef::parse("app.tmq")?])?;
/// let moment = Some(Moment::At(1_500_000_000));
/// let owner = Address { recording: 0, address: 0x55d0_c8a0_f2a0, moment, pid: None, limit: Some(1) };
/// let batches = session.report(&Report::Address(owner)).await?.collect().await?;
/// # Ok(())
/// # }
/// ```
///
/// A row is a block that contained it; they come in order of time.
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
