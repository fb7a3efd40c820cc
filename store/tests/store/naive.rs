//! An independent model of what a recording must contain: slow, with nothing shared with the code under test.

use std::collections::BTreeMap;

/// What can happen, in the order of time.
#[derive(Clone, Debug)]
pub enum Happening {
    Alloc { address: u64, size: u64, stack: u32, kind: &'static str },
    Free { address: u64 },
    Map { address: u64, size: u64, stack: u32 },
    Unmap { address: u64, size: u64 },
    End,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub ns: i64,
    /// Incarnation and thread id.
    pub who: (u32, u32),
    pub what: Happening,
}

/// One expected row. Fields in this order so that rows can be sorted.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub struct Row {
    pub process: u32,
    pub alloc_ns: i64,
    pub address: u64,
    pub free_ns: Option<i64>,
    pub tid: u32,
    pub free_tid: Option<u32>,
    pub size: u64,
    pub stack: u32,
    pub kind: &'static str,
}

/// Expected sums of a (stack, process).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    pub allocated: (f64, f64),
    pub live: (f64, f64),
    pub peak: (f64, f64),
    pub temporary: (f64, f64),
}

#[derive(Default)]
pub struct Expected {
    pub rows: Vec<Row>,
    pub heap: BTreeMap<(u32, u32), Sums>,
    pub peak_bytes: f64,
    pub peak_ns: i64,
    pub foreign: u64,
    pub unpaired: u64,
    /// Live bytes after each event.
    pub history: Vec<(i64, f64)>,
    pub process_peaks: BTreeMap<u32, f64>,
}

struct Waiting {
    row: Row,
    ended_ns: i64,
}

/// Works the events out one after the other. `weight` gives the blocks that a block of a size stands for.
pub fn expect(events: &[Event], weight: impl Fn(u64) -> f64) -> Expected {
    let mut out = Expected::default();
    let mut open: Vec<Row> = Vec::new();
    let mut pages: BTreeMap<(u32, u64), Row> = BTreeMap::new();
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut last: BTreeMap<(u32, u32), (u64, i64)> = BTreeMap::new();
    for event in events {
        let (process, tid) = event.who;
        waiting.retain(|w| {
            let expired = event.ns - w.ended_ns > 10_000;
            if expired {
                out.unpaired += 1;
                out.rows.push(w.row.clone());
            }
            !expired
        });
        match event.what {
            Happening::Alloc { address, size, stack, kind } => {
                if let Some(i) = open.iter().position(|r| r.process == process && r.address == address) {
                    let mut older = open.remove(i);
                    older.free_ns = Some(event.ns);
                    count_temporary(&mut out, &last, &older, &weight);
                    waiting.push(Waiting { row: older, ended_ns: event.ns });
                }
                let sums = out.heap.entry((stack, process)).or_default();
                sums.allocated.0 += weight(size);
                sums.allocated.1 += weight(size) * size as f64;
                open.push(Row {
                    process,
                    alloc_ns: event.ns,
                    address,
                    free_ns: None,
                    tid,
                    free_tid: None,
                    size,
                    stack,
                    kind,
                });
                last.insert((process, tid), (address, event.ns));
            }
            Happening::Free { address } => {
                if let Some(i) = waiting.iter().position(|w| w.row.process == process && w.row.address == address) {
                    let mut row = waiting.remove(i).row;
                    row.free_tid = Some(tid);
                    out.rows.push(row);
                } else if let Some(i) = open.iter().position(|r| r.process == process && r.address == address) {
                    let mut row = open.remove(i);
                    count_temporary(&mut out, &last, &row, &weight);
                    (row.free_ns, row.free_tid) = (Some(event.ns), Some(tid));
                    out.rows.push(row);
                } else {
                    out.foreign += 1;
                }
            }
            Happening::Map { address, size, stack } => {
                unmap(&mut out.rows, &mut pages, event, address, size);
                for page in 0..size / 4096 {
                    let start = address + page * 4096;
                    pages.insert(
                        (process, start),
                        Row {
                            process,
                            alloc_ns: event.ns,
                            address: start,
                            free_ns: None,
                            tid,
                            free_tid: None,
                            size: 4096,
                            stack,
                            kind: "mmap",
                        },
                    );
                }
            }
            Happening::Unmap { address, size } => unmap(&mut out.rows, &mut pages, event, address, size),
            Happening::End => {
                let (gone, kept): (Vec<Row>, Vec<Row>) = open.drain(..).partition(|r| r.process == process);
                open = kept;
                leave(&mut out, &gone, &weight);
                out.rows.extend(gone);
                // Pages of ended processes stay apart until the end: rows of pages are merged anyway.
            }
        }
        let live: f64 = open.iter().map(|r| r.size as f64 * weight(r.size)).sum();
        out.history.push((event.ns, live));
        let own: f64 = open.iter().filter(|r| r.process == process).map(|r| r.size as f64 * weight(r.size)).sum();
        let most = out.process_peaks.entry(process).or_default();
        *most = most.max(own);
        if live > out.peak_bytes {
            (out.peak_bytes, out.peak_ns) = (live, event.ns);
            for sums in out.heap.values_mut() {
                sums.peak = (0.0, 0.0);
            }
            for row in &open {
                let peak = &mut out.heap.get_mut(&(row.stack, row.process)).unwrap().peak;
                peak.0 += weight(row.size);
                peak.1 += weight(row.size) * row.size as f64;
            }
        }
    }
    for late in waiting {
        out.unpaired += 1;
        out.rows.push(late.row);
    }
    leave(&mut out, &open, &weight);
    out.rows.extend(open);
    out.rows.extend(pages.into_values());
    out.rows = join_pages(std::mem::take(&mut out.rows));
    out
}

fn leave(out: &mut Expected, rows: &[Row], weight: &impl Fn(u64) -> f64) {
    for row in rows {
        let live = &mut out.heap.get_mut(&(row.stack, row.process)).unwrap().live;
        live.0 += weight(row.size);
        live.1 += weight(row.size) * row.size as f64;
    }
}

fn count_temporary(
    out: &mut Expected,
    last: &BTreeMap<(u32, u32), (u64, i64)>,
    row: &Row,
    weight: &impl Fn(u64) -> f64,
) {
    if last.get(&(row.process, row.tid)) == Some(&(row.address, row.alloc_ns)) {
        let temporary = &mut out.heap.get_mut(&(row.stack, row.process)).unwrap().temporary;
        temporary.0 += weight(row.size);
        temporary.1 += weight(row.size) * row.size as f64;
    }
}

fn unmap(rows: &mut Vec<Row>, pages: &mut BTreeMap<(u32, u64), Row>, event: &Event, address: u64, size: u64) {
    for page in 0..size.div_ceil(4096) {
        if let Some(mut row) = pages.remove(&(event.who.0, address + page * 4096)) {
            (row.free_ns, row.free_tid) = (Some(event.ns), Some(event.who.1));
            rows.push(row);
        }
    }
}

/// Maps are compared page by page in the model, but a row is a run of pages that came and went together.
fn join_pages(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let mut joined: Vec<Row> = Vec::new();
    for row in rows {
        match joined.last_mut() {
            Some(before)
                if row.kind == "mmap"
                    && before.kind == "mmap"
                    && before.address + before.size == row.address
                    && (before.process, before.alloc_ns, before.free_ns)
                        == (row.process, row.alloc_ns, row.free_ns) =>
            {
                before.size += row.size;
            }
            _ => joined.push(row),
        }
    }
    joined
}
