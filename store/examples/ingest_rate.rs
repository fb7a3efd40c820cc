//! How fast are events turned into a recording, and how large is it? Synthetic pairs of malloc and free:
//!
//! ```text
//! cargo run --release --example ingest_rate -- [million pairs] [threads] [live blocks] [directory]
//! ```
//!
//! Prints nanoseconds per pair of the ingesting thread and of the encoder, and bytes per row and column.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader, SerializedFileReader};
use tmq_store::Recording;
use tmq_store::ingest::{Ingest, Input, RecordingConfig, SealOptions};
use tmq_store::schema::ALLOCATIONS;
use tmq_wire::record::{self, Kind, NO_STACK, ROOT_COMPLETE, Slot};

const STACKS: u64 = 5000;
/// Slots handed over at once, as in a chunk of the wire format.
const CHUNK: usize = 2048;

struct Rng(u64);

impl Rng {
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

/// A thread that allocates like a program: few sizes and stacks are common, most blocks die young, addresses are reused.
struct Program {
    rng: Rng,
    live: Vec<(u64, u64)>,
    free_lists: BTreeMap<u64, Vec<u64>>,
    next_address: u64,
    max_live: usize,
    /// Slots of one chunk.
    chunk: Vec<Slot>,
    tsc: u64,
}

impl Program {
    fn new(thread: u64, max_live: usize) -> Self {
        Self {
            rng: Rng(0x9E37_79B9 + thread),
            live: Vec::new(),
            free_lists: BTreeMap::new(),
            next_address: 0x7f00_0000_0000 + (thread << 32),
            max_live,
            chunk: Vec::with_capacity(CHUNK),
            tsc: 0,
        }
    }

    fn dt(&mut self) -> u64 {
        let dt = 60 + self.rng.below(80) + if self.rng.below(50) == 0 { self.rng.below(5000) } else { 0 };
        self.tsc += dt;
        dt
    }

    fn malloc(&mut self) {
        let class = self.rng.below(400) * self.rng.below(400) / 400;
        let size = 8 + class * 8 + if class > 390 { self.rng.below(100_000) } else { 0 };
        let rounded = size.next_multiple_of(16);
        let address = self.free_lists.get_mut(&rounded).and_then(Vec::pop).unwrap_or_else(|| {
            self.next_address += rounded + 16;
            self.next_address
        });
        let stack = 16 + class * (STACKS / 400) + self.rng.below(STACKS / 400);
        let dt = self.dt();
        self.chunk.push(record::event(Kind::Malloc, address, size, stack as u32, dt));
        self.live.push((address, rounded));
    }

    fn free(&mut self) {
        let len = self.live.len() as u64;
        // The last few blocks most of the time, any block sometimes.
        let from_end = if self.rng.below(10) < 8 { self.rng.below(len.min(8)) } else { self.rng.below(len) };
        let (address, rounded) = self.live.swap_remove((len - 1 - from_end) as usize);
        self.free_lists.entry(rounded).or_default().push(address);
        let dt = self.dt();
        self.chunk.push(record::event(Kind::Free, address, 0, NO_STACK, dt));
    }

    fn fill(&mut self) -> &[Slot] {
        self.chunk.clear();
        self.chunk.push(record::time(self.tsc));
        while self.chunk.len() < CHUNK {
            let full = self.live.len() >= self.max_live;
            if !self.live.is_empty() && (full || self.rng.below(100) < 49) { self.free() } else { self.malloc() }
        }
        &self.chunk
    }
}

fn describe() -> Vec<Slot> {
    let mut slots = vec![record::time(0), record::blob(Kind::Thread, 0, 1, 0)];
    // 5000 stacks, 12 deep on average.
    for i in 0..STACKS {
        let id = 16 + i as u32;
        let parent = if i < 8 { ROOT_COMPLETE } else { 16 + (i as u32 * 7 / 8) };
        slots.push(record::node(id, parent, record::NO_MODULE, 0x40_0000 + i * 24, 0));
    }
    slots
}

/// Processor time of this thread, in the kernel's words.
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

fn process_time() -> Duration {
    let mut sum = Duration::ZERO;
    for entry in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
        sum += Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0));
    }
    sum
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().and_then(|a| a.parse().ok()).unwrap_or(default);
    let (millions, threads, live) = (number(10), number(1), number(20_000));
    let dir = args.next().map_or_else(|| std::env::temp_dir().join("ingest_rate.tmq"), PathBuf::from);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let mut programs: Vec<Program> = (0..threads).map(|t| Program::new(t, (live / threads) as usize)).collect();
    let mut ingest = Ingest::create(&dir, &RecordingConfig::default())?;
    ingest.input(Input::Clock { tsc: 0, unix_ns: 0, ticks_per_second: 3e9 })?;
    ingest.input(Input::Slots { incarnation: 1, stream: 0, slots: &describe() })?;
    let rounds = millions * 1_000_000 * 2 / threads / CHUNK as u64;
    let (mut events, mut busy) = (0, Duration::ZERO);
    let start = Instant::now();
    let before = process_time();
    let mut made = Duration::ZERO;
    for _ in 0..rounds {
        for (t, program) in programs.iter_mut().enumerate() {
            let now = thread_time();
            let slots = program.fill();
            made += thread_time() - now;
            let now = thread_time();
            ingest.input(Input::Slots { incarnation: 1, stream: t as u32 + 1, slots })?;
            busy += thread_time() - now;
            events += slots.len() as u64 - 1;
        }
        let now = thread_time();
        let complete = programs.iter().map(|p| p.tsc).min().unwrap_or(0);
        ingest.input(Input::Watermark { tsc: complete })?;
        busy += thread_time() - now;
    }
    let wall = start.elapsed();
    let sealing = Instant::now();
    let options = SealOptions { no_symbols: true, ..SealOptions::default() };
    let summary = ingest.seal(&options, &|_| {})?;
    let pairs = events as f64 / 2.0;
    let all = process_time() - before - made;
    println!("{events} events, {} rows, {} live at the end", summary.rows, summary.live_blocks);
    println!("ingesting thread  {:6.1} ns per pair", busy.as_nanos() as f64 / pairs);
    println!("all threads       {:6.1} ns per pair (ended threads not counted)", all.as_nanos() as f64 / pairs);
    println!("wall              {:6.1} ns per pair, seal {:?}", wall.as_nanos() as f64 / pairs, sealing.elapsed());
    print_columns(&Recording::open(&dir)?)
}

fn print_columns(recording: &Recording) -> Result<(), Box<dyn std::error::Error>> {
    let mut columns: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for path in recording.table_files(&ALLOCATIONS) {
        let reader = SerializedFileReader::new(File::open(path)?)?;
        for group in reader.metadata().row_groups() {
            for column in group.columns() {
                let sums = columns.entry(column.column_path().string()).or_default();
                sums.0 += column.compressed_size();
                sums.1 += column.uncompressed_size();
            }
        }
    }
    let rows = recording.rows(&ALLOCATIONS) as f64;
    for (name, (compressed, encoded)) in &columns {
        println!(
            "{name:16} {:6.3} bytes per row ({:.3} before compression)",
            *compressed as f64 / rows,
            *encoded as f64 / rows
        );
    }
    let files: u64 = recording.manifest().files.iter().filter(|f| f.table == ALLOCATIONS.name).map(|f| f.bytes).sum();
    println!(
        "allocations      {:6.3} bytes per row, recording {} bytes",
        files as f64 / rows,
        recording.size_on_disk()
    );
    Ok(())
}
