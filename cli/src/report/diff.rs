//! `diff` as text.

use std::fmt::Write;

use arrow::record_batch::RecordBatch;
use tmq_query::report::{Diff, GroupBy, Report};
use tmq_query::tracemalloc::format_size;

use super::groups::groups;
use super::rows::{Frame, Reader};
use super::source::Sources;
use super::{Title, columns, print, styles, thousands, wait, write_rows};

use crate::args::OutputArgs;
use crate::engine::Engine;
use crate::error::Result;
use crate::ui::{Styles, Ui};

/// A comparison, about to be shown.
pub(crate) struct DiffView<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) report: Diff,
    pub(crate) title: Title,
    pub(crate) ui: Ui,
}

/// How one group changed.
struct Change {
    label: String,
    filename: Option<String>,
    lineno: i64,
    size: i64,
    size_diff: i64,
    count: i64,
    count_diff: i64,
    average: Option<f64>,
    traceback: Vec<Frame>,
}

/// Sums over all groups.
#[derive(Default)]
struct Totals {
    groups: i64,
    size: i64,
    size_diff: i64,
}

impl DiffView<'_> {
    pub(crate) fn write(&self, output: &OutputArgs) -> Result<()> {
        let report = Report::Diff(self.report.clone());
        if let Some(format) = output.format() {
            let columns = columns::of_diff(format, self.report.group_by, 2);
            return write_rows(self.engine, &report, format, columns.as_deref(), output, self.ui);
        }
        let (changes, totals) = wait(self.engine, self.ui, async {
            let mut changes = Vec::new();
            for batch in self.engine.report(&report).await?.collect().await? {
                decode(&batch, &mut changes)?;
            }
            Ok((changes, self.totals().await?))
        })?;
        print(output, &self.text(&changes, &totals, styles(output, self.ui)))
    }

    async fn totals(&self) -> Result<Totals> {
        let inner = self.engine.report_sql(&Report::Diff(Diff { limit: None, ..self.report.clone() }))?;
        let inner = inner.trim_end().trim_end_matches(';');
        let sql = format!(
            "SELECT count(*) AS groups, sum(size) AS size, sum(size_diff) AS size_diff FROM (\n{inner}\n) AS report"
        );
        let mut totals = Totals::default();
        for batch in self.engine.sql(&sql).await?.collect().await? {
            let reader = Reader::new(&batch);
            let column =
                |name| reader.integers(name).map(|c| (0..batch.num_rows()).filter_map(|r| c.get(r)).sum::<i64>());
            totals.groups += column("groups")?;
            totals.size += column("size")?;
            totals.size_diff += column("size_diff")?;
        }
        Ok(totals)
    }

    fn text(&self, changes: &[Change], totals: &Totals, styles: Styles) -> String {
        let Title { recording, when } = &self.title;
        let mut text = String::new();
        let count = groups(changes.len() as i64, self.report.group_by);
        let head = if changes.len() as i64 == totals.groups { count } else { format!("Top {count}") };
        let _ = writeln!(text, "{} of {recording} {when}, largest change first", styles.bold(head));
        let mut sources = Sources::default();
        for (i, change) in changes.iter().enumerate() {
            let number = styles.bold(format_args!("#{}:", i + 1));
            let _ = writeln!(text, "{number} {}: {}", styles.cyan(&change.label), change.sizes(styles));
            if self.report.group_by == GroupBy::Traceback {
                super::traceback::frames(&mut text, &change.traceback, &mut sources, styles);
            } else if let Some(line) = change.filename.as_ref().and_then(|f| sources.line(f, change.lineno)) {
                let _ = writeln!(text, "    {}", styles.dim(line));
            }
        }
        let shown_diff: i64 = changes.iter().map(|c| c.size_diff).sum();
        let hidden = totals.groups - changes.len() as i64;
        if hidden > 0 {
            let rest = format_size((totals.size_diff - shown_diff) as f64, true);
            let _ = writeln!(text, "{} other: {rest}", thousands(hidden));
        }
        let (size, diff) = (format_size(totals.size as f64, false), format_size(totals.size_diff as f64, true));
        let _ = writeln!(text, "Total allocated size: {size} ({diff})");
        text
    }
}

impl Change {
    /// `size=5002 B (+5000 B), count=2 (+1), average=2501 B`.
    fn sizes(&self, styles: Styles) -> String {
        let size = format_size(self.size as f64, false);
        let diff = format_size(self.size_diff as f64, true);
        let diff = match self.size_diff {
            1.. => styles.red(diff),
            0 => diff,
            _ => styles.green(diff),
        };
        let mut text = format!("size={size} ({diff}), count={} ({:+})", self.count, self.count_diff);
        if let Some(average) = self.average {
            let _ = write!(text, ", average={}", format_size(average, false));
        }
        text
    }
}

fn decode(batch: &RecordBatch, changes: &mut Vec<Change>) -> Result<()> {
    let reader = Reader::new(batch);
    let (label, filename) = (reader.texts("label")?, reader.texts("filename")?);
    let (lineno, size, count) = (reader.integers("lineno")?, reader.integers("size")?, reader.integers("count")?);
    let (size_diff, count_diff) = (reader.integers("size_diff")?, reader.integers("count_diff")?);
    let average = reader.floats("average")?;
    let traceback = reader.tracebacks("traceback")?;
    changes.extend((0..batch.num_rows()).map(|row| Change {
        label: label.get(row).unwrap_or_default(),
        filename: filename.get(row),
        lineno: lineno.get(row).unwrap_or(0),
        size: size.get(row).unwrap_or(0),
        size_diff: size_diff.get(row).unwrap_or(0),
        count: count.get(row).unwrap_or(0),
        count_diff: count_diff.get(row).unwrap_or(0),
        average: average.get(row),
        traceback: traceback.get(row),
    }));
    Ok(())
}
