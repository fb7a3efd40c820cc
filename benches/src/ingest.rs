//! What the collector costs per row, without a target: synthetic events through ordering, pairing, encoding, sealing.
//!
//! The time of making the events is measured and taken off. Threads that allocate take turns chunk by chunk, as chunks
//! are drained from shared memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tmq_store::Recording;
use tmq_store::ingest::{Ingest, Input, RecordingConfig, SealOptions};
use tmq_store::schema::ALLOCATIONS;
use tmq_wire::record::{self, Kind, NO_MODULE, NO_STACK, ROOT_COMPLETE, Slot};

use crate::error::{Error, Result};
use crate::{programs, sys};

const STACKS: u32 = 5000;
/// Ids below this are roots.
const FIRST_STACK: u32 = 16;
/// Slots handed over at once, as in a chunk of the wire format.
const CHUNK: usize = 2048;
/// Size classes that programs draw from, small ones more often.
const CLASSES: u64 = 400;
const TICKS_PER_SECOND: f64 = 3e9;

/// Measure the collector: processor time per row and bytes per column, from synthetic events
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Millions of allocations
    #[arg(long, default_value_t = 4)]
    millions: u64,

    /// Threads that allocate
    #[arg(long, default_value_t = 2)]
    threads: u32,

    /// Blocks alive at a time, over all threads
    #[arg(long, default_value_t = 20_000)]
    live: usize,
}

/// Ingests, seals and prints.
///
/// # Errors
/// The recording cannot be written or read.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let scratch = tempfile::tempdir().map_err(Error::System)?;
    let directory = scratch.path().join("ingest.tmq");
    let threads = arguments.threads.max(1);
    let live = (arguments.live / threads as usize).max(1);
    let mut programs: Vec<Program> = (0..threads).map(|thread| Program::new(thread, live)).collect();
    let store = |e: tmq_store::Error| programs::not_understood("the recording", &e.to_string());
    let mut ingest = Ingest::create(&directory, &RecordingConfig::default()).map_err(store)?;
    ingest.input(Input::Clock { tsc: 0, unix_ns: 0, ticks_per_second: TICKS_PER_SECOND }).map_err(store)?;
    ingest.input(Input::Slots { incarnation: 1, stream: 0, slots: &describe() }).map_err(store)?;

    let rounds = arguments.millions * 2_000_000 / u64::from(threads) / CHUNK as u64;
    let (start, before) = (Instant::now(), Clock::now());
    let (mut making, mut events) = (Duration::ZERO, 0);
    for _ in 0..rounds {
        for (stream, program) in (1..).zip(&mut programs) {
            let now = sys::thread_time();
            let slots = program.fill();
            making += sys::thread_time().saturating_sub(now);
            events += slots.len() - 1;
            ingest.input(Input::Slots { incarnation: 1, stream, slots }).map_err(store)?;
        }
        let complete = programs.iter().map(|program| program.now).min().unwrap_or(0);
        ingest.input(Input::Watermark { tsc: complete }).map_err(store)?;
    }
    let (ingested, wall) = (Clock::now(), start.elapsed());
    let options = SealOptions { no_symbols: true, ..SealOptions::default() };
    let summary = ingest.seal(&options, &|_| {}).map_err(store)?;
    let sealed = Clock::now();

    let per_row = |time: Duration| time.as_nanos() as f64 / summary.rows as f64;
    let own = (ingested.thread - before.thread).saturating_sub(making);
    let others = (ingested.process - before.process).saturating_sub(ingested.thread - before.thread);
    println!(
        "{events} events, {} rows, {} live at the end; processor time per row:",
        summary.rows, summary.live_blocks
    );
    println!("  order, pair, sum, journal  {:7.1} ns   (the ingesting thread)", per_row(own));
    println!("  encode, compress, write    {:7.1} ns   (all other threads)", per_row(others));
    println!(
        "  seal                       {:7.1} ns   (summaries; what was still to be encoded)",
        per_row(sealed.process - ingested.process)
    );
    println!("  wall, without sealing      {:7.1} ns", per_row(wall.saturating_sub(making)));
    print_columns(&Recording::open(&directory).map_err(store)?)
}

/// Processor time used so far.
#[derive(Clone, Copy)]
struct Clock {
    thread: Duration,
    process: Duration,
}

impl Clock {
    fn now() -> Self {
        Self { thread: sys::thread_time(), process: sys::process_time() }
    }
}

/// Bytes per row of every column, and of the whole recording.
fn print_columns(recording: &Recording) -> Result<bool> {
    let rows = recording.rows(&ALLOCATIONS) as f64;
    let mut files: BTreeMap<&str, u64> = BTreeMap::new();
    for file in &recording.manifest().files {
        *files.entry(&file.table).or_default() += file.bytes;
    }
    println!("bytes per row:");
    for (table, bytes) in files {
        println!("  {table:25}  {:8.3}", bytes as f64 / rows);
    }
    println!("  {:25}  {:8.3}", "the whole recording", recording.size_on_disk() as f64 / rows);
    Ok(true)
}

/// Nodes of a tree of stacks, twelve deep on average.
fn describe() -> Vec<Slot> {
    let node = |i: u32| {
        let parent = if i < 8 { ROOT_COMPLETE } else { FIRST_STACK + i * 7 / 8 };
        record::node(FIRST_STACK + i, parent, NO_MODULE, 0x40_0000 + u64::from(i) * 24, 0)
    };
    [record::time(0), record::blob(Kind::Thread, 0, 1, 0)].into_iter().chain((0..STACKS).map(node)).collect()
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

/// A thread that allocates like a program: few sizes and stacks are common, most blocks die young, addresses come again.
struct Program {
    random: Random,
    live: Vec<(u64, u64)>,
    max_live: usize,
    free: BTreeMap<u64, Vec<u64>>,
    next_address: u64,
    chunk: Vec<Slot>,
    now: u64,
}

impl Program {
    fn new(thread: u32, max_live: usize) -> Self {
        Self {
            random: Random(0x9E37_79B9 + u64::from(thread)),
            live: Vec::new(),
            max_live,
            free: BTreeMap::new(),
            next_address: 0x7f00_0000_0000 + (u64::from(thread) << 32),
            chunk: Vec::with_capacity(CHUNK),
            now: 0,
        }
    }

    /// The next chunk of events.
    fn fill(&mut self) -> &[Slot] {
        self.chunk.clear();
        self.chunk.push(record::time(self.now));
        while self.chunk.len() < CHUNK {
            let full = self.live.len() >= self.max_live;
            if !self.live.is_empty() && (full || self.random.below(100) < 49) { self.free() } else { self.malloc() }
        }
        &self.chunk
    }

    /// Ticks since the last event: some dozens, now and then some thousands.
    fn ticks(&mut self) -> u64 {
        let pause = if self.random.below(50) == 0 { self.random.below(5000) } else { 0 };
        let ticks = 60 + self.random.below(80) + pause;
        self.now += ticks;
        ticks
    }

    fn malloc(&mut self) {
        let class = self.random.below(CLASSES) * self.random.below(CLASSES) / CLASSES;
        let large = if class > CLASSES - 10 { self.random.below(100_000) } else { 0 };
        let size = 8 + class * 8 + large;
        let rounded = size.next_multiple_of(16);
        let address = self.free.get_mut(&rounded).and_then(Vec::pop).unwrap_or_else(|| {
            self.next_address += rounded + 16;
            self.next_address
        });
        let of_class = u64::from(STACKS) / CLASSES;
        let stack = u64::from(FIRST_STACK) + class * of_class + self.random.below(of_class);
        let ticks = self.ticks();
        self.chunk.push(record::event(Kind::Malloc, address, size, stack as u32, ticks));
        self.live.push((address, rounded));
    }

    /// One of the last few blocks most of the time, any block sometimes.
    fn free(&mut self) {
        let n = self.live.len() as u64;
        let from_end = if self.random.below(10) < 8 { self.random.below(n.min(8)) } else { self.random.below(n) };
        let (address, rounded) = self.live.swap_remove((n - 1 - from_end) as usize);
        self.free.entry(rounded).or_default().push(address);
        let ticks = self.ticks();
        self.chunk.push(record::event(Kind::Free, address, 0, NO_STACK, ticks));
    }
}
