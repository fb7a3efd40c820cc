//! What lies where in the shared region, and the rules by which its words change hands.
//!
//! ```text
//! 0            RegionHeader        one page: configuration (constant) and shared counters
//! 4096         ProcessSlot[4096]   one per live process image, 256 bytes each
//! ...          ChunkHeader[n]      one per chunk, 64 bytes each
//! ...          chunk[n]            CHUNK_BYTES each, records of 16 bytes
//! ```
//!
//! Rules (cited by number where the words are used):
//! 1. A chunk has at most one writer, the thread whose stream is named in its header. Only the writer stores
//!    `committed`, with `Release` after the records below it; the collector loads it with `Acquire`.
//! 2. The writer seals a chunk (`state = SEALED`, `Release`) after its last commit and never touches it again. Only the
//!    collector turns a sealed chunk, or an open chunk of a dead process, back to `FREE`.
//! 3. Free chunks form a stack linked by `next_free`, its head `RegionHeader::free_list` packs a tag against ABA.
//! 4. A thread that is between taking a time stamp and committing its record shows a lower bound of that stamp in
//!    `inflight` (0: none), so that the collector knows how far all streams are complete. The bound is stored before the
//!    clock is read, so a stream has an open chunk before its first stamp is taken. A writer that changes chunks in the
//!    middle of a record opens the new one with the same bound before it seals the old one, and leaves the old one's
//!    bound standing: the collector passes the headers one by one and must meet it in one of them.
//!    What a record refers to (nodes, modules) is committed before its number can be seen by other threads.
//! 5. A process slot is claimed by compare-exchange `FREE -> CLAIMED`; only the collector sets it back to `FREE`, after
//!    the process is gone and its chunks are drained.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes in one record slot.
pub const SLOT_BYTES: usize = 16;
/// Bytes in one chunk. Half a megabyte per 16 threads: small enough to give each of 2,000 threads one, large enough
/// that taking a new one is rare (every 2,048 records).
pub const CHUNK_BYTES: usize = 32 << 10;
/// Record slots in one chunk.
pub const CHUNK_SLOTS: usize = CHUNK_BYTES / SLOT_BYTES;
/// Chunks in a region unless the collector is told otherwise: 64 MiB, of which only chunks in use have memory.
pub const DEFAULT_CHUNKS: u32 = 2048;
/// Upper limit of chunks that either side accepts.
pub const MAX_CHUNKS: u32 = 1 << 16;
/// Process images that can be recorded at one moment; more are counted in [`RegionHeader::processes_refused`].
pub const PROCESS_SLOTS: usize = 4096;
/// Offset of the process slots.
pub const PROCESS_OFFSET: usize = 4096;
/// Offset of the chunk headers.
pub const CHUNK_HEADER_OFFSET: usize = PROCESS_OFFSET + PROCESS_SLOTS * size_of::<ProcessSlot>();

/// End of the free list.
pub const NO_CHUNK: u32 = u32::MAX;

/// Offset of the first chunk in a region of `chunks` chunks, page-aligned.
#[must_use]
pub const fn chunk_offset(chunks: u32) -> usize {
    (CHUNK_HEADER_OFFSET + chunks as usize * size_of::<ChunkHeader>() + 4095) & !4095
}

/// Size in bytes of a region of `chunks` chunks.
#[must_use]
pub const fn region_bytes(chunks: u32) -> usize {
    chunk_offset(chunks) + chunks as usize * CHUNK_BYTES
}

/// What the recorder does when no chunk is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum OnFull {
    /// Wait for the collector as long as it makes progress, then drop and count.
    Wait = 0,
    /// Drop the record at once and count it.
    Drop = 1,
}

/// First page of the region. Words above the line are written once by the collector before any target runs.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct RegionHeader {
    /// [`crate::MAGIC`].
    pub magic: AtomicU64,
    /// [`crate::WIRE_VERSION`].
    pub version: AtomicU32,
    /// Number of chunks.
    pub chunks: AtomicU32,
    /// Mean bytes between samples; 0 records every allocation.
    pub sample_interval: AtomicU64,
    /// Most recent frames kept per stack; 0: as many as the recorder can hold.
    pub max_depth: AtomicU32,
    /// [`OnFull`] as a number.
    pub on_full: AtomicU32,
    /// 1: children made by fork and exec are recorded too.
    pub follow: AtomicU32,
    /// Re-unwind every n-th stack from scratch and compare; 0: never.
    pub verify_every: AtomicU32,
    /// 1: record the stack of frees too.
    pub free_stacks: AtomicU32,
    /// Process id of the collector.
    pub collector_pid: AtomicU32,
    _pad0: [u64; 1],
    // ---- shared counters, one cache line each ----
    /// Head of the free list: tag in the upper, chunk index in the lower 32 bits (rule 3).
    pub free_list: Padded<AtomicU64>,
    /// Milliseconds that the collector has seen; it stores a new value on every round. While it stands still for
    /// [`COLLECTOR_SILENCE_MS`], targets do not wait for chunks.
    pub heartbeat: Padded<AtomicU64>,
    /// [`CollectorState`] as a number.
    pub collector_state: Padded<AtomicU32>,
    /// Futex word: targets that wait for a chunk sleep on it; the collector increments and wakes after freeing chunks.
    pub chunk_freed: Padded<AtomicU32>,
    /// Futex word: a target that runs low on chunks increments it and wakes the collector.
    pub collector_wake: Padded<AtomicU32>,
    /// Next stream number (see [`ChunkHeader::stream`]); starts at 1.
    pub next_stream: Padded<AtomicU32>,
    /// Next process incarnation; starts at 1.
    pub next_incarnation: Padded<AtomicU32>,
    /// Process images that found no free slot.
    pub processes_refused: Padded<AtomicU32>,
    /// Highest chunk index ever taken plus one, so that the collector scans no further.
    pub chunks_touched: Padded<AtomicU32>,
    /// The same of process slots.
    pub processes_touched: Padded<AtomicU32>,
}

/// A word on a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Padded<T>(pub T);

/// How long the heartbeat may stand still before a waiting target takes the collector for stopped and drops records
/// until it moves again, in milliseconds. Longer than a busy machine keeps a thread waiting for a processor.
pub const COLLECTOR_SILENCE_MS: u64 = 1000;

/// What the collector is doing, see [`RegionHeader::collector_state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CollectorState {
    /// Drains chunks.
    Recording = 1,
    /// Is gone or has finished: targets record no more.
    Closed = 2,
}

/// [`ProcessSlot::state`]: nobody's.
pub const PROCESS_FREE: u32 = 0;
/// [`ProcessSlot::state`]: being filled by its process.
pub const PROCESS_CLAIMED: u32 = 1;
/// [`ProcessSlot::state`]: recording; every word is valid.
pub const PROCESS_LIVE: u32 = 2;
/// [`ProcessSlot::state`]: this image will record no more (exec, or recording was given up).
pub const PROCESS_ENDED: u32 = 3;

/// One process image: a program from exec (or a fork child from fork) to its end.
#[repr(C, align(256))]
#[derive(Debug)]
pub struct ProcessSlot {
    /// `PROCESS_*`.
    pub state: AtomicU32,
    /// Process id as the process itself sees it.
    pub pid: AtomicU32,
    /// Unique number of this image within the recording, from [`RegionHeader::next_incarnation`].
    pub incarnation: AtomicU32,
    /// Incarnation of the image that forked this one, 0 for none (the first image, and images after exec).
    pub forked_from: AtomicU32,
    /// Time stamp counter when the slot was claimed.
    pub start_tsc: AtomicU64,
    /// Losses by [`LossReason`], in records.
    pub losses: [AtomicU64; LOSS_REASONS],
    /// Stacks that were compared with an unwind from scratch.
    pub verified: AtomicU64,
    /// Of these, stacks that differed.
    pub mismatches: AtomicU64,
    /// Bytes that the recorder has mapped in this process.
    pub recorder_bytes: AtomicU64,
    /// Allocations seen, recorded or not (sampled mode: all hooks that were not sampled are not counted here).
    pub hooks: AtomicU64,
    _reserved: [u64; 8],
}

/// Why something is missing from a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LossReason {
    /// No chunk was free (`--on-full drop`, or the collector made no progress).
    NoChunk = 0,
    /// Signal handlers nested deeper than the recorder has room for.
    Nested = 1,
    /// Address outside the 47 bits that a record can hold.
    AddressRange = 2,
    /// The recorder could get no memory for a thread's state.
    NoMemory = 3,
    /// The table of stacks is full: the event is recorded without its stack.
    StackTableFull = 4,
    /// Code was found where other code had lain which had not been seen to go: not records, but how often. Stacks in between
    /// may name the older.
    LateUnload = 5,
    /// Another `malloc` comes before the recorder's in the process: not records, but 1 for all that goes through it.
    Bypassed = 6,
    /// More libraries were loaded than there are numbers for: frames in later ones are recorded without their library.
    ModuleTableFull = 7,
}

/// Number of [`LossReason`]s with room to grow.
pub const LOSS_REASONS: usize = 8;

impl LossReason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 8] = [
        Self::NoChunk,
        Self::Nested,
        Self::AddressRange,
        Self::NoMemory,
        Self::StackTableFull,
        Self::LateUnload,
        Self::Bypassed,
        Self::ModuleTableFull,
    ];

    /// Short name used in the `losses` table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoChunk => "no_chunk",
            Self::Nested => "nested_signal",
            Self::AddressRange => "address_range",
            Self::NoMemory => "no_memory",
            Self::StackTableFull => "stack_table_full",
            Self::LateUnload => "late_unload",
            Self::Bypassed => "bypassed",
            Self::ModuleTableFull => "module_table_full",
        }
    }
}

/// [`ChunkHeader::state`]: on the free list.
pub const CHUNK_FREE: u32 = 0;
/// [`ChunkHeader::state`]: popped by a writer that has not filled the header yet.
pub const CHUNK_TAKEN: u32 = 1;
/// [`ChunkHeader::state`]: has a writer.
pub const CHUNK_OPEN: u32 = 2;
/// [`ChunkHeader::state`]: its writer is done with it.
pub const CHUNK_SEALED: u32 = 3;

/// Who owns a chunk and how far it is written.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct ChunkHeader {
    /// `CHUNK_*` (rule 2).
    pub state: AtomicU32,
    /// Slots below this index are complete records (rule 1).
    pub committed: AtomicU32,
    /// Lower bound of the time stamp of a record under construction, 0 for none (rule 4).
    pub inflight: AtomicU64,
    /// [`ProcessSlot::incarnation`] of the writer.
    pub incarnation: AtomicU32,
    /// The writer's stream: a sequence of chunks in which time stamps never decrease.
    pub stream: AtomicU32,
    /// Position of this chunk in its stream, from 0.
    pub sequence: AtomicU32,
    /// Link of the free list (rule 3).
    pub next_free: AtomicU32,
    /// Index of the process slot of the writer.
    pub process_slot: AtomicU32,
    _reserved: [u32; 5],
}

impl ChunkHeader {
    /// All zeros: a free chunk.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(CHUNK_FREE),
            committed: AtomicU32::new(0),
            inflight: AtomicU64::new(0),
            incarnation: AtomicU32::new(0),
            stream: AtomicU32::new(0),
            sequence: AtomicU32::new(0),
            next_free: AtomicU32::new(0),
            process_slot: AtomicU32::new(0),
            _reserved: [0; 5],
        }
    }
}

impl Default for ChunkHeader {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(size_of::<ProcessSlot>() == 256);
const _: () = assert!(size_of::<ChunkHeader>() == 64);
const _: () = assert!(size_of::<RegionHeader>() <= PROCESS_OFFSET);
const _: () = assert!(CHUNK_HEADER_OFFSET.is_multiple_of(4096));
const _: () = assert!(LossReason::ALL.len() <= LOSS_REASONS);
