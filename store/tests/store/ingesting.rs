//! What becomes of events, case by case.

use tmq_store::ingest::{Input, RecordingConfig};
use tmq_store::schema::*;
use tmq_wire::record::{Kind, NO_STACK, NODE_EXACT, NODE_FALLBACK, ROOT_BROKEN, ROOT_COMPLETE, ROOT_TRUNCATED};

use crate::support::Scratch;
use crate::wire::{Row, Stream, Value, ended, record, rows, seen};

fn config() -> RecordingConfig {
    RecordingConfig { argv: vec!["app".to_owned()], ..RecordingConfig::default() }
}

/// A stream of process 1 with a module and two stacks: 16 = [a], 17 = [b, a].
fn stream(number: u32, tid: u32) -> Stream {
    let mut stream = Stream::new(1, number, tid);
    if number == 1 {
        stream.module(1, "/bin/app", &[1, 2]).node(16, ROOT_COMPLETE, 1, 0x101).node(17, 16, 1, 0x201);
    }
    stream
}

fn brief(row: &Row) -> (i64, Option<i64>, i64, i64, &str) {
    (row["alloc_ns"].int(), row["free_ns"].optional(), row["address"].int(), row["size"].int(), row["kind"].text())
}

fn run(streams: &[&Stream]) -> (Scratch, tmq_store::Recording, tmq_store::ingest::Summary) {
    let scratch = Scratch::new();
    let (recording, summary) = record(&scratch.join("a.tmq"), &config(), &[seen(1, 77, 0, 0)], streams);
    (scratch, recording, summary)
}

#[test]
fn a_block_becomes_one_row_with_its_free() {
    let mut a = stream(1, 7);
    a.malloc(10, 0x1000, 100, 17).event(20, Kind::Calloc, 0x2000, 50, 16).free(35, 0x1000);
    let (_scratch, recording, summary) = run(&[&a]);
    let all = rows(&recording, &ALLOCATIONS);
    assert_eq!(
        all.iter().map(brief).collect::<Vec<_>>(),
        [(10, Some(35), 0x1000, 100, "malloc"), (20, None, 0x2000, 50, "calloc"),]
    );
    assert_eq!(all[0]["weight"], Value::Float(1.0));
    assert_eq!((all[0]["free_thread_id"].optional(), all[1]["free_thread_id"].optional()), (Some(0), None));
    assert_eq!((summary.allocations, summary.frees, summary.bytes_allocated), (2, 1, 150));
    assert_eq!((summary.live_blocks, summary.live_bytes), (1, 50));
    assert_eq!((summary.peak_bytes, summary.peak_ns), (150, 20));
    assert_eq!(summary.duration_ns, 35);
    let threads = rows(&recording, &THREADS);
    assert_eq!((threads[0]["tid"].int(), threads[0]["start_ns"].int(), threads[0]["end_ns"].int()), (7, 10, 35));
    let moments = rows(&recording, &MOMENTS);
    assert_eq!(moments[1]["live_bytes"].int(), 50);
    assert_eq!(recording.size_on_disk(), summary.size_on_disk);
}

#[test]
fn stacks_have_frames_with_the_executing_address() {
    let mut a = stream(1, 7);
    a.node_with(18, 17, 1, 0x301, NODE_EXACT | NODE_FALLBACK).node(19, ROOT_TRUNCATED, 1, 0x101);
    a.node(20, ROOT_BROKEN, u16::MAX, 0x5001);
    for (i, stack) in [16, 17, 18, 19, 20, NO_STACK, 99].into_iter().enumerate() {
        a.malloc(10 + i as u64, 0x1000 + i as u64 * 16, 1, stack);
    }
    let (_scratch, recording, summary) = run(&[&a]);
    let stacks = rows(&recording, &STACKS);
    let frames = rows(&recording, &FRAMES);
    let offsets = |stack: &Row| -> Vec<i64> {
        stack["frames"].ints().iter().map(|&f| frames[f as usize]["offset"].int()).collect()
    };
    assert_eq!(
        stacks.iter().map(offsets).collect::<Vec<_>>(),
        [vec![0x100], vec![0x200, 0x100], vec![0x301, 0x200, 0x100], vec![0x100], vec![0x5000], vec![0], vec![0],]
    );
    assert_eq!(
        stacks.iter().map(|s| s["quality"].text()).collect::<Vec<_>>(),
        ["complete", "complete", "fallback", "truncated", "broken", "none", "none"]
    );
    assert_eq!(stacks[0]["stack_hash"], stacks[3]["stack_hash"]);
    let leaf = |i: usize| &frames[stacks[i]["leaf_frame_id"].int() as usize];
    assert_eq!((leaf(0)["file"].text(), leaf(0)["function"].text(), leaf(0)["line"].int()), ("/bin/app", "??", 0));
    assert_eq!((leaf(4)["file"].text(), leaf(4)["module_id"].int()), ("<unknown>", -1));
    assert_eq!(leaf(5)["function"].text(), "<unknown>");
    assert_eq!(summary.broken_stacks, 3);
    let callsites = rows(&recording, &CALLSITES);
    for stack in &stacks {
        let mut path = Vec::new();
        let mut at = Some(stack["callsite_id"].int());
        while let Some(id) = at {
            path.push(callsites[id as usize]["frame_id"].int());
            assert_eq!(callsites[id as usize]["callsite_id"].int(), id);
            at = callsites[id as usize]["parent_id"].optional();
            assert!(at.is_none_or(|parent| parent < id));
        }
        assert_eq!(path, stack["frames"].ints());
    }
    let positions = rows(&recording, &STACK_FRAMES);
    assert_eq!(positions.len(), stacks.iter().map(|s| s["depth"].int() as usize).sum::<usize>());
    let losses = rows(&recording, &LOSSES);
    assert!(losses.iter().any(|l| l["reason"].text() == "unresolved_stacks" && l["count"].int() == 1));
}

#[test]
fn threads_free_each_others_blocks_in_the_order_of_stamps() {
    let (mut a, mut b) = (stream(1, 7), stream(2, 8));
    a.malloc(10, 0x1000, 1, 16).malloc(40, 0x1000, 2, 16).free(60, 0x1000);
    b.free(30, 0x1000).thread(9).malloc(50, 0x2000, 4, 16);
    let (_scratch, recording, _) = run(&[&b, &a]);
    let all = rows(&recording, &ALLOCATIONS);
    assert_eq!(
        all.iter().map(brief).collect::<Vec<_>>(),
        [(10, Some(30), 0x1000, 1, "malloc"), (40, Some(60), 0x1000, 2, "malloc"), (50, None, 0x2000, 4, "malloc"),]
    );
    let threads = rows(&recording, &THREADS);
    let tid = |row: &Row, column: &str| threads[row[column].int() as usize]["tid"].int();
    assert_eq!((tid(&all[0], "thread_id"), tid(&all[0], "free_thread_id"), tid(&all[2], "thread_id")), (7, 8, 9));
}

#[test]
fn realloc_ends_one_row_and_begins_another() {
    let mut a = stream(1, 7);
    a.malloc(10, 0x1000, 10, 16);
    a.event(20, Kind::ReallocOld, 0x1000, 0, NO_STACK).event(25, Kind::ReallocNew, 0x1000, 20, 17);
    a.event(30, Kind::ReallocOld, 0x1000, 0, NO_STACK).event(35, Kind::ReallocNew, 0x3000, 1 << 40, 17);
    a.event(50, Kind::ReallocNull, 0x1000, 5, 17);
    let (_scratch, recording, summary) = run(&[&a]);
    assert_eq!(
        rows(&recording, &ALLOCATIONS).iter().map(brief).collect::<Vec<_>>(),
        [
            (10, Some(20), 0x1000, 10, "malloc"),
            (25, Some(30), 0x1000, 20, "realloc"),
            // What lives to the end comes by address.
            (50, None, 0x1000, 5, "realloc"),
            (35, None, 0x3000, 1 << 40, "realloc"),
        ]
    );
    assert_eq!((summary.allocations, summary.frees), (4, 2));
}

#[test]
fn a_late_free_closes_the_older_block_and_a_missing_one_is_counted() {
    let (mut a, mut b) = (stream(1, 7), stream(2, 8));
    a.malloc(1000, 0x1000, 1, 16).free(5000, 0x1000);
    b.malloc(2000, 0x1000, 2, 16).free(40_000, 0x1000);
    // No free of the first block at 0x2000 is ever seen.
    b.malloc(50_000, 0x2000, 3, 16).malloc(60_000, 0x2000, 4, 16).free(75_000, 0x2000);
    let (_scratch, recording, summary) = run(&[&a, &b]);
    let all = rows(&recording, &ALLOCATIONS);
    assert_eq!(
        all.iter().map(brief).collect::<Vec<_>>(),
        [
            (1000, Some(2000), 0x1000, 1, "malloc"),
            (2000, Some(40_000), 0x1000, 2, "malloc"),
            (50_000, Some(60_000), 0x2000, 3, "malloc"),
            (60_000, Some(75_000), 0x2000, 4, "malloc"),
        ]
    );
    assert_eq!((all[0]["free_thread_id"].optional(), all[2]["free_thread_id"].optional()), (Some(0), None));
    assert_eq!((summary.frees, summary.peak_bytes), (4, 4));
    let losses = rows(&recording, &LOSSES);
    assert_eq!(losses.iter().map(|l| (l["reason"].text(), l["count"].int())).collect::<Vec<_>>(), [("unpaired", 1)]);
}

#[test]
fn frees_of_unknown_blocks_are_foreign() {
    let mut a = stream(1, 7);
    a.free(5, 0x1000).malloc(10, 0x1000, 1, 16).free(20, 0x1000).free(30, 0x1000);
    let (_scratch, recording, summary) = run(&[&a]);
    assert_eq!(recording.rows(&ALLOCATIONS), 1);
    assert_eq!(rows(&recording, &PROCESSES)[0]["foreign_frees"].int(), 2);
    assert_eq!(summary.lost_events, 0);
}

#[test]
fn forked_and_executed_images_are_separate() {
    let scratch = Scratch::new();
    let mut parent = stream(1, 7);
    parent.process(100, 99, "/bin/sh", &["sh", "-c", "x"]).malloc(10, 0x1000, 10, 16).free(90, 0x1000);
    let mut child = Stream::new(2, 2, 8);
    child.module(1, "/bin/app", &[1, 2]).node(40, ROOT_COMPLETE, 1, 0x101);
    child.free(30, 0x1000).malloc(40, 0x1000, 20, 40);
    let mut image = Stream::new(3, 3, 8);
    image.process(101, 100, "/bin/ls", &["ls"]).malloc(60, 0x1000, 40, NO_STACK);
    let inputs = [seen(1, 100, 0, 0), seen(2, 101, 1, 20), seen(3, 101, 0, 50), ended(2, 50), ended(3, 80)];
    let (recording, summary) = record(&scratch.join("a.tmq"), &config(), &inputs, &[&parent, &child, &image]);
    let processes = rows(&recording, &PROCESSES);
    let column = |name: &str| processes.iter().map(|p| p[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("origin"), ["start", "fork", "exec"].map(|t| Value::Text(t.to_owned())));
    assert_eq!(column("parent_process_id"), [Value::Null, Value::Int(0), Value::Int(1)]);
    assert_eq!(column("pid"), [100, 101, 101].map(Value::Int));
    assert_eq!(column("ppid"), [99, 100, 100].map(Value::Int));
    assert_eq!(column("exe"), ["/bin/sh", "/bin/sh", "/bin/ls"].map(|t| Value::Text(t.to_owned())));
    assert_eq!(column("foreign_frees"), [0, 1, 0].map(Value::Int));
    assert_eq!(column("live_bytes"), [0, 20, 40].map(Value::Int));
    assert_eq!(column("end_ns"), [Value::Null, Value::Int(50), Value::Int(80)]);
    // The child's block was gone when the next image allocated.
    assert_eq!((summary.peak_bytes, summary.peak_ns, summary.live_bytes), (50, 60, 60));
    let all = rows(&recording, &ALLOCATIONS);
    let stack_of = |process: i64| all.iter().find(|r| r["process_id"].int() == process).unwrap()["stack_id"].clone();
    assert_eq!(stack_of(0), stack_of(1));
    assert_eq!(recording.rows(&MODULES), 1);
    let peak: Vec<(i64, f64)> =
        rows(&recording, &PEAK).iter().map(|r| (r["process_id"].int(), r["bytes"].float())).collect();
    assert_eq!(peak, [(0, 10.0), (2, 40.0)]);
}

#[test]
fn a_node_may_come_after_its_first_use() {
    let (mut a, mut b) = (stream(1, 7), stream(2, 8));
    a.malloc(10, 0x1000, 1, 30).malloc(15, 0x2000, 1, 30);
    b.malloc(50, 0x3000, 1, 16).node(30, 16, 1, 0x401);
    let (_scratch, recording, summary) = run(&[&a, &b]);
    let all = rows(&recording, &ALLOCATIONS);
    assert_eq!(all[0]["stack_id"], all[1]["stack_id"]);
    let stack = &rows(&recording, &STACKS)[all[0]["stack_id"].int() as usize];
    assert_eq!((stack["depth"].int(), stack["quality"].text()), (2, "complete"));
    assert_eq!(summary.broken_stacks, 0);
}

#[test]
fn sampled_blocks_stand_for_several() {
    let scratch = Scratch::new();
    let mut a = stream(1, 7);
    a.malloc(10, 0x1000, 1000, 16).malloc(20, 0x2000, 0, 16).event(25, Kind::Mmap, 0x10000, 4096, 17).free(30, 0x1000);
    let config = RecordingConfig { sample_interval: 4096, ..config() };
    let (recording, summary) = record(&scratch.join("a.tmq"), &config, &[], &[&a]);
    let all = rows(&recording, &ALLOCATIONS);
    let weight = |size: i64| all.iter().find(|r| r["size"].int() == size).unwrap()["weight"].float();
    let expected = |size: f64| 1.0 / (1.0 - (-size / 4096.0f64).exp());
    assert!((weight(1000) - expected(1000.0)).abs() < 1e-4);
    assert!((weight(0) - expected(1.0)).abs() < 1e-4);
    assert_eq!(weight(4096), 1.0);
    assert_eq!(summary.allocations, (weight(1000) + weight(0)).round() as u64);
    assert_eq!(summary.live_blocks, weight(0).round() as u64);
    assert_eq!(summary.bytes_allocated, (1000.0 * weight(1000)).round() as u64);
    let stats = rows(&recording, &STACK_STATS);
    let heap = stats.iter().find(|s| s["domain"].int() == 0).unwrap();
    let p = 1.0 / expected(1000.0);
    assert!((heap["allocated_bytes_variance"].float() / (1e6 * (1.0 - p) / (p * p)) - 1.0).abs() < 1e-6);
    assert_eq!(heap["live_blocks"].float(), weight(0));
}

#[test]
fn unmapping_part_of_a_map_makes_a_row_of_that_part() {
    let mut a = stream(1, 7);
    a.event(10, Kind::Mmap, 0x10000, 0x4000, 16).event(20, Kind::Munmap, 0x11000, 0x1000, NO_STACK);
    a.event(30, Kind::MremapOld, 0x12000, 0x2000, NO_STACK).event(35, Kind::MremapNew, 0x80000, 0x8000, 17);
    let (_scratch, recording, summary) = run(&[&a]);
    let all = rows(&recording, &ALLOCATIONS);
    assert_eq!(
        all.iter().map(brief).collect::<Vec<_>>(),
        [
            (10, Some(20), 0x11000, 0x1000, "mmap"),
            (10, Some(30), 0x12000, 0x2000, "mmap"),
            (10, None, 0x10000, 0x1000, "mmap"),
            (35, None, 0x80000, 0x8000, "mremap"),
        ]
    );
    assert!(all.iter().all(|r| r["domain"].int() == 1));
    assert_eq!((summary.allocations, summary.peak_bytes, summary.live_blocks), (0, 0, 0));
    let stats = rows(&recording, &STACK_STATS);
    assert_eq!(
        stats.iter().map(|s| (s["allocated_blocks"].float(), s["live_blocks"].float())).collect::<Vec<_>>(),
        [(3.0, 1.0), (1.0, 1.0)]
    );
}

#[test]
fn marks_rss_names_and_losses_are_kept() {
    let scratch = Scratch::new();
    let mut a = stream(1, 7);
    a.malloc(10, 0x1000, 1, 16).mark(20, "warm").malloc(30, 0x2000, 2, 16).lost(0, 5);
    let mut counters = tmq_store::ingest::ProcessCounters { verified: 9, mismatches: 1, ..Default::default() };
    counters.losses[0] = 7;
    let tsc = |ns: u64| crate::wire::BASE + ns;
    let inputs = [
        Input::Mark { tsc: tsc(15), name: "out" },
        Input::Rss { tsc: tsc(12), bytes: 4096 },
        Input::ThreadName { incarnation: 1, tid: 7, name: "main" },
        Input::Loss { incarnation: Some(1), reason: "static_program", count: 1, detail: "Why." },
        Input::ProcessEnded { incarnation: 1, tsc: Some(tsc(40)), exit_code: None, exit_signal: Some(9), counters },
    ];
    let (recording, summary) = record(&scratch.join("a.tmq"), &config(), &inputs, &[&a]);
    let moments: Vec<(String, i64, i64)> = rows(&recording, &MOMENTS)
        .iter()
        .map(|m| (m["name"].text().to_owned(), m["at_ns"].int(), m["live_bytes"].int()))
        .collect();
    let expected = [("start", 0, 0), ("end", 40, 3), ("peak", 30, 3), ("out", 15, 1), ("warm", 20, 1)];
    assert_eq!(moments, expected.map(|(n, t, b)| (n.to_owned(), t, b)));
    assert_eq!(rows(&recording, &TIMELINE)[0]["rss_bytes"].optional(), Some(4096));
    assert_eq!(rows(&recording, &THREADS)[0]["name"].text(), "main");
    let losses: Vec<(String, i64)> =
        rows(&recording, &LOSSES).iter().map(|l| (l["reason"].text().to_owned(), l["count"].int())).collect();
    let expected = [("no_chunk", 7), ("stack_mismatch", 1), ("static_program", 1)];
    assert_eq!(losses, expected.map(|(r, n)| (r.to_owned(), n)));
    assert_eq!((summary.lost_events, summary.verified, summary.mismatches), (7, 9, 1));
    assert_eq!(rows(&recording, &PROCESSES)[0]["exit_signal"].optional(), Some(9));
    assert_eq!(recording.metadata().unwrap()["argv"], r#"["app"]"#);
}

#[test]
fn temporaries_are_freed_before_their_thread_allocates_again() {
    let (mut a, mut b) = (stream(1, 7), stream(2, 8));
    a.malloc(10, 0x1000, 1, 16).free(20, 0x1000).malloc(30, 0x1000, 2, 16).malloc(40, 0x2000, 4, 16);
    b.malloc(35, 0x5000, 8, 17).free(50, 0x1000).free(60, 0x2000);
    let (_scratch, recording, _) = run(&[&a, &b]);
    let stats = rows(&recording, &STACK_STATS);
    assert_eq!(
        stats.iter().map(|s| (s["temporary_blocks"].float(), s["temporary_bytes"].float())).collect::<Vec<_>>(),
        [(2.0, 5.0), (0.0, 0.0)]
    );
    assert_eq!((stats[0]["lifetime_min_ns"].optional(), stats[0]["lifetime_max_ns"].optional()), (Some(10), Some(20)));
    assert_eq!(stats[1]["lifetime_min_ns"].optional(), None);
}

#[test]
fn blocks_that_the_next_event_frees_count_where_they_were_live() {
    // Bins begin with a width of 20 microseconds.
    let mut a = stream(1, 7);
    a.malloc(1_000, 0x1000, 100, 17); // Stays.
    a.malloc(2_000, 0x2000, 50, 17).free(3_000, 0x2000); // The most of the first bin and of all.
    a.malloc(4_000, 0x2000, 50, 17).free(4_000, 0x2000); // As much again, and as early a free as can be.
    a.malloc(19_000, 0x3000, 7, 17).free(21_000, 0x3000); // Live at the end of the bin.
    a.malloc(41_000, 0x1000, 9, 17).free(42_000, 0x1000); // Where a block is open.
    a.free(43_000, 0x1000);
    let (_scratch, recording, summary) = run(&[&a]);
    let bins = rows(&recording, &TIMELINE);
    let column = |name| bins.iter().map(|bin| bin[name].int()).collect::<Vec<_>>();
    assert_eq!(column("live_bytes"), [107, 100, 0]);
    assert_eq!(column("max_live_bytes"), [150, 107, 100]);
    assert_eq!(column("allocated_bytes"), [207, 0, 9]);
    assert_eq!(column("freed_bytes"), [100, 7, 109]);
    assert_eq!((summary.peak_bytes, summary.peak_ns, summary.allocations), (150, 2_000, 5));
    let stats = rows(&recording, &STACK_STATS);
    let sum = |name| stats.iter().map(|stack| stack[name].float()).sum::<f64>();
    assert_eq!(["temporary_blocks", "peak_bytes", "live_bytes"].map(sum), [4.0, 150.0, 0.0]);
    let peak = rows(&recording, &PEAK);
    assert_eq!(peak.len(), 1, "one stack held everything then: {peak:?}");
}

#[test]
fn a_corrupt_stream_ends_alone() {
    let (mut a, mut b) = (stream(1, 7), stream(2, 8));
    a.malloc(10, 0x1000, 1, 16);
    a.slots.push([31 << 59, 0]);
    b.malloc(20, 0x2000, 1, 16).free(30, 0x2000);
    let mut cut = stream(3, 9);
    cut.malloc(15, 0x3000, 1, 16);
    cut.slots.push(tmq_wire::record::blob(Kind::Mark, 9, 0, 0));
    let (_scratch, recording, summary) = run(&[&a, &b, &cut]);
    assert_eq!(summary.allocations, 3);
    let losses = rows(&recording, &LOSSES);
    assert_eq!(losses.len(), 1);
    assert_eq!((losses[0]["reason"].text(), losses[0]["count"].int()), ("corrupt_stream", 2));
}

#[test]
fn late_records_are_counted_and_no_block_ends_before_it_began() {
    let (mut a, mut b) = (stream(1, 7), stream(2, 8));
    a.malloc(1000, 0x1000, 10, 16).malloc(1100, 0x2000, 20, 16).event(1200, Kind::Mmap, 0x10000, 4096, 17);
    b.malloc(400, 0x3000, 5, 16).free(500, 0x1000).malloc(600, 0x2000, 7, 16);
    b.event(700, Kind::Munmap, 0x10000, 4096, NO_STACK).free(3000, 0x3000);
    let scratch = Scratch::new();
    let inputs = [seen(1, 77, 0, 0), a.input(), Input::Watermark { tsc: crate::wire::BASE + 2000 }];
    let (recording, _) = record(&scratch.join("a.tmq"), &config(), &inputs, &[&b]);
    assert_eq!(
        rows(&recording, &ALLOCATIONS).iter().map(brief).collect::<Vec<_>>(),
        [
            (1000, Some(1000), 0x1000, 10, "malloc"),
            (1200, Some(1200), 0x10000, 4096, "mmap"),
            (400, Some(3000), 0x3000, 5, "malloc"),
            (1100, Some(1100), 0x2000, 20, "malloc"),
            (600, None, 0x2000, 7, "malloc"),
        ]
    );
    let stats = rows(&recording, &STACK_STATS);
    let sum = |column: &str| stats[0][column].optional();
    assert_eq!((sum("lifetime_min_ns"), sum("lifetime_max_ns"), sum("first_ns")), (Some(0), Some(2600), Some(400)));
    assert_eq!((stats[0]["lifetime_sum_ns"].float(), stats[1]["lifetime_sum_ns"].float()), (2600.0, 0.0));
    assert_eq!(rows(&recording, &THREADS)[1]["start_ns"].int(), 400);
    let losses = rows(&recording, &LOSSES);
    let brief = |l: &Row| (l["reason"].text().to_owned(), l["count"].int(), l["at_ns"].optional());
    let expected = [("unpaired", 1, None), ("late_records", 1, Some(1200))];
    assert_eq!(losses.iter().map(brief).collect::<Vec<_>>(), expected.map(|(r, n, at)| (r.to_owned(), n, at)));
}

#[test]
fn sums_of_impossible_sizes_are_not_negative() {
    let mut a = stream(1, 7);
    // Sums of these as floating-point numbers lose single bytes; a bin of the timeline, here one in which nothing but a
    // small block is allocated, is a difference of sums.
    for i in 0..400 {
        let (ns, address) = (i * 60_000, 0x1000 + i * 16);
        a.malloc(ns, address, (1 << 61) + i * 777, 16).free(ns + 10, address);
        a.malloc(ns + 20_000, 0x100_0000, 3 + i % 5, 17).free(ns + 40_000, 0x100_0000);
    }
    a.event(25_000_000, Kind::Mmap, 0x1_0000_0000, u64::MAX, 16);
    let (_scratch, recording, summary) = run(&[&a]);
    assert_eq!(summary.live_bytes, 0);
    assert_eq!(rows(&recording, &ALLOCATIONS)[0]["size"].int(), 1 << 47);
    for (table, suffixes) in [(&TIMELINE, ["_bytes", "_blocks"]), (&STACK_STATS, ["_bytes", "_blocks"])] {
        for row in rows(&recording, table) {
            for (name, value) in row.iter().filter(|(name, _)| suffixes.iter().any(|s| name.ends_with(s))) {
                let is_negative = match value {
                    Value::Int(n) => *n < 0,
                    Value::Float(x) => *x < 0.0,
                    _ => false,
                };
                assert!(!is_negative, "{}.{name}: {value:?}", table.name);
            }
        }
    }
}

#[test]
fn an_empty_recording_has_every_table() {
    let (_scratch, recording, summary) = run(&[]);
    assert_eq!((summary.allocations, summary.processes), (0, 1));
    for table in TABLES {
        rows(&recording, table);
    }
}
