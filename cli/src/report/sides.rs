//! `diff` of more than two moments as text: a column for each, and how the size went.

use std::fmt::Write;

use arrow::record_batch::RecordBatch;
use tmq_query::report::{Diff, GroupBy, Report};
use tmq_query::tracemalloc::format_size;

use super::groups::groups;
use super::rows::{Frame, Reader};
use super::source::Sources;
use super::{columns, print, styles, thousands, wait, write_rows};
use crate::args::OutputArgs;
use crate::engine::Engine;
use crate::error::Result;
use crate::ui::{Styles, Ui};

/// Wide enough for every size: `10239 KiB`.
const MIN_WIDTH: usize = 9;

/// A comparison of several moments, about to be shown.
pub(crate) struct SidesView<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) report: Diff,
    /// Names of the sides.
    pub(crate) headings: Vec<String>,
    pub(crate) ui: Ui,
}

/// One group at every moment.
struct Row {
    label: String,
    filename: Option<String>,
    lineno: i64,
    sizes: Vec<i64>,
    trend: String,
    traceback: Vec<Frame>,
}

/// Sums over all groups.
struct Totals {
    groups: i64,
    sizes: Vec<i64>,
}

impl SidesView<'_> {
    pub(crate) fn write(&self, output: &OutputArgs) -> Result<()> {
        let report = Report::Diff(self.report.clone());
        if let Some(format) = output.format() {
            let columns = columns::of_diff(format, self.report.group_by, self.headings.len());
            return write_rows(self.engine, &report, format, columns.as_deref(), output, self.ui);
        }
        let (rows, totals) = wait(self.engine, self.ui, async {
            let mut rows = Vec::new();
            for batch in self.engine.report(&report).await?.collect().await? {
                self.decode(&batch, &mut rows)?;
            }
            Ok((rows, self.totals().await?))
        })?;
        print(output, &self.text(&rows, &totals, styles(output, self.ui)))
    }

    fn decode(&self, batch: &RecordBatch, rows: &mut Vec<Row>) -> Result<()> {
        let reader = Reader::new(batch);
        let (label, filename, lineno) = (reader.texts("label")?, reader.texts("filename")?, reader.integers("lineno")?);
        let sizes = (1..=self.headings.len())
            .map(|side| reader.integers(&format!("size_{side}")))
            .collect::<Result<Vec<_>>>()?;
        let (trend, traceback) = (reader.texts("trend")?, reader.tracebacks("traceback")?);
        rows.extend((0..batch.num_rows()).map(|row| Row {
            label: label.get(row).unwrap_or_default(),
            filename: filename.get(row),
            lineno: lineno.get(row).unwrap_or(0),
            sizes: sizes.iter().map(|side| side.get(row).unwrap_or(0)).collect(),
            trend: trend.get(row).unwrap_or_default(),
            traceback: traceback.get(row),
        }));
        Ok(())
    }

    async fn totals(&self) -> Result<Totals> {
        let inner = self.engine.report_sql(&Report::Diff(Diff { limit: None, ..self.report.clone() }))?;
        let sums: String = (1..=self.headings.len()).map(|side| format!(", sum(size_{side}) AS size_{side}")).collect();
        let sql = format!("SELECT count(*) AS groups{sums} FROM (\n{}\n) AS report", inner.trim_end());
        let mut totals = Totals { groups: 0, sizes: vec![0; self.headings.len()] };
        for batch in self.engine.sql(&sql).await?.collect().await? {
            let reader = Reader::new(&batch);
            totals.groups += reader.integers("groups")?.get(0).unwrap_or(0);
            for (side, total) in totals.sizes.iter_mut().enumerate() {
                *total += reader.integers(&format!("size_{}", side + 1))?.get(0).unwrap_or(0);
            }
        }
        Ok(totals)
    }

    fn text(&self, rows: &[Row], totals: &Totals, styles: Styles) -> String {
        let mut text = String::new();
        let count = groups(rows.len() as i64, self.report.group_by);
        let head = if rows.len() as i64 == totals.groups { count } else { format!("Top {count}") };
        let _ = writeln!(text, "{} at {} moments, largest change first", styles.bold(head), self.headings.len());
        let headings = self.headings.iter().map(String::as_str).chain(["change"]);
        let widths: Vec<usize> = headings.clone().map(|h| h.chars().count().max(MIN_WIDTH)).collect();
        let cells: String = headings.zip(&widths).map(|(heading, width)| format!("  {heading:>width$}")).collect();
        let _ = writeln!(text, "{cells}  trend");
        let mut sources = Sources::default();
        for (i, row) in rows.iter().enumerate() {
            let number = styles.bold(format_args!("#{}:", i + 1));
            let cells = cells_of(&row.sizes, &widths, styles);
            let _ = writeln!(text, "{cells}  {:7}  {number} {}", row.trend, styles.cyan(&row.label));
            if self.report.group_by == GroupBy::Traceback {
                super::traceback::frames(&mut text, &row.traceback, &mut sources, styles);
            } else if let Some(line) = row.filename.as_ref().and_then(|f| sources.line(f, row.lineno)) {
                let _ = writeln!(text, "    {}", styles.dim(line));
            }
        }
        let hidden = totals.groups - rows.len() as i64;
        if hidden > 0 {
            let shown = |side: usize| rows.iter().map(|row| row.sizes[side]).sum::<i64>();
            let rest: Vec<i64> = totals.sizes.iter().enumerate().map(|(side, total)| total - shown(side)).collect();
            let _ = writeln!(text, "{}           {} other", cells_of(&rest, &widths, styles), thousands(hidden));
        }
        let _ = writeln!(text, "{}           Total allocated size", cells_of(&totals.sizes, &widths, styles));
        text
    }
}

/// The sizes and the change from the first to the last, each below its heading.
fn cells_of(sizes: &[i64], widths: &[usize], styles: Styles) -> String {
    let change = sizes.last().unwrap_or(&0) - sizes.first().unwrap_or(&0);
    let sized = sizes.iter().map(|size| format_size(*size as f64, false));
    let mut cells: String = sized.zip(widths).map(|(size, width)| format!("  {size:>width$}")).collect();
    let width = widths.last().copied().unwrap_or(MIN_WIDTH);
    let text = format!("  {:>width$}", format_size(change as f64, true));
    cells.push_str(&match change {
        1.. => styles.red(text),
        0 => text,
        _ => styles.green(text),
    });
    cells
}
