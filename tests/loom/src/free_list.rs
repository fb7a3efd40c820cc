//! Chunks that nobody uses: a stack linked by index, popped by targets, pushed by the collector (layout rule 3).

use loom::sync::Arc;
use loom::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread;

use crate::check;

const NO_CHUNK: u32 = u32::MAX;
const CHUNK_FREE: u32 = 0;
const CHUNK_TAKEN: u32 = 1;
const CHUNK_SEALED: u32 = 3;

/// What can be weakened.
#[derive(Clone, Copy)]
struct How {
    /// First load of the list's head by who pops.
    pop: Ordering,
    /// Exchange of the head by who pushes.
    push: Ordering,
    /// Added to the tag by each change.
    tag: u64,
}

const PRODUCT: How = How { pop: Acquire, push: AcqRel, tag: 1 };

struct Chunk {
    state: AtomicU32,
    committed: AtomicU32,
    next_free: AtomicU32,
}

struct Region {
    how: How,
    free_list: AtomicU64,
    chunks: Vec<Chunk>,
}

impl Region {
    /// A list of `chunks` chunks, the first one on top.
    fn new(how: How, chunks: u32) -> Self {
        let chunk = |index| Chunk {
            state: AtomicU32::new(CHUNK_FREE),
            committed: AtomicU32::new(0),
            next_free: AtomicU32::new(if index + 1 == chunks { NO_CHUNK } else { index + 1 }),
        };
        Self { how, free_list: AtomicU64::new(0), chunks: (0..chunks).map(chunk).collect() }
    }

    /// `Region::pop_chunk` of `recorder/src/region.rs`.
    fn pop_chunk(&self) -> Option<u32> {
        let list = &self.free_list;
        let mut head = list.load(self.how.pop);
        loop {
            let index = head as u32;
            if index == NO_CHUNK {
                return None;
            }
            let next = self.chunks[index as usize].next_free.load(Relaxed);
            let tag = (head >> 32).wrapping_add(self.how.tag);
            // Not `weak`: that only tries again.
            let failure = if self.how.pop == Relaxed { Relaxed } else { Acquire };
            match list.compare_exchange(head, tag << 32 | u64::from(next), AcqRel, failure) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        let index = head as u32;
        let header = &self.chunks[index as usize];
        let taken = header.state.compare_exchange(CHUNK_FREE, CHUNK_TAKEN, AcqRel, Relaxed);
        assert!(taken.is_ok(), "chunk {index} on the list is not free");
        Some(index)
    }

    /// What a target does with a chunk, in short: it is written and sealed.
    fn use_up(&self, index: u32) {
        let header = &self.chunks[index as usize];
        assert_eq!(header.committed.load(Relaxed), 0, "chunk {index} is not as the collector left it");
        header.committed.store(7, Relaxed);
        header.state.store(CHUNK_SEALED, Release);
    }

    /// `Region::free` of `store/src/collect/region.rs`.
    fn free(&self, index: u32) {
        let chunk = &self.chunks[index as usize];
        chunk.committed.store(0, Relaxed);
        chunk.state.store(CHUNK_FREE, Relaxed);
        let list = &self.free_list;
        let mut head = list.load(Relaxed);
        loop {
            chunk.next_free.store(head as u32, Relaxed);
            let tagged = ((head >> 32).wrapping_add(self.how.tag) << 32) | u64::from(index);
            match list.compare_exchange(head, tagged, self.how.push, Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Frees the sealed ones.
    fn collect(&self) {
        for index in 0..self.chunks.len() as u32 {
            if self.chunks[index as usize].state.load(Acquire) == CHUNK_SEALED {
                self.free(index);
            }
        }
    }
}

/// One target takes two chunks and uses them up, another takes one and keeps it, the collector frees. In the end every
/// chunk is on the list or owned.
fn model(how: How) {
    check(3, move || {
        let region = Arc::new(Region::new(how, 2));
        let one = Arc::clone(&region);
        let writer = thread::spawn(move || {
            for _ in 0..2 {
                if let Some(index) = one.pop_chunk() {
                    one.use_up(index);
                }
            }
        });
        let two = Arc::clone(&region);
        let keeper = thread::spawn(move || two.pop_chunk());
        region.collect();
        region.collect();
        writer.join().unwrap();
        let kept = keeper.join().unwrap();
        region.collect();
        let mut left: Vec<u32> = std::iter::from_fn(|| region.pop_chunk()).chain(kept).collect();
        left.sort_unstable();
        assert_eq!(left, [0, 1]);
    });
}

#[test]
fn chunks_have_one_owner_and_none_is_lost() {
    model(PRODUCT);
}

/// Who pops must see the link that was stored before the chunk was pushed.
#[test]
#[should_panic]
fn fails_if_the_pop_is_relaxed() {
    model(How { pop: Relaxed, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_the_push_is_relaxed() {
    model(How { push: Relaxed, ..PRODUCT });
}

/// A head that was popped and pushed again in between has another successor.
#[test]
#[should_panic]
fn fails_without_the_tag() {
    model(How { tag: 0, ..PRODUCT });
}
