//! Random runs: programs that allocate by chance, split over streams, delivered in pieces, killed and repaired.

use std::collections::BTreeMap;
use std::path::Path;

use tmq_store::ingest::{Ingest, Input, ProcessCounters, RecordingConfig, Summary, repair};
use tmq_store::schema::{ALLOCATIONS, FRAMES, LOSSES, PEAK, PROCESSES, STACK_STATS, STACKS, TABLES, THREADS, TIMELINE};
use tmq_store::{Error, Recording};
use tmq_wire::record::{Kind, NO_STACK, ROOT_COMPLETE};

use crate::naive::{self, Event, Expected, Happening};
use crate::support::Scratch;
use crate::wire::{BASE, CLOCK, Row, Stream, ended, no_symbols, rows, seen};

/// SplitMix64.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

const STACKS_PER_PROCESS: u32 = 6;

/// A program run: streams, and the same events in the order of time.
pub struct Run {
    pub streams: Vec<Stream>,
    pub events: Vec<Event>,
    pub processes: u32,
    pub ends: Vec<(u32, i64)>,
}

/// Stack `i` of a process is a chain of `i + 1` frames.
fn define_stacks(stream: &mut Stream) {
    stream.module(1, "/bin/app", &[9]);
    for i in 0..STACKS_PER_PROCESS {
        let parent = if i == 0 { ROOT_COMPLETE } else { 15 + i };
        stream.node(16 + i, parent, 1, u64::from(i) * 16 + 1);
    }
}

pub fn program(rng: &mut Rng, length: usize, inversions: bool) -> Run {
    let processes = 1 + rng.below(3) as u32;
    let mut streams = Vec::new();
    for incarnation in 1..=processes {
        for thread in 0..=rng.below(3) as u32 {
            let mut stream = Stream::new(incarnation, incarnation * 10 + thread, 100 + thread);
            if thread == 0 {
                define_stacks(&mut stream);
            }
            streams.push(stream);
        }
    }
    let mut run = Run { streams, events: Vec::new(), processes, ends: Vec::new() };
    let mut ns = 10;
    let mut dead: Vec<u32> = Vec::new();
    for _ in 0..length {
        let pause = if rng.below(20) == 0 { 30_000 } else { 300 };
        ns += 1 + rng.below(pause);
        let which = rng.below(run.streams.len() as u64) as usize;
        let stream = &mut run.streams[which];
        if dead.contains(&stream.incarnation) {
            continue;
        }
        let who = (stream.incarnation, 100 + stream.number % 10);
        let mut happen = |ns: u64, what| run.events.push(Event { ns: ns as i64, who, what });
        let address = if inversions { 0x1000 + rng.below(12) * 16 } else { 0x1000 + rng.below(40) * 16 };
        let size = rng.below(500);
        let stack = 16 + rng.below(u64::from(STACKS_PER_PROCESS)) as u32;
        let page = 0x100_0000 + rng.below(32) * 4096;
        let pages = (1 + rng.below(8)) * 4096;
        match rng.below(100) {
            0..45 => {
                stream.malloc(ns, address, size, stack);
                happen(ns, Happening::Alloc { address, size, stack, kind: "malloc" });
            }
            45..85 => {
                stream.free(ns, address);
                happen(ns, Happening::Free { address });
            }
            85..92 => {
                let to = 0x1000 + rng.below(12) * 16;
                stream.event(ns, Kind::ReallocOld, address, 0, NO_STACK);
                stream.event(ns + 1, Kind::ReallocNew, to, size, stack);
                happen(ns, Happening::Free { address });
                happen(ns + 1, Happening::Alloc { address: to, size, stack, kind: "realloc" });
                ns += 1;
            }
            92..95 => {
                stream.event(ns, Kind::Mmap, page, pages, stack);
                happen(ns, Happening::Map { address: page, size: pages, stack });
            }
            95..99 => {
                stream.event(ns, Kind::Munmap, page, pages, NO_STACK);
                happen(ns, Happening::Unmap { address: page, size: pages });
            }
            _ if who.0 != 1 && rng.below(4) == 0 => {
                dead.push(who.0);
                run.ends.push((who.0, ns as i64));
                happen(ns, Happening::End);
            }
            _ => {}
        }
    }
    run
}

/// The run as inputs: streams in pieces, complete up to each watermark.
pub fn deliver<'a>(rng: &mut Rng, run: &'a Run) -> Vec<Input<'a>> {
    let mut inputs: Vec<Input<'a>> = (1..=run.processes).map(|p| seen(p, 1000 + p, 0, 0)).collect();
    inputs.push(CLOCK);
    let end = run.events.last().map_or(0, |e| e.ns as u64) + 1;
    let mut at = vec![0; run.streams.len()];
    let mut from = vec![0; run.streams.len()];
    let mut watermark = 0;
    let mut ends = run.ends.clone();
    while watermark <= end {
        watermark += 1 + rng.below(end / 4 + 2);
        for (i, stream) in run.streams.iter().enumerate() {
            let due = stream.ends.iter().take_while(|(_, tsc)| *tsc < BASE + watermark).count();
            let more = rng.below(4) as usize;
            let until = (at[i] + more).max(due).min(stream.ends.len());
            while until > at[i] {
                // Mostly in several pieces.
                let next = at[i] + 1 + rng.below((until - at[i]) as u64) as usize;
                let slot = stream.ends[next - 1].0;
                let slots = &stream.slots[from[i]..slot];
                inputs.push(Input::Slots { incarnation: stream.incarnation, stream: stream.number, slots });
                (at[i], from[i]) = (next, slot);
            }
        }
        ends.retain(|&(incarnation, ns)| {
            let all = run.streams.iter().zip(&at).filter(|(s, _)| s.incarnation == incarnation);
            let drained = all.fold(true, |so_far, (s, &at)| so_far && at == s.ends.len());
            if drained {
                inputs.push(ended(incarnation, ns as u64));
            }
            !drained
        });
        inputs.push(Input::Watermark { tsc: BASE + watermark });
    }
    inputs
}

fn expected_rows(recording: &Recording) -> Vec<naive::Row> {
    let threads = rows(recording, &THREADS);
    let stacks = rows(recording, &STACKS);
    let frames = rows(recording, &FRAMES);
    let tid = |id: i64| threads[id as usize]["tid"].int() as u32;
    let stack_of = |row: &Row| {
        let list = stacks[row["stack_id"].int() as usize]["frames"].ints();
        let offsets: Vec<i64> = list.iter().map(|&f| frames[f as usize]["offset"].int()).collect();
        assert!(offsets.iter().rev().copied().eq((0..offsets.len() as i64).map(|i| i * 16)), "{offsets:?}");
        15 + offsets.len() as u32
    };
    let kind = |text: &str| ["malloc", "realloc", "mmap"].into_iter().find(|k| *k == text).unwrap();
    let mut all: Vec<naive::Row> = rows(recording, &ALLOCATIONS)
        .iter()
        .map(|row| naive::Row {
            process: row["process_id"].int() as u32 + 1,
            alloc_ns: row["alloc_ns"].int(),
            address: row["address"].int() as u64,
            free_ns: row["free_ns"].optional(),
            tid: tid(row["thread_id"].int()),
            free_tid: row["free_thread_id"].optional().map(tid),
            size: row["size"].int() as u64,
            stack: stack_of(row),
            kind: kind(row["kind"].text()),
        })
        .collect();
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all
}

fn check(recording: &Recording, summary: &Summary, expected: &Expected, exact: bool) {
    assert_eq!(expected_rows(recording), expected.rows);
    let close = |a: f64, b: f64| if exact { a == b } else { (a - b).abs() <= 1e-6 * b.abs().max(1.0) };
    assert!(close(summary.peak_bytes as f64, expected.peak_bytes.round()));
    assert_eq!(summary.peak_ns, expected.peak_ns);
    let depth: Vec<u32> = rows(recording, &STACKS).iter().map(|s| 15 + s["depth"].int() as u32).collect();
    let mut found = BTreeMap::new();
    for row in rows(recording, &STACK_STATS).iter().filter(|r| r["domain"].int() == 0) {
        let pair = |what: &str| (row[&*format!("{what}_blocks")].float(), row[&*format!("{what}_bytes")].float());
        let sums = naive::Sums {
            allocated: pair("allocated"),
            live: pair("live"),
            peak: pair("peak"),
            temporary: pair("temporary"),
        };
        found.insert((depth[row["stack_id"].int() as usize], row["process_id"].int() as u32 + 1), sums);
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.heap.keys().collect::<Vec<_>>());
    for (key, sums) in &found {
        let other = &expected.heap[key];
        let pairs = [
            (sums.allocated, other.allocated),
            (sums.live, other.live),
            (sums.peak, other.peak),
            (sums.temporary, other.temporary),
        ];
        for ((a, b), (c, d)) in pairs {
            assert!(close(a, c) && close(b, d), "{key:?}: {sums:?} {other:?}");
        }
    }
    let at_peak: f64 = rows(recording, &PEAK).iter().map(|r| r["bytes"].float()).sum();
    assert!(close(at_peak, expected.peak_bytes));
    let processes = rows(recording, &PROCESSES);
    let sum = |name: &str| processes.iter().map(|p| p[name].int() as u64).sum::<u64>();
    assert_eq!(sum("foreign_frees"), expected.foreign);
    for (process, most) in &expected.process_peaks {
        assert!(close(processes[*process as usize - 1]["peak_bytes"].int() as f64, most.round()));
    }
    let losses = rows(recording, &LOSSES);
    let unpaired: i64 = losses.iter().filter(|l| l["reason"].text() == "unpaired").map(|l| l["count"].int()).sum();
    assert_eq!(unpaired as u64, expected.unpaired);
    if exact {
        check_timeline(recording, expected);
    }
}

fn check_timeline(recording: &Recording, expected: &Expected) {
    let width: i64 = recording.metadata().unwrap()["bin_width_ns"].parse().unwrap();
    let mut before = 0.0;
    for bin in rows(recording, &TIMELINE) {
        let start = bin["bin_ns"].int();
        let mut within =
            expected.history.iter().filter(|(ns, _)| (start..start + width).contains(ns)).map(|(_, live)| *live);
        let most = within.clone().fold(before, f64::max);
        before = within.next_back().unwrap_or(before);
        assert_eq!((bin["live_bytes"].int(), bin["max_live_bytes"].int()), (before as i64, most as i64));
    }
}

/// Takes inputs in, and says when only one stream is missing before the next watermark.
fn feed(ingest: &mut Ingest, inputs: &[Input<'_>]) {
    for (i, input) in inputs.iter().enumerate() {
        ingest.input(*input).unwrap();
        let Input::Slots { incarnation, stream, .. } = *input else { continue };
        let mut follows = false;
        for next in &inputs[i + 1..] {
            match *next {
                Input::Slots { incarnation: of, stream: number, .. } if (of, number) == (incarnation, stream) => {
                    follows = true;
                }
                Input::Watermark { tsc } if follows => {
                    let reached = ingest.only_missing(&[(incarnation, stream)], tsc).unwrap();
                    assert!(reached <= tsc);
                    break;
                }
                _ => break,
            }
        }
    }
}

fn record(dir: &Path, config: &RecordingConfig, inputs: &[Input<'_>]) -> (Recording, Summary) {
    let mut ingest = Ingest::create(dir, config).unwrap();
    feed(&mut ingest, inputs);
    let summary = ingest.seal(&no_symbols(), &|_| {}).unwrap();
    (Recording::open(dir).unwrap(), summary)
}

#[test]
fn random_programs_agree_with_the_naive_model() {
    for seed in 0..300 {
        let scratch = Scratch::new();
        let mut rng = Rng::new(seed);
        let run = program(&mut rng, 20 + seed as usize % 300, seed % 2 == 0);
        let inputs = deliver(&mut rng, &run);
        let (recording, summary) = record(&scratch.join("a.tmq"), &RecordingConfig::default(), &inputs);
        check(&recording, &summary, &naive::expect(&run.events, |_| 1.0), true);
    }
}

#[test]
fn random_sampled_programs_agree_with_the_naive_model() {
    for seed in 0..100 {
        let scratch = Scratch::new();
        let mut rng = Rng::new(seed + 1_000_000);
        let run = program(&mut rng, 200, false);
        let inputs = deliver(&mut rng, &run);
        let config = RecordingConfig { sample_interval: 300, ..RecordingConfig::default() };
        let (recording, summary) = record(&scratch.join("a.tmq"), &config, &inputs);
        let weight = |size: u64| {
            let p = -(-(size.max(1) as f64) / 300.0).exp_m1();
            (65536.0 / p).round() / 65536.0
        };
        check(&recording, &summary, &naive::expect(&run.events, weight), false);
    }
}

/// Everything in a recording but what depends on whether it was interrupted.
fn content(recording: &Recording) -> Vec<Vec<Row>> {
    TABLES
        .iter()
        .map(|table| {
            let mut all = rows(recording, table);
            all.retain(|row| {
                let told = ["reason", "key"].iter().find_map(|c| row.get(c)).map_or("", |v| v.text());
                !["interrupted", "start_unix_ns"].contains(&told)
            });
            if table.parts {
                // Where parts end depends on checkpoints; blocks that were never freed come last in any order.
                all.sort_by(|a, b| a.partial_cmp(b).unwrap());
            }
            all
        })
        .collect()
}

#[test]
fn a_recording_killed_anywhere_is_repaired_to_what_it_had() {
    for seed in 0..8 {
        let mut rng = Rng::new(seed + 2_000_000);
        let run = program(&mut rng, 150, seed % 2 == 0);
        let inputs = deliver(&mut rng, &run);
        for killed_after in (0..=inputs.len()).step_by(1 + seed as usize % 3) {
            let scratch = Scratch::new();
            let dir = scratch.join("killed.tmq");
            let mut ingest = Ingest::create(&dir, &RecordingConfig::default()).unwrap();
            ingest.set_checkpoint_bytes(1 + rng.below(3000));
            feed(&mut ingest, &inputs[..killed_after]);
            // Everything up to the last watermark must survive; what came after it may.
            let survives = inputs[..killed_after].iter().rposition(|i| matches!(i, Input::Watermark { .. }));
            drop(ingest);
            assert!(Recording::open(&dir).is_err());
            repair(&dir, &no_symbols(), &|_| {}).unwrap();
            let repaired = content(&Recording::open(&dir).unwrap());
            let whole = survives.map_or(0, |i| i + 1);
            let (reference, _) = record(&scratch.join("reference.tmq"), &RecordingConfig::default(), &inputs[..whole]);
            assert_eq!(repaired, content(&reference), "seed {seed} killed after {killed_after}");
            assert!(repair(&dir, &no_symbols(), &|_| {}).is_err());
        }
    }
}

#[test]
fn a_journal_cut_at_any_byte_is_repaired() {
    let mut rng = Rng::new(3_000_000);
    let run = program(&mut rng, 60, true);
    let inputs = deliver(&mut rng, &run);
    let scratch = Scratch::new();
    let dir = scratch.join("a.tmq");
    let mut ingest = Ingest::create(&dir, &RecordingConfig::default()).unwrap();
    for input in &inputs {
        ingest.input(*input).unwrap();
    }
    drop(ingest);
    let checkpoint = std::fs::read(dir.join("journal/checkpoint")).unwrap();
    let journal = std::fs::read(dir.join("journal/00000.log")).unwrap();
    let manifest = std::fs::read(dir.join("tmq.json")).unwrap();
    let mut before = 0;
    for cut in (0..journal.len()).step_by(7).chain([journal.len()]) {
        std::fs::create_dir_all(dir.join("journal")).unwrap();
        std::fs::write(dir.join("journal/checkpoint"), &checkpoint).unwrap();
        std::fs::write(dir.join("journal/00000.log"), &journal[..cut]).unwrap();
        std::fs::write(dir.join("tmq.json"), &manifest).unwrap();
        let summary = repair(&dir, &no_symbols(), &|_| {}).unwrap();
        let recording = Recording::open(&dir).unwrap();
        assert!(summary.interrupted && summary.allocations >= before);
        assert_eq!(recording.rows(&ALLOCATIONS), summary.rows);
        before = summary.allocations;
    }
    let (reference, _) = record(&scratch.join("b.tmq"), &RecordingConfig::default(), &inputs);
    assert_eq!(content(&Recording::open(&dir).unwrap()), content(&reference));
}

#[test]
fn a_recording_that_lost_a_part_is_refused_and_left_alone() {
    let mut rng = Rng::new(5_000_000);
    let run = program(&mut rng, 150, false);
    let inputs = deliver(&mut rng, &run);
    let scratch = Scratch::new();
    let dir = scratch.join("a.tmq");
    let mut ingest = Ingest::create(&dir, &RecordingConfig::default()).unwrap();
    ingest.set_checkpoint_bytes(500);
    for input in &inputs {
        ingest.input(*input).unwrap();
    }
    drop(ingest);
    let part = dir.join("allocations/part-00000.parquet");
    let whole = std::fs::read(&part).unwrap();
    std::fs::write(&part, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(repair(&dir, &no_symbols(), &|_| {}), Err(Error::Truncated { .. })));
    std::fs::remove_file(&part).unwrap();
    assert!(matches!(repair(&dir, &no_symbols(), &|_| {}), Err(Error::MissingFile { .. })));
    std::fs::write(&part, &whole).unwrap();
    repair(&dir, &no_symbols(), &|_| {}).unwrap();
    Recording::open(&dir).unwrap();
}

#[test]
fn counts_that_targets_chose_add_up_to_the_largest_there_is() {
    let counters = ProcessCounters {
        losses: [u64::MAX; 8],
        verified: u64::MAX,
        mismatches: u64::MAX,
        ..ProcessCounters::default()
    };
    let end = |incarnation| Input::ProcessEnded {
        incarnation,
        tsc: Some(BASE + 5),
        exit_code: None,
        exit_signal: None,
        counters,
    };
    let loss = Input::Loss { incarnation: None, reason: "corrupt_stream", count: u64::MAX, detail: "" };
    let inputs = [CLOCK, seen(1, 7, 0, 0), seen(2, 8, 0, 0), loss, loss, end(1), end(2)];
    let scratch = Scratch::new();
    let (_, summary) = record(&scratch.join("a.tmq"), &RecordingConfig::default(), &inputs);
    assert_eq!((summary.lost_events, summary.verified, summary.mismatches), (u64::MAX, u64::MAX, u64::MAX));
}

#[test]
fn random_bytes_never_panic() {
    for seed in 0..200 {
        let scratch = Scratch::new();
        let mut rng = Rng::new(seed + 4_000_000);
        let run = program(&mut rng, 60, false);
        let mut streams = run.streams.clone();
        for stream in &mut streams {
            for _ in 0..rng.below(6) {
                let at = rng.below(stream.slots.len() as u64) as usize;
                let word = rng.below(2) as usize;
                match rng.below(3) {
                    0 => stream.slots[at][word] = rng.next(),
                    1 => stream.slots[at][word] ^= 1 << rng.below(64),
                    _ => stream.slots[at] = [(1 + rng.below(24)) << 59 | rng.next() >> 5, rng.next()],
                }
            }
        }
        let mut inputs = vec![CLOCK];
        inputs.extend(streams.iter().map(Stream::input));
        for _ in 0..rng.below(4) {
            inputs
                .push(Input::Watermark { tsc: if rng.below(3) == 0 { rng.next() } else { BASE + rng.below(20_000) } });
            inputs.push(Input::Rss { tsc: rng.next(), bytes: rng.next() as i64 });
            inputs.push(Input::Mark { tsc: rng.next(), name: "x" });
            inputs.push(ended(rng.below(4) as u32, rng.next() >> 1));
            inputs.extend(streams.iter().map(Stream::input));
        }
        let (recording, summary) = record(&scratch.join("a.tmq"), &RecordingConfig::default(), &inputs);
        assert_eq!(recording.rows(&ALLOCATIONS), summary.rows);
    }
}
