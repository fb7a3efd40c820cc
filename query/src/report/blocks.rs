//! SQL of what is not a report of groups: the blocks of a moment, the frames of a stack.

use std::sync::Arc;

use super::counted::Counted;
use super::sql::source;
use super::template::{files, fill, inline, tidy};
use super::{Filters, GroupBy, Measure};
use crate::recording::Opened;
use crate::{Error, Moment};

/// The stacks of a recording and the blocks live at a moment that the filters keep, for a snapshot of tracemalloc.
pub(crate) fn moment_sql(
    recordings: &[Arc<Opened>],
    recording: usize,
    moment: &Moment,
    filters: &Filters,
) -> Result<(String, String), Error> {
    let source = source(recordings, recording, String::new(), 0)?;
    let measure = Measure::Live(moment.clone());
    let live = Counted::new(&source, &measure, GroupBy::Traceback, filters).blocks()?;
    let schema = ("schema", source.schema.as_str());
    let stacks = fill(files::snapshot_stacks, &[schema]);
    let blocks = fill(files::snapshot_blocks, &[schema, ("where", &live), ("what", &moment.to_string())]);
    Ok((tidy(&stacks), tidy(&blocks)))
}

/// The rows of `allocations` that are live at a moment, every domain, with their age.
pub(crate) fn live_rows_sql(recordings: &[Arc<Opened>], recording: usize, moment: &Moment) -> Result<String, Error> {
    let source = source(recordings, recording, String::new(), 0)?;
    let live = source.live(moment)?;
    let at = source.opened.at_ns(moment)?.to_string();
    let values =
        [("schema", source.schema.as_str()), ("where", &live), ("what", &moment.to_string()), ("at", at.as_str())];
    Ok(tidy(&fill(files::snapshot, &values)))
}

/// The frames of one stack.
pub(crate) fn frames_sql(recordings: &[Arc<Opened>], recording: usize, stack: i32) -> Result<String, Error> {
    let source = source(recordings, recording, String::new(), 0)?;
    Ok(tidy(&fill(files::frames_of_stack, &[("schema", &source.schema), ("stack", &stack.to_string())])))
}

/// Bytes live at a moment, and the most that was live at any time since another.
pub(crate) fn traced_memory_sql(
    recordings: &[Arc<Opened>],
    recording: usize,
    moment: &Moment,
    since: &Moment,
) -> Result<String, Error> {
    let source = source(recordings, recording, String::new(), 0)?;
    let (at, from) = (source.opened.at_ns(moment)?, source.opened.at_ns(since)?);
    if from > at {
        return Err(Error::Report(format!("the window is empty: {since} is after {moment}")));
    }
    let imported = source.opened.is_imported();
    let schema = ("schema", source.schema.as_str());
    let domains = ("domains", if imported { "TRUE" } else { "domain = 0" });
    let live = match moment {
        Moment::End => inline(files::traced_stored, &[schema, domains]),
        _ => inline(files::traced_now, &[schema, domains, ("where", &source.live(moment)?)]),
    };
    let what = format!("{since} to {moment}").replace('\n', " ");
    let (until, since) = (at.to_string(), from.to_string());
    let values =
        [schema, domains, ("what", what.as_str()), ("live", live.as_str()), ("at", until.as_str()), ("since", &since)];
    // Peaks that sealing found are those of the heap.
    let peak = source.opened.moments.iter().find(|m| m.1 == "peak");
    let has_peak = !imported && peak.is_some_and(|peak| (from..=at).contains(&peak.2));
    Ok(tidy(&fill(if has_peak { files::traced_peak } else { files::traced_memory }, &values)))
}
