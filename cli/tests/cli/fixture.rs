//! A small recording with known numbers, and source files for its frames.
//!
//! ```text
//! stack  most recent frame first                       blocks (bytes @ alloc..free in ms)
//! 0      xmalloc < make_parser < parse_file < main     1000@10..90  2000@20..-  3000@30..40
//! 1      read_line < parse_file < main                  500@11..12   500@13..14   500@15..60
//! 2      xmalloc < worker < worker < main             40960@50..70  4096@55..-
//! 3      inflate (no line) < read_line < main         65536@45..80 (a memory map: domain 1)
//! ```
//! Heap peak: 50,..60 ms: at 55 ms 1000 + 2000 + 500 + 40960 + 4096 = 48556 bytes in 5 blocks.

use std::fs;
use std::path::Path;

use tmq_store::schema::*;
use tmq_store::write::RecordingBuilder;

const MS: i64 = 1_000_000;
const END: i64 = 100 * MS;

struct Block {
    stack: i32,
    thread: i32,
    size: i64,
    alloc: i64,
    free: Option<i64>,
    domain: i32,
}

fn blocks(scale: i64) -> Vec<Block> {
    let block = |stack, thread, size: i64, alloc: i64, free: i64| Block {
        stack,
        thread,
        size: size * scale,
        alloc: alloc * MS,
        free: (free > 0).then_some(free * MS),
        domain: DOMAIN_HEAP,
    };
    let mut blocks = vec![
        block(0, 0, 1000, 10, 90),
        block(0, 0, 2000, 20, 0),
        block(0, 0, 3000, 30, 40),
        block(1, 0, 500, 11, 12),
        block(1, 0, 500, 13, 14),
        block(1, 0, 500, 15, 60),
        block(2, 1, 40960, 50, 70),
        block(2, 1, 4096, 55, 0),
        Block { domain: DOMAIN_MMAP, ..block(3, 1, 65536, 45, 80) },
    ];
    blocks.sort_by_key(|b| b.free.unwrap_or(i64::MAX));
    blocks
}

/// Makes `DIR/NAME` and the sources in `DIR/src`. All sizes are multiplied by `scale`.
pub(crate) fn recording(dir: &Path, name: &str, scale: i64) {
    sources(dir);
    let command = ["./app", "--input", "a file"].map(str::to_owned);
    let mut builder = RecordingBuilder::create(dir.join(name), command.to_vec()).unwrap();
    let blocks = blocks(scale);
    allocations(&mut builder, &blocks);
    code(&mut builder, dir);
    run(&mut builder, &blocks);
    sums(&mut builder, &blocks);
    builder
        .seal([
            ("hostname".to_owned(), "example".to_owned()),
            ("sample_interval".to_owned(), "0".to_owned()),
            ("duration_ns".to_owned(), END.to_string()),
            ("bin_width_ns".to_owned(), (10 * MS).to_string()),
        ])
        .unwrap();
}

fn sources(dir: &Path) {
    let src = dir.join("src");
    fs::create_dir_all(&src).unwrap();
    fs::write(src.join("alloc.c"), "\n\n    return malloc(n);\n").unwrap();
    fs::write(src.join("parser.c"), "\n    struct parser *p = xmalloc(sizeof *p);\n\n    make_parser(file);\n")
        .unwrap();
    fs::write(src.join("main.c"), "int main() {\n    parse_file(argv[1]);\n}\n").unwrap();
}

fn allocations(builder: &mut RecordingBuilder, blocks: &[Block]) {
    let mut rows = AllocationsColumns::default();
    for (i, b) in blocks.iter().enumerate() {
        rows.push(AllocationsRow {
            process_id: 0,
            thread_id: b.thread,
            alloc_ns: b.alloc,
            free_ns: b.free,
            free_thread_id: b.free.map(|_| b.thread),
            address: 0x5555_0000 + i as i64 * 0x10_0000,
            size: b.size,
            stack_id: b.stack,
            free_stack_id: None,
            kind: if b.domain == DOMAIN_MMAP { "mmap" } else { "malloc" },
            domain: b.domain,
            weight: 1.0,
        });
    }
    builder.write(&mut rows).unwrap();
}

/// (function, file, line, module, plumbing)
const FRAMES: [(&str, &str, i32, i32, bool); 7] = [
    ("xmalloc", "alloc.c", 3, 0, true),
    ("make_parser", "parser.c", 2, 0, false),
    ("parse_file", "parser.c", 4, 0, false),
    ("main", "main.c", 2, 0, false),
    ("read_line", "io.c", 33, 0, false),
    ("worker", "worker.c", 88, 0, false),
    ("inflate", "", 0, 1, false),
];
/// (frames, first frame that a person would name)
const STACKS: [(&[i32], i32); 4] = [(&[0, 1, 2, 3], 1), (&[4, 2, 3], 4), (&[0, 5, 5, 3], 5), (&[6, 4, 3], 6)];
const LIBRARY: &str = "/usr/lib/libz.so.1";

fn code(builder: &mut RecordingBuilder, dir: &Path) {
    let mut modules = ModulesColumns::default();
    let app = dir.join("app").display().to_string();
    for (i, (path, name)) in [(app.as_str(), "app"), (LIBRARY, "libz.so.1")].into_iter().enumerate() {
        modules.push(ModulesRow {
            module_id: i as i32,
            path: path.to_owned(),
            name: name.to_owned(),
            build_id: Some(format!("{i:040x}")),
            process_id: 0,
            start_address: 0x40_0000,
            end_address: 0x50_0000,
            symbols: "dwarf".to_owned(),
        });
    }
    builder.write(&mut modules).unwrap();
    let mut frames = FramesColumns::default();
    for (i, (function, file, line, module_id, is_plumbing)) in FRAMES.into_iter().enumerate() {
        let path = dir.join("src").join(file).display().to_string();
        frames.push(FramesRow {
            frame_id: i as i32,
            frame_hash: 100 + i as i64,
            function: function.to_owned(),
            raw_symbol: Some(function.to_owned()),
            file: if file.is_empty() { LIBRARY.to_owned() } else { path },
            line,
            column: 0,
            module_id,
            offset: 0x1000 + i as i64,
            is_inline: false,
            is_plumbing,
        });
    }
    builder.write(&mut frames).unwrap();
    stacks(builder);
}

fn stacks(builder: &mut RecordingBuilder) {
    let (mut stacks, mut positions, mut sites) =
        (StacksColumns::default(), StackFramesColumns::default(), CallsitesColumns::default());
    let mut next_site = 0;
    for (id, (frames, user)) in STACKS.into_iter().enumerate() {
        let stack_id = id as i32;
        for (position, &frame) in frames.iter().enumerate() {
            let seen = &frames[..position];
            let key = |f: i32| FRAMES[f as usize];
            positions.push(StackFramesRow {
                stack_id,
                position: position as i32,
                frame_id: frame,
                is_first_line: !seen.iter().any(|&f| (key(f).1, key(f).2) == (key(frame).1, key(frame).2)),
                is_first_function: !seen.iter().any(|&f| key(f).0 == key(frame).0),
                is_first_file: !seen.iter().any(|&f| key(f).1 == key(frame).1),
                is_first_module: !seen.iter().any(|&f| key(f).3 == key(frame).3),
            });
        }
        for (depth, &frame_id) in frames.iter().rev().enumerate() {
            let parent_id = (depth > 0).then(|| next_site - 1);
            sites.push(CallsitesRow { callsite_id: next_site, parent_id, frame_id, depth: depth as i32 });
            next_site += 1;
        }
        stacks.push(StacksRow {
            stack_id,
            stack_hash: 1000 + i64::from(stack_id),
            callsite_id: next_site - 1,
            depth: frames.len() as i32,
            leaf_frame_id: frames[0],
            user_leaf_frame_id: user,
            frames: frames.to_vec(),
            quality: "complete",
        });
    }
    builder.write(&mut stacks).unwrap();
    builder.write(&mut positions).unwrap();
    builder.write(&mut sites).unwrap();
}

/// Heap blocks and bytes live just after `at`.
fn live(blocks: &[Block], at: i64) -> (i64, i64) {
    let live = blocks.iter().filter(|b| b.domain == DOMAIN_HEAP && b.alloc <= at && b.free.is_none_or(|f| f > at));
    live.fold((0, 0), |(n, bytes), b| (n + 1, bytes + b.size))
}

fn peak_ns(blocks: &[Block]) -> i64 {
    let heap = blocks.iter().filter(|b| b.domain == DOMAIN_HEAP);
    heap.map(|b| b.alloc).max_by_key(|&at| (live(blocks, at).1, -at)).unwrap()
}

fn run(builder: &mut RecordingBuilder, blocks: &[Block]) {
    let heap: Vec<&Block> = blocks.iter().filter(|b| b.domain == DOMAIN_HEAP).collect();
    let peak = peak_ns(blocks);
    let (live_blocks, live_bytes) = live(blocks, END);
    let mut processes = ProcessesColumns::default();
    processes.push(ProcessesRow {
        process_id: 0,
        pid: 4711,
        ppid: 4710,
        parent_process_id: None,
        origin: "start",
        exe: "/bin/app".to_owned(),
        argv: ["./app", "--input", "a file"].map(str::to_owned).to_vec(),
        start_ns: 0,
        end_ns: Some(END),
        exit_code: Some(0),
        exit_signal: None,
        allocations: heap.len() as i64,
        frees: heap.iter().filter(|b| b.free.is_some()).count() as i64,
        bytes_allocated: heap.iter().map(|b| b.size).sum(),
        peak_bytes: live(blocks, peak).1,
        peak_ns: peak,
        live_blocks,
        live_bytes,
        foreign_frees: 0,
        recorder_bytes: 1 << 20,
    });
    builder.write(&mut processes).unwrap();
    let mut threads = ThreadsColumns::default();
    for (thread_id, name) in [(0, "app"), (1, "worker")] {
        let tid = 4711 + thread_id;
        threads.push(ThreadsRow { thread_id, process_id: 0, tid, name: name.to_owned(), start_ns: 0, end_ns: END });
    }
    builder.write(&mut threads).unwrap();
    let mut moments = MomentsColumns::default();
    for (name, kind, at_ns) in
        [("start", "start", 0), ("peak", "peak", peak), ("loaded", "mark", 35 * MS), ("end", "end", END)]
    {
        let (live_blocks, live_bytes) = live(blocks, at_ns);
        moments.push(MomentsRow { name: name.to_owned(), kind, at_ns, process_id: None, live_bytes, live_blocks });
    }
    builder.write(&mut moments).unwrap();
}

fn sums(builder: &mut RecordingBuilder, blocks: &[Block]) {
    let peak = peak_ns(blocks);
    let mut timeline = TimelineColumns::default();
    for bin in 0..10 {
        let (begin, end) = (bin * 10 * MS, (bin + 1) * 10 * MS);
        let within = |t: i64| (begin..end).contains(&t);
        let heap = || blocks.iter().filter(|b| b.domain == DOMAIN_HEAP);
        let allocated: Vec<i64> = heap().filter(|b| within(b.alloc)).map(|b| b.size).collect();
        let freed: Vec<i64> = heap().filter(|b| b.free.is_some_and(within)).map(|b| b.size).collect();
        let (live_blocks, live_bytes) = live(blocks, end - 1);
        timeline.push(TimelineRow {
            bin_ns: begin,
            live_bytes,
            live_blocks,
            max_live_bytes: (begin / MS..end / MS).map(|ms| live(blocks, ms * MS).1).max().unwrap_or(0),
            allocated_bytes: allocated.iter().sum(),
            allocated_blocks: allocated.len() as i64,
            freed_bytes: freed.iter().sum(),
            freed_blocks: freed.len() as i64,
            rss_bytes: None,
        });
    }
    builder.write(&mut timeline).unwrap();
    let (mut stats, mut peaks) = (StackStatsColumns::default(), PeakColumns::default());
    for stack_id in 0..4 {
        let mine: Vec<&Block> = blocks.iter().filter(|b| b.stack == stack_id).collect();
        let sum = |keep: &dyn Fn(&Block) -> bool| {
            let kept = mine.iter().filter(|b| keep(b));
            kept.fold((0.0, 0.0), |(n, bytes), b| (n + 1.0, bytes + b.size as f64))
        };
        let (allocated_blocks, allocated_bytes) = sum(&|_| true);
        let (live_blocks, live_bytes) = sum(&|b| b.free.is_none());
        let (peak_blocks, peak_bytes) = sum(&|b| b.alloc <= peak && b.free.is_none_or(|f| f > peak));
        let (temporary_blocks, temporary_bytes) = sum(&|b| b.free.is_some_and(|f| f - b.alloc <= MS));
        let lifetimes: Vec<i64> = mine.iter().filter_map(|b| Some(b.free? - b.alloc)).collect();
        stats.push(StackStatsRow {
            stack_id,
            process_id: 0,
            domain: mine[0].domain,
            allocated_blocks,
            allocated_bytes,
            live_blocks,
            live_bytes,
            peak_blocks,
            peak_bytes,
            temporary_blocks,
            temporary_bytes,
            lifetime_sum_ns: lifetimes.iter().sum::<i64>() as f64,
            lifetime_min_ns: lifetimes.iter().min().copied(),
            lifetime_max_ns: lifetimes.iter().max().copied(),
            size_min: mine.iter().map(|b| b.size).min().unwrap(),
            size_max: mine.iter().map(|b| b.size).max().unwrap(),
            first_ns: mine.iter().map(|b| b.alloc).min().unwrap(),
            last_ns: mine.iter().map(|b| b.alloc).max().unwrap(),
            allocated_blocks_variance: 0.0,
            allocated_bytes_variance: 0.0,
        });
        if mine[0].domain == DOMAIN_HEAP && peak_blocks > 0.0 {
            peaks.push(PeakRow { stack_id, process_id: 0, blocks: peak_blocks, bytes: peak_bytes });
        }
    }
    builder.write(&mut stats).unwrap();
    builder.write(&mut peaks).unwrap();
}

#[test]
#[ignore = "makes app.4711.tmq and later.tmq in $TMQ_FIXTURE, to try things by hand"]
fn make() {
    let dir = std::env::var_os("TMQ_FIXTURE").expect("TMQ_FIXTURE names a directory");
    recording(Path::new(&dir), "app.4711.tmq", 1);
    recording(Path::new(&dir), "later.tmq", 3);
}
