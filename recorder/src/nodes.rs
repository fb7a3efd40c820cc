//! The calling-context tree of a process image: numbers for (caller's node, return address).
//!
//! A stack is the number of its most recent frame's node. The table is private to the process; each new node is written
//! to the stream of the thread that met it and committed before the number can be seen by others, so the collector can
//! resolve every number it receives even if the process is killed.
//!
//! Look-ups are lock-free. A thread that meets a slot which another one is just filling (or which it is filling itself,
//! one signal level below) does not wait: it makes a second node for the same frame. Equal stacks may thus have two
//! numbers; the collector merges them by content.

use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use tmq_wire::layout::LossReason;
use tmq_wire::record::{self, FIRST_NODE, MAX_NODES, NO_STACK};

use crate::process::Process;
use crate::thread::ThreadState;
use crate::{arena, sys};

/// Slots of the first table: 64 KiB, enough for small programs.
const FIRST_SLOTS: usize = 1 << 12;
/// Largest table: 2^28 nodes would need more memory than any target should lend.
const MAX_SLOTS: usize = 1 << 27;
/// Longest probe before the table counts as full.
const MAX_PROBES: usize = 128;
/// `value` of a slot that is being filled.
const CLAIMED: u64 = u64::MAX;

#[repr(C)]
struct NodeSlot {
    /// Return address in the lower 48 bits, then 3 bits of flags, then the generation of [`crate::modules`].
    key: AtomicU64,
    /// Parent in the upper, own number in the lower half; 0: free.
    value: AtomicU64,
}

#[repr(C)]
struct Table {
    mask: usize,
    bytes: usize,
    /// The table this one replaced; kept because others may be reading it, unused otherwise.
    _older: *mut Table,
    // slots follow
}

impl Table {
    fn slot(&self, index: usize) -> &NodeSlot {
        // SAFETY: `mask + 1` slots follow the header, 64 bytes in, in the same mapping.
        unsafe { &*(&raw const *self).cast::<u8>().add(64).cast::<NodeSlot>().add(index & self.mask) }
    }
}

const _: () = assert!(size_of::<Table>() <= 64);

/// The tree.
#[derive(Debug)]
pub struct Nodes {
    table: AtomicPtr<Table>,
    next: AtomicU32,
    used: AtomicUsize,
    growing: AtomicU32,
}

impl Nodes {
    /// A tree without a table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            table: AtomicPtr::new(core::ptr::null_mut()),
            next: AtomicU32::new(FIRST_NODE),
            used: AtomicUsize::new(0),
            growing: AtomicU32::new(0),
        }
    }

    /// Makes the first table. False: no memory.
    #[must_use]
    pub fn prepare(&self) -> bool {
        if !self.table.load(Acquire).is_null() {
            return true;
        }
        let Some(table) = new_table(FIRST_SLOTS, core::ptr::null_mut()) else { return false };
        self.table.store(table, Release);
        true
    }

    /// Forgets everything, in a fork child, where only one thread exists.
    pub fn reset(&self) {
        let table = self.table.load(Relaxed);
        if !table.is_null() {
            // SAFETY: no other thread exists, and this one holds no reference; the header is written anew below.
            unsafe {
                let (mask, bytes) = ((*table).mask, (*table).bytes);
                sys::zero_pages(table.cast(), bytes);
                table.write(Table { mask, bytes, _older: core::ptr::null_mut() });
            }
        }
        self.next.store(FIRST_NODE, Relaxed);
        self.used.store(0, Relaxed);
        self.growing.store(0, Relaxed);
    }

    /// Number of the node for return address `pc` (with `flags`, see `record::NODE_*`) called from `parent`. A new node
    /// is written to the thread's stream. [`NO_STACK`] if that is not possible.
    #[inline]
    pub fn intern(&self, process: &Process, state: &mut ThreadState, parent: u32, pc: u64, flags: u8) -> u32 {
        let key = process.modules.generation_bits() | u64::from(flags & 7) << 48 | pc & ((1 << 48) - 1);
        // SAFETY: tables are never unmapped.
        let table = unsafe { &*self.table.load(Acquire) };
        let mut index = hash(key, parent);
        for _ in 0..MAX_PROBES {
            let slot = table.slot(index);
            // Acquire pairs with the Release in `fill`: a value implies its key and its committed record.
            let value = slot.value.load(Acquire);
            if value == 0 {
                return self.insert(process, state, table, index, key, parent, pc, flags);
            }
            if value != CLAIMED && (value >> 32) as u32 == parent && slot.key.load(Relaxed) == key {
                return value as u32;
            }
            index += 1;
        }
        self.insert(process, state, table, index, key, parent, pc, flags)
    }

    #[cold]
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "the cold half of `intern`, with its locals")]
    fn insert(
        &self,
        process: &Process,
        state: &mut ThreadState,
        table: &Table,
        mut index: usize,
        key: u64,
        parent: u32,
        pc: u64,
        flags: u8,
    ) -> u32 {
        for _ in 0..MAX_PROBES {
            let slot = table.slot(index);
            if slot.value.load(Relaxed) == 0 && slot.value.compare_exchange(0, CLAIMED, AcqRel, Relaxed).is_ok() {
                let id = self.define(process, state, parent, pc, flags);
                slot.key.store(key, Relaxed);
                let value = if id == NO_STACK { 0 } else { u64::from(parent) << 32 | u64::from(id) };
                // Release: who sees the value sees the key; the record was committed by `define`.
                slot.value.store(value, Release);
                let used = self.used.fetch_add(1, Relaxed);
                if used * 8 > (table.mask + 1) * 5 {
                    self.grow();
                }
                return id;
            }
            index += 1;
        }
        // Crowded (another thread is growing the table, or it is as large as it may get): a number without a slot.
        self.grow();
        self.define(process, state, parent, pc, flags)
    }

    fn define(&self, process: &Process, state: &mut ThreadState, parent: u32, pc: u64, flags: u8) -> u32 {
        let (module, offset) = process.modules.place(process, state, pc);
        let id = self.next.fetch_add(1, Relaxed);
        if id >= MAX_NODES {
            self.next.store(MAX_NODES, Relaxed);
            process.lose(LossReason::StackTableFull, 1);
            return NO_STACK;
        }
        let slot = record::node(id, parent, module, offset, flags);
        if state.stream.node(process, slot, state.level == 0) { id } else { NO_STACK }
    }

    #[cold]
    fn grow(&self) {
        if self.growing.swap(1, AcqRel) != 0 {
            return;
        }
        let old = self.table.load(Acquire);
        // SAFETY: tables are never unmapped.
        let from = unsafe { &*old };
        let slots = (from.mask + 1) * 2;
        if slots <= MAX_SLOTS
            && self.used.load(Relaxed) * 8 > (from.mask + 1) * 5
            && let Some(table) = new_table(slots, old)
        {
            // SAFETY: just made.
            let to = unsafe { &*table };
            for i in 0..=from.mask {
                let slot = from.slot(i);
                let value = slot.value.load(Acquire);
                if value != 0 && value != CLAIMED {
                    copy(to, slot.key.load(Relaxed), value);
                }
            }
            // Nodes added to the old table meanwhile are missing here; they get a second number when met again.
            self.table.store(table, Release);
        }
        self.growing.store(0, Release);
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Self::new()
    }
}

fn copy(to: &Table, key: u64, value: u64) {
    let first = hash(key, (value >> 32) as u32);
    for probe in 0..MAX_PROBES {
        let slot = to.slot(first + probe);
        if slot.value.load(Relaxed) == 0 {
            slot.key.store(key, Relaxed);
            slot.value.store(value, Relaxed);
            return;
        }
    }
}

fn new_table(slots: usize, older: *mut Table) -> Option<*mut Table> {
    let bytes = (64 + slots * size_of::<NodeSlot>()).next_multiple_of(4096);
    let table = arena::map(bytes)?.cast::<Table>();
    // SAFETY: the mapping is large enough and zeroed, which makes every slot free.
    unsafe { table.write(Table { mask: slots - 1, bytes, _older: older }) };
    Some(table)
}

/// Mixes key and parent so that neighbouring return addresses spread; the top bits of a product are the good ones.
#[inline(always)]
fn hash(key: u64, parent: u32) -> usize {
    let mixed = (key ^ u64::from(parent).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ mixed >> 32) as usize
}
