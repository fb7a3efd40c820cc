//! A stream: the sequence of chunks that one thread state writes.
//!
//! One writer, no lock, no shared write: a record is two plain stores and a publishing store of the slot count on the
//! stream's own cache line. Only a new chunk, every 2,048 records, touches shared words.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release, SeqCst},
    fence,
};

use tmq_wire::ChunkHeader;
use tmq_wire::layout::{CHUNK_OPEN, CHUNK_SEALED, CHUNK_SLOTS, LossReason};
use tmq_wire::payload::{MAX_PAYLOAD_SLOTS, Writer};
use tmq_wire::record::{self, DT_BITS, Kind, SIZE_BITS, Slot};

use crate::process::Process;

/// Most slots one commit takes besides payloads: a time stamp, two widened events and a loss note.
const MAX_COMMIT_SLOTS: usize = 8;
/// Longest name of a mark; the rest is cut off.
const MAX_MARK_BYTES: usize = 200;
/// Slots of such a name with its length.
const MARK_SLOTS: usize = (MAX_MARK_BYTES + 2).div_ceil(16);
const _: () = assert!(MAX_PAYLOAD_SLOTS + MAX_COMMIT_SLOTS < CHUNK_SLOTS / 2);

/// Stands for the header of a chunk where there is none, so that the hot path need not ask.
static NO_HEADER: ChunkHeader = ChunkHeader::new();

/// Writer's view of a stream.
#[derive(Debug)]
pub struct Stream {
    /// Header of the chunk being written; [`NO_HEADER`] before the first.
    header: &'static ChunkHeader,
    words: *const AtomicU64,
    /// Slots written, committed or not.
    position: usize,
    /// Last time stamp written.
    pub last_tsc: u64,
    id: u32,
    sequence: u32,
    /// Thread that writes, repeated where a stream changes hands.
    pub tid: u32,
    /// Records dropped since the last one that was written.
    lost: u64,
}

impl Stream {
    /// A stream without a chunk.
    pub const EMPTY: Self = Self {
        header: &NO_HEADER,
        words: core::ptr::null(),
        position: CHUNK_SLOTS,
        last_tsc: 0,
        id: 0,
        sequence: 0,
        tid: 0,
        lost: 0,
    };

    /// Shows the collector that a record with a stamp not below the last one is under construction (layout rule 4).
    #[inline(always)]
    pub fn begin(&self) {
        // Relaxed: who sees this bound need not see the record before it, which does not lie below the bound either.
        self.header.inflight.store(self.last_tsc, Relaxed);
        // The stamp must be read after this store; both are ordered for the collector by its one-round delay.
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    }

    /// Ends what [`Self::begin`] began without a record.
    #[inline(always)]
    pub fn cancel(&self) {
        self.header.inflight.store(0, Release);
    }

    /// Makes everything written visible to the collector.
    #[inline(always)]
    pub fn commit(&self) {
        // Release: the records below `position` come first (layout rule 1).
        self.header.committed.store(self.position as u32, Release);
    }

    /// Makes everything written visible and ends what [`Self::begin`] began.
    #[inline(always)]
    pub fn finish(&self) {
        self.commit();
        // Release: who sees that nothing is under construction also sees the record (layout rule 4).
        self.header.inflight.store(0, Release);
    }

    /// Whether the chunk has room for `slots` more slots, and what they may need besides.
    #[inline(always)]
    #[must_use]
    pub fn has_room(&self, slots: usize) -> bool {
        self.position + slots + MAX_COMMIT_SLOTS <= CHUNK_SLOTS
    }

    /// Makes room for `slots` more slots, taking a new chunk if need be. False: there is none, drop the record.
    fn reserve(&mut self, process: &Process, slots: usize, may_wait: bool) -> bool {
        self.has_room(slots) || self.next_chunk(process, may_wait)
    }

    /// Takes the first chunk, so that the first record can show a bound before its stamp is taken (layout rule 4). Without
    /// one that record tries again.
    pub fn open(&mut self, process: &Process, may_wait: bool) {
        if !self.has_chunk() {
            self.change_chunk(process, may_wait);
        }
        self.cancel();
    }

    /// Takes a new chunk. False: there is none, drop the record, which is counted.
    #[cold]
    #[inline(never)]
    pub fn next_chunk(&mut self, process: &Process, may_wait: bool) -> bool {
        let changed = self.change_chunk(process, may_wait);
        if !changed {
            self.drop_records(process, LossReason::NoChunk, 1);
        }
        changed
    }

    fn change_chunk(&mut self, process: &Process, may_wait: bool) -> bool {
        let region = process.region();
        let first = !self.has_chunk();
        let Some(index) = (if region.is_recording() { region.take_chunk(may_wait, first) } else { None }) else {
            return false;
        };
        let header = region.chunk_header(index);
        if first {
            self.id = region.header().next_stream.0.fetch_add(1, Relaxed);
        } else {
            self.sequence += 1;
        }
        header.committed.store(0, Relaxed);
        // A stream's first stamp must not be read before the collector can see the stream: until then nothing holds the
        // watermark back (layout rule 4). 1 is below every stamp.
        header.inflight.store(if first { 1 } else { self.last_tsc }, Relaxed);
        header.incarnation.store(process.incarnation(), Relaxed);
        header.process_slot.store(process.slot_index(), Relaxed);
        header.stream.store(self.id, Relaxed);
        header.sequence.store(self.sequence, Relaxed);
        // Release: whoever sees the chunk open sees the words above.
        header.state.store(CHUNK_OPEN, Release);
        if first {
            fence(SeqCst);
            self.last_tsc = crate::sys::rdtsc();
            header.inflight.store(self.last_tsc, Relaxed);
        } else {
            // Its `inflight` stays: a collector that passed the new chunk before it was open meets the bound here
            // (layout rule 4).
            // Release: whoever sees the chunk sealed sees its last `committed` (layout rule 2).
            self.header.state.store(CHUNK_SEALED, Release);
        }
        self.header = header;
        self.words = region.chunk_words(index);
        self.position = 0;
        self.put(record::time(self.last_tsc));
        if first {
            self.put(record::blob(Kind::Thread, 0, self.tid, 0));
        }
        if self.lost > 0 {
            self.put(record::blob(Kind::Lost, 0, LossReason::NoChunk as u32, self.lost));
            self.lost = 0;
        }
        self.commit();
        true
    }

    fn has_chunk(&self) -> bool {
        !self.words.is_null()
    }

    /// Counts records that could not be written.
    #[cold]
    pub fn drop_records(&mut self, process: &Process, reason: LossReason, n: u64) {
        process.lose(reason, n);
        if reason == LossReason::NoChunk {
            self.lost += n;
        }
    }

    #[inline(always)]
    fn put(&mut self, slot: Slot) {
        debug_assert!(self.position < CHUNK_SLOTS);
        // SAFETY: the chunk has room, of which callers made sure by `has_room` or `next_chunk`, and this stream is its only
        // writer.
        let words = unsafe { [&*self.words.add(self.position * 2), &*self.words.add(self.position * 2 + 1)] };
        words[0].store(slot[0], Relaxed);
        words[1].store(slot[1], Relaxed);
        self.position += 1;
    }

    /// Writes an event; there must be room. Stamps that run backwards (another processor's counter is a little behind) are
    /// written as the last one.
    #[inline(always)]
    pub fn event(&mut self, kind: Kind, address: u64, size: u64, stack: u32, tsc: u64) {
        let tsc = tsc.max(self.last_tsc);
        let dt = tsc - self.last_tsc;
        self.last_tsc = tsc;
        if dt >> DT_BITS | size >> SIZE_BITS == 0 {
            self.put(record::event(kind, address, size, stack, dt));
        } else {
            self.wide_event(kind, address, size, stack, dt);
        }
    }

    /// Writes an event whose size or distance from the last stamp does not fit.
    #[cold]
    #[inline(never)]
    fn wide_event(&mut self, kind: Kind, address: u64, size: u64, stack: u32, mut dt: u64) {
        if dt >> DT_BITS != 0 {
            self.put(record::time(self.last_tsc));
            dt = 0;
        }
        if size >> SIZE_BITS != 0 {
            self.put(record::extend(size));
        }
        self.put(record::event(kind, address, size, stack, dt));
    }

    /// Writes a node and publishes it at once, so that its number may be used by other threads. False: no room.
    pub fn node(&mut self, process: &Process, slot: Slot, may_wait: bool) -> bool {
        if !self.reserve(process, 1, may_wait) {
            return false;
        }
        self.put(slot);
        self.commit();
        true
    }

    /// Writes a record with a payload and publishes it. False: no room.
    pub fn blob(&mut self, process: &Process, kind: Kind, arg: u32, value: u64, payload: &[Slot]) -> bool {
        if payload.len() > MAX_PAYLOAD_SLOTS || !self.reserve(process, payload.len() + 1, true) {
            return false;
        }
        self.put(record::blob(kind, payload.len() as u16, arg, value));
        for &slot in payload {
            self.put(slot);
        }
        self.commit();
        true
    }

    /// Writes a named moment, of its name as much as fits, with a stamp that was taken since `begin`.
    #[cold]
    pub fn mark(&mut self, process: &Process, name: &[u8], tsc: u64, may_wait: bool) {
        let mut slots = [[0; 2]; MARK_SLOTS];
        let mut writer = Writer::new(&mut slots);
        writer.text(&name[..name.len().min(MAX_MARK_BYTES)]);
        let used = writer.slots_used();
        if !self.reserve(process, used + 2, may_wait) {
            self.cancel();
            return;
        }
        self.last_tsc = self.last_tsc.max(tsc);
        self.put(record::time(self.last_tsc));
        self.put(record::blob(Kind::Mark, used as u16, 0, 0));
        for &slot in &slots[..used] {
            self.put(slot);
        }
        self.finish();
    }

    /// Notes that another thread writes this stream from here on.
    pub fn change_thread(&mut self, process: &Process, tid: u32) {
        self.tid = tid;
        if self.has_chunk() && self.reserve(process, 1, true) {
            self.cancel();
            self.put(record::blob(Kind::Thread, 0, tid, 0));
            self.commit();
        }
    }
}
