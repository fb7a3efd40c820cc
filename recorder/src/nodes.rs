//! The calling-context tree of a process image: numbers for (caller's node, return address).
//!
//! A stack is the number of its most recent frame's node. The table is private to the process; each new node is written
//! to the stream of the thread that met it and committed before the number can be seen by others, so the collector can
//! resolve every number it receives even if the process is killed.
//!
//! Look-ups are lock-free. A thread that meets a slot which another one is just filling (or which it is filling itself,
//! one signal level below) does not wait: it makes a second node for the same frame. Equal stacks may thus have two
//! numbers; the collector merges them by content.
//!
//! A slot is found by a hash of the whole path, which each frame extends by one multiplication, and recognised by its
//! parent's number. Were the place derived from that number, every frame's look-up would have to wait for the last one's.

use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use tmq_wire::layout::LossReason;
use tmq_wire::record::{self, FIRST_NODE, MAX_NODES, NO_STACK};

use crate::process::Process;
use crate::thread::ThreadState;
use crate::{arena, sys};

/// Slots of the first table: 96 KiB, enough for small programs.
const FIRST_SLOTS: usize = 1 << 12;
/// Largest table: 2^28 nodes would need more memory than any target should lend.
const MAX_SLOTS: usize = 1 << 27;
/// Times that a thread gives way to one that is growing the table.
const MAX_WAITS: usize = 10_000;
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
    /// The path's hash, for when the table grows.
    path: AtomicU32,
}

/// Hash of the path from a root to a frame; tells where to look, never what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path(u32);

impl Path {
    /// The path that ends at a root.
    #[inline(always)]
    #[must_use]
    pub const fn of_root(root: u32) -> Self {
        Self(root)
    }

    /// The path one frame further in.
    #[inline(always)]
    #[must_use]
    pub const fn to(self, pc: u64, flags: u8) -> Self {
        let word = pc ^ (self.0 as u64) << 32 ^ (flags as u64) << 61;
        let product = word as u128 * 0x9e37_79b9_7f4a_7c15;
        Self((product as u64 ^ (product >> 64) as u64) as u32)
    }

    const fn slot(self) -> usize {
        self.0 as usize
    }
}

/// A frame as the tree knows it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Number of the caller's node, or a root.
    pub parent: u32,
    /// The path that ends here.
    pub path: Path,
    /// Return address.
    pub pc: u64,
    /// `record::NODE_*`.
    pub flags: u8,
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

    /// Begins with an empty table, while other threads may still be using the old one: what they add there is lost, and gets
    /// a second number when it is met again.
    #[cold]
    pub fn forget(&self) {
        let is_mine = (0..MAX_WAITS).any(|_| {
            let got = self.growing.swap(1, AcqRel) == 0;
            if !got {
                sys::give_way();
            }
            got
        });
        if is_mine {
            if let Some(table) = new_table(FIRST_SLOTS, self.table.load(Acquire)) {
                self.table.store(table, Release);
                self.used.store(0, Relaxed);
            }
            self.growing.store(0, Release);
        }
    }

    /// Number of the node for a frame. A new node is written to the thread's stream. [`NO_STACK`] if that is not possible.
    #[inline(always)]
    pub fn intern(&self, process: &Process, state: &mut ThreadState, frame: Key) -> u32 {
        let key = process.modules.generation_bits() | u64::from(frame.flags & 7) << 48 | frame.pc & ((1 << 48) - 1);
        // SAFETY: tables are never unmapped.
        let table = unsafe { &*self.table.load(Acquire) };
        let slot = table.slot(frame.path.slot());
        // Acquire pairs with the Release in `insert`: a value implies its key and its committed record.
        let value = slot.value.load(Acquire);
        if (value >> 32) as u32 == frame.parent && slot.key.load(Relaxed) == key && value != CLAIMED && value != 0 {
            return value as u32;
        }
        self.intern_further(process, state, table, key, frame)
    }

    #[cold]
    #[inline(never)]
    fn intern_further(&self, process: &Process, state: &mut ThreadState, table: &Table, key: u64, frame: Key) -> u32 {
        let mut index = frame.path.slot();
        for _ in 0..MAX_PROBES {
            let slot = table.slot(index);
            // Acquire as in `intern`.
            let value = slot.value.load(Acquire);
            if value == 0 {
                break;
            }
            if value != CLAIMED && (value >> 32) as u32 == frame.parent && slot.key.load(Relaxed) == key {
                return value as u32;
            }
            index += 1;
        }
        self.insert(process, state, table, index, key, frame)
    }

    fn insert(
        &self,
        process: &Process,
        state: &mut ThreadState,
        table: &Table,
        mut index: usize,
        key: u64,
        frame: Key,
    ) -> u32 {
        for _ in 0..MAX_PROBES {
            let slot = table.slot(index);
            if slot.value.load(Relaxed) == 0 && slot.value.compare_exchange(0, CLAIMED, AcqRel, Relaxed).is_ok() {
                let id = self.define(process, state, frame);
                slot.key.store(key, Relaxed);
                slot.path.store(frame.path.0, Relaxed);
                let value = if id == NO_STACK { 0 } else { u64::from(frame.parent) << 32 | u64::from(id) };
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
        self.define(process, state, frame)
    }

    fn define(&self, process: &Process, state: &mut ThreadState, frame: Key) -> u32 {
        let (module, offset) = process.modules.place(process, state, frame.pc);
        let id = self.next.fetch_add(1, Relaxed);
        if id >= MAX_NODES {
            self.next.store(MAX_NODES, Relaxed);
            process.lose(LossReason::StackTableFull, 1);
            return NO_STACK;
        }
        let slot = record::node(id, frame.parent, module, offset, frame.flags);
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
                    copy(to, slot, value);
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

fn copy(to: &Table, from: &NodeSlot, value: u64) {
    let path = from.path.load(Relaxed);
    for probe in 0..MAX_PROBES {
        let slot = to.slot(Path(path).slot() + probe);
        if slot.value.load(Relaxed) == 0 {
            slot.key.store(from.key.load(Relaxed), Relaxed);
            slot.path.store(path, Relaxed);
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
