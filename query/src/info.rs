//! What one recording contains, in numbers.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use serde::Serialize;
use tmq_store::schema::{LOSSES, MOMENTS, PROCESSES, STACKS, THREADS};

use crate::Error;
use crate::recording::{Opened, integers, texts};

/// Totals of one recording. Heap only: anonymous memory maps are not counted. Under sampling, blocks and bytes are
/// estimates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Info {
    /// Name of the recording in SQL.
    pub recording: String,
    /// Directory of the recording.
    pub path: String,
    /// Command line of the first process.
    pub command: Vec<String>,
    /// Process images.
    pub processes: i64,
    /// Threads.
    pub threads: i64,
    /// Allocations.
    pub allocations: i64,
    /// Frees of blocks whose allocation was recorded.
    pub frees: i64,
    /// Bytes of all allocations.
    pub bytes_allocated: i64,
    /// Blocks never freed, each process at its own end.
    pub live_blocks: i64,
    /// Their bytes.
    pub live_bytes: i64,
    /// Most bytes live at one time, all processes together.
    pub peak_bytes: i64,
    /// Blocks live just then.
    pub peak_blocks: i64,
    /// When that was.
    pub peak_ns: i64,
    /// Events that were not recorded; the table `losses` says why.
    pub lost_events: i64,
    /// From the start of the recording to its end.
    pub duration_ns: i64,
    /// Bytes between samples on average; 0: every allocation was recorded.
    pub sampling_interval: i64,
    /// Distinct stacks.
    pub stacks: i64,
    /// Bytes on disk.
    pub size_on_disk: i64,
    /// Everything in the table `metadata`.
    pub metadata: BTreeMap<String, String>,
    /// Each process image.
    pub process_list: Vec<ProcessInfo>,
}

/// One process image of a recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessInfo {
    /// Process id in the operating system.
    pub pid: i32,
    /// Path of the executable.
    pub exe: String,
    /// Command line.
    pub argv: Vec<String>,
    /// When recording of it began.
    pub start_ns: i64,
    /// When it ended; none: it was still running.
    pub end_ns: Option<i64>,
    /// Exit status, if known.
    pub exit_code: Option<i32>,
    /// Signal that ended it, if known.
    pub exit_signal: Option<i32>,
    /// Allocations.
    pub allocations: i64,
    /// Bytes of all allocations.
    pub bytes_allocated: i64,
    /// Most bytes live at one time in this process.
    pub peak_bytes: i64,
    /// Blocks live at its end.
    pub live_blocks: i64,
    /// Their bytes.
    pub live_bytes: i64,
}

impl Info {
    /// Reads it from the small tables of a recording.
    pub(crate) fn read(recording: &Opened) -> Result<Self, Error> {
        let mut processes = Vec::new();
        let mut frees = 0;
        for batch in recording.read(&PROCESSES)? {
            frees += integers(&batch, "frees")?.into_iter().flatten().sum::<i64>();
            processes.extend(process_list(&batch)?);
        }
        // `losses` also counts stacks and processes; the store knows which of its rows are events.
        let lost = match recording.metadata.get("lost_events").and_then(|text| text.parse().ok()) {
            Some(lost) => lost,
            None => {
                let mut lost = 0;
                for batch in recording.read(&LOSSES)? {
                    lost += integers(&batch, "count")?.into_iter().flatten().sum::<i64>();
                }
                lost
            }
        };
        let peak = Peak::read(recording)?;
        let rows = |table| i64::try_from(recording.recording.rows(table)).unwrap_or(i64::MAX);
        let sum = |of: fn(&ProcessInfo) -> i64| processes.iter().map(of).sum();
        let metadata = recording.metadata.clone();
        Ok(Self {
            recording: recording.name.clone(),
            path: recording.recording.path().display().to_string(),
            command: recording.recording.manifest().command.clone(),
            processes: rows(&PROCESSES),
            threads: rows(&THREADS),
            allocations: sum(|p| p.allocations),
            frees,
            bytes_allocated: sum(|p| p.bytes_allocated),
            live_blocks: sum(|p| p.live_blocks),
            live_bytes: sum(|p| p.live_bytes),
            peak_bytes: peak.bytes,
            peak_blocks: peak.blocks,
            peak_ns: peak.at_ns,
            lost_events: lost,
            duration_ns: recording.at_ns(&crate::Moment::End)? - recording.at_ns(&crate::Moment::Start)?,
            sampling_interval: metadata.get("sample_interval").and_then(|v| v.parse().ok()).unwrap_or(0),
            stacks: rows(&STACKS),
            size_on_disk: i64::try_from(recording.recording.size_on_disk()).unwrap_or(i64::MAX),
            metadata,
            process_list: processes,
        })
    }
}

/// The row of `moments` for the peak.
#[derive(Default)]
struct Peak {
    at_ns: i64,
    bytes: i64,
    blocks: i64,
}

impl Peak {
    fn read(recording: &Opened) -> Result<Self, Error> {
        for batch in recording.read(&MOMENTS)? {
            if let Some(row) = texts(&batch, "kind")?.iter().position(|kind| kind == "peak") {
                let value = |column| Ok::<_, Error>(integers(&batch, column)?[row].unwrap_or(0));
                return Ok(Self { at_ns: value("at_ns")?, bytes: value("live_bytes")?, blocks: value("live_blocks")? });
            }
        }
        Ok(Self::default())
    }
}

fn process_list(batch: &RecordBatch) -> Result<Vec<ProcessInfo>, Error> {
    let required = |column| Ok::<_, Error>(integers(batch, column)?.into_iter().map(Option::unwrap_or_default));
    let small = |v: i64| i32::try_from(v).unwrap_or(-1);
    let optional = |column| Ok::<_, Error>(integers(batch, column)?.into_iter().map(move |v| v.map(small)));
    let exe = texts(batch, "exe")?;
    let argv = argv(batch);
    let (mut pid, mut start) = (required("pid")?, required("start_ns")?);
    let (mut code, mut signal) = (optional("exit_code")?, optional("exit_signal")?);
    let (mut allocations, mut bytes) = (required("allocations")?, required("bytes_allocated")?);
    let (mut peak, mut blocks, mut live) = (required("peak_bytes")?, required("live_blocks")?, required("live_bytes")?);
    let ends = integers(batch, "end_ns")?;
    let rows = exe.into_iter().zip(argv).zip(ends);
    Ok(rows
        .map(|((exe, argv), end_ns)| ProcessInfo {
            pid: small(pid.next().unwrap_or(-1)),
            exe,
            argv,
            start_ns: start.next().unwrap_or(0),
            end_ns,
            exit_code: code.next().flatten(),
            exit_signal: signal.next().flatten(),
            allocations: allocations.next().unwrap_or(0),
            bytes_allocated: bytes.next().unwrap_or(0),
            peak_bytes: peak.next().unwrap_or(0),
            live_blocks: blocks.next().unwrap_or(0),
            live_bytes: live.next().unwrap_or(0),
        })
        .collect())
}

/// The command line of each process; empty where the table has none.
fn argv(batch: &RecordBatch) -> Vec<Vec<String>> {
    let lists = batch.column_by_name("argv").and_then(|c| c.as_list_opt::<i32>());
    (0..batch.num_rows())
        .map(|row| {
            let words = lists.filter(|l| l.is_valid(row)).map(|l| l.value(row));
            let words = words.as_ref().and_then(|w| w.as_string_opt::<i32>());
            words.map(|w| w.iter().flatten().map(str::to_owned).collect()).unwrap_or_default()
        })
        .collect()
}
