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
    let mut naive = Naive {
        weight,
        out: Expected::default(),
        open: Vec::new(),
        pages: BTreeMap::new(),
        waiting: Vec::new(),
        last: BTreeMap::new(),
    };
    for event in events {
        naive.expire(event.ns);
        naive.apply(event);
        naive.note_live(event);
    }
    naive.finish()
}

/// What is known between two events.
struct Naive<W> {
    weight: W,
    out: Expected,
    open: Vec<Row>,
    pages: BTreeMap<(u32, u64), Row>,
    /// Blocks whose address was handed out again, until their free comes or comes too late.
    waiting: Vec<Waiting>,
    /// Last allocation of each thread.
    last: BTreeMap<(u32, u32), (u64, i64)>,
}

impl<W: Fn(u64) -> f64> Naive<W> {
    fn expire(&mut self, ns: i64) {
        let (expired, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|w| ns - w.ended_ns > 10_000);
        self.waiting = waiting;
        self.give_up(expired);
    }

    fn give_up(&mut self, late: Vec<Waiting>) {
        self.out.unpaired += late.len() as u64;
        self.out.rows.extend(late.into_iter().map(|w| w.row));
    }

    fn apply(&mut self, event: &Event) {
        match event.what {
            Happening::Alloc { address, size, stack, kind } => {
                self.allocate(event, Row { size, stack, kind, ..row(event, address) });
            }
            Happening::Free { address } => self.free(event, address),
            Happening::Map { address, size, stack } => {
                unmap(&mut self.out.rows, &mut self.pages, event, address, size);
                for start in (address..address + size / 4096 * 4096).step_by(4096) {
                    let page = Row { size: 4096, stack, kind: "mmap", ..row(event, start) };
                    self.pages.insert((page.process, start), page);
                }
            }
            Happening::Unmap { address, size } => {
                unmap(&mut self.out.rows, &mut self.pages, event, address, size);
            }
            Happening::End => {
                let process = event.who.0;
                let (gone, kept) = std::mem::take(&mut self.open).into_iter().partition(|r| r.process == process);
                self.open = kept;
                self.leave(gone);
                // Pages of ended processes stay apart until the end: rows of pages are merged anyway.
            }
        }
    }

    fn allocate(&mut self, event: &Event, row: Row) {
        if let Some(i) = self.open.iter().position(|r| (r.process, r.address) == (row.process, row.address)) {
            let mut older = self.open.remove(i);
            older.free_ns = Some(event.ns);
            self.count_temporary(&older);
            self.waiting.push(Waiting { row: older, ended_ns: event.ns });
        }
        let sums = self.out.heap.entry((row.stack, row.process)).or_default();
        add(&mut sums.allocated, &self.weight, &row);
        self.last.insert(event.who, (row.address, event.ns));
        self.open.push(row);
    }

    fn free(&mut self, event: &Event, address: u64) {
        let (process, tid) = event.who;
        let is_it = |r: &Row| (r.process, r.address) == (process, address);
        if let Some(i) = self.waiting.iter().position(|w| is_it(&w.row)) {
            let mut row = self.waiting.remove(i).row;
            row.free_tid = Some(tid);
            self.out.rows.push(row);
        } else if let Some(i) = self.open.iter().position(is_it) {
            let mut row = self.open.remove(i);
            self.count_temporary(&row);
            (row.free_ns, row.free_tid) = (Some(event.ns), Some(tid));
            self.out.rows.push(row);
        } else {
            self.out.foreign += 1;
        }
    }

    /// History and peaks after an event.
    fn note_live(&mut self, event: &Event) {
        let process = event.who.0;
        let bytes = |r: &Row| r.size as f64 * (self.weight)(r.size);
        let live: f64 = self.open.iter().map(bytes).sum();
        let own: f64 = self.open.iter().filter(|r| r.process == process).map(bytes).sum();
        let out = &mut self.out;
        out.history.push((event.ns, live));
        let most = out.process_peaks.entry(process).or_default();
        *most = most.max(own);
        if live > out.peak_bytes {
            (out.peak_bytes, out.peak_ns) = (live, event.ns);
            for sums in out.heap.values_mut() {
                sums.peak = (0.0, 0.0);
            }
            for row in &self.open {
                add(&mut out.heap.get_mut(&(row.stack, row.process)).unwrap().peak, &self.weight, row);
            }
        }
    }

    fn count_temporary(&mut self, row: &Row) {
        if self.last.get(&(row.process, row.tid)) == Some(&(row.address, row.alloc_ns)) {
            let sums = self.out.heap.get_mut(&(row.stack, row.process)).unwrap();
            add(&mut sums.temporary, &self.weight, row);
        }
    }

    fn leave(&mut self, rows: Vec<Row>) {
        for row in &rows {
            add(&mut self.out.heap.get_mut(&(row.stack, row.process)).unwrap().live, &self.weight, row);
        }
        self.out.rows.extend(rows);
    }

    fn finish(mut self) -> Expected {
        let late = std::mem::take(&mut self.waiting);
        self.give_up(late);
        let open = std::mem::take(&mut self.open);
        self.leave(open);
        self.out.rows.extend(self.pages.into_values());
        self.out.rows = join_pages(self.out.rows);
        self.out
    }
}

/// A row that begins with an event, about which nothing else is known.
fn row(event: &Event, address: u64) -> Row {
    let (process, tid) = event.who;
    Row { process, alloc_ns: event.ns, address, free_ns: None, tid, free_tid: None, size: 0, stack: 0, kind: "" }
}

fn add(sum: &mut (f64, f64), weight: &impl Fn(u64) -> f64, row: &Row) {
    sum.0 += weight(row.size);
    sum.1 += weight(row.size) * row.size as f64;
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
