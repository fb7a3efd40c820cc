//! `traceback` as text: frames as Python prints them, with source lines.

use std::fmt::Write;

use tmq_query::report::{GroupBy, Groups, Report};
use tmq_query::tracemalloc::format_size;

use super::groups::{self, Group};
use super::rows::Frame;
use super::source::Sources;
use super::{Title, columns, format_count, print, styles, wait, write_rows};

use crate::args::OutputArgs;
use crate::engine::Engine;
use crate::error::Result;
use crate::ui::{Styles, Ui};

/// The largest tracebacks, about to be shown.
pub(crate) struct TracebackView<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) report: Groups,
    pub(crate) title: Title,
    pub(crate) shape: Shape,
    pub(crate) ui: Ui,
}

/// Which frames of a traceback are shown, and in which order: the arguments of Python's `Traceback.format`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// So many of the most recent ones; if negative, all but so many of the most recent ones.
    pub(crate) frames: Option<i64>,
    pub(crate) oldest_first: bool,
}

impl Shape {
    /// The frames shown of a traceback that has the most recent first.
    fn of(self, frames: &[Frame]) -> &[Frame] {
        let limit = self.frames.unwrap_or(i64::MAX);
        let count = usize::try_from(limit.unsigned_abs()).unwrap_or(usize::MAX).min(frames.len());
        if limit < 0 { &frames[count..] } else { &frames[..count] }
    }
}

impl TracebackView<'_> {
    pub(crate) fn write(&self, output: &OutputArgs) -> Result<()> {
        let report = Report::Groups(self.report.clone());
        if let Some(format) = output.format() {
            let columns = columns::of_groups(format, GroupBy::Traceback);
            return write_rows(self.engine, &report, format, columns.as_deref(), output, self.ui);
        }
        let groups = wait(self.engine, self.ui, groups::read(self.engine, &report))?;
        print(output, &self.text(&groups, styles(output, self.ui)))
    }

    fn text(&self, groups: &[Group], styles: Styles) -> String {
        let Title { recording, when } = &self.title;
        let mut text = String::new();
        if groups.is_empty() {
            let _ = writeln!(text, "No blocks of {recording} ({when})");
            return text;
        }
        let _ = writeln!(text, "{} of {recording}, {when}", styles.bold("Largest tracebacks"));
        let mut sources = Sources::default();
        for (i, group) in groups.iter().enumerate() {
            let blocks = format_count(group.count, "memory block", "memory blocks");
            let size = format_size(group.size as f64, false);
            let _ = writeln!(text, "{} {blocks}: {size}", styles.bold(format_args!("#{}:", i + 1)));
            let mut shown = self.shape.of(&group.traceback).to_vec();
            let hidden = group.traceback.len() - shown.len();
            let more = || format!("  ... {}\n", format_count(hidden as i64, "more frame", "more frames"));
            // The gap is shown where the frames are missing.
            let recent_missing = self.shape.frames.is_some_and(|n| n < 0);
            if hidden > 0 && recent_missing != self.shape.oldest_first {
                text.push_str(&more());
            }
            if self.shape.oldest_first {
                shown.reverse();
            }
            frames(&mut text, &shown, &mut sources, styles);
            if hidden > 0 && recent_missing == self.shape.oldest_first {
                text.push_str(&more());
            }
        }
        text
    }
}

/// Equal frames in a row that are shown; recursion is summed up after so many, as Python does.
const REPEATS_SHOWN: usize = 3;

/// `  File "F", line N, in f` for each frame, with its source line below. Imported snapshots have lines without functions.
pub(super) fn frames(text: &mut String, frames: &[Frame], sources: &mut Sources, styles: Styles) {
    for run in frames.chunk_by(|a, b| a == b) {
        for frame @ Frame { filename, lineno, function } in run.iter().take(REPEATS_SHOWN) {
            let _ = write!(text, "  File \"{filename}\", line {lineno}");
            if *lineno == 0 || frame.known_function().is_some() {
                let _ = write!(text, ", in {}", styles.cyan(function));
            }
            text.push('\n');
            if let Some(line) = sources.line(filename, *lineno) {
                let _ = writeln!(text, "    {}", styles.dim(line));
            }
        }
        let hidden = run.len().saturating_sub(REPEATS_SHOWN);
        if hidden > 0 {
            let times = if hidden == 1 { "time" } else { "times" };
            let _ = writeln!(text, "  [Previous line repeated {hidden} more {times}]");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_traceback_format() {
        let frame = |function: &str| Frame { filename: String::new(), lineno: 1, function: function.to_owned() };
        let all = ["e", "d", "c", "b", "a"].map(frame);
        let shown = |frames| {
            let shape = Shape { frames, oldest_first: false };
            shape.of(&all).iter().map(|f| f.function.as_str()).collect::<String>()
        };
        for (limit, expected) in [
            (None, "edcba"),
            (Some(1), "e"),
            (Some(2), "ed"),
            (Some(9), "edcba"),
            (Some(0), ""),
            (Some(-1), "dcba"),
            (Some(-2), "cba"),
            (Some(-5), ""),
            (Some(-9), ""),
            (Some(i64::MIN), ""),
        ] {
            assert_eq!(shown(limit), expected, "{limit:?}");
        }
    }
}
