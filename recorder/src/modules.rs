//! Which code is loaded where: modules get a number when a frame in them is first seen.
//!
//! `dlopen` is not wrapped (a wrapper breaks RUNPATH look-ups); modules are found when an address misses the rule cache.
//! `dlclose` is wrapped, to forget what was cached about code that is gone. When a module comes to lie where an earlier
//! one was, the generation changes, and with it every key of the calling-context tree, so that an old node is never
//! taken for new code at the same address.

use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use tmq_wire::payload::{self, MAX_BUILD_ID, MAX_PAYLOAD_SLOTS, Writer};
use tmq_wire::record::{Kind, NO_MODULE, Slot};

use crate::process::{self, Process};
use crate::thread::ThreadState;
use crate::{arena, elf};

/// Most module instances of one process image; addresses in later ones are recorded as absolute addresses.
const MAX_MODULES: usize = 16_384;
const GENERATION_BITS: u32 = 13;

#[repr(C)]
struct Module {
    start: AtomicUsize,
    end: AtomicUsize,
    bias: AtomicUsize,
    retired: AtomicU32,
}

/// Scratch space for describing a module, too large for small stacks; used under the lock.
#[repr(C)]
struct Scratch {
    path: [u8; 2048],
    build_id: [u8; MAX_BUILD_ID],
    slots: [Slot; MAX_PAYLOAD_SLOTS],
}

/// The modules of a process image.
#[derive(Debug)]
pub struct Modules {
    table: AtomicPtr<Module>,
    scratch: AtomicPtr<Scratch>,
    count: AtomicUsize,
    generation: AtomicU32,
    locked: AtomicU32,
    find_object: AtomicUsize,
}

impl Modules {
    /// No modules.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            table: AtomicPtr::new(core::ptr::null_mut()),
            scratch: AtomicPtr::new(core::ptr::null_mut()),
            count: AtomicUsize::new(0),
            generation: AtomicU32::new(0),
            locked: AtomicU32::new(0),
            find_object: AtomicUsize::new(0),
        }
    }

    /// Forgets all modules, in a fork child, where only one thread exists.
    pub fn reset(&self) {
        self.count.store(0, Relaxed);
        self.locked.store(0, Relaxed);
    }

    /// The generation, placed as keys of the calling-context tree want it.
    #[inline(always)]
    #[must_use]
    pub fn generation_bits(&self) -> u64 {
        u64::from(self.generation.load(Relaxed)) << (64 - GENERATION_BITS)
    }

    /// The loaded object that contains `address`.
    #[must_use]
    pub fn object_at(&self, address: u64) -> Option<elf::Object> {
        let mut function = self.find_object.load(Relaxed);
        if function == 0 {
            function = elf::find_object_function();
            self.find_object.store(function, Relaxed);
        }
        elf::object_at(function, address as usize)
    }

    /// Module number and offset of return address `pc`; [`NO_MODULE`] and `pc` itself if it lies in no module.
    pub fn place(&self, process: &Process, state: &mut ThreadState, pc: u64) -> (u16, u64) {
        // A call may be the last instruction of its module's text.
        let Some(object) = self.object_at(pc - 1) else { return (NO_MODULE, pc) };
        match self.find(&object).or_else(|| self.register(process, state, &object)) {
            Some(number) => (number, pc.wrapping_sub(object.bias as u64)),
            None => (NO_MODULE, pc),
        }
    }

    /// Number of module instances seen so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Acquire)
    }

    /// Calls `f` with every module that was seen and is loaded.
    pub fn for_each_loaded(&self, mut f: impl FnMut(&elf::Object)) {
        for module in (0..self.count()).map(|i| self.module(i)) {
            if module.retired.load(Relaxed) == 0
                && let Some(object) = self.object_at(module.start.load(Relaxed) as u64)
            {
                f(&object);
            }
        }
    }

    fn module(&self, index: usize) -> &Module {
        // SAFETY: callers stay below `count`, which grows only after the table was mapped, and the table has room for
        // MAX_MODULES.
        unsafe { &*self.table.load(Relaxed).add(index) }
    }

    fn find(&self, object: &elf::Object) -> Option<u16> {
        // Acquire pairs with the Release in `register`.
        let count = self.count.load(Acquire);
        (0..count).rev().find_map(|i| {
            let m = self.module(i);
            let same = m.start.load(Relaxed) == object.start
                && m.end.load(Relaxed) == object.end
                && m.bias.load(Relaxed) == object.bias
                && m.retired.load(Relaxed) == 0;
            same.then_some(i as u16)
        })
    }

    #[cold]
    fn register(&self, process: &Process, state: &mut ThreadState, object: &elf::Object) -> Option<u16> {
        // A holder that was interrupted by a signal on this very thread would never let go: nested levels do not wait.
        let tries = if state.level == 0 { 10_000 } else { 1 };
        let got = (0..tries).any(|_| {
            core::hint::spin_loop();
            self.locked.compare_exchange_weak(0, 1, AcqRel, Relaxed).is_ok()
        });
        if !got {
            return None;
        }
        let number = self.find(object).or_else(|| self.register_locked(process, state, object));
        self.locked.store(0, Release);
        number
    }

    fn register_locked(&self, process: &Process, state: &mut ThreadState, object: &elf::Object) -> Option<u16> {
        let count = self.count.load(Relaxed);
        if count == MAX_MODULES {
            return None;
        }
        if self.table.load(Relaxed).is_null() {
            self.scratch.store(arena::map(size_of::<Scratch>())?.cast(), Relaxed);
            self.table.store(arena::map(MAX_MODULES * size_of::<Module>())?.cast(), Relaxed);
        }
        self.retire_overlapping(count, object);
        if !self.describe(process, state, count as u32, object) {
            return None;
        }
        let module = self.module(count);
        module.start.store(object.start, Relaxed);
        module.end.store(object.end, Relaxed);
        module.bias.store(object.bias, Relaxed);
        module.retired.store(0, Relaxed);
        self.count.store(count + 1, Release);
        Some(count as u16)
    }

    fn retire_overlapping(&self, count: usize, object: &elf::Object) {
        let mut reused = false;
        for module in (0..count).map(|i| self.module(i)) {
            if module.start.load(Relaxed) < object.end && object.start < module.end.load(Relaxed) {
                module.retired.store(1, Relaxed);
                reused = true;
            }
        }
        if reused {
            let next = (self.generation.load(Relaxed) + 1) % (1 << GENERATION_BITS);
            self.generation.store(next, Relaxed);
            process::new_epoch();
        }
    }

    fn describe(&self, process: &Process, state: &mut ThreadState, number: u32, object: &elf::Object) -> bool {
        // SAFETY: the scratch is mapped, zeroed memory, a valid `Scratch`, and used under the lock only.
        let scratch = unsafe { &mut *self.scratch.load(Relaxed) };
        // SAFETY: the object contains a frame of a live stack, so the loader keeps its entry.
        let path_len = elf::path(unsafe { &*object.link_map }, &mut scratch.path);
        let id_len = elf::build_id(object.start, object.end, &mut scratch.build_id);
        scratch.slots = [[0; 2]; MAX_PAYLOAD_SLOTS];
        let mut writer = Writer::new(&mut scratch.slots);
        writer.module(&payload::Module {
            start: object.start as u64,
            end: object.end as u64,
            build_id: &scratch.build_id[..id_len],
            path: &scratch.path[..path_len],
        });
        let used = writer.slots_used();
        state.stream.blob(process, Kind::Module, number, object.bias as u64, &scratch.slots[..used])
    }

    /// Looks which modules are gone and forgets what was cached about them. Called after `dlclose`.
    #[cold]
    pub fn unloaded(&self, process: &Process) {
        let count = self.count.load(Acquire);
        let mut changed = false;
        for module in (0..count).map(|i| self.module(i)) {
            let (start, end) = (module.start.load(Relaxed), module.end.load(Relaxed));
            if module.retired.load(Relaxed) == 0
                && self.object_at(start as u64).is_none_or(|o| o.start != start || o.end != end)
            {
                module.retired.store(1, Relaxed);
                process.rules.purge(start as u64, end as u64);
                changed = true;
            }
        }
        if changed {
            process::new_epoch();
        }
    }
}

impl Default for Modules {
    fn default() -> Self {
        Self::new()
    }
}
