//! Waiting for each other: a target for a chunk, the collector for a target that runs low on them.
//!
//! Waits have a timeout in the product; here they have none, so that a wake that is slept through is a deadlock, which
//! loom reports.

use loom::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::sync::{Condvar, Mutex};
use loom::thread;
// Not loom's: where a deadlock ends a model, that one ends the process.
use std::sync::Arc;

use crate::check;

/// What can be weakened.
#[derive(Clone, Copy)]
struct How {
    /// The increment of a word before a wake.
    announce: Ordering,
    /// The load of the word before looking for what it announces.
    look: Ordering,
    /// Whether the word is loaded before looking, not after.
    load_first: bool,
}

const PRODUCT: How = How { announce: Release, look: Acquire, load_first: true };

/// A word that can be waited on, as the kernel does it: comparing and falling asleep are one step.
struct Futex {
    word: AtomicU32,
    sleepers: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    fn new() -> Self {
        Self { word: AtomicU32::new(0), sleepers: Mutex::new(()), woken: Condvar::new() }
    }

    fn wait(&self, expected: u32) {
        let guard = self.sleepers.lock().unwrap();
        if self.word.load(Relaxed) == expected {
            drop(self.woken.wait(guard).unwrap());
        }
    }

    fn wake(&self) {
        // Whoever is about to sleep either sees the new word under the lock or is asleep by now.
        let _guard = self.sleepers.lock().unwrap();
        self.woken.notify_all();
    }
}

struct Shared {
    how: How,
    /// Whether a chunk is free, in place of the list of `free_list`.
    chunk: AtomicBool,
    /// Whether a chunk is sealed.
    sealed: AtomicBool,
    chunk_freed: Futex,
    collector_wake: Futex,
}

impl Shared {
    fn new(how: How) -> Self {
        let (chunk_freed, collector_wake) = (Futex::new(), Futex::new());
        Self { how, chunk: AtomicBool::new(false), sealed: AtomicBool::new(false), chunk_freed, collector_wake }
    }

    /// `Region::pop_chunk`.
    fn pop_chunk(&self) -> bool {
        self.chunk.load(Acquire) && self.chunk.compare_exchange(true, false, Acquire, Relaxed).is_ok()
    }

    /// `Region::wait_for_chunk` of `recorder/src/region.rs`, with `Region::wake_collector`.
    fn wait_for_chunk(&self) {
        let mut freed = self.chunk_freed.word.load(self.how.look);
        loop {
            if self.pop_chunk() {
                return;
            }
            if !self.how.load_first {
                freed = self.chunk_freed.word.load(self.how.look);
            }
            self.collector_wake.word.fetch_add(1, self.how.announce);
            self.collector_wake.wake();
            self.chunk_freed.wait(freed);
            freed = self.chunk_freed.word.load(self.how.look);
        }
    }

    /// `Session::drain_until_end` of `store/src/collect/session.rs`, until it has freed a chunk.
    fn drain(&self) {
        loop {
            let wake = self.collector_wake.word.load(self.how.look);
            // `Drain::round`, `Region::free` and `Region::wake_targets`.
            if self.sealed.load(Acquire) {
                self.chunk.store(true, Release);
                self.chunk_freed.word.fetch_add(1, self.how.announce);
                self.chunk_freed.wake();
                return;
            }
            let wake = if self.how.load_first { wake } else { self.collector_wake.word.load(self.how.look) };
            self.collector_wake.wait(wake);
        }
    }
}

/// A target seals its chunk and waits for one that is free; the collector frees the sealed one.
fn model(how: How) {
    check(4, move || {
        let shared = Arc::new(Shared::new(how));
        let target = Arc::clone(&shared);
        let target = thread::spawn(move || {
            target.sealed.store(true, Release);
            target.wait_for_chunk();
        });
        shared.drain();
        target.join().unwrap();
    });
}

#[test]
fn nobody_sleeps_through_what_they_wait_for() {
    model(PRODUCT);
}

#[test]
#[should_panic]
fn fails_if_the_word_is_loaded_after_looking() {
    model(How { load_first: false, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_a_wake_is_announced_relaxed() {
    model(How { announce: Relaxed, ..PRODUCT });
}

/// The word may be new while what it announces is not seen yet.
#[test]
#[should_panic]
fn fails_if_the_word_is_loaded_relaxed() {
    model(How { look: Relaxed, ..PRODUCT });
}
