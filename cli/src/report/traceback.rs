//! `traceback` as text: frames as Python prints them, most recent first, with source lines.

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
    /// Most frames to show of each.
    pub(crate) frames: Option<usize>,
    pub(crate) ui: Ui,
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
            let shown = self.frames.unwrap_or(usize::MAX).min(group.traceback.len());
            frames(&mut text, &group.traceback[..shown], &mut sources, styles);
            let hidden = group.traceback.len() - shown;
            if hidden > 0 {
                let _ = writeln!(text, "  ... {}", format_count(hidden as i64, "more frame", "more frames"));
            }
        }
        text
    }
}

/// Equal frames in a row that are shown; recursion is summed up after so many, as Python does.
const REPEATS_SHOWN: usize = 3;

/// `  File "F", line N, in f` for each frame, with its source line below.
pub(super) fn frames(text: &mut String, frames: &[Frame], sources: &mut Sources, styles: Styles) {
    for run in frames.chunk_by(|a, b| a == b) {
        for Frame { filename, lineno, function } in run.iter().take(REPEATS_SHOWN) {
            let _ = writeln!(text, "  File \"{filename}\", line {lineno}, in {}", styles.cyan(function));
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
