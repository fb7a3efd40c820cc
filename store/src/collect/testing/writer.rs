//! A recorder for tests: follows the rules of `tmq_wire::layout`, records nothing real.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use tmq_wire::ChunkHeader;
use tmq_wire::layout::{
    CHUNK_OPEN, CHUNK_SEALED, CHUNK_SLOTS, CHUNK_TAKEN, CollectorState, NO_CHUNK, PROCESS_CLAIMED, PROCESS_FREE,
    PROCESS_LIVE, PROCESS_SLOTS,
};
use tmq_wire::record::{self, DT_BITS, Kind, SIZE_BITS, Slot};

use crate::collect::region::Region;
use crate::collect::sys;

/// A registered process image.
pub(super) struct Process<'a> {
    pub(super) region: &'a Region,
    pub(super) slot: u32,
    pub(super) incarnation: u32,
}

impl<'a> Process<'a> {
    pub(super) fn register(region: &'a Region, pid: u32, forked_from: u32) -> Self {
        let index = (0..PROCESS_SLOTS)
            .find(|&index| {
                let state = &region.process(index).unwrap().state;
                state.compare_exchange(PROCESS_FREE, PROCESS_CLAIMED, AcqRel, Relaxed).is_ok()
            })
            .unwrap();
        region.header().processes_touched.0.fetch_max(index as u32 + 1, Relaxed);
        let slot = region.process(index).unwrap();
        let incarnation = region.header().next_incarnation.0.fetch_add(1, Relaxed);
        slot.pid.store(pid, Relaxed);
        slot.incarnation.store(incarnation, Relaxed);
        slot.forked_from.store(forked_from, Relaxed);
        slot.start_tsc.store(sys::tsc(), Relaxed);
        slot.state.store(PROCESS_LIVE, Release);
        Self { region, slot: index as u32, incarnation }
    }

    pub(super) fn stream(&self, tid: u32) -> Stream<'_> {
        let id = self.region.header().next_stream.0.fetch_add(1, Relaxed);
        Stream { process: self, id, tid, sequence: 0, chunk: None, header: None, position: 0, last: 0 }
    }
}

/// A stream of one thread.
pub(super) struct Stream<'a> {
    process: &'a Process<'a>,
    pub(super) id: u32,
    tid: u32,
    pub(super) sequence: u32,
    pub(super) chunk: Option<u32>,
    header: Option<&'a ChunkHeader>,
    position: u32,
    last: u64,
}

impl<'a> Stream<'a> {
    /// Rule 4: shows a lower bound before the clock is read.
    pub(super) fn begin(&mut self) -> u64 {
        if self.header.is_none() {
            self.next_chunk();
        }
        self.header.unwrap().inflight.store(self.last.max(1), Relaxed);
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        sys::tsc().max(self.last)
    }

    fn finish(&self) {
        let header = self.header.unwrap();
        header.committed.store(self.position, Release);
        header.inflight.store(0, Release);
    }

    /// Writes what was begun.
    pub(super) fn event_at(&mut self, tsc: u64, kind: Kind, address: u64, size: u64, stack: u32) {
        self.reserve(4);
        let mut dt = tsc - self.last;
        if dt >> DT_BITS != 0 {
            self.put(record::time(tsc));
            dt = 0;
        }
        self.last = tsc;
        if size >> SIZE_BITS != 0 {
            self.put(record::extend(size));
        }
        self.put(record::event(kind, address, size, stack, dt));
        self.finish();
    }

    /// A whole event.
    pub(super) fn event(&mut self, kind: Kind, address: u64, size: u64, stack: u32) {
        let tsc = self.begin();
        self.event_at(tsc, kind, address, size, stack);
    }

    /// A node, committed before its number may be used.
    pub(super) fn node(&mut self, id: u32, parent: u32) {
        self.reserve(1);
        self.put(record::node(id, parent, 0, 0, 0));
        self.header.unwrap().committed.store(self.position, Release);
    }

    fn reserve(&mut self, slots: u32) {
        if self.header.is_none() || self.position + slots > CHUNK_SLOTS as u32 {
            self.next_chunk();
        }
    }

    /// Rules 2 to 4: the new chunk is open, with the bound of the record under construction, before the old one is sealed
    /// with that bound left standing.
    fn next_chunk(&mut self) {
        let index = pop(self.process.region);
        let header = self.process.region.chunk(index).unwrap();
        header.committed.store(0, Relaxed);
        header.inflight.store(self.last.max(1), Relaxed);
        header.incarnation.store(self.process.incarnation, Relaxed);
        header.process_slot.store(self.process.slot, Relaxed);
        header.stream.store(self.id, Relaxed);
        header.sequence.store(self.sequence, Relaxed);
        header.state.store(CHUNK_OPEN, Release);
        self.seal();
        if self.sequence == 0 {
            self.last = sys::tsc();
        }
        (self.header, self.chunk, self.position) = (Some(header), Some(index), 0);
        self.put(record::time(self.last));
        if self.sequence == 0 {
            self.put(record::blob(Kind::Thread, 0, self.tid, 0));
        }
        self.sequence += 1;
        header.committed.store(self.position, Release);
    }

    pub(super) fn seal(&self) {
        if let Some(old) = self.header {
            old.state.store(CHUNK_SEALED, Release);
        }
    }

    fn put(&mut self, slot: Slot) {
        self.process.region.store_slot(self.chunk.unwrap(), self.position, slot);
        self.position += 1;
    }
}

/// Takes a free chunk, waiting for one as long as the collector records. A closed recording ends the program.
fn pop(region: &Region) -> u32 {
    let header = region.header();
    loop {
        let freed = header.chunk_freed.0.load(Acquire);
        let mut head = header.free_list.0.load(Acquire);
        while head as u32 != NO_CHUNK {
            let chunk = region.chunk(head as u32).unwrap();
            let next = (head >> 32).wrapping_add(1) << 32 | u64::from(chunk.next_free.load(Relaxed));
            match header.free_list.0.compare_exchange_weak(head, next, AcqRel, Acquire) {
                Ok(_) => {
                    chunk.state.store(CHUNK_TAKEN, Relaxed);
                    header.chunks_touched.0.fetch_max(head as u32 + 1, AcqRel);
                    return head as u32;
                }
                Err(now) => head = now,
            }
        }
        if header.collector_state.0.load(Acquire) == CollectorState::Closed as u32 {
            std::process::exit(7);
        }
        header.collector_wake.0.fetch_add(1, Release);
        sys::futex_wake_all(&header.collector_wake.0);
        sys::futex_wait(&header.chunk_freed.0, freed, Duration::from_millis(20));
    }
}
