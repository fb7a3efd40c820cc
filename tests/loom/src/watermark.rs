//! How far all streams are complete: what a round of the collector may call complete while records are under
//! construction (layout rule 4 and `store/src/collect/drain.rs`, "Why the watermark holds").
//!
//! The clock is a counter here. `fence(SeqCst)` between showing a bound and reading the clock, and between noting T0 and
//! the first pass, stands for the age that T0 has in the product: a store that is older than it is visible.

use loom::sync::Arc;
use loom::sync::atomic::Ordering::{self, Acquire, Relaxed, Release, SeqCst};
use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
use loom::thread;

use crate::check;

const CHUNK_OPEN: u32 = 2;
const CHUNK_SEALED: u32 = 3;
const CHUNK_FREE: u32 = 0;

/// What can be weakened.
#[derive(Clone, Copy)]
struct How {
    /// Whether a bound is the last stamp, not the next odd number (which is not zero either).
    exact: bool,
    /// The end of `Stream::finish`.
    finish: Ordering,
    /// The store of a node's number, in `Nodes::insert`.
    publish: Ordering,
    /// Whether the collector reads all bounds before all counts.
    two_passes: bool,
    /// Whether a new chunk is opened before the old one is sealed.
    open_first: bool,
    /// Whether a sealed chunk keeps its bound.
    keep_bound: bool,
    /// Whether a stream's first chunk shows a bound when it is opened.
    bound_at_open: bool,
}

const PRODUCT: How = How {
    exact: true,
    finish: Release,
    publish: Release,
    two_passes: true,
    open_first: true,
    keep_bound: true,
    bound_at_open: true,
};

#[derive(Default)]
struct Chunk {
    state: AtomicU32,
    committed: AtomicU32,
    inflight: AtomicU64,
}

struct Shared {
    how: How,
    /// Chunks of each stream, in the order in which the collector passes them; streams take the last one first.
    chunks: Vec<Vec<Chunk>>,
    /// Records in a chunk.
    slots: usize,
    clock: AtomicU64,
    /// `NodeSlot::value` of the one node that there is.
    node: AtomicU64,
}

impl Shared {
    fn new(how: How, streams: usize, chunks: usize, slots: usize) -> Self {
        let stream = |_| (0..chunks).map(|_| Chunk::default()).collect();
        let chunks = (0..streams).map(stream).collect();
        Self { how, chunks, slots, clock: AtomicU64::new(1), node: AtomicU64::new(0) }
    }

    /// `rdtsc`.
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed) + 1
    }
}

/// A record as its writer remembers it.
#[derive(Clone, Copy)]
enum Record {
    Node,
    Event { stamp: u64, has_node: bool },
}

/// `Stream` of `recorder/src/stream.rs`.
struct Stream<'a> {
    shared: &'a Shared,
    chunks: &'a [Chunk],
    /// The chunk being written and how far; `None` before the first.
    current: Option<usize>,
    position: usize,
    last_tsc: u64,
    log: Vec<Record>,
}

impl<'a> Stream<'a> {
    /// `Stream::EMPTY`.
    fn new(shared: &'a Shared, number: usize) -> Self {
        Self { shared, chunks: &shared.chunks[number], current: None, position: 0, last_tsc: 0, log: Vec::new() }
    }

    /// A stream that another thread has opened.
    fn opened(shared: &'a Shared, number: usize, last_tsc: u64) -> Self {
        Self { current: Some(0), last_tsc, ..Self::new(shared, number) }
    }

    /// `Stream::open`.
    fn open(mut self) -> Self {
        self.change_chunk();
        self.reserve().inflight.store(0, Release);
        self
    }

    /// `Stream::change_chunk`.
    fn change_chunk(&mut self) {
        let how = self.shared.how;
        let new = self.current.unwrap_or(self.chunks.len()) - 1;
        let header = &self.chunks[new];
        let is_first = self.current.is_none();
        let first_bound = if how.bound_at_open { 1 } else { 0 };
        header.inflight.store(if is_first { first_bound } else { self.bound() }, Relaxed);
        let seal = |old: usize| {
            if !how.keep_bound {
                self.chunks[old].inflight.store(0, Release);
            }
            self.chunks[old].state.store(CHUNK_SEALED, Release);
        };
        if !how.open_first {
            self.current.iter().copied().for_each(seal);
        }
        header.state.store(CHUNK_OPEN, Release);
        if how.open_first {
            self.current.iter().copied().for_each(seal);
        }
        if is_first {
            fence(SeqCst);
            self.last_tsc = self.shared.tick();
            header.inflight.store(self.bound(), Relaxed);
        }
        self.current = Some(new);
        self.position = 0;
    }

    fn bound(&self) -> u64 {
        if self.shared.how.exact { self.last_tsc } else { self.last_tsc | 1 }
    }

    /// `Stream::begin` and the clock, as in `record_allocation`. Before the first chunk there is nobody to show it to.
    fn begin(&self) -> u64 {
        if let Some(current) = self.current {
            self.chunks[current].inflight.store(self.bound(), Relaxed);
        }
        fence(SeqCst);
        self.shared.tick()
    }

    /// `Stream::reserve`.
    fn reserve(&mut self) -> &'a Chunk {
        if self.current.is_none() || self.position == self.shared.slots {
            self.change_chunk();
        }
        &self.chunks[self.current.unwrap()]
    }

    /// `Stream::put` and `Stream::commit`.
    fn commit(&mut self, header: &Chunk, record: Record) {
        self.position += 1;
        self.log.push(record);
        header.committed.store(self.position as u32, Release);
    }

    /// `Stream::node`.
    fn node(&mut self) {
        let header = self.reserve();
        self.commit(header, Record::Node);
    }

    /// `Stream::event` and `Stream::finish`.
    fn event(&mut self, tsc: u64, has_node: bool) {
        let header = self.reserve();
        self.last_tsc = tsc.max(self.last_tsc);
        self.commit(header, Record::Event { stamp: self.last_tsc, has_node });
        header.inflight.store(0, self.shared.how.finish);
    }
}

/// What a round found: records delivered of each stream, and the watermark.
struct Round {
    delivered: Vec<usize>,
    watermark: u64,
}

/// `Drain::round` of `store/src/collect/drain.rs`; `drained` is what it remembers of chunks that it has given back.
fn round(shared: &Shared, drained: &mut Vec<usize>) -> Round {
    let t0 = shared.tick();
    fence(SeqCst);
    let mut bound = u64::MAX;
    let mut first_pass = |chunk: &Chunk| {
        if matches!(chunk.state.load(Acquire), CHUNK_OPEN | CHUNK_SEALED) {
            let inflight = chunk.inflight.load(Acquire);
            if inflight != 0 {
                bound = bound.min(inflight);
            }
        }
    };
    if shared.how.two_passes {
        shared.chunks.iter().flatten().for_each(&mut first_pass);
    }
    drained.resize(shared.chunks.len(), 0);
    let mut delivered = drained.clone();
    for (stream, chunks) in shared.chunks.iter().enumerate() {
        for chunk in chunks {
            if !shared.how.two_passes {
                first_pass(chunk);
            }
            let state = chunk.state.load(Acquire);
            if state == CHUNK_OPEN || state == CHUNK_SEALED {
                let committed = chunk.committed.load(Acquire) as usize;
                delivered[stream] += committed;
                if state == CHUNK_SEALED {
                    drained[stream] += committed;
                    chunk.committed.store(0, Relaxed);
                    chunk.inflight.store(0, Relaxed);
                    chunk.state.store(CHUNK_FREE, Relaxed);
                }
            }
        }
    }
    Round { delivered, watermark: bound.min(t0) }
}

/// Records below the watermark are there, and so is what they refer to. (The watermark itself belongs to the future: a
/// record that was stamped while T0 was noted may bear T0.)
fn verify(round: &Round, logs: [&[Record]; 2]) {
    let has_node = |log: &[Record]| log.iter().any(|record| matches!(record, Record::Node));
    let [one, two] = [0, 1].map(|stream| logs[stream].split_at(round.delivered.get(stream).copied().unwrap_or(0)));
    for late in one.1.iter().chain(two.1) {
        if let Record::Event { stamp, .. } = late {
            assert!(*stamp >= round.watermark, "{stamp} behind {}", round.watermark);
        }
    }
    for record in one.0.iter().chain(two.0) {
        if let Record::Event { stamp, has_node: true } = record
            && *stamp < round.watermark
        {
            assert!(has_node(one.0) || has_node(two.0), "the node of {stamp} is missing");
        }
    }
}

/// One stream that changes chunks in the middle of its second record. It has its first chunk before its first record,
/// or, where there was none then, takes it in the middle of that.
fn one_stream(how: How, is_open: bool) {
    check(3, move || {
        let shared = Arc::new(Shared::new(how, 1, 2, 1));
        let writer = Arc::clone(&shared);
        let writer = thread::spawn(move || {
            let mut stream = Stream::new(&writer, 0);
            if is_open {
                stream = stream.open();
            }
            for _ in 0..2 {
                let tsc = stream.begin();
                stream.event(tsc, false);
            }
            stream.log
        });
        let collector = thread::spawn(move || {
            let mut drained = Vec::new();
            [0; 2].map(|_| round(&shared, &mut drained))
        });
        let log = writer.join().unwrap();
        collector.join().unwrap().iter().for_each(|round| verify(round, [&log, &[]]));
    });
}

/// Two streams: one defines a node, the other may refer to it. The collector passes the first one first.
fn two_streams(how: How) {
    check(3, move || {
        let shared = Arc::new(Shared::new(how, 2, 1, 2));
        let last = [0, 1].map(|number| Stream::new(&shared, number).open().last_tsc);
        let one = Arc::clone(&shared);
        let one = thread::spawn(move || {
            let mut stream = Stream::opened(&one, 0, last[0]);
            let tsc = stream.begin();
            // `Nodes::insert`.
            stream.node();
            one.node.store(16, one.how.publish);
            stream.event(tsc, true);
            stream.log
        });
        let two = Arc::clone(&shared);
        let two = thread::spawn(move || {
            let mut stream = Stream::opened(&two, 1, last[1]);
            let tsc = stream.begin();
            // `Nodes::intern`.
            let has_node = two.node.load(Acquire) != 0;
            stream.event(tsc, has_node);
            stream.log
        });
        let collector = thread::spawn(move || round(&shared, &mut Vec::new()));
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        verify(&collector.join().unwrap(), [&one, &two]);
    });
}

#[test]
fn no_record_arrives_behind_the_watermark() {
    one_stream(PRODUCT, true);
    one_stream(PRODUCT, false);
}

#[test]
fn what_a_record_refers_to_arrives_before_it() {
    two_streams(PRODUCT);
}

/// The first record may bear the stamp that its bound was made of.
#[test]
#[should_panic]
fn fails_if_a_bound_is_above_the_last_stamp() {
    one_stream(How { exact: false, ..PRODUCT }, false);
}

#[test]
#[should_panic]
fn fails_if_the_bound_is_cleared_relaxed() {
    one_stream(How { finish: Relaxed, ..PRODUCT }, true);
}

#[test]
#[should_panic]
fn fails_if_the_old_chunk_is_sealed_without_a_bound() {
    one_stream(How { keep_bound: false, ..PRODUCT }, true);
}

/// The old chunk might be given back before the new one can be seen.
#[test]
#[should_panic]
fn fails_if_the_old_chunk_is_sealed_before_the_new_one_opens() {
    one_stream(How { open_first: false, ..PRODUCT }, true);
}

#[test]
#[should_panic]
fn fails_if_the_first_chunk_opens_without_a_bound() {
    one_stream(How { bound_at_open: false, ..PRODUCT }, false);
}

#[test]
#[should_panic]
fn fails_with_one_pass() {
    two_streams(How { two_passes: false, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_a_node_is_published_relaxed() {
    two_streams(How { publish: Relaxed, ..PRODUCT });
}
