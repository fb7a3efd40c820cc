//! Reports as people and programs read them: text in the manner of `tracemalloc`, JSON with fixed keys, and every other
//! format as the rows of the query.

mod address;
mod columns;
mod diff;
mod groups;
mod rows;
mod sides;
mod source;
mod traceback;

use std::future::Future;
use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt};
use tmq_query::report::Report;

use crate::args::OutputArgs;
use crate::engine::Engine;
use crate::error::Result;
use crate::output::{self, Destination, Format};
use crate::progress::patiently;
use crate::ui::{Styles, Ui};

pub(crate) use address::AddressView;
pub(crate) use diff::DiffView;
pub(crate) use groups::GroupsReport;
pub(crate) use rows::{Frame, Reader};
pub(crate) use sides::SidesView;
pub(crate) use traceback::{Shape, TracebackView};

/// What a report is about, for its first line.
#[derive(Debug)]
pub(crate) struct Title {
    /// The recording, as the user named it.
    pub(crate) recording: String,
    /// Which blocks: `live at the peak`, `never freed`, ...
    pub(crate) when: String,
}

/// A time since the start of a recording, for people.
pub(crate) fn format_time(ns: i64) -> String {
    let seconds = ns as f64 / 1e9;
    match ns.unsigned_abs() {
        0..1_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        1_000_000_000..120_000_000_000 => format!("{seconds:.3} s"),
        _ => format!("{}:{:02}:{:02}", ns / 3_600_000_000_000, ns / 60_000_000_000 % 60, ns / 1_000_000_000 % 60),
    }
}

/// `12 blocks`, `1 block`, with thousands apart.
pub(crate) fn format_count(count: i64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

/// A number with thousands apart: `1,234,567`.
pub(crate) fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// For results of which every column is shown.
pub(crate) const ALL_COLUMNS: Option<&[&str]> = None;

/// Writes rows as they come, in a format that is not a report's own text.
pub(crate) async fn stream(
    schema: SchemaRef,
    mut rows: impl Stream<Item = Result<RecordBatch, tmq_query::Error>> + Unpin,
    format: Format,
    out: &mut Destination,
    columns: Option<&[impl AsRef<str>]>,
    ui: Ui,
) -> Result<output::Written> {
    let keep: Option<Vec<usize>> =
        columns.map(|names| names.iter().filter_map(|name| schema.index_of(name.as_ref()).ok()).collect());
    let project = |batch: RecordBatch| match &keep {
        Some(keep) => batch.project(keep),
        None => Ok(batch),
    };
    let schema = match &keep {
        Some(keep) => schema.project(keep)?,
        None => schema.as_ref().clone(),
    };
    // Once rows come, the result itself shows that work goes on.
    let first = patiently(ui, "running the query", rows.next()).await.transpose()?;
    let mut writer = output::open(format, out, &schema, ui)?;
    let mut next = first;
    while let Some(batch) = next {
        writer.write(&project(batch)?)?;
        next = rows.next().await.transpose()?;
    }
    writer.finish()
}

/// Writes a report as rows.
fn write_rows(
    engine: &Engine,
    report: &Report,
    format: Format,
    columns: Option<&[impl AsRef<str>]>,
    output: &OutputArgs,
    ui: Ui,
) -> Result<()> {
    let mut out = output.open()?;
    engine.block_on(async {
        let rows = engine.report(report).await?;
        stream(rows.schema(), rows, format, &mut out, columns, ui).await
    })?;
    out.finish()
}

/// Waits for what a report's own text is made of.
pub(crate) fn wait<T>(engine: &Engine, ui: Ui, question: impl Future<Output = Result<T>>) -> Result<T> {
    engine.block_on(patiently(ui, "running the query", question))
}

/// How a report's own text looks: plain in a file.
fn styles(output: &OutputArgs, ui: Ui) -> Styles {
    if output.output.is_some() { Styles::PLAIN } else { ui.out() }
}

/// Writes a report's own text.
fn print(output: &OutputArgs, text: &str) -> Result<()> {
    let mut out = output.open()?;
    out.write_all(text.as_bytes())?;
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_for_people() {
        assert_eq!(format_time(1_500), "1.5 us");
        assert_eq!(format_time(12_300_000), "12.3 ms");
        assert_eq!(format_time(1_234_567_890), "1.235 s");
        assert_eq!(format_time(7_322_000_000_000), "2:02:02");
        assert_eq!(format_count(1, "block", "blocks"), "1 block");
        assert_eq!(format_count(1_234_567, "block", "blocks"), "1,234,567 blocks");
        assert_eq!(thousands(-1000), "-1,000");
        assert_eq!(thousands(0), "0");
    }
}
