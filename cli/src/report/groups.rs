//! `top`, `leaks`, `temporary` as text: the "pretty top" of tracemalloc's documentation, with function names and counts.

use std::fmt::Write;

use arrow::record_batch::RecordBatch;
use tmq_query::report::{GroupBy, Groups, Mode, Report};
use tmq_query::tracemalloc::format_size;

use super::rows::{Frame, Reader};
use super::source::Sources;
use super::{Title, columns, format_count, print, styles, thousands, wait, write_rows};

use crate::args::OutputArgs;
use crate::engine::Engine;
use crate::error::Result;
use crate::ui::{Styles, Ui};

/// A report of groups, about to be shown.
pub(crate) struct GroupsReport<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) report: Groups,
    pub(crate) title: Title,
    pub(crate) ui: Ui,
}

/// One group.
pub(super) struct Group {
    pub(super) label: String,
    pub(super) filename: Option<String>,
    pub(super) lineno: i64,
    pub(super) size: i64,
    pub(super) count: i64,
    pub(super) average: Option<f64>,
    pub(super) size_error: f64,
    pub(super) count_error: f64,
    pub(super) traceback: Vec<Frame>,
}

/// Sums over groups.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) groups: i64,
    pub(super) size: i64,
    pub(super) count: i64,
}

impl GroupsReport<'_> {
    pub(crate) fn write(&self, output: &OutputArgs) -> Result<()> {
        let report = Report::Groups(self.report.clone());
        if let Some(format) = output.format() {
            let columns = columns::of_groups(format, self.report.group_by);
            return write_rows(self.engine, &report, format, columns.as_deref(), output, self.ui);
        }
        let (groups, totals) = wait(self.engine, self.ui, async {
            let groups = read(self.engine, &report).await?;
            let totals = self.totals(&groups).await?;
            Ok((groups, totals))
        })?;
        print(output, &self.text(&groups, totals, styles(output, self.ui)))
    }

    /// Sums over all groups, also those that are not shown.
    async fn totals(&self, shown: &[Group]) -> Result<Totals> {
        let sum = Totals::of(shown);
        if self.report.limit.is_none_or(|limit| shown.len() < limit) {
            return Ok(sum);
        }
        let all = Report::Groups(Groups { limit: None, ..self.report.clone() });
        Totals::query(self.engine, &all).await
    }

    fn text(&self, groups: &[Group], totals: Totals, styles: Styles) -> String {
        let Title { recording, when } = &self.title;
        let mut text = String::new();
        if groups.is_empty() {
            let _ = writeln!(text, "No blocks of {recording} ({when})");
            return text;
        }
        let count = self::groups(groups.len() as i64, self.report.group_by);
        let head = if groups.len() as i64 == totals.groups { count } else { format!("Top {count}") };
        let _ = writeln!(text, "{} of {recording}, {when}", styles.bold(head));
        let mut sources = Sources::default();
        for (i, group) in groups.iter().enumerate() {
            let number = styles.bold(format_args!("#{}:", i + 1));
            let _ = writeln!(text, "{number} {}: {}", styles.cyan(&group.label), group.sizes());
            if self.report.group_by == GroupBy::Traceback {
                super::traceback::frames(&mut text, &group.traceback, &mut sources, styles);
            } else if let Some(line) = group.filename.as_ref().and_then(|f| sources.line(f, group.lineno)) {
                let _ = writeln!(text, "    {}", styles.dim(line));
            }
        }
        let sum = Totals::of(groups);
        if totals.groups > sum.groups {
            let _ = writeln!(
                text,
                "{} other: {}",
                thousands(totals.groups - sum.groups),
                format_size((totals.size - sum.size) as f64, false)
            );
        }
        let what = match self.report.mode {
            Mode::MostRecent => "Total allocated size",
            // A block counts for several groups: their sum is no amount of memory.
            Mode::Cumulative | Mode::Inclusive => "Sum over groups",
        };
        let _ = writeln!(text, "{what}: {}", format_size(totals.size as f64, false));
        text
    }
}

impl Group {
    /// `size=419.8 KiB, count=12, average=35.0 KiB`, with standard errors where the numbers are estimates.
    pub(super) fn sizes(&self) -> String {
        let mut text = format!("size={}", format_size(self.size as f64, false));
        if self.size_error > 0.0 {
            let _ = write!(text, " (\u{b1}{})", format_size(self.size_error, false));
        }
        let _ = write!(text, ", count={}", self.count);
        if self.count_error > 0.0 {
            let _ = write!(text, " (\u{b1}{:.0})", self.count_error);
        }
        if let Some(average) = self.average {
            let _ = write!(text, ", average={}", format_size(average, false));
        }
        text
    }
}

impl Totals {
    pub(super) fn of(groups: &[Group]) -> Self {
        Self {
            groups: groups.len() as i64,
            size: groups.iter().map(|g| g.size).sum(),
            count: groups.iter().map(|g| g.count).sum(),
        }
    }

    /// Sums over a report without reading its tracebacks.
    async fn query(engine: &Engine, report: &Report) -> Result<Self> {
        let inner = engine.report_sql(report)?;
        let inner = inner.trim_end().trim_end_matches(';');
        let sql =
            format!("SELECT count(*) AS groups, sum(size) AS size, sum(count) AS count FROM (\n{inner}\n) AS report");
        let mut totals = Self::default();
        for batch in engine.sql(&sql).await?.collect().await? {
            let reader = Reader::new(&batch);
            let (groups, size, count) =
                (reader.integers("groups")?, reader.integers("size")?, reader.integers("count")?);
            for row in 0..batch.num_rows() {
                totals.groups += groups.get(row).unwrap_or(0);
                totals.size += size.get(row).unwrap_or(0);
                totals.count += count.get(row).unwrap_or(0);
            }
        }
        Ok(totals)
    }
}

/// Runs a report of groups.
pub(super) async fn read(engine: &Engine, report: &Report) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    for batch in engine.report(report).await?.collect().await? {
        decode(&batch, &mut groups)?;
    }
    Ok(groups)
}

fn decode(batch: &RecordBatch, groups: &mut Vec<Group>) -> Result<()> {
    let reader = Reader::new(batch);
    let (label, filename) = (reader.texts("label")?, reader.texts("filename")?);
    let (lineno, size, count) = (reader.integers("lineno")?, reader.integers("size")?, reader.integers("count")?);
    let average = reader.floats("average")?;
    let (size_error, count_error) = (reader.floats("size_error")?, reader.floats("count_error")?);
    let traceback = reader.tracebacks("traceback")?;
    groups.extend((0..batch.num_rows()).map(|row| Group {
        label: label.get(row).unwrap_or_default(),
        filename: filename.get(row),
        lineno: lineno.get(row).unwrap_or(0),
        size: size.get(row).unwrap_or(0),
        count: count.get(row).unwrap_or(0),
        average: average.get(row),
        size_error: size_error.get(row).unwrap_or(0.0),
        count_error: count_error.get(row).unwrap_or(0.0),
        traceback: traceback.get(row),
    }));
    Ok(())
}

/// `2 sites`, `1 site`: how many groups of a key there are.
pub(super) fn groups(count: i64, group_by: GroupBy) -> String {
    let (one, many) = match group_by {
        GroupBy::Site => ("site", "sites"),
        GroupBy::Lineno => ("line", "lines"),
        GroupBy::Filename => ("file", "files"),
        GroupBy::Traceback => ("traceback", "tracebacks"),
        GroupBy::Function => ("function", "functions"),
        GroupBy::Module => ("module", "modules"),
        GroupBy::Thread => ("thread", "threads"),
        GroupBy::Process => ("process", "processes"),
        GroupBy::Kind => ("kind", "kinds"),
        GroupBy::Domain => ("domain", "domains"),
        GroupBy::Size => ("size", "sizes"),
    };
    format_count(count, one, many)
}
