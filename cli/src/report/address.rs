//! `addr` as text: one entry per block that contained the address.

use std::fmt::Write;

use arrow::record_batch::RecordBatch;
use tmq_query::Moment;
use tmq_query::report::Report;

use super::rows::Reader;
use super::source::Sources;
use super::{ALL_COLUMNS, format_time, print, styles, thousands, wait, write_rows};
use crate::args::OutputArgs;
use crate::engine::Engine;
use crate::error::Result;
use crate::ui::{Styles, Ui};

/// The history of an address, about to be shown.
pub(crate) struct AddressView<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) report: Report,
    pub(crate) address: u64,
    pub(crate) moment: Option<Moment>,
    pub(crate) ui: Ui,
}

impl AddressView<'_> {
    pub(crate) fn write(&self, output: &OutputArgs) -> Result<()> {
        if let Some(format) = output.format() {
            return write_rows(self.engine, &self.report, format, ALL_COLUMNS, output, self.ui);
        }
        let batches = wait(self.engine, self.ui, async { self.engine.report(&self.report).await?.collect().await })?;
        let styles = styles(output, self.ui);
        let mut text = String::new();
        let mut sources = Sources::default();
        for batch in &batches {
            self.blocks(batch, &mut text, &mut sources, styles)?;
        }
        if text.is_empty() {
            let _ = writeln!(text, "No recorded block contained {:#x}", self.address);
        }
        print(output, &text)
    }

    fn blocks(&self, batch: &RecordBatch, text: &mut String, sources: &mut Sources, styles: Styles) -> Result<()> {
        let reader = Reader::new(batch);
        let (state, kind, thread) = (reader.texts("state")?, reader.texts("kind")?, reader.texts("thread")?);
        let (address, offset, size) =
            (reader.integers("address")?, reader.integers("offset")?, reader.integers("size")?);
        let (pid, alloc_ns, free_ns) =
            (reader.integers("pid")?, reader.integers("alloc_ns")?, reader.integers("free_ns")?);
        let (traceback, free_traceback) = (reader.tracebacks("traceback")?, reader.tracebacks("free_traceback")?);
        for row in 0..batch.num_rows() {
            let inside = match offset.get(row).unwrap_or(0) {
                0 => String::new(),
                offset => format!(", {offset} bytes before {:#x}", self.address),
            };
            let start = address.get(row).unwrap_or(0);
            let bytes = thousands(size.get(row).unwrap_or(0));
            let _ = writeln!(text, "{}", styles.bold(format_args!("block of {bytes} bytes at {start:#x}{inside}")));
            let by = |time: i64| {
                let thread =
                    thread.get(row).filter(|t| !t.is_empty()).map_or(String::new(), |t| format!(", thread {t}"));
                format!("at {} in process {}{thread}", format_time(time), pid.get(row).unwrap_or(0))
            };
            let kind = kind.get(row).unwrap_or_default();
            let _ = writeln!(text, "  allocated by {kind} {}", by(alloc_ns.get(row).unwrap_or(0)));
            super::traceback::frames(text, &traceback.get(row), sources, styles);
            match free_ns.get(row) {
                Some(time) => {
                    let _ = writeln!(text, "  freed at {}", format_time(time));
                    super::traceback::frames(text, &free_traceback.get(row), sources, styles);
                }
                None => {
                    let _ = writeln!(text, "  never freed");
                }
            }
            if let (Some(moment), Some(state)) = (&self.moment, state.get(row)) {
                let state = if state == "later" { "not yet allocated" } else { &state };
                let _ = writeln!(text, "  at @{moment}: {state}");
            }
        }
        Ok(())
    }
}
