//! Attacks `tmq_store::ingest`: any inputs in any order, and streams of any slots, as a hostile target and a confused
//! collector could make them.
//!
//! Must hold: no panic, and the recording that comes out keeps the promises of [`crate::check`]. The way through files is
//! some fifty times slower than the way through memory, so one input in eight takes it.

use std::path::Path;

use tmq_store::Recording;
use tmq_store::fuzzing::Unwritten;
use tmq_store::ingest::{Ingest, Input, ProcessCounters, RecordingConfig, SealOptions};
use tmq_wire::record::Slot;

use crate::check;
use crate::damage::Scratch;
use crate::source::Source;

/// Inputs of one run at most.
const MAX_INPUTS: usize = 400;

/// An input with what it borrows.
enum Owned {
    Slots(u32, u32, Vec<Slot>),
    Texts(u8, [String; 2], [u64; 4]),
}

fn stamp(source: &mut Source<'_>) -> u64 {
    source.number().wrapping_add(1_000)
}

fn owned(source: &mut Source<'_>) -> Owned {
    let choice = source.byte();
    if choice >= 96 {
        let (incarnation, stream) = (u32::from(choice & 3), u32::from(choice >> 2 & 3));
        let mut slots = Vec::new();
        for _ in 0..=source.below(24) {
            source.slots(&mut slots);
        }
        return Owned::Slots(incarnation, stream, slots);
    }
    let texts = if matches!(choice % 12, 2 | 5 | 7 | 8) { [source.text(), source.text()] } else { Default::default() };
    Owned::Texts(choice % 12, texts, [source.number(), source.number(), source.number(), stamp(source)])
}

impl Owned {
    fn input(&self) -> Input<'_> {
        let (kind, [one, two], [a, b, c, tsc]) = match self {
            Self::Slots(incarnation, stream, slots) => {
                return Input::Slots { incarnation: *incarnation, stream: *stream, slots };
            }
            Self::Texts(kind, texts, numbers) => (*kind, texts, *numbers),
        };
        let incarnation = a as u32 & 3;
        match kind {
            1 => Input::ProcessSeen { incarnation, pid: b as u32, forked_from: c as u32, start_tsc: tsc },
            2 => Input::ProcessImage { incarnation, ppid: b as u32, exe: one, argv: two },
            3 => Input::Clock { tsc, unix_ns: b as i64, ticks_per_second: f64::from_bits(c) },
            4 => Input::Rss { tsc, bytes: b as i64 },
            5 => Input::ThreadName { incarnation, tid: b as u32, name: one },
            6 => Input::ProcessEnded {
                incarnation,
                tsc: (b & 1 == 0).then_some(tsc),
                exit_code: (b & 2 == 0).then_some(c as i32),
                exit_signal: (b & 4 == 0).then_some(c as i32),
                counters: ProcessCounters { losses: [c; 8], verified: c, mismatches: b, ..ProcessCounters::default() },
            },
            7 => Input::Loss { incarnation: (a & 1 == 0).then_some(incarnation), reason: one, count: b, detail: two },
            8 => Input::Mark { tsc, name: one },
            9 => Input::Clock { tsc: 1_000, unix_ns: 1_700_000_000_000_000_000, ticks_per_second: 1e9 },
            _ => Input::Watermark { tsc },
        }
    }

    /// Instead of an input: the only streams that are missing before a stamp.
    fn only_missing(&self) -> Option<([(u32, u32); 2], u64)> {
        match self {
            Self::Texts(11, _, [a, b, _, tsc]) => {
                let stream = |number: u64| (number as u32 & 3, (number >> 2) as u32 & 3);
                Some(([stream(*a), stream(*b)], *tsc))
            }
            _ => None,
        }
    }
}

fn inputs(source: &mut Source<'_>) -> Vec<Owned> {
    let mut all = Vec::new();
    while !source.is_empty() && all.len() < MAX_INPUTS {
        all.push(owned(source));
    }
    all
}

/// One input.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let mut source = Source(data);
    let mode = source.byte();
    let config = RecordingConfig {
        sample_interval: if mode & 1 == 0 { 0 } else { source.number() },
        free_stacks: mode & 2 != 0,
        ..RecordingConfig::default()
    };
    let all = inputs(&mut source);
    if mode >> 2 & 7 == 7 {
        let scratch = Scratch::new("ingest");
        through_files(&scratch.path().join("a.tmq"), &config, &all, u64::from(mode >> 5) * 300 + 1);
    } else {
        let mut state = Unwritten::new(config);
        for input in &all {
            match input.only_missing() {
                Some((missing, tsc)) => state.only_missing(&missing, tsc),
                None => state.input(&input.input()),
            }
        }
        state.finish();
    }
}

fn through_files(dir: &Path, config: &RecordingConfig, all: &[Owned], checkpoint_bytes: u64) {
    let mut ingest = Ingest::create(dir, config).expect("a recording begun");
    ingest.set_checkpoint_bytes(checkpoint_bytes);
    for input in all {
        let taken = match input.only_missing() {
            Some((missing, tsc)) => ingest.only_missing(&missing, tsc).map(drop),
            None => ingest.input(input.input()),
        };
        taken.expect("an input taken in");
    }
    let options = SealOptions { no_symbols: true, ..SealOptions::default() };
    let summary = ingest.seal(&options, &|_| {}).expect("a recording sealed");
    let recording = Recording::open(dir).expect("a recording opened");
    assert_eq!(recording.rows(&tmq_store::schema::ALLOCATIONS), summary.rows);
    check::recording(&recording);
}

/// Valid inputs: mallocs and frees of two streams, in both ways.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let begin: &[u8] = &[9, 0, 0, 0, 0, 1, 1, 7, 0, 0, 2, 1, 7, 0, 0, 2, b'/', b'a', 1, b'a'];
    let slots: &[u8] = &[
        97, 6, 16, 160, 0, 0, 1, 0, 50, 5, 70, 4, 0, 1, 20, 0, 200, 0, 35, 40, 4, 5, 200, 0, 66, 41, 4, 6, 200, 7, 35,
        0, 3, 9, 200, 7, 66, 0, 3, 9,
    ];
    let end: &[u8] = &[10, 0, 0, 0, 160, 0, 0, 2, 0, 6, 1, 0, 0, 160, 0, 0, 3, 0, 10, 0, 0, 0, 160, 0, 0, 4, 0];
    // Of the stream that the slots belong to, before it goes on.
    let missing: &[u8] = &[11, 1, 0, 0, 160, 0, 0, 2, 0];
    let mode = |mode: &u8| [&[*mode, 90][..], begin, slots, missing, slots, end].concat();
    [0u8, 1, 2, 28, 29, 28 + 64].iter().map(mode).collect()
}
