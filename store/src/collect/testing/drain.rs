//! Rounds of the drain over a region whose writers are in this process.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use tmq_wire::layout::{CHUNK_FREE, CHUNK_SLOTS, NO_CHUNK, PROCESS_FREE};
use tmq_wire::record::{FIRST_NODE, Kind, NO_STACK};

use super::sink::Check;
use super::writer::Process;
use crate::Error;
use crate::collect::drain::Drain;
use crate::collect::processes::Processes;
use crate::collect::region::{Config, Region};
use crate::collect::sink::Sink;
use crate::collect::sys;
use crate::ingest::Input;

pub(super) fn region(chunks: u32) -> Region {
    Region::create(&Config { chunks, ..Config::default() }).unwrap()
}

fn own() -> u32 {
    std::process::id()
}

/// Lets stores become visible and the watermark move.
fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Chunks on the free list; panics on a cycle.
pub(super) fn free_chunks(region: &Region) -> u32 {
    let mut at = region.header().free_list.0.load(Relaxed) as u32;
    let mut n = 0;
    while at != NO_CHUNK {
        n += 1;
        assert!(n <= region.chunks(), "the free list has a cycle");
        at = region.chunk(at).unwrap().next_free.load(Relaxed);
    }
    n
}

#[test]
fn a_region_opens_as_a_target_sees_it() {
    let region = region(5);
    let seen = Region::open(std::path::Path::new(&region.path())).unwrap();
    assert_eq!(seen.chunks(), 5);
    assert_eq!(seen.header().collector_pid.load(Relaxed), own());
    assert_eq!(free_chunks(&seen), 5);
    assert_eq!(region.header().free_list.0.load(Relaxed) as u32, 0, "low chunks come first");
    seen.store_slot(4, CHUNK_SLOTS as u32 - 1, [1, 2]);
    let mut out = Vec::new();
    region.copy_slots(4, CHUNK_SLOTS as u32 - 1, u32::MAX, &mut out);
    assert_eq!(out, [[1, 2]]);
    for (chunk, from, to) in [(5, 0, 1), (u32::MAX, 0, 1), (0, 9, 3), (0, u32::MAX, u32::MAX)] {
        region.copy_slots(chunk, from, to, &mut out);
        assert!(out.is_empty());
    }
    assert!(region.chunk(5).is_none() && region.process(4096).is_none() && !region.free(5));
}

#[test]
fn everything_committed_arrives_and_chunks_return() {
    let region = region(4);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let process = Process::register(&region, own(), 0);
    let mut stream = process.stream(own());
    for i in 0..5000u64 {
        stream.event(Kind::Malloc, i * 8, 1 << (i % 40), NO_STACK);
        if i % 1000 == 0 {
            drain.round(false, &mut sink).unwrap();
        }
    }
    drain.round(false, &mut sink).unwrap();
    assert_eq!(sink.events(), 5000);
    assert_eq!(free_chunks(&region), 3, "only the open chunk is out");
    assert_eq!(sink.names.get(&(1, own())).map(String::is_empty), Some(false));
    drain.last_round(&mut sink).unwrap();
    assert_eq!(free_chunks(&region), 4);
    assert_eq!(sink.images[&1].ended.unwrap().0, None, "this process runs on");
    sink.assert_sound();
}

#[test]
fn streams_that_are_far_ahead_come_in_parts() {
    let region = region(400);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let process = Process::register(&region, own(), 0);
    let (mut few, mut long, mut longer) = (process.stream(1), process.stream(2), process.stream(3));
    let chunks = |count: u64| 0..count * CHUNK_SLOTS as u64;
    for i in chunks(100) {
        long.event(Kind::Malloc, i * 8, 1, NO_STACK);
        if i % 1000 == 0 {
            few.event(Kind::Malloc, i / 1000 * 8, 1, NO_STACK);
        }
    }
    for i in chunks(200) {
        longer.event(Kind::Malloc, i * 8, 1, NO_STACK);
    }
    let [mut parts, mut slots] = [0; 2];
    loop {
        // The sink checks what it is told.
        let round = drain.round(false, &mut sink).unwrap();
        assert!(round.slots <= 66 * CHUNK_SLOTS as u64, "{}", round.slots);
        slots += round.slots;
        pause();
        if !round.is_partial {
            break;
        }
        parts += 1;
    }
    assert!((4..=8).contains(&parts), "{parts}");
    assert_eq!(slots, sink.slots);
    // Both are missing at first, then the longer one; nothing is complete before the second round.
    let streams: Vec<_> = sink.only_missing.iter().map(|said| said.streams.clone()).collect();
    assert_eq!(streams[0], [(1, long.id), (1, longer.id)]);
    assert_eq!(*streams.last().unwrap(), [(1, longer.id)]);
    let last = sink.only_missing.last().unwrap().reached;
    assert!(sink.only_missing.is_sorted_by_key(|said| said.reached) && drain.watermark() >= last && last > 0);
    // What stands in chunks that wait holds nothing back: only what was delivered limits what is in order.
    assert!(sink.only_missing[1..].iter().all(|said| said.reached < said.complete), "{:?}", sink.only_missing);
    drain.round(false, &mut sink).unwrap();
    assert_eq!(sink.events(), 300 * CHUNK_SLOTS as u64 + 205);
    assert_eq!(free_chunks(&region), 397, "the open chunks are out");
    sink.assert_sound();
}

#[test]
fn the_end_of_an_image_waits_for_what_it_wrote_and_nothing_passes_it() {
    let region = region(400);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let ending = Process::register(&region, child.id(), 0);
    let going = Process::register(&region, own(), 0);
    let (mut early, mut late) = (ending.stream(1), going.stream(2));
    for i in 0..200 * CHUNK_SLOTS as u64 {
        early.event(Kind::Malloc, i * 8, 1, NO_STACK);
    }
    child.wait().unwrap();
    let mut after = 0;
    for round in 0.. {
        late.event(Kind::Malloc, round * 8, 1, NO_STACK);
        let partial = drain.round(true, &mut sink).unwrap().is_partial;
        let end = sink.images[&1].ended.map(|(tsc, ..)| tsc);
        assert_eq!(end.is_none(), partial, "round {round}");
        pause();
        if !partial {
            after = end.flatten().unwrap();
            break;
        }
    }
    let limit = sink.only_missing.iter().map(|said| said.reached).max().unwrap();
    assert!(limit > 0 && limit <= after, "{limit} {after}");
    drain.last_round(&mut sink).unwrap();
    sink.assert_sound();
}

#[test]
fn an_image_that_ended_does_not_wait_for_others_that_are_far_ahead() {
    let region = region(400);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let ending = Process::register(&region, child.id(), 0);
    let going = Process::register(&region, own(), 0);
    let (mut short, mut long) = (ending.stream(1), going.stream(2));
    short.event(Kind::Malloc, 0, 1, NO_STACK);
    child.wait().unwrap();
    for i in 0..200 * CHUNK_SLOTS as u64 {
        long.event(Kind::Malloc, i * 8, 1, NO_STACK);
    }
    assert!(drain.round(true, &mut sink).unwrap().is_partial);
    assert!(sink.images[&1].ended.is_some() && sink.images[&2].ended.is_none());
    drain.last_round(&mut sink).unwrap();
    assert_eq!(sink.events(), 1 + 200 * CHUNK_SLOTS as u64);
    sink.assert_sound();
}

#[test]
fn the_last_round_brings_all() {
    let region = region(400);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let process = Process::register(&region, own(), 0);
    let mut stream = process.stream(own());
    for i in 0..300 * CHUNK_SLOTS as u64 {
        stream.event(Kind::Malloc, i * 8, 1, NO_STACK);
    }
    let round = drain.last_round(&mut sink).unwrap();
    assert_eq!((round.slots, sink.events()), (sink.slots, 300 * CHUNK_SLOTS as u64));
    sink.assert_sound();
}

#[test]
fn a_record_under_construction_holds_the_watermark() {
    let region = region(8);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let process = Process::register(&region, own(), 0);
    let (mut slow, mut fast) = (process.stream(1), process.stream(2));
    slow.event(Kind::Malloc, 0, 1, NO_STACK);
    let stamp = slow.begin();
    for i in 0..3000 {
        fast.event(Kind::Malloc, i * 8, 1, NO_STACK);
    }
    for _ in 0..3 {
        drain.round(false, &mut sink).unwrap();
        pause();
    }
    assert_eq!(sink.events(), 3001);
    assert!(0 < sink.watermark && sink.watermark <= stamp);
    slow.event_at(stamp, Kind::Malloc, 8, 1, NO_STACK);
    for _ in 0..3 {
        drain.round(false, &mut sink).unwrap();
        pause();
    }
    assert_eq!(sink.events(), 3002);
    assert!(sink.watermark > stamp);
    sink.assert_sound();
}

#[test]
fn a_change_of_chunks_does_not_hide_the_record_under_construction() {
    let region = region(8);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let process = Process::register(&region, own(), 0);
    let mut stream = process.stream(1);
    let mut event = 0;
    while stream.sequence < 20 {
        let stamp = stream.begin();
        for _ in 0..2 {
            drain.round(false, &mut sink).unwrap();
            std::thread::sleep(Duration::from_micros(150));
        }
        // Fills the chunk with nodes, as a deep new stack does, so that the record goes to the next one.
        for node in 0..CHUNK_SLOTS as u32 / 2 {
            stream.node(FIRST_NODE + node, 0);
        }
        for _ in 0..2 {
            drain.round(false, &mut sink).unwrap();
            std::thread::sleep(Duration::from_micros(150));
        }
        assert!(sink.watermark <= stamp, "event {event}");
        stream.event_at(stamp, Kind::Malloc, event * 8, 1, NO_STACK);
        event += 1;
    }
    drain.round(false, &mut sink).unwrap();
    assert_eq!(sink.events(), event);
    sink.assert_sound();
}

#[test]
fn chunks_of_a_stream_arrive_in_order_whatever_their_index() {
    let region = region(8);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let process = Process::register(&region, own(), 0);
    let mut streams: Vec<_> = (0..3).map(|tid| process.stream(tid)).collect();
    for i in 0..20_000 {
        // All three need new chunks at about the same time, so indexes interleave and are reused backwards.
        for stream in &mut streams {
            stream.event(Kind::Malloc, i * 8, 1, NO_STACK);
        }
        if i % 1500 == 0 {
            drain.round(false, &mut sink).unwrap();
        }
    }
    drain.round(false, &mut sink).unwrap();
    assert_eq!(sink.events(), 60_000);
    sink.assert_sound();
}

#[test]
fn a_missing_chunk_holds_its_stream_for_a_while_only() {
    let region = region(8);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let process = Process::register(&region, own(), 0);
    let (mut broken, mut sound) = (process.stream(1), process.stream(2));
    broken.sequence = 1;
    broken.event(Kind::Malloc, 0, 1, NO_STACK);
    sound.event(Kind::Malloc, 0, 1, NO_STACK);
    drain.round(false, &mut sink).unwrap();
    assert_eq!(sink.events(), 1);
    std::thread::sleep(Duration::from_millis(1050));
    drain.round(false, &mut sink).unwrap();
    assert_eq!((sink.events(), drain.losses.gaps), (2, 1));
    sink.assert_sound();
}

#[test]
fn chunks_of_nobody_are_taken_back() {
    let region = region(4);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let mut process = Process::register(&region, own(), 0);
    process.incarnation = 77;
    let mut stream = process.stream(1);
    stream.event(Kind::Malloc, 0, 1, NO_STACK);
    drain.round(false, &mut sink).unwrap();
    assert_eq!(free_chunks(&region), 3);
    std::thread::sleep(Duration::from_millis(1050));
    drain.round(false, &mut sink).unwrap();
    assert_eq!((free_chunks(&region), drain.losses.stray_slots, sink.slots), (4, 3, 0));
    sink.assert_sound();
}

#[test]
fn exec_ends_the_older_image_when_the_newer_began() {
    let region = region(8);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let older = Process::register(&region, own(), 0);
    let mut stream = older.stream(own());
    stream.event(Kind::Malloc, 0, 1, NO_STACK);
    drain.round(false, &mut sink).unwrap();
    for i in 1..2500 {
        stream.event(Kind::Malloc, i * 8, 1, NO_STACK);
    }
    stream.begin();
    let newer = Process::register(&region, own(), 0);
    newer.stream(own()).event(Kind::Malloc, 0, 1, NO_STACK);
    drain.round(false, &mut sink).unwrap();
    assert_eq!(sink.events(), 2501);
    assert_eq!(sink.images[&1].ended.unwrap().0, Some(sink.images[&2].start));
    assert!(sink.images[&2].ended.is_none());
    assert_eq!(region.process(older.slot as usize).unwrap().state.load(Relaxed), PROCESS_FREE);
    assert_eq!(region.chunk(0).unwrap().state.load(Relaxed), CHUNK_FREE);
    sink.assert_sound();
}

#[test]
fn a_process_that_is_gone_before_it_is_seen_still_counts() {
    let region = region(4);
    let (mut drain, mut sink) = (Drain::new(&region, Processes::new(0)), Check::default());
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let process = Process::register(&region, gone.id(), 0);
    let slot = region.process(process.slot as usize).unwrap();
    slot.hooks.store(9, Relaxed);
    process.stream(1).event(Kind::Malloc, 0, 1, NO_STACK);
    drain.round(false, &mut sink).unwrap();
    assert_eq!(sink.events(), 1);
    let (end, code, signal, counters) = sink.images[&1].ended.unwrap();
    assert_eq!((end.is_some(), code, signal, counters.hooks), (true, None, None, 9));
    assert_eq!((free_chunks(&region), slot.hooks.load(Relaxed)), (4, 0));
    sink.assert_sound();
}

#[test]
fn threads_through_a_small_pool_lose_nothing() {
    const THREADS: u32 = 4;
    const EVENTS: u64 = 300_000;
    // Fewer chunks than needed to run without waiting for the collector.
    let region = region(6);
    let process = Process::register(&region, own(), 0);
    let (done, newest) = (AtomicBool::new(false), std::sync::atomic::AtomicU32::new(FIRST_NODE));
    let mut sink = Check::default();
    let mut drain = Drain::new(&region, Processes::new(0));
    let run = |tid: u32| {
        let mut stream = process.stream(tid);
        for i in 0..EVENTS {
            if i % 50 == 0 {
                // A node must be committed before others can know its number, as in the recorder.
                let id = FIRST_NODE + 1 + (i as u32 / 50) * THREADS + tid;
                let stamp = stream.begin();
                stream.node(id, 0);
                newest.store(id, Release);
                stream.event_at(stamp, Kind::Malloc, i * 8, 1, id);
            } else {
                let stamp = stream.begin();
                let stack = newest.load(Acquire);
                let stack = if stack == FIRST_NODE { NO_STACK } else { stack };
                stream.event_at(stamp, Kind::Malloc, i * 8, i, stack);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|tid| scope.spawn(move || run(tid))).collect();
        let (done, region) = (&done, &region);
        scope.spawn(move || {
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            done.store(true, Release);
        });
        while !done.load(Acquire) {
            let seen = region.wake_word().load(Relaxed);
            if drain.round(false, &mut sink).unwrap().freed == 0 {
                sys::futex_wait(region.wake_word(), seen, Duration::from_millis(1));
            }
        }
    });
    drain.last_round(&mut sink).unwrap();
    assert_eq!(sink.events(), EVENTS * u64::from(THREADS));
    assert_eq!(free_chunks(&region), 6);
    sink.assert_sound();
}

/// Measures rounds: `cargo test ... cost_of_rounds -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn cost_of_rounds() {
    struct Nothing;
    impl Sink for Nothing {
        fn input(&mut self, _: Input<'_>) -> Result<(), Error> {
            Ok(())
        }
    }
    for streams in [1, 16, 500, 2000] {
        let region = region(2048);
        let mut drain = Drain::new(&region, Processes::new(0));
        let process = Process::register(&region, own(), 0);
        let mut streams: Vec<_> = (0..streams).map(|_| process.stream(own())).collect();
        for per_stream in [0, 1, 100, 2000] {
            let (mut spent, mut slots) = (Duration::ZERO, 0);
            const ROUNDS: u32 = 200;
            for _ in 0..ROUNDS {
                if per_stream * streams.len() > 100_000 {
                    continue;
                }
                for stream in &mut streams {
                    (0..per_stream).for_each(|i| stream.event(Kind::Malloc, i as u64 * 8, 1, NO_STACK));
                }
                let begin = std::time::Instant::now();
                slots += drain.round(false, &mut Nothing).unwrap().slots;
                spent += begin.elapsed();
            }
            let (us, each) = (spent.as_secs_f64() * 1e6 / f64::from(ROUNDS), slots / u64::from(ROUNDS));
            println!("{:5} streams, {each:6} slots: {us:8.2} us/round", streams.len());
        }
    }
}
