//! The mapped region as seen by a recorded process: typed access to header, process slots, chunk headers and chunks.
//!
//! The layout and the rules are `tmq_wire::layout`'s; this module is the only place that turns its offsets into pointers.

use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use tmq_wire::layout::{
    CHUNK_BYTES, CHUNK_FREE, CHUNK_HEADER_OFFSET, CHUNK_SEALED, CHUNK_TAKEN, COLLECTOR_SILENCE_MS, CollectorState,
    MAX_CHUNKS, NO_CHUNK, OnFull, PROCESS_CLAIMED, PROCESS_FREE, PROCESS_OFFSET, PROCESS_SLOTS, chunk_offset,
    region_bytes,
};
use tmq_wire::{ChunkHeader, MAGIC, ProcessSlot, RegionHeader, WIRE_VERSION};

use crate::sys;

/// How long one wait for a free chunk lasts before the collector is looked at again.
const WAIT_MS: u64 = 20;
/// How long a thread waits while the collector lives but frees nothing for anybody; then it drops the record.
const PATIENCE_MS: u64 = 10_000;

/// `chunk_freed` when waiting was last given up in this process: until it moves on, because the collector freed something,
/// nobody waits again. The heartbeat would not do, it goes on while the collector waits for a disk.
static GIVEN_UP_AT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Chunks (16 MiB) that are in use before a writer that wants another one lets the collector catch up first: memory that
/// was never touched costs both sides more than a short wait. Not a limit: programs may have more threads than this.
const PLENTY: u32 = 512;
/// How long one wait for the collector to catch up lasts.
const CATCH_UP_MS: u64 = 25;
/// So many waits in a row during which nothing became free are in vain. Among many busy threads the collector gets a
/// processor only when most of them wait, each for its next chunk.
const CATCH_UP_IN_VAIN: u32 = 4;
/// How often it waits in all: others may take what becomes free.
const CATCH_UP_WAITS: u32 = 16;
/// Chunks in use from which on a process lets the collector catch up again after it has done so in vain.
static CATCH_UP_FROM: AtomicU32 = AtomicU32::new(PLENTY);

/// A mapped region. The mapping lives as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    base: *mut u8,
    chunks: u32,
}

// SAFETY: everything behind `base` is atomics in shared memory that is never unmapped.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps the region that `path` (zero-terminated) names. `None` if it cannot be opened or is not one of ours.
    #[must_use]
    pub fn open(path: &[u8]) -> Option<Self> {
        let fd = sys::open(path, sys::O_RDWR_CLOEXEC).ok()?;
        let region = Self::map(fd);
        sys::close(fd);
        region
    }

    fn map(fd: usize) -> Option<Self> {
        let probe = sys::map_shared(fd, PROCESS_OFFSET)?;
        // SAFETY: the mapping has the size of a header and lives until it is unmapped below; if the file is shorter,
        // the collector did not make it, and nobody else hands us the path.
        let header = unsafe { &*probe.cast::<RegionHeader>() };
        let good = header.magic.load(Acquire) == MAGIC && header.version.load(Relaxed) == WIRE_VERSION;
        let chunks = header.chunks.load(Relaxed);
        // SAFETY: the probe is not used any more.
        unsafe { sys::unmap(probe, PROCESS_OFFSET) };
        if !good || chunks == 0 || chunks > MAX_CHUNKS {
            return None;
        }
        let base = sys::map_shared(fd, region_bytes(chunks))?;
        Some(Self { base, chunks })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &'static RegionHeader {
        // SAFETY: the region begins with a header and is mapped for the life of the process.
        unsafe { &*self.base.cast::<RegionHeader>() }
    }

    /// Process slot `index`, which must be below [`PROCESS_SLOTS`].
    #[must_use]
    pub fn process_slot(&self, index: u32) -> &'static ProcessSlot {
        let index = index as usize % PROCESS_SLOTS;
        // SAFETY: the slot lies inside the region.
        unsafe { &*self.base.add(PROCESS_OFFSET).cast::<ProcessSlot>().add(index) }
    }

    /// Header of chunk `index`, which must be below the number of chunks.
    #[must_use]
    pub fn chunk_header(&self, index: u32) -> &'static ChunkHeader {
        debug_assert!(index < self.chunks);
        // SAFETY: indexes come from `pop_chunk`, which checks them.
        unsafe { &*self.base.add(CHUNK_HEADER_OFFSET).cast::<ChunkHeader>().add(index as usize) }
    }

    /// First word of chunk `index`.
    #[must_use]
    pub fn chunk_words(&self, index: u32) -> *const AtomicU64 {
        debug_assert!(index < self.chunks);
        // SAFETY: indexes come from `pop_chunk`, which checks them.
        unsafe { self.base.add(chunk_offset(self.chunks) + index as usize * CHUNK_BYTES).cast() }
    }

    /// Whether the collector still wants records.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.header().collector_state.0.load(Relaxed) == CollectorState::Recording as u32
    }

    /// Claims a free process slot for the calling process; its index. `None` if all are taken.
    #[must_use]
    pub fn claim_process(&self) -> Option<u32> {
        // Where the last image began to look plus one: slots are used from the first on, and seldom by two at once.
        let start = self.header().next_incarnation.0.load(Relaxed).wrapping_sub(1) as usize;
        for i in 0..PROCESS_SLOTS {
            let index = ((start + i) % PROCESS_SLOTS) as u32;
            let state = &self.process_slot(index).state;
            // AcqRel: `Acquire` pairs with the collector's `Release` when it gave the slot back (layout rule 5).
            if state.load(Relaxed) == PROCESS_FREE
                && state.compare_exchange(PROCESS_FREE, PROCESS_CLAIMED, AcqRel, Relaxed).is_ok()
            {
                self.header().processes_touched.0.fetch_max(index + 1, Relaxed);
                return Some(index);
            }
        }
        self.header().processes_refused.0.fetch_add(1, Relaxed);
        None
    }

    /// Takes a chunk off the free list.
    fn pop_chunk(&self) -> Option<u32> {
        let list = &self.header().free_list.0;
        // Acquire pairs with the `Release` of whoever pushed the chunk (layout rule 3).
        let mut head = list.load(Acquire);
        loop {
            let index = head as u32;
            if index == NO_CHUNK || index >= self.chunks {
                return None;
            }
            let next = self.chunk_header(index).next_free.load(Relaxed);
            let tag = (head >> 32).wrapping_add(1);
            match list.compare_exchange_weak(head, tag << 32 | u64::from(next), AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        let index = head as u32;
        let header = self.chunk_header(index);
        if header.state.compare_exchange(CHUNK_FREE, CHUNK_TAKEN, AcqRel, Relaxed).is_err() {
            return None; // the list is not what the rules promise: somebody scribbled on it
        }
        self.header().chunks_touched.0.fetch_max(index + 1, Relaxed);
        Some(index)
    }

    /// Whether the next chunk would be one that nobody has used yet although the collector could free many.
    fn is_crowded(&self) -> bool {
        let header = self.header();
        let touched = header.chunks_touched.0.load(Relaxed).min(self.chunks);
        let is_next_untouched = || (touched..self.chunks).contains(&(header.free_list.0.load(Relaxed) as u32));
        // Those that their writers have not left yet it cannot free: there may be as many as threads.
        let is_sealed = |&index: &u32| self.chunk_header(index).state.load(Relaxed) == CHUNK_SEALED;
        touched >= CATCH_UP_FROM.load(Relaxed)
            && is_next_untouched()
            && (0..touched).filter(is_sealed).count() as u32 >= touched / 2
    }

    /// Before a chunk that nobody has used yet is taken, gives the collector time to free some of the many in use. It does
    /// not ask for the time, so that a program that is far from here makes no system call because of it.
    #[cold]
    fn let_collector_catch_up(&self) {
        let header = self.header();
        let (mut waits, mut in_vain) = (0, 0);
        while waits < CATCH_UP_WAITS && self.is_recording() {
            // Before the look: what becomes free during it ends the wait at once.
            let freed = header.chunk_freed.0.load(Acquire);
            if !self.is_crowded() {
                return;
            }
            self.wake_collector();
            sys::futex_wait(&header.chunk_freed.0, freed, CATCH_UP_MS);
            waits += 1;
            in_vain = if header.chunk_freed.0.load(Relaxed) == freed { in_vain + 1 } else { 0 };
            if in_vain == CATCH_UP_IN_VAIN {
                let touched = header.chunks_touched.0.load(Relaxed);
                CATCH_UP_FROM.store(touched.saturating_add(touched / 4), Relaxed);
                return;
            }
        }
    }

    /// Takes a free chunk, waiting for the collector if the recording says so and `may_wait`. `None`: drop the record.
    /// `is_first`: it is the writer's first one.
    #[must_use]
    pub fn take_chunk(&self, may_wait: bool, is_first: bool) -> Option<u32> {
        if may_wait && !is_first && self.header().on_full.load(Relaxed) != OnFull::Drop as u32 {
            self.let_collector_catch_up();
        }
        if let Some(index) = self.pop_chunk() {
            return Some(index);
        }
        let header = self.header();
        let given_up = GIVEN_UP_AT.load(Relaxed) == u64::from(header.chunk_freed.0.load(Relaxed));
        if !may_wait || given_up || header.on_full.load(Relaxed) == OnFull::Drop as u32 {
            self.wake_collector();
            return None;
        }
        self.wait_for_chunk()
    }

    #[cold]
    fn wait_for_chunk(&self) -> Option<u32> {
        let header = self.header();
        // Real time, not a count of waits: wakes and signals end them early, and the chunks that a wake announces are
        // often gone when this thread gets to run.
        let start = sys::monotonic_ms();
        let (mut beat, mut beat_ms) = (header.heartbeat.0.load(Relaxed), start);
        let (mut freed, mut freed_ms) = (header.chunk_freed.0.load(Acquire), start);
        while self.is_recording() {
            if let Some(index) = self.pop_chunk() {
                return Some(index);
            }
            self.wake_collector();
            sys::futex_wait(&header.chunk_freed.0, freed, WAIT_MS);
            let now_ms = sys::monotonic_ms();
            let (new_beat, new_freed) = (header.heartbeat.0.load(Relaxed), header.chunk_freed.0.load(Acquire));
            if new_beat != beat {
                (beat, beat_ms) = (new_beat, now_ms);
            }
            if new_freed != freed {
                (freed, freed_ms) = (new_freed, now_ms);
            }
            if now_ms > beat_ms && !sys::process_exists(header.collector_pid.load(Relaxed)) {
                // Nobody will ever drain: tell every process of the recording.
                header.collector_state.0.store(CollectorState::Closed as u32, Release);
                return None;
            }
            if now_ms - beat_ms >= COLLECTOR_SILENCE_MS || now_ms - freed_ms >= PATIENCE_MS {
                GIVEN_UP_AT.store(freed.into(), Relaxed);
                return None;
            }
        }
        None
    }

    fn wake_collector(&self) {
        let word = &self.header().collector_wake.0;
        word.fetch_add(1, Release);
        sys::futex_wake(word);
    }
}

/// Adds to a counter in shared memory.
#[inline]
pub fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// Stores a word that the collector reads after an acquiring load of something stored later.
#[inline]
pub fn publish(word: &AtomicU32, value: u32) {
    word.store(value, Release);
}
