//! `tmq export`: stacks and their memory for other viewers.

mod collapsed;
mod html;
mod pprof;
mod speedscope;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use futures::StreamExt;
use tmq_query::report::{GroupBy, Groups, Measure, Mode, Report};
use tmq_query::tracemalloc::DumpFor;
use tmq_query::{Moment, RecordingRef};

use super::top::at_moment;
use crate::args::FilterArgs;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::input::{self, RecordingArg};
use crate::output::Destination;
use crate::report::{Frame, Reader, wait};
use crate::ui::Ui;

/// Write stacks and their memory for another viewer
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq export --to html -o app.html                a flame graph in one file, for any browser
  tmq export --to collapsed | flamegraph.pl > app.svg
  tmq export --to speedscope -o app.json @end     open in speedscope.app
  tmq export --to pprof -o app.pb                 go tool pprof -http : app.pb
  tmq export --to tracemalloc -o app.pickle @end  tracemalloc.Snapshot.load(\"app.pickle\") in Python

For rows of a table use `tmq sql -o FILE`; the tables themselves are the Parquet files of the recording.")]
pub(crate) struct Export {
    #[command(flatten)]
    recording: RecordingArg,

    /// Format of the viewer
    #[arg(long, visible_alias = "format", value_enum, value_name = "FORMAT")]
    to: Viewer,

    /// Oldest Python that shall load the tracemalloc snapshot
    #[arg(long, value_enum, value_name = "VERSION", default_value_t)]
    python: Python,

    /// Count every block ever allocated, not only those live at the moment
    #[arg(long)]
    allocated: bool,

    /// Weigh collapsed stacks by blocks instead of bytes
    #[arg(long)]
    blocks: bool,

    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    filters: FilterArgs,
}

/// `--to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Viewer {
    // One page with a flame graph and the timeline.
    Html,
    // One line per stack: frames from outermost to most recent, then bytes.
    Collapsed,
    // JSON of speedscope.app.
    Speedscope,
    // The protocol buffer of pprof.
    Pprof,
    // A pickle for Snapshot.load of Python's tracemalloc: every block with its size, domain, files and lines.
    Tracemalloc,
}

/// `--python`. The layout of a trace changed twice, and a Python reads only its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Python {
    // With the depth of the whole stack.
    #[default]
    #[value(name = "3.9")]
    V39,
    // Up to 3.8: with domains.
    #[value(name = "3.6")]
    V36,
    // 3.4 and 3.5: without domains.
    #[value(name = "3.4")]
    V34,
}

/// What the numbers of a profile mean.
#[derive(Debug)]
struct Meaning {
    /// The recording, as the user named it.
    recording: String,
    /// Which blocks: `live at the peak`, `allocated in all`.
    title: String,
    /// Whether every block ever allocated is counted.
    allocated: bool,
    /// From the start of the recording to its end.
    duration_ns: i64,
    /// The moment, if there is one.
    moment_ns: Option<i64>,
}

/// A stack, most recent frame first, and the memory it accounts for.
#[derive(Debug)]
struct Stack {
    frames: Vec<Frame>,
    bytes: i64,
    blocks: i64,
}

impl Export {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        if self.blocks && self.to != Viewer::Collapsed {
            return Err(Error::usage("--blocks is for collapsed stacks: the other formats carry bytes and blocks"));
        }
        if self.to == Viewer::Tracemalloc && self.allocated {
            return Err(Error::usage("--allocated is not for tracemalloc: a snapshot has live blocks only"));
        }
        if self.to != Viewer::Tracemalloc && self.python != Python::default() {
            return Err(Error::usage("--python is for --to tracemalloc"));
        }
        let reference = self.recording.resolve(ui)?;
        let moment = input::moment_or(&reference, Moment::Peak);
        let engine = Engine::open(&reference)?;
        let meaning = self.meaning(&engine, &reference, &moment)?;
        let report = Report::Groups(Groups {
            recording: 0,
            measure: if self.allocated { Measure::Allocated } else { Measure::Live(moment.clone()) },
            group_by: GroupBy::Traceback,
            mode: Mode::MostRecent,
            filters: self.filters.filters()?,
            limit: None,
        });
        let mut out = self.open()?;
        let stacks = || stacks(&engine, &report, ui);
        match self.to {
            Viewer::Html => html::write(&stacks()?, &timeline(&engine, ui)?, &meaning, &mut out)?,
            Viewer::Collapsed => collapsed::write(&stacks()?, self.blocks, &mut out)?,
            Viewer::Speedscope => speedscope::write(&stacks()?, &meaning, &mut out)?,
            Viewer::Pprof => pprof::write(&stacks()?, &meaning, &mut out)?,
            Viewer::Tracemalloc => self.snapshot(&engine, &moment, &mut out, ui)?,
        }
        out.finish()
    }

    /// The destination; what is binary does not go to a terminal.
    fn open(&self) -> Result<Destination> {
        let out = Destination::new(self.output.as_deref())?;
        let (name, file) = match self.to {
            Viewer::Pprof => ("pprof", "app.pb"),
            Viewer::Tracemalloc => ("a pickle", "app.pickle"),
            Viewer::Html | Viewer::Collapsed | Viewer::Speedscope => return Ok(out),
        };
        if out.is_terminal() {
            return Err(Error::usage(format!("{name} is binary, a terminal cannot show it"))
                .hint(format!("write it to a file: -o {file}")));
        }
        Ok(out)
    }

    /// Writes the live blocks as Python's tracemalloc would.
    fn snapshot(&self, engine: &Engine, moment: &Moment, out: &mut Destination, ui: Ui) -> Result<()> {
        let filters = self.filters.filters()?;
        let snapshot = wait(engine, ui, engine.snapshot(moment, &filters))?;
        let python = match self.python {
            Python::V39 => DumpFor::Python39,
            Python::V36 => DumpFor::Python36,
            Python::V34 => DumpFor::Python34,
        };
        Ok(snapshot.dump_to(out, python)?)
    }

    fn meaning(&self, engine: &Engine, reference: &RecordingRef, moment: &Moment) -> Result<Meaning> {
        let info = engine.info()?;
        let moment_ns = match moment {
            _ if self.allocated => None,
            Moment::Start => Some(0),
            Moment::End => Some(info.duration_ns),
            Moment::Peak => Some(info.peak_ns),
            Moment::At(ns) => Some(*ns),
            Moment::Share(share) => Some((info.duration_ns as f64 * share) as i64),
            Moment::Mark(_) => None,
        };
        Ok(Meaning {
            recording: reference.path.display().to_string(),
            title: if self.allocated { "allocated in all".to_owned() } else { at_moment(moment) },
            allocated: self.allocated,
            duration_ns: info.duration_ns,
            moment_ns,
        })
    }
}

/// Every stack of a report.
fn stacks(engine: &Engine, report: &Report, ui: Ui) -> Result<Vec<Stack>> {
    wait(engine, ui, async {
        let mut rows = engine.report(report).await?;
        let mut stacks = Vec::new();
        while let Some(batch) = rows.next().await {
            decode(&batch?, &mut stacks)?;
        }
        Ok(stacks)
    })
}

/// Live bytes over time.
fn timeline(engine: &Engine, ui: Ui) -> Result<Vec<html::Point>> {
    let sql = "SELECT bin_ns, max_live_bytes FROM timeline ORDER BY bin_ns";
    let mut points = Vec::new();
    for batch in wait(engine, ui, async { engine.sql(sql).await?.collect().await })? {
        let reader = Reader::new(&batch);
        let (bin, bytes) = (reader.integers("bin_ns")?, reader.integers("max_live_bytes")?);
        points.extend((0..batch.num_rows()).filter_map(|row| Some((bin.get(row)?, bytes.get(row)?))));
    }
    Ok(points)
}

/// The frame with its line as a name where the function is not known, as in imported snapshots.
fn named(mut frame: Frame) -> Frame {
    if frame.lineno > 0 && frame.known_function().is_none() {
        frame.function = format!("{}:{}", frame.filename, frame.lineno);
    }
    frame
}

fn decode(batch: &arrow::record_batch::RecordBatch, stacks: &mut Vec<Stack>) -> Result<()> {
    let reader = Reader::new(batch);
    let (size, count) = (reader.integers("size")?, reader.integers("count")?);
    let traceback = reader.tracebacks("traceback")?;
    stacks.extend((0..batch.num_rows()).map(|row| Stack {
        frames: traceback.get(row).into_iter().map(named).collect(),
        bytes: size.get(row).unwrap_or(0),
        blocks: count.get(row).unwrap_or(0),
    }));
    Ok(())
}
