//! A deterministic generator of recordings: the same shape gives the same rows on every machine.
//!
//! It simulates threads of one or two processes that allocate and free, and sums up what `store` would: stack_stats,
//! peak, timeline and moments. The peak is looked for at the end of each nanosecond, so that it equals what the
//! intervals of `allocations` say about `peak_ns`.
#![allow(dead_code, reason = "shared by tests and examples, each of which uses a part")]

use std::collections::BTreeMap;
use std::path::Path;

use tmq_store::schema::*;
use tmq_store::write::RecordingBuilder;

/// What a generated recording is like.
#[derive(Clone, Debug)]
pub struct Shape {
    pub seed: u64,
    pub allocations: usize,
    pub stacks: usize,
    pub frames: usize,
    pub depth: usize,
    pub threads: usize,
    pub processes: usize,
    /// Blocks live at one time, about.
    pub live: usize,
    /// Whether rows carry weights other than 1.
    pub sampled: bool,
    /// Rows per part.
    pub part_rows: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seed: 1,
            allocations: 3_000,
            stacks: 120,
            frames: 60,
            depth: 12,
            threads: 3,
            processes: 2,
            live: 300,
            sampled: false,
            part_rows: 1_000,
        }
    }
}

/// Everything that was written, for tests that compute answers on their own.
#[derive(Debug, Default)]
pub struct Generated {
    pub allocations: Vec<AllocationsRow>,
    pub stacks: Vec<StacksRow>,
    pub stack_frames: Vec<StackFramesRow>,
    pub frames: Vec<FramesRow>,
    pub modules: Vec<ModulesRow>,
    pub processes: Vec<ProcessesRow>,
    pub threads: Vec<ThreadsRow>,
    pub peak_ns: i64,
    pub end_ns: i64,
    pub mark_ns: i64,
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

const MODULES_LIST: [(&str, &str); 4] = [
    ("/opt/app/bin/app", "app"),
    ("/lib/libc.so.6", "libc.so.6"),
    ("/lib/libstdc++.so.6", "libstdc++.so.6"),
    ("/opt/app/lib/libparse.so", "libparse.so"),
];

/// Makes the rows and writes them as the recording `dir`.
pub fn generate(dir: &Path, shape: &Shape) -> Generated {
    let mut random = Random(shape.seed);
    let mut made = Generated { frames: frames(shape, &mut random), modules: modules(), ..Generated::default() };
    stacks(shape, &mut random, &mut made);
    let mut summary = Simulation::new(shape).run(shape, &mut random, &mut made);
    write(dir, shape, &made, &mut summary);
    made
}

fn modules() -> Vec<ModulesRow> {
    let rows = MODULES_LIST.iter().enumerate();
    rows.map(|(i, (path, name))| ModulesRow {
        module_id: i as i32,
        path: (*path).to_owned(),
        name: (*name).to_owned(),
        build_id: (i != 3).then(|| format!("{i:040x}")),
        process_id: 0,
        start_address: 0x1000_0000 * (i as i64 + 1),
        end_address: 0x1000_0000 * (i as i64 + 1) + 0x10_0000,
        symbols: "dwarf".to_owned(),
    })
    .collect()
}

/// Frames: ordinary ones, some sharing a line with another function, some without line information, some plumbing, one
/// outside every module.
fn frames(shape: &Shape, random: &mut Random) -> Vec<FramesRow> {
    (0..shape.frames as i32)
        .map(|id| {
            let module_id = [0, 0, 0, 3, 2, 1][id as usize % 6];
            let is_plumbing = module_id == 2;
            let no_line = id % 11 == 5;
            let (file, line) = match (id, no_line) {
                (0, _) => ("<unknown>".to_owned(), 0),
                (_, true) => (MODULES_LIST[module_id as usize].0.to_owned(), 0),
                // Python files, and few enough lines that functions share some.
                _ if id % 7 == 3 => (format!("/srv/é/mod_{}.py", id % 5), 1 + random.below(8) as i32),
                _ => (format!("/src/dir{}/file_{}.c", id % 3, id % 13), 1 + random.below(30) as i32),
            };
            FramesRow {
                frame_id: id,
                frame_hash: (id as i64 + 1) * 0x1234_5678_9abc,
                function: if id == 0 { "??".to_owned() } else { format!("ns::func_{}<int>(char const*)", id % 41) },
                raw_symbol: (id != 0).then(|| format!("_ZN2ns4func{}", id % 41)),
                file,
                line,
                column: 0,
                module_id: if id == 0 { -1 } else { module_id },
                offset: 0x100 * id as i64,
                is_inline: id % 5 == 1,
                is_plumbing,
            }
        })
        .collect()
}

fn stacks(shape: &Shape, random: &mut Random, made: &mut Generated) {
    let mut seen = std::collections::HashSet::new();
    while made.stacks.len() < shape.stacks {
        let depth = 1 + random.below(shape.depth);
        let mut frames: Vec<i32> = (0..depth).map(|_| random.below(shape.frames) as i32).collect();
        if depth > 3 && random.below(4) == 0 {
            // Recursion.
            frames[1] = frames[2];
            frames[3] = frames[2];
        }
        if !seen.insert(frames.clone()) {
            continue;
        }
        let id = made.stacks.len() as i32;
        let user = frames.iter().copied().find(|f| !made.frames[*f as usize].is_plumbing).unwrap_or(frames[0]);
        push_positions(id, &frames, made);
        made.stacks.push(StacksRow {
            stack_id: id,
            stack_hash: frames.iter().fold(17i64, |h, f| h.wrapping_mul(31).wrapping_add(i64::from(*f))),
            callsite_id: id,
            depth: frames.len() as i32,
            leaf_frame_id: frames[0],
            user_leaf_frame_id: user,
            frames,
            quality: "complete",
        });
    }
}

fn push_positions(stack_id: i32, frames: &[i32], made: &mut Generated) {
    for (position, id) in frames.iter().enumerate() {
        let row = |id: i32| &made.frames[id as usize];
        let own = row(*id);
        let earlier = || frames[..position].iter().map(|id| row(*id));
        made.stack_frames.push(StackFramesRow {
            stack_id,
            position: position as i32,
            frame_id: *id,
            is_first_line: !earlier().any(|f| (&f.file, f.line) == (&own.file, own.line)),
            is_first_function: !earlier().any(|f| f.function == own.function),
            is_first_file: !earlier().any(|f| f.file == own.file),
            is_first_module: !earlier().any(|f| f.module_id == own.module_id),
        });
    }
}

/// The run, event by event.
struct Simulation {
    now: i64,
    live: Vec<AllocationsRow>,
    live_bytes: BTreeMap<i32, f64>,
    peak: f64,
    peak_ns: i64,
    /// (stack, process) → (blocks, bytes) at the best peak so far is too dear to copy; it is made from the rows after.
    last_of_thread: Vec<i64>,
    temporary: BTreeMap<(i32, i32, i32), (f64, f64)>,
    ended: Option<i64>,
    address: i64,
}

/// Tables that are sums.
#[derive(Default)]
pub struct Summary {
    stats: StackStatsColumns,
    peak: PeakColumns,
    timeline: TimelineColumns,
    moments: MomentsColumns,
}

impl Simulation {
    fn new(shape: &Shape) -> Self {
        Self {
            now: 0,
            live: Vec::new(),
            live_bytes: BTreeMap::new(),
            peak: -1.0,
            peak_ns: 0,
            last_of_thread: vec![-1; shape.threads],
            temporary: BTreeMap::new(),
            ended: None,
            address: 0x5000_0000,
        }
    }

    fn run(mut self, shape: &Shape, random: &mut Random, made: &mut Generated) -> Summary {
        let mut made_rows = 0;
        while made_rows < shape.allocations {
            let step = random.below(500) as i64;
            if step > 0 {
                // Everything at `now` has happened.
                let total: f64 = self.live_bytes.values().sum();
                if total > self.peak {
                    (self.peak, self.peak_ns) = (total, self.now);
                }
            }
            // A third of the steps take no time: events with equal times.
            self.now += (step - 160).max(0);
            if made_rows == shape.allocations * 2 / 3 && shape.processes > 1 && self.ended.is_none() {
                self.end_second_process(made);
            }
            let grow = self.live.len() < shape.live;
            if !self.live.is_empty() && random.below(100) < if grow { 35 } else { 60 } {
                self.free(shape, random, made);
            } else {
                self.allocate(shape, random);
                made_rows += 1;
            }
            if made_rows == shape.allocations / 2 {
                made.mark_ns = self.now;
            }
        }
        self.now += 1_000;
        made.end_ns = self.now;
        made.peak_ns = self.peak_ns;
        let rest = std::mem::take(&mut self.live);
        made.allocations.extend(rest);
        self.summary(shape, made)
    }

    fn threads_of_dead(&self, thread: usize, shape: &Shape) -> bool {
        self.ended.is_some() && process_of(thread, shape) == 1
    }

    fn end_second_process(&mut self, made: &mut Generated) {
        self.ended = Some(self.now);
        self.live_bytes.remove(&1);
        let (dead, live) = std::mem::take(&mut self.live).into_iter().partition(|a| a.process_id == 1);
        self.live = live;
        made.allocations.extend::<Vec<_>>(dead);
    }

    fn allocate(&mut self, shape: &Shape, random: &mut Random) {
        let mut thread = random.below(shape.threads);
        while self.threads_of_dead(thread, shape) {
            thread = random.below(shape.threads);
        }
        let process_id = process_of(thread, shape);
        // Stacks are not uniformly hot.
        let stack_id = (random.below(shape.stacks) * random.below(1000) / 1000) as i32;
        let size = match random.below(20) {
            0 => 0,
            1 => 1 << random.below(20),
            _ => 8 + 8 * random.below(60) as i64,
        };
        let mmap = random.below(40) == 0;
        let weight = if shape.sampled { 1.0 + random.below(5) as f64 * 0.5 } else { 1.0 };
        self.address += 16 * (1 + size / 16);
        let address = if random.below(3) == 0 { 0x5000_0000 + 64 * random.below(2000) as i64 } else { self.address };
        if !mmap {
            *self.live_bytes.entry(process_id).or_default() += size as f64 * weight;
        }
        self.last_of_thread[thread] = address;
        self.live.push(AllocationsRow {
            process_id,
            thread_id: thread as i32,
            alloc_ns: self.now,
            free_ns: None,
            free_thread_id: None,
            address,
            size,
            stack_id,
            free_stack_id: None,
            kind: if mmap { "mmap" } else { ["malloc", "malloc", "calloc", "realloc"][random.below(4)] },
            domain: if mmap { DOMAIN_MMAP } else { DOMAIN_HEAP },
            weight,
        });
    }

    fn free(&mut self, shape: &Shape, random: &mut Random, made: &mut Generated) {
        // Young blocks die first, mostly.
        let young = 1 + random.below(64);
        let index = self.live.len() - 1 - random.below(self.live.len().min(young));
        let mut block = self.live.swap_remove(index);
        let mut thread = block.thread_id;
        if random.below(10) == 0 {
            let other = random.below(shape.threads) as i32;
            if process_of(other as usize, shape) == block.process_id {
                thread = other;
            }
        }
        if block.domain == DOMAIN_HEAP {
            *self.live_bytes.entry(block.process_id).or_default() -= block.size as f64 * block.weight;
        }
        if thread == block.thread_id && self.last_of_thread[thread as usize] == block.address {
            let sum = self.temporary.entry((block.stack_id, block.process_id, block.domain)).or_default();
            sum.0 += block.weight;
            sum.1 += block.size as f64 * block.weight;
        }
        block.free_ns = Some(self.now);
        block.free_thread_id = Some(thread);
        made.allocations.push(block);
    }

    fn summary(self, shape: &Shape, made: &mut Generated) -> Summary {
        let mut summary = Summary::default();
        processes_and_threads(shape, &self, made);
        let alive = |a: &AllocationsRow, t: i64| {
            a.alloc_ns <= t
                && a.free_ns.is_none_or(|f| f > t)
                && (a.process_id != 1 || self.ended.is_none_or(|end| end > t))
        };
        let mut stats: BTreeMap<(i32, i32, i32), StackStatsRow> = BTreeMap::new();
        for a in &made.allocations {
            let key = (a.stack_id, a.process_id, a.domain);
            add(stats.entry(key).or_insert_with(|| empty_stats(a)), a, alive(a, self.peak_ns));
        }
        for (key, (blocks, bytes)) in &self.temporary {
            if let Some(row) = stats.get_mut(key) {
                (row.temporary_blocks, row.temporary_bytes) = (*blocks, *bytes);
            }
        }
        for row in stats.into_values() {
            if row.domain == DOMAIN_HEAP && row.peak_blocks > 0.0 {
                summary.peak.push(PeakRow {
                    stack_id: row.stack_id,
                    process_id: row.process_id,
                    blocks: row.peak_blocks,
                    bytes: row.peak_bytes,
                });
            }
            summary.stats.push(row);
        }
        let heap = |t: i64| {
            let rows = made.allocations.iter().filter(|a| a.domain == DOMAIN_HEAP && alive(a, t));
            rows.fold((0.0, 0.0), |(n, b), a| (n + a.weight, b + a.size as f64 * a.weight))
        };
        let moments = [
            ("start", "start", 0),
            ("peak", "peak", self.peak_ns),
            ("half", "mark", made.mark_ns),
            ("end", "end", made.end_ns),
        ];
        for (name, kind, at_ns) in moments {
            let (blocks, bytes) = heap(if kind == "start" { -1 } else { at_ns });
            summary.moments.push(MomentsRow {
                name: name.to_owned(),
                kind,
                at_ns,
                process_id: (kind == "mark").then_some(0),
                live_bytes: bytes.round() as i64,
                live_blocks: blocks.round() as i64,
            });
        }
        timeline(made, &mut summary.timeline);
        summary
    }
}

fn process_of(thread: usize, shape: &Shape) -> i32 {
    i32::from(shape.processes > 1 && thread + 1 == shape.threads)
}

fn empty_stats(a: &AllocationsRow) -> StackStatsRow {
    StackStatsRow {
        stack_id: a.stack_id,
        process_id: a.process_id,
        domain: a.domain,
        allocated_blocks: 0.0,
        allocated_bytes: 0.0,
        live_blocks: 0.0,
        live_bytes: 0.0,
        peak_blocks: 0.0,
        peak_bytes: 0.0,
        temporary_blocks: 0.0,
        temporary_bytes: 0.0,
        lifetime_sum_ns: 0.0,
        lifetime_min_ns: None,
        lifetime_max_ns: None,
        size_min: i64::MAX,
        size_max: 0,
        first_ns: i64::MAX,
        last_ns: 0,
        allocated_blocks_variance: 0.0,
        allocated_bytes_variance: 0.0,
    }
}

fn add(row: &mut StackStatsRow, a: &AllocationsRow, at_peak: bool) {
    let (w, bytes) = (a.weight, a.size as f64 * a.weight);
    row.allocated_blocks += w;
    row.allocated_bytes += bytes;
    if at_peak {
        row.peak_blocks += w;
        row.peak_bytes += bytes;
    }
    match a.free_ns {
        None => {
            row.live_blocks += w;
            row.live_bytes += bytes;
        }
        Some(free) => {
            let lifetime = free - a.alloc_ns;
            row.lifetime_sum_ns += lifetime as f64 * w;
            row.lifetime_min_ns = Some(row.lifetime_min_ns.map_or(lifetime, |m| m.min(lifetime)));
            row.lifetime_max_ns = Some(row.lifetime_max_ns.map_or(lifetime, |m| m.max(lifetime)));
        }
    }
    row.size_min = row.size_min.min(a.size);
    row.size_max = row.size_max.max(a.size);
    row.first_ns = row.first_ns.min(a.alloc_ns);
    row.last_ns = row.last_ns.max(a.alloc_ns);
    row.allocated_blocks_variance += w * (w - 1.0);
    row.allocated_bytes_variance += (a.size as f64).powi(2) * w * (w - 1.0);
}

fn processes_and_threads(shape: &Shape, run: &Simulation, made: &mut Generated) {
    for id in 0..shape.processes.min(2) as i32 {
        let rows = || made.allocations.iter().filter(|a| a.process_id == id && a.domain == DOMAIN_HEAP);
        let sum = |f: fn(&AllocationsRow) -> f64| rows().map(f).sum::<f64>().round() as i64;
        let row = ProcessesRow {
            process_id: id,
            pid: 4000 + id,
            ppid: if id == 0 { 1 } else { 4000 },
            parent_process_id: (id > 0).then_some(0),
            origin: if id == 0 { "start" } else { "fork" },
            exe: "/opt/app/bin/app".to_owned(),
            argv: vec!["app".to_owned(), format!("--part={id}")],
            start_ns: 0,
            end_ns: if id == 1 { run.ended } else { None },
            exit_code: (id == 0).then_some(0),
            exit_signal: None,
            allocations: rows().count() as i64,
            frees: rows().filter(|a| a.free_ns.is_some()).count() as i64,
            bytes_allocated: sum(|a| a.size as f64 * a.weight),
            peak_bytes: 0,
            peak_ns: run.peak_ns,
            live_blocks: sum(|a| if a.free_ns.is_none() { a.weight } else { 0.0 }),
            live_bytes: sum(|a| if a.free_ns.is_none() { a.size as f64 * a.weight } else { 0.0 }),
            foreign_frees: 0,
            recorder_bytes: 1 << 20,
        };
        made.processes.push(row);
    }
    for thread in 0..shape.threads {
        made.threads.push(ThreadsRow {
            thread_id: thread as i32,
            process_id: process_of(thread, shape),
            tid: 4000 + thread as i32,
            name: format!("worker-{}", thread % 2),
            start_ns: 0,
            end_ns: run.now,
        });
    }
}

fn timeline(made: &Generated, timeline: &mut TimelineColumns) {
    const BINS: i64 = 50;
    let width = made.end_ns / BINS + 1;
    let mut bins = vec![[0.0f64; 4]; BINS as usize];
    for a in made.allocations.iter().filter(|a| a.domain == DOMAIN_HEAP) {
        let bytes = a.size as f64 * a.weight;
        let bin = &mut bins[(a.alloc_ns / width) as usize];
        bin[0] += bytes;
        bin[1] += a.weight;
        if let Some(free) = a.free_ns {
            let bin = &mut bins[(free / width) as usize];
            bin[2] += bytes;
            bin[3] += a.weight;
        }
    }
    let (mut live, mut blocks) = (0.0, 0.0);
    for (i, [ab, an, fb, fn_]) in bins.into_iter().enumerate() {
        live += ab - fb;
        blocks += an - fn_;
        timeline.push(TimelineRow {
            bin_ns: i as i64 * width,
            live_bytes: live.round() as i64,
            live_blocks: blocks.round() as i64,
            max_live_bytes: live.round() as i64,
            allocated_bytes: ab.round() as i64,
            allocated_blocks: an.round() as i64,
            freed_bytes: fb.round() as i64,
            freed_blocks: fn_.round() as i64,
            rss_bytes: (i > 0).then_some(1 << 22),
        });
    }
}

fn write(dir: &Path, shape: &Shape, made: &Generated, summary: &mut Summary) {
    let mut builder = RecordingBuilder::create(dir, vec!["app".to_owned()]).unwrap();
    for part in made.allocations.chunks(shape.part_rows) {
        builder.write(&mut collect::<AllocationsColumns, _>(part, AllocationsColumns::push)).unwrap();
    }
    builder.write(&mut collect(&made.stacks, StacksColumns::push)).unwrap();
    builder.write(&mut collect(&made.stack_frames, StackFramesColumns::push)).unwrap();
    builder.write(&mut collect(&made.frames, FramesColumns::push)).unwrap();
    builder.write(&mut collect(&made.modules, ModulesColumns::push)).unwrap();
    builder.write(&mut collect(&made.processes, ProcessesColumns::push)).unwrap();
    builder.write(&mut collect(&made.threads, ThreadsColumns::push)).unwrap();
    builder.write(&mut summary.stats).unwrap();
    builder.write(&mut summary.peak).unwrap();
    builder.write(&mut summary.timeline).unwrap();
    builder.write(&mut summary.moments).unwrap();
    let interval = if shape.sampled { "524288" } else { "0" };
    builder.seal([("sample_interval".to_owned(), interval.to_owned())]).unwrap();
}

fn collect<C: Default, R: Clone>(rows: &[R], push: fn(&mut C, R)) -> C {
    let mut columns = C::default();
    rows.iter().cloned().for_each(|row| push(&mut columns, row));
    columns
}

/// A recording in which nothing was allocated.
pub fn generate_empty(dir: &Path) {
    let mut builder = RecordingBuilder::create(dir, vec!["true".to_owned()]).unwrap();
    let mut moments = MomentsColumns::default();
    for name in ["start", "peak", "end"] {
        moments.push(MomentsRow {
            name: name.to_owned(),
            kind: name,
            at_ns: if name == "end" { 1_000_000 } else { 0 },
            process_id: None,
            live_bytes: 0,
            live_blocks: 0,
        });
    }
    builder.write(&mut moments).unwrap();
    builder.seal([]).unwrap();
}
