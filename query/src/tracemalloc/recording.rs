//! Snapshots as recordings, and moments of recordings as snapshots.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{Int32Type, Int64Type};
use tmq_store::schema::{
    AllocationsColumns, AllocationsRow, CallsitesColumns, CallsitesRow, FramesColumns, FramesRow, MomentsColumns,
    MomentsRow, PeakColumns, PeakRow, ProcessesColumns, ProcessesRow, StackFramesColumns, StackFramesRow,
    StackStatsColumns, StackStatsRow, StacksColumns, StacksRow, ThreadsColumns, ThreadsRow, TimelineColumns,
    TimelineRow,
};
use tmq_store::write::RecordingBuilder;

use super::{Frame, Snapshot, Trace, Traceback, UNKNOWN};
use crate::recording::SOURCE_TRACEMALLOC;
use crate::report::{Filters, moment_sql};
use crate::{Error, Moment, Session};

/// Rows per part of `allocations`.
const PART_ROWS: usize = 1 << 20;
/// Sums are 64-bit floats, which are exact up to here.
const MAX_BYTES: i128 = 1 << 53;
/// Address of blocks whose address is not known: no block can be there.
const NO_ADDRESS: i64 = -1;

impl Snapshot {
    /// Writes a recording in which these blocks are live from start to end. Every domain counts in reports on it.
    ///
    /// ```no_run
    /// use tmq_query::tracemalloc::Snapshot;
    /// use tmq_query::{RecordingRef, Session};
    ///
    /// # async fn example() -> Result<(), tmq_query::Error> {
    /// Snapshot::load("snapshot.pickle")?.write_recording("snapshot.tmq")?;
    /// let session = Session::open(&[RecordingRef::new("snapshot.tmq")])?;
    /// let rows = session.sql("SELECT * FROM statistics('lineno', cumulative => true) LIMIT 10").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The sizes add up to more than 2^53 bytes, beyond which reports would not be exact; or the directory exists and is
    /// not empty, or cannot be written. Nothing of it stays then.
    pub fn write_recording(&self, dir: impl AsRef<Path>) -> Result<(), Error> {
        if self.traces.iter().map(|trace| i128::from(trace.size)).sum::<i128>() > MAX_BYTES {
            return Err(Error::Report(
                "the sizes add up to more than 2^53 bytes: such sums would not be exact".to_owned(),
            ));
        }
        let builder = RecordingBuilder::create(&dir, vec!["python".to_owned()])?;
        self.write_tables(builder).inspect_err(|_| {
            // The first failure is the one to report.
            let _ = std::fs::remove_dir_all(dir.as_ref());
        })
    }

    fn write_tables(&self, mut builder: RecordingBuilder) -> Result<(), Error> {
        let mut tables = Tables::default();
        for part in self.traces.chunks(PART_ROWS) {
            let mut rows = AllocationsColumns::default();
            for trace in part {
                tables.add(trace, &mut rows);
            }
            builder.write(&mut rows)?;
        }
        tables.finish();
        builder.write(&mut tables.frames)?;
        builder.write(&mut tables.stacks)?;
        builder.write(&mut tables.stack_frames)?;
        builder.write(&mut tables.callsites)?;
        builder.write(&mut tables.stats)?;
        builder.write(&mut tables.peak)?;
        self.write_run(&mut builder, &tables)?;
        let facts = [
            ("source", SOURCE_TRACEMALLOC.to_owned()),
            ("max_depth", self.traceback_limit.to_string()),
            ("sample_interval", "0".to_owned()),
            ("bin_width_ns", "1".to_owned()),
        ];
        Ok(builder.seal(facts.map(|(key, value)| (key.to_owned(), value)))?)
    }

    /// The one process, its thread, its moments and its timeline.
    fn write_run(&self, builder: &mut RecordingBuilder, tables: &Tables) -> Result<(), Error> {
        let blocks = i64::try_from(self.traces.len()).unwrap_or(i64::MAX);
        let bytes = tables.bytes;
        let mut processes = ProcessesColumns::default();
        processes.push(ProcessesRow {
            process_id: 0,
            pid: 0,
            ppid: 0,
            parent_process_id: None,
            origin: "start",
            exe: "python".to_owned(),
            argv: vec!["python".to_owned()],
            start_ns: 0,
            end_ns: None,
            exit_code: None,
            exit_signal: None,
            allocations: blocks,
            frees: 0,
            bytes_allocated: bytes,
            peak_bytes: bytes,
            peak_ns: 0,
            live_blocks: blocks,
            live_bytes: bytes,
            foreign_frees: 0,
            recorder_bytes: 0,
        });
        builder.write(&mut processes)?;
        let mut threads = ThreadsColumns::default();
        threads.push(ThreadsRow {
            thread_id: 0,
            process_id: 0,
            tid: 0,
            name: UNKNOWN.to_owned(),
            start_ns: 0,
            end_ns: 0,
        });
        builder.write(&mut threads)?;
        let mut moments = MomentsColumns::default();
        for (name, live_bytes, live_blocks) in [("start", 0, 0), ("peak", bytes, blocks), ("end", bytes, blocks)] {
            let row =
                MomentsRow { name: name.to_owned(), kind: name, at_ns: 0, process_id: None, live_bytes, live_blocks };
            moments.push(row);
        }
        builder.write(&mut moments)?;
        let mut timeline = TimelineColumns::default();
        timeline.push(TimelineRow {
            bin_ns: 0,
            live_bytes: bytes,
            live_blocks: blocks,
            max_live_bytes: bytes,
            allocated_bytes: bytes,
            allocated_blocks: blocks,
            freed_bytes: 0,
            freed_blocks: 0,
            rss_bytes: None,
        });
        Ok(builder.write(&mut timeline)?)
    }
}

/// The tables of a snapshot, as they grow.
#[derive(Default)]
struct Tables {
    frames: FramesColumns,
    stacks: StacksColumns,
    stack_frames: StackFramesColumns,
    callsites: CallsitesColumns,
    stats: StackStatsColumns,
    peak: PeakColumns,
    frame_ids: HashMap<Frame, i32>,
    stack_ids: HashMap<Traceback, i32>,
    callsite_ids: HashMap<(Option<i32>, i32), i32>,
    /// (stack, domain) → (blocks, bytes, smallest, largest)
    sums: BTreeMap<(i32, i32), (f64, f64, i64, i64)>,
    bytes: i64,
}

impl Tables {
    fn add(&mut self, trace: &Trace, rows: &mut AllocationsColumns) {
        let stack_id = self.stack(&trace.traceback);
        let sum = self.sums.entry((stack_id, trace.domain)).or_insert((0.0, 0.0, i64::MAX, 0));
        *sum = (sum.0 + 1.0, sum.1 + trace.size as f64, sum.2.min(trace.size), sum.3.max(trace.size));
        self.bytes = self.bytes.saturating_add(trace.size);
        rows.push(AllocationsRow {
            process_id: 0,
            thread_id: 0,
            alloc_ns: 0,
            free_ns: None,
            free_thread_id: None,
            address: NO_ADDRESS,
            size: trace.size,
            stack_id,
            free_stack_id: None,
            kind: "malloc",
            domain: trace.domain,
            weight: 1.0,
        });
    }

    fn stack(&mut self, traceback: &Traceback) -> i32 {
        if let Some(id) = self.stack_ids.get(traceback) {
            return *id;
        }
        let id = self.stack_ids.len() as i32;
        // A traceback without frames is one with an unknown frame.
        let unknown = [Frame::unknown()];
        let frames = if traceback.frames().is_empty() { &unknown } else { traceback.frames() };
        let ids: Vec<i32> = frames.iter().map(|f| self.frame(f)).collect();
        let mut parent = None;
        for (depth, frame_id) in ids.iter().rev().enumerate() {
            parent = Some(self.callsite(parent, *frame_id, depth as i32));
        }
        for (position, frame) in frames.iter().enumerate() {
            let earlier = &frames[..position];
            let first_file = !earlier.iter().any(|f| f.filename == frame.filename);
            self.stack_frames.push(StackFramesRow {
                stack_id: id,
                position: position as i32,
                frame_id: ids[position],
                is_first_line: !earlier.contains(frame),
                is_first_function: position == 0,
                is_first_file: first_file,
                is_first_module: position == 0,
            });
        }
        let complete = traceback.total_nframe.is_none_or(|total| total as usize <= frames.len());
        self.stacks.push(StacksRow {
            stack_id: id,
            stack_hash: hash(frames.iter().flat_map(|f| f.filename.bytes().chain(f.lineno.to_le_bytes()))),
            callsite_id: parent.unwrap_or(-1),
            depth: ids.len() as i32,
            leaf_frame_id: ids[0],
            user_leaf_frame_id: ids[0],
            frames: ids,
            quality: if complete { "complete" } else { "truncated" },
        });
        self.stack_ids.insert(traceback.clone(), id);
        id
    }

    fn frame(&mut self, frame: &Frame) -> i32 {
        if let Some(id) = self.frame_ids.get(frame) {
            return *id;
        }
        let id = self.frame_ids.len() as i32;
        self.frames.push(FramesRow {
            frame_id: id,
            frame_hash: hash(frame.filename.bytes().chain(frame.lineno.to_le_bytes())),
            function: "??".to_owned(),
            raw_symbol: None,
            file: frame.filename.to_string(),
            line: frame.lineno,
            column: 0,
            module_id: -1,
            offset: 0,
            is_inline: false,
            is_plumbing: false,
        });
        self.frame_ids.insert(frame.clone(), id);
        id
    }

    fn callsite(&mut self, parent_id: Option<i32>, frame_id: i32, depth: i32) -> i32 {
        let next = self.callsite_ids.len() as i32;
        *self.callsite_ids.entry((parent_id, frame_id)).or_insert_with(|| {
            self.callsites.push(CallsitesRow { callsite_id: next, parent_id, frame_id, depth });
            next
        })
    }

    /// The sums per stack.
    fn finish(&mut self) {
        let mut peak: BTreeMap<i32, (f64, f64)> = BTreeMap::new();
        for ((stack_id, domain), (blocks, bytes, size_min, size_max)) in std::mem::take(&mut self.sums) {
            let sum = peak.entry(stack_id).or_default();
            *sum = (sum.0 + blocks, sum.1 + bytes);
            self.stats.push(StackStatsRow {
                stack_id,
                process_id: 0,
                domain,
                allocated_blocks: blocks,
                allocated_bytes: bytes,
                live_blocks: blocks,
                live_bytes: bytes,
                peak_blocks: blocks,
                peak_bytes: bytes,
                temporary_blocks: 0.0,
                temporary_bytes: 0.0,
                lifetime_sum_ns: 0.0,
                lifetime_min_ns: None,
                lifetime_max_ns: None,
                size_min,
                size_max,
                first_ns: 0,
                last_ns: 0,
                allocated_blocks_variance: 0.0,
                allocated_bytes_variance: 0.0,
            });
        }
        for (stack_id, (blocks, bytes)) in peak {
            self.peak.push(PeakRow { stack_id, process_id: 0, blocks, bytes });
        }
    }
}

/// FNV-1a, equal on every machine.
fn hash(bytes: impl Iterator<Item = u8>) -> i64 {
    bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)).cast_signed()
}

impl Session {
    /// The blocks live at a moment of a recording that the filters keep: without a filter on domains those of the heap,
    /// of an imported recording those of every domain. Under sampling, equal blocks (stack, domain and size) stand as
    /// often as their weights say together, rounded.
    ///
    /// ```no_run
    /// use tmq_query::report::Filters;
    /// use tmq_query::tracemalloc::KeyType;
    /// use tmq_query::{Moment, RecordingRef, Session};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let session = Session::open(&[RecordingRef::parse("app.tmq")?])?;
    /// let before = session.snapshot(0, &Moment::Share(0.5), &Filters::default()).await?;
    /// let after = session.snapshot(0, &Moment::End, &Filters::default()).await?;
    /// for change in after.compare_to(&before, KeyType::Lineno, false)?.iter().take(10) {
    ///     println!("{change}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The moment is not known, or the query fails.
    pub async fn snapshot(&self, recording: usize, moment: &Moment, filters: &Filters) -> Result<Snapshot, Error> {
        let opened = self.opened(recording)?;
        let limit = opened.metadata.get("max_depth").and_then(|v| v.parse().ok()).filter(|limit| *limit > 0);
        let (stacks_sql, blocks_sql) = moment_sql(self.all(), recording, moment, filters)?;
        let mut tracebacks: HashMap<i32, Traceback> = HashMap::new();
        let mut deepest = 0;
        for batch in self.sql(&stacks_sql).await?.collect().await? {
            let ids = batch.column(0).as_primitive::<Int32Type>();
            let frames = batch.column(1).as_list::<i32>();
            let whole = batch.column(2).as_boolean();
            for (row, id) in ids.values().iter().enumerate() {
                let traceback = traceback(frames.value(row).as_ref(), whole.value(row));
                deepest = deepest.max(traceback.frames().len());
                tracebacks.insert(*id, traceback);
            }
        }
        let mut snapshot = Snapshot::new(Vec::new(), limit.unwrap_or(deepest.max(1) as u32));
        for batch in self.sql(&blocks_sql).await?.collect().await? {
            let stacks = batch.column(0).as_primitive::<Int32Type>();
            let domains = batch.column(1).as_primitive::<Int32Type>();
            let sizes = batch.column(2).as_primitive::<Int64Type>();
            let counts = batch.column(3).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let traceback = tracebacks.get(&stacks.value(row)).cloned();
                let traceback = traceback.unwrap_or_else(|| Traceback::new(vec![Frame::unknown()]));
                let trace = Trace { domain: domains.value(row), size: sizes.value(row), traceback };
                let count = usize::try_from(counts.value(row)).unwrap_or(0);
                snapshot.traces.extend(std::iter::repeat_n(trace, count));
            }
        }
        Ok(snapshot)
    }
}

/// A list of {filename, lineno} as a traceback; how deep the stack was is known if it is there as a whole.
fn traceback(frames: &dyn Array, whole: bool) -> Traceback {
    let frames = frames.as_struct();
    let files = frames.column(0).as_string_view();
    let lines = frames.column(1).as_primitive::<Int32Type>();
    let frames: Vec<Frame> = files
        .iter()
        .zip(lines.values())
        .map(|(file, line)| Frame::new(Arc::<str>::from(file.unwrap_or(UNKNOWN)), *line))
        .collect();
    let total = u32::try_from(frames.len()).ok().filter(|_| whole);
    Traceback::new(frames).with_total(total)
}
