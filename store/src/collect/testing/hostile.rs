//! A region under random garbage: the drain must not panic, hang or read out of bounds, and must keep its own account.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tmq_wire::layout::{CHUNK_SLOTS, PROCESS_SLOTS};

use super::drain::region;
use super::sink::Check;
use crate::collect::drain::Drain;
use crate::collect::processes::Processes;
use crate::collect::region::Region;

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Mostly small numbers, which get past more checks, sometimes any.
    fn word(&mut self) -> u64 {
        match self.next() % 4 {
            0 => self.next(),
            1 => self.next() % 8,
            2 => self.next() % (CHUNK_SLOTS as u64 + 2),
            _ => 1,
        }
    }
}

/// Overwrites some words of every kind.
pub(super) fn scribble(region: &Region, random: &mut Random) {
    let header = region.header();
    let marks = [&header.chunks_touched, &header.processes_touched];
    for word in [&header.next_stream, &header.next_incarnation, &header.processes_refused].into_iter().chain(marks) {
        if random.next().is_multiple_of(4) {
            word.0.store(random.word() as u32, Relaxed);
        }
    }
    for word in [&header.chunks, &header.collector_pid, &header.version] {
        word.store(random.word() as u32, Relaxed);
    }
    if random.next().is_multiple_of(64) {
        header.free_list.0.store(random.next(), Relaxed);
    }
    let chunk = random.next() as u32 % region.chunks();
    let h = region.chunk(chunk).unwrap();
    for word in [&h.state, &h.committed, &h.incarnation, &h.stream, &h.sequence, &h.next_free, &h.process_slot] {
        word.store(random.word() as u32, Relaxed);
    }
    h.inflight.store(random.word(), Relaxed);
    for _ in 0..8 {
        let slot = [random.next(), random.next()];
        region.store_slot(chunk, random.next() as u32 % CHUNK_SLOTS as u32, slot);
    }
    let slot = region.process(random.next() as usize % PROCESS_SLOTS.min(16)).unwrap();
    for word in [&slot.state, &slot.pid, &slot.incarnation, &slot.forked_from] {
        word.store(random.word() as u32, Relaxed);
    }
    slot.start_tsc.store(random.next(), Relaxed);
}

#[test]
fn garbage_in_every_word_is_survived() {
    let region = region(16);
    let mut sink = Check { hostile: true, ..Check::default() };
    let mut drain = Drain::new(&region, Processes::new(0));
    let mut random = Random(42);
    let begin = Instant::now();
    let mut rounds = 0;
    while begin.elapsed() < Duration::from_secs(2) {
        for _ in 0..random.next() % 16 {
            scribble(&region, &mut random);
        }
        drain.round(rounds % 8 == 0, &mut sink).unwrap();
        rounds += 1;
    }
    drain.last_round(&mut sink).unwrap();
    assert!(rounds > 100, "{rounds} rounds");
    sink.assert_sound();
}

#[test]
fn garbage_written_during_rounds_is_survived() {
    let region = region(16);
    let mut sink = Check { hostile: true, ..Check::default() };
    let mut drain = Drain::new(&region, Processes::new(0));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(7);
            while !stop.load(Relaxed) {
                scribble(&region, &mut random);
            }
        });
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            drain.round(false, &mut sink).unwrap();
        }
        stop.store(true, Relaxed);
    });
    drain.last_round(&mut sink).unwrap();
    sink.assert_sound();
}
