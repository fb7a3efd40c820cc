//! SQL of what is not a report of groups: the blocks of a moment, the frames of a stack.

use std::sync::Arc;

use super::sql::source;
use super::template::{files, fill, tidy};
use crate::recording::Opened;
use crate::{Error, Moment};

/// The stacks of a recording and the blocks live at a moment, for a snapshot of tracemalloc. Heap only, but for imported
/// recordings, where every domain is Python's.
pub(crate) fn moment_sql(
    recordings: &[Arc<Opened>],
    recording: usize,
    moment: &Moment,
) -> Result<(String, String), Error> {
    let source = source(recordings, recording, String::new(), 0)?;
    let mut live = source.live(moment)?;
    if !source.opened.is_imported() {
        live = format!("domain = 0 AND {live}");
    }
    let schema = ("schema", source.schema.as_str());
    let stacks = fill(files::snapshot_stacks, &[schema]);
    let blocks = fill(files::snapshot_blocks, &[schema, ("where", &live), ("what", &moment.to_string())]);
    Ok((tidy(&stacks), tidy(&blocks)))
}

/// The rows of `allocations` that are live at a moment, every domain.
pub(crate) fn live_rows_sql(recordings: &[Arc<Opened>], recording: usize, moment: &Moment) -> Result<String, Error> {
    let source = source(recordings, recording, String::new(), 0)?;
    let live = source.live(moment)?;
    let values = [("schema", source.schema.as_str()), ("where", &live), ("what", &moment.to_string())];
    Ok(tidy(&fill(files::snapshot, &values)))
}

/// The frames of one stack.
pub(crate) fn frames_sql(recordings: &[Arc<Opened>], recording: usize, stack: i32) -> Result<String, Error> {
    let source = source(recordings, recording, String::new(), 0)?;
    Ok(tidy(&fill(files::frames_of_stack, &[("schema", &source.schema), ("stack", &stack.to_string())])))
}
