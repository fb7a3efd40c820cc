//! Records from one writer to the collector: commits, a change of chunks and the seal (layout rules 1 and 2).

use loom::sync::Arc;
use loom::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread;

use crate::check;

const CHUNK_FREE: u32 = 0;
const CHUNK_OPEN: u32 = 2;
const CHUNK_SEALED: u32 = 3;
const CHUNK_SLOTS: usize = 2;
const RECORDS: u64 = 3;

/// What can be weakened.
#[derive(Clone, Copy)]
struct How {
    commit: Ordering,
    open: Ordering,
    seal: Ordering,
    /// The collector's loads of `state` and `committed`.
    see: Ordering,
    /// Whether the collector looks at the state before the count.
    state_first: bool,
}

const PRODUCT: How = How { commit: Release, open: Release, seal: Release, see: Acquire, state_first: true };

#[derive(Default)]
struct Chunk {
    state: AtomicU32,
    committed: AtomicU32,
    sequence: AtomicU32,
    words: [AtomicU64; CHUNK_SLOTS],
}

struct Shared {
    how: How,
    chunks: [Chunk; 2],
}

/// `Stream` of `recorder/src/stream.rs`.
struct Stream<'a> {
    shared: &'a Shared,
    header: Option<&'a Chunk>,
    position: usize,
    sequence: u32,
}

impl<'a> Stream<'a> {
    /// `Stream::event` with `Stream::reserve` and `Stream::commit`.
    fn record(&mut self, value: u64) {
        if self.header.is_none() || self.position == CHUNK_SLOTS {
            self.change_chunk();
        }
        let header = self.header.unwrap();
        header.words[self.position].store(value, Relaxed);
        self.position += 1;
        header.committed.store(self.position as u32, self.shared.how.commit);
    }

    /// `Stream::change_chunk`; which chunk is next is `free_list`'s business.
    fn change_chunk(&mut self) {
        let header = &self.shared.chunks[self.sequence as usize % 2];
        header.committed.store(0, Relaxed);
        header.sequence.store(self.sequence, Relaxed);
        self.sequence += 1;
        header.state.store(CHUNK_OPEN, self.shared.how.open);
        if let Some(old) = self.header {
            old.state.store(CHUNK_SEALED, self.shared.how.seal);
        }
        self.header = Some(header);
        self.position = 0;
    }
}

/// `Memo` of `store/src/collect/drain.rs`.
#[derive(Clone, Copy, Default)]
struct Memo {
    in_use: bool,
    sequence: u32,
    committed: u32,
    delivered: u32,
    sealed: bool,
}

#[derive(Default)]
struct Drain {
    chunks: [Memo; 2],
    next: u32,
    out: Vec<u64>,
}

impl Drain {
    /// `Drain::second_pass` with `Memo::begin` and `Memo::refresh`, and `Drain::deliver_news` with `Drain::deliver`.
    fn round(&mut self, shared: &Shared) {
        for (memo, header) in self.chunks.iter_mut().zip(&shared.chunks) {
            if !memo.in_use {
                if !matches!(header.state.load(shared.how.see), CHUNK_OPEN | CHUNK_SEALED) {
                    continue;
                }
                *memo = Memo { in_use: true, sequence: header.sequence.load(Relaxed), ..Memo::default() };
            }
            let count = || header.committed.load(shared.how.see);
            let early = (!shared.how.state_first).then(count);
            memo.sealed |= header.state.load(shared.how.see) == CHUNK_SEALED;
            memo.committed = memo.committed.max(early.unwrap_or_else(count));
        }
        let mut news: Vec<usize> = (0..2).filter(|&index| self.chunks[index].in_use).collect();
        news.sort_by_key(|&index| self.chunks[index].sequence);
        for index in news {
            let memo = &mut self.chunks[index];
            if memo.sequence > self.next {
                continue;
            }
            let header = &shared.chunks[index];
            let words = &header.words[memo.delivered as usize..memo.committed as usize];
            self.out.extend(words.iter().map(|word| word.load(Relaxed)));
            memo.delivered = memo.committed;
            if memo.sealed {
                self.next = memo.sequence + 1;
                *memo = Memo::default();
                header.committed.store(0, Relaxed);
                header.state.store(CHUNK_FREE, Relaxed);
            }
        }
    }
}

fn model(how: How) {
    check(3, move || {
        let shared = Arc::new(Shared { how, chunks: Default::default() });
        let writers = Arc::clone(&shared);
        let writer = thread::spawn(move || {
            let mut stream = Stream { shared: &writers, header: None, position: 0, sequence: 0 };
            (1..=RECORDS).for_each(|value| stream.record(value));
        });
        let mut drain = Drain::default();
        drain.round(&shared);
        drain.round(&shared);
        let seen = drain.out.clone();
        assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{seen:?}");
        writer.join().unwrap();
        drain.round(&shared);
        assert!(drain.out.iter().copied().eq(1..=RECORDS), "{:?}", drain.out);
    });
}

#[test]
fn records_arrive_once_whole_and_in_order() {
    model(PRODUCT);
}

#[test]
#[should_panic]
fn fails_if_the_commit_is_relaxed() {
    model(How { commit: Relaxed, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_the_chunk_is_opened_relaxed() {
    model(How { open: Relaxed, ..PRODUCT });
}

/// A sealed chunk's last count would be missed, and its records with it.
#[test]
#[should_panic]
fn fails_if_the_seal_is_relaxed() {
    model(How { seal: Relaxed, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_the_collector_loads_relaxed() {
    model(How { see: Relaxed, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_the_count_is_loaded_before_the_state() {
    model(How { state_first: false, ..PRODUCT });
}
