//! The shared region as the collector sees it: created, initialised and read through safe methods.
//!
//! Targets share every byte of the region and may scribble over all of it at any time. So nothing read here is trusted:
//! every index is checked against the number of chunks that the collector itself chose, every shared word is an atomic,
//! and slots are copied out before anyone decodes them. What a word means is written in [`tmq_wire::layout`], whose rules
//! are cited by number. This file does not decide what to do with a chunk; `drain` does.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use tmq_wire::layout::{self, CHUNK_BYTES, CHUNK_SLOTS, CollectorState, NO_CHUNK, OnFull, PROCESS_SLOTS};
use tmq_wire::record::Slot;
use tmq_wire::{ChunkHeader, ProcessSlot, RegionHeader};

use super::sys;

/// Attempts to push a chunk on the free list before the list is given up as corrupt. Honest targets only ever make a
/// push fail by popping, which uses up chunks, so an honest push succeeds long before this.
const PUSH_ATTEMPTS: u32 = 1 << 20;

/// What targets are told through the header of the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Number of chunks, at most [`layout::MAX_CHUNKS`].
    pub chunks: u32,
    /// Mean bytes between samples; 0 records every allocation.
    pub sample_interval: u64,
    /// Most recent frames kept per stack; 0: as many as the recorder can hold.
    pub max_depth: u32,
    /// What targets do when no chunk is free.
    pub on_full: OnFull,
    /// Whether processes made by fork and exec are recorded too.
    pub follow: bool,
    /// Re-unwind every n-th stack from scratch and compare; 0: never.
    pub verify_every: u32,
    /// Whether the stacks of frees are recorded.
    pub free_stacks: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chunks: layout::DEFAULT_CHUNKS,
            sample_interval: 0,
            max_depth: 0,
            on_full: OnFull::Wait,
            follow: true,
            verify_every: 0,
            free_stacks: false,
        }
    }
}

/// The memory shared with every recorded process.
pub(super) struct Region {
    base: NonNull<u8>,
    bytes: usize,
    chunks: u32,
    file: OwnedFd,
}

// SAFETY: the mapping belongs to this value alone and all access to it is through atomics.
unsafe impl Send for Region {}
// SAFETY: as above; no method hands out anything but shared references to atomics and copies.
unsafe impl Sync for Region {}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("chunks", &self.chunks).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `base` and `bytes` are those of the mapping made in `map`, and no borrow of it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

impl Region {
    /// Makes a region in a new anonymous file, all chunks free, ready for targets.
    pub(super) fn create(config: &Config) -> io::Result<Self> {
        let chunks = config.chunks.clamp(1, layout::MAX_CHUNKS);
        let bytes = layout::region_bytes(chunks);
        let file = sys::memfd(c"tmq", bytes as u64)?;
        let region = Self::map(file, chunks)?;
        region.initialise(config);
        Ok(region)
    }

    /// Opens a region as a target does, for tests that play one.
    #[cfg(test)]
    pub(super) fn open(path: &std::path::Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let header = Self::map(OwnedFd::from(file.try_clone()?), 1)?;
        let chunks = header.header().chunks.load(Relaxed).clamp(1, layout::MAX_CHUNKS);
        Self::map(file.into(), chunks)
    }

    fn map(file: OwnedFd, chunks: u32) -> io::Result<Self> {
        let bytes = layout::region_bytes(chunks);
        let file = File::from(file);
        if file.metadata()?.len() < bytes as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the shared region is too short"));
        }
        // SAFETY: a fresh shared mapping of a file that is long enough; the kernel picks an address that is not in use.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { base, bytes, chunks, file: file.into() })
    }

    fn initialise(&self, config: &Config) {
        for index in 0..self.chunks {
            if let Some(chunk) = self.chunk(index) {
                let next = if index + 1 == self.chunks { NO_CHUNK } else { index + 1 };
                chunk.next_free.store(next, Relaxed);
            }
        }
        let header = self.header();
        header.version.store(tmq_wire::WIRE_VERSION, Relaxed);
        header.chunks.store(self.chunks, Relaxed);
        header.sample_interval.store(config.sample_interval, Relaxed);
        header.max_depth.store(config.max_depth, Relaxed);
        header.on_full.store(config.on_full as u32, Relaxed);
        header.follow.store(config.follow.into(), Relaxed);
        header.verify_every.store(config.verify_every, Relaxed);
        header.free_stacks.store(config.free_stacks.into(), Relaxed);
        header.collector_pid.store(std::process::id(), Relaxed);
        header.next_stream.0.store(1, Relaxed);
        header.next_incarnation.0.store(1, Relaxed);
        header.free_list.0.store(0, Relaxed);
        header.collector_state.0.store(CollectorState::Recording as u32, Relaxed);
        // Release pairs with the target's first load of the magic: with it, everything above is visible.
        header.magic.store(tmq_wire::MAGIC, Release);
    }

    /// The path by which other processes open the region, for [`tmq_wire::ENV_REGION`].
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Number of chunks, as the collector chose it.
    pub(super) fn chunks(&self) -> u32 {
        self.chunks
    }

    /// The words of the first page.
    pub(super) fn header(&self) -> &RegionHeader {
        // SAFETY: offset 0 of the mapping is page-aligned and longer than a header, and every field is an atomic.
        unsafe { self.base.cast::<RegionHeader>().as_ref() }
    }

    /// Process slot `index`.
    pub(super) fn process(&self, index: usize) -> Option<&ProcessSlot> {
        if index >= PROCESS_SLOTS {
            return None;
        }
        let offset = layout::PROCESS_OFFSET + index * size_of::<ProcessSlot>();
        // SAFETY: the slot lies inside the mapping because `index` is in range and `bytes` is `region_bytes(chunks)`.
        let slot = unsafe { self.base.add(offset) };
        // SAFETY: 256-byte slots behind a page boundary are aligned, and the fields in use are atomics.
        Some(unsafe { slot.cast::<ProcessSlot>().as_ref() })
    }

    /// Header of chunk `index`.
    pub(super) fn chunk(&self, index: u32) -> Option<&ChunkHeader> {
        if index >= self.chunks {
            return None;
        }
        let offset = layout::CHUNK_HEADER_OFFSET + index as usize * size_of::<ChunkHeader>();
        // SAFETY: the header lies inside the mapping because `index` is below `chunks`.
        let header = unsafe { self.base.add(offset) };
        // SAFETY: 64-byte headers behind a page boundary are aligned, and the fields in use are atomics.
        Some(unsafe { header.cast::<ChunkHeader>().as_ref() })
    }

    /// The words of chunk `index`, two per slot.
    fn words(&self, index: u32) -> Option<&[AtomicU64]> {
        if index >= self.chunks {
            return None;
        }
        let offset = layout::chunk_offset(self.chunks) + index as usize * CHUNK_BYTES;
        // SAFETY: the chunk lies inside the mapping because `index` is below `chunks`.
        let words = unsafe { self.base.add(offset) }.cast::<AtomicU64>();
        // SAFETY: chunks begin on page boundaries, have this many words, and are only ever accessed as atomics here.
        Some(unsafe { std::slice::from_raw_parts(words.as_ptr(), CHUNK_SLOTS * 2) })
    }

    /// Copies slots `from..to` of a chunk into `out`, which is cleared first. The caller has loaded `committed` with
    /// `Acquire` (rule 1), so honest slots are complete; dishonest ones may change while they are copied.
    pub(super) fn copy_slots(&self, index: u32, from: u32, to: u32, out: &mut Vec<Slot>) {
        out.clear();
        // Always room for a whole chunk, and no more: buffers of one size can change hands (see `Streams`).
        out.reserve_exact(CHUNK_SLOTS);
        let range = from as usize * 2..(to as usize).min(CHUNK_SLOTS) * 2;
        if let Some(words) = self.words(index).and_then(|words| words.get(range)) {
            out.extend(words.chunks_exact(2).map(|pair| [pair[0].load(Relaxed), pair[1].load(Relaxed)]));
        }
    }

    /// Writes one slot as a target does.
    #[cfg(any(test, fuzzing))]
    pub(super) fn store_slot(&self, index: u32, at: u32, slot: Slot) {
        if let Some(pair) = self.words(index).and_then(|words| words.get(at as usize * 2..at as usize * 2 + 2)) {
            pair[0].store(slot[0], Relaxed);
            pair[1].store(slot[1], Relaxed);
        }
    }

    /// Returns a drained chunk to the free list (rule 3). `false`: the list is corrupt, the chunk is lost.
    pub(super) fn free(&self, index: u32) -> bool {
        let Some(chunk) = self.chunk(index) else { return false };
        chunk.committed.store(0, Relaxed);
        chunk.inflight.store(0, Relaxed);
        chunk.state.store(layout::CHUNK_FREE, Relaxed);
        let list = &self.header().free_list.0;
        let mut head = list.load(Relaxed);
        for _ in 0..PUSH_ATTEMPTS {
            chunk.next_free.store(head as u32, Relaxed);
            let tagged = ((head >> 32).wrapping_add(1) << 32) | u64::from(index);
            // Release pairs with the Acquire of the target that pops: it sees the header as cleared above.
            match list.compare_exchange_weak(head, tagged, AcqRel, Relaxed) {
                Ok(_) => return true,
                Err(now) => head = now,
            }
        }
        false
    }

    /// Tells targets that wait for a chunk to look again.
    pub(super) fn wake_targets(&self) {
        let word = &self.header().chunk_freed.0;
        word.fetch_add(1, Release);
        sys::futex_wake_all(word);
    }

    /// Says what the collector does. [`CollectorState::Closed`] also wakes everyone who waits for it.
    pub(super) fn set_state(&self, state: CollectorState) {
        self.header().collector_state.0.store(state as u32, Release);
        if state == CollectorState::Closed {
            self.wake_targets();
        }
    }

    /// The word on which the collector sleeps between rounds.
    pub(super) fn wake_word(&self) -> &AtomicU32 {
        &self.header().collector_wake.0
    }

    /// Chunks that may have been used so far: indices below this are worth scanning.
    pub(super) fn chunks_touched(&self) -> u32 {
        // Acquire pairs with the target's raise of the mark after it popped a chunk.
        self.header().chunks_touched.0.load(Acquire).min(self.chunks)
    }

    /// Process slots that may have been used so far.
    pub(super) fn processes_touched(&self) -> usize {
        // Acquire as above: the mark is raised between claiming a slot and taking a number.
        (self.header().processes_touched.0.load(Acquire) as usize).min(PROCESS_SLOTS)
    }
}

/// Closes the recording to targets when dropped, so that no way out of the collector, a panic included, leaves a target
/// waiting for chunks that nobody will free.
#[derive(Debug)]
pub(super) struct CloseOnDrop<'a>(pub(super) &'a Region);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set_state(CollectorState::Closed);
    }
}
