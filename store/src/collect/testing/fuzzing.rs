//! The drain's fuzz target: bytes as a list of stores into the region, with rounds in between.
//!
//! Unlike `hostile`, whose garbage is random, what is stored here can be found step by step: a chunk whose header is
//! right, of an image that exists, that then changes while it is being drained.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, Release};

use tmq_wire::layout::{CHUNK_SEALED, CHUNK_SLOTS, CHUNK_TAKEN, PROCESS_LIVE};
use tmq_wire::record::{self, Kind};

use super::sink::Check;
use crate::collect::drain::Drain;
use crate::collect::processes::Processes;
use crate::collect::region::{Config, Region};

/// Chunks of the region: few, so that they are met again.
const CHUNKS: u32 = 6;
/// Rounds of one run at most.
const MAX_ROUNDS: u32 = 40;

/// What is left of the input; it ends in zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Mostly a small number, else a large one.
    fn word(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=199 => small.into(),
            200..=219 => CHUNK_SLOTS as u64 + u64::from(self.byte()) - 8,
            220..=239 => u64::from(self.byte()) << 24,
            240..=247 => u64::MAX - u64::from(self.byte()),
            _ => (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte())),
        }
    }
}

/// Does what the bytes say to a region while it is drained.
///
/// # Panics
/// The drain breaks a promise.
pub fn drain(data: &[u8]) {
    let region = Region::create(&Config { chunks: CHUNKS, ..Config::default() }).expect("a region");
    let mut sink = Check { hostile: true, ..Check::default() };
    let mut drain = Drain::new(&region, Processes::new(0));
    let (mut bytes, mut rounds) = (Bytes(data), 0);
    while !bytes.0.is_empty() && rounds < MAX_ROUNDS {
        match bytes.byte() % 8 {
            0 => {
                drain.round(bytes.byte() & 1 == 0, &mut sink).expect("a sink that takes everything");
                rounds += 1;
            }
            1 => register(&region, &mut bytes),
            2 => chunk(&region, &mut bytes),
            3 => word(&header_words(&region), &mut bytes),
            4 => {
                let index = bytes.byte() as usize % 4;
                if let Some(slot) = region.process(index) {
                    word(&[&slot.state, &slot.pid, &slot.incarnation, &slot.forked_from], &mut bytes);
                }
            }
            5 => {
                if let Some(h) = region.chunk(u32::from(bytes.byte()) % CHUNKS) {
                    let all =
                        [&h.state, &h.committed, &h.incarnation, &h.stream, &h.sequence, &h.next_free, &h.process_slot];
                    word(&all, &mut bytes);
                    h.inflight.store(bytes.word(), Relaxed);
                }
            }
            6 => region.header().free_list.0.store(bytes.word() << 32 | bytes.word(), Release),
            _ => {
                let (index, at) = (u32::from(bytes.byte()) % CHUNKS, bytes.word() as u32);
                region.store_slot(index, at, [bytes.word() << 59 | bytes.word(), bytes.word()]);
            }
        }
    }
    drain.last_round(&mut sink).expect("a sink that takes everything");
    sink.assert_sound();
}

fn header_words(region: &Region) -> [&AtomicU32; 8] {
    let h = region.header();
    [
        &h.next_stream.0,
        &h.next_incarnation.0,
        &h.processes_refused.0,
        &h.chunks_touched.0,
        &h.processes_touched.0,
        &h.chunks,
        &h.collector_pid,
        &h.version,
    ]
}

fn word(words: &[&AtomicU32], bytes: &mut Bytes<'_>) {
    words[bytes.byte() as usize % words.len()].store(bytes.word() as u32, Release);
}

/// An image that exists: this process, or one that is not there.
fn register(region: &Region, bytes: &mut Bytes<'_>) {
    let choice = bytes.byte();
    let Some(slot) = region.process(choice as usize % 4) else { return };
    let pid = if choice & 128 == 0 { std::process::id() } else { bytes.word() as u32 };
    slot.pid.store(pid, Relaxed);
    slot.incarnation.store(bytes.word() as u32, Relaxed);
    slot.forked_from.store(bytes.word() as u32, Relaxed);
    slot.start_tsc.store(bytes.word(), Relaxed);
    slot.state.store(if choice & 64 == 0 { PROCESS_LIVE } else { bytes.word() as u32 }, Release);
    region.header().processes_touched.0.fetch_max(u32::from(choice) % 4 + 1, Relaxed);
    region.header().next_incarnation.0.fetch_max(bytes.byte().into(), Relaxed);
}

/// A chunk with a header that is right, and some events.
fn chunk(region: &Region, bytes: &mut Bytes<'_>) {
    let index = u32::from(bytes.byte()) % CHUNKS;
    let Some(header) = region.chunk(index) else { return };
    header.incarnation.store(bytes.word() as u32, Relaxed);
    header.stream.store(bytes.byte().into(), Relaxed);
    header.sequence.store(bytes.word() as u32, Relaxed);
    header.inflight.store(bytes.word(), Relaxed);
    let count = bytes.word() as u32;
    for at in 0..count.min(8) {
        region.store_slot(index, at, record::event(Kind::Malloc, u64::from(at) * 8, bytes.word(), 16, bytes.word()));
    }
    region.header().chunks_touched.0.fetch_max(index + 1, Relaxed);
    header.committed.store(count, Release);
    header.state.store(CHUNK_TAKEN + u32::from(bytes.byte()) % CHUNK_SEALED, Release);
}

/// An honest target, and one that is not.
#[must_use]
pub fn drain_seeds() -> Vec<Vec<u8>> {
    let honest =
        [1, 0, 1, 0, 1, 2, 2, 0, 1, 1, 0, 0, 3, 9, 1, 9, 1, 9, 1, 2, 0, 0, 2, 1, 1, 1, 1, 0, 2, 1, 1, 1, 1, 1, 0, 1];
    let other = [
        1, 193, 200, 2, 0, 9, 3, 4, 2, 3, 2, 1, 7, 9, 200, 0, 5, 5, 0, 0, 5, 1, 240, 3, 6, 1, 200, 0, 0, 3, 5, 255, 0,
        0,
    ];
    vec![honest.to_vec(), other.to_vec(), [&honest[..], &other].concat()]
}
