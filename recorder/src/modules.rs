//! Which code is loaded where: modules get a number when a frame in them is first seen.
//!
//! `dlopen` is not wrapped (a wrapper breaks RUNPATH look-ups); modules are found when an address misses the rule cache.
//! `dlclose` is wrapped, to forget what was cached about code that is gone. When a module comes to lie where another
//! one was, the generation changes, and with it every key of the calling-context tree, so that an old node is never
//! taken for new code at the same address. A module that comes back to where it was keeps its number: programs may load
//! the same plug-in for every request.

use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use tmq_wire::layout::LossReason;
use tmq_wire::payload::{self, MAX_BUILD_ID, MAX_PAYLOAD_SLOTS, Writer};
use tmq_wire::record::{Kind, NO_MODULE, Slot};

use crate::process::{self, Process};
use crate::thread::ThreadState;
use crate::{arena, elf, sys};

/// Most module instances of one process image; addresses in later ones are recorded as absolute addresses.
const MAX_MODULES: usize = 16_384;
const GENERATION_BITS: u32 = 13;
/// Tries to get the lock for a new module in a row, and in all. Then its addresses are recorded as they are.
const SPINS: usize = 1000;
const MAX_TRIES: usize = 100_000;

#[repr(C)]
struct Module {
    start: AtomicUsize,
    end: AtomicUsize,
    bias: AtomicUsize,
    eh_frame_hdr: AtomicUsize,
    eh_frame: AtomicUsize,
    tables_end: AtomicUsize,
    /// Hash of path and build-id; 0: it has no build-id, so another file may have come to its path.
    identity: AtomicU64,
    /// When it was loaded, among all loads.
    load: AtomicU32,
    retired: AtomicU32,
}

/// Scratch space for describing a module, too large for small stacks; used under the lock.
#[repr(C)]
struct Scratch {
    path: [u8; 2048],
    build_id: [u8; MAX_BUILD_ID],
    slots: [Slot; MAX_PAYLOAD_SLOTS],
}

/// A module, and where its call frame information is.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
    /// Load bias.
    pub bias: usize,
    /// Address of `.eh_frame_hdr`.
    pub eh_frame_hdr: usize,
    /// Address of `.eh_frame`.
    pub eh_frame: usize,
    /// Behind the segment that both lie in.
    pub tables_end: usize,
}

/// The modules of a process image.
#[derive(Debug)]
pub struct Modules {
    table: AtomicPtr<Module>,
    scratch: AtomicPtr<Scratch>,
    count: AtomicUsize,
    /// Modules loaded so far, those counted that were loaded before.
    loads: AtomicU32,
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
            loads: AtomicU32::new(0),
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

    /// First address of the loaded object that contains `address`, and the first behind it. Unlike [`Self::object_at`] for
    /// objects that may be on their way out: nothing of theirs is read.
    fn range_at(&self, address: u64) -> Option<(usize, usize)> {
        elf::range_at(self.find_object.load(Relaxed), address as usize)
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

    /// Number of loads seen so far, those counted of modules that came back.
    #[must_use]
    pub fn loads(&self) -> u32 {
        self.loads.load(Acquire)
    }

    /// Calls `f` with the tables of every module that was seen and is loaded. Another thread may just be unloading
    /// it, so nothing of it is read here.
    pub fn for_each_loaded(&self, mut f: impl FnMut(&Tables)) {
        for module in (0..self.count.load(Acquire)).map(|i| self.module(i)) {
            let (start, end) = (module.start.load(Relaxed), module.end.load(Relaxed));
            let eh_frame = module.eh_frame.load(Relaxed);
            if module.retired.load(Relaxed) == 0 && eh_frame != 0 && self.range_at(start as u64) == Some((start, end)) {
                let (bias, eh_frame_hdr) = (module.bias.load(Relaxed), module.eh_frame_hdr.load(Relaxed));
                f(&Tables { start, end, bias, eh_frame_hdr, eh_frame, tables_end: module.tables_end.load(Relaxed) });
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
        let tries = if state.level == 0 { MAX_TRIES } else { 1 };
        let got = (0..tries).any(|n| {
            // The holder may be waiting for a processor: this one, when there are more threads than those.
            if n > SPINS {
                sys::give_way();
            } else {
                core::hint::spin_loop();
            }
            self.locked.compare_exchange(0, 1, AcqRel, Relaxed).is_ok()
        });
        if !got {
            return None;
        }
        let number = self.find(object).or_else(|| self.register_locked(process, state, object));
        self.locked.store(0, Release);
        number
    }

    fn register_locked(&self, process: &Process, state: &mut ThreadState, object: &elf::Object) -> Option<u16> {
        if self.table.load(Relaxed).is_null() {
            self.scratch.store(arena::map(size_of::<Scratch>())?.cast(), Relaxed);
            self.table.store(arena::map(MAX_MODULES * size_of::<Module>())?.cast(), Relaxed);
        }
        // SAFETY: the scratch is mapped, zeroed memory, a valid `Scratch`, and used under the lock only.
        let scratch = unsafe { &mut *self.scratch.load(Relaxed) };
        // SAFETY: the object contains a frame of a live stack, so the loader keeps its entry.
        let path_len = elf::path(unsafe { &*object.link_map }, process.exe(), &mut scratch.path);
        let id_len = elf::build_id(object.start, object.end, &mut scratch.build_id);
        let (path, build_id) = (&scratch.path[..path_len], &scratch.build_id[..id_len]);
        let identity = if id_len == 0 { 0 } else { identity_of(path, build_id) };
        let count = self.count.load(Relaxed);
        let again = (0..count).find(|&i| self.module(i).is(object, identity));
        self.retire_overlapping(process, again.map_or(0, |i| self.module(i).load.load(Relaxed)), object);
        let number = match again {
            Some(number) => number,
            None if count == MAX_MODULES => {
                process.lose(LossReason::ModuleTableFull, 1);
                return None;
            }
            None => {
                scratch.slots = [[0; 2]; MAX_PAYLOAD_SLOTS];
                let mut writer = Writer::new(&mut scratch.slots);
                let (start, end) = (object.start as u64, object.end as u64);
                writer.module(&payload::Module { start, end, build_id, path });
                let used = writer.slots_used();
                let bias = object.bias as u64;
                if !state.stream.blob(process, Kind::Module, count as u32, bias, &scratch.slots[..used]) {
                    return None;
                }
                count
            }
        };
        let module = self.module(number);
        module.start.store(object.start, Relaxed);
        module.end.store(object.end, Relaxed);
        module.bias.store(object.bias, Relaxed);
        module.eh_frame_hdr.store(object.eh_frame_hdr, Relaxed);
        module.eh_frame.store(elf::eh_frame(object).unwrap_or(0), Relaxed);
        module.tables_end.store(object.tables.1, Relaxed);
        module.identity.store(identity, Relaxed);
        module.load.store(self.loads.fetch_add(1, Relaxed) + 1, Relaxed);
        module.retired.store(0, Release);
        self.count.store(count.max(number + 1), Release);
        Some(number as u16)
    }

    /// Ends modules that lie where `object` does now. It was loaded here before as load number `before`, or never (0): if
    /// other code has been here since, the generation changes.
    fn retire_overlapping(&self, process: &Process, before: u32, object: &elf::Object) {
        let mut reused = false;
        for module in (0..self.count.load(Relaxed)).map(|i| self.module(i)) {
            let (start, end) = (module.start.load(Relaxed), module.end.load(Relaxed));
            if start < object.end && object.start < end {
                // Unloaded, and nobody said so yet: the loader unloads on its own behalf too.
                if module.retired.swap(1, Relaxed) == 0 {
                    process.rules.purge(start as u64, end as u64);
                }
                reused |= module.load.load(Relaxed) > before;
            }
        }
        if reused {
            let next = (self.generation.load(Relaxed) + 1) % (1 << GENERATION_BITS);
            if next == 0 {
                process.nodes.forget(); // generations begin again
            }
            self.generation.store(next, Relaxed);
            process::new_epoch();
        }
    }

    /// Looks which modules are gone and forgets what was cached about them. Called after `dlclose`.
    #[cold]
    pub fn unloaded(&self, process: &Process) {
        let count = self.count.load(Acquire);
        let mut changed = false;
        for module in (0..count).map(|i| self.module(i)) {
            let (start, end) = (module.start.load(Relaxed), module.end.load(Relaxed));
            if module.retired.load(Relaxed) == 0 && self.range_at(start as u64) != Some((start, end)) {
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

impl Module {
    /// Whether this is `object`, loaded earlier at the same place.
    fn is(&self, object: &elf::Object, identity: u64) -> bool {
        identity != 0
            && self.identity.load(Relaxed) == identity
            && self.start.load(Relaxed) == object.start
            && self.end.load(Relaxed) == object.end
            && self.bias.load(Relaxed) == object.bias
    }
}

/// FNV-1a, never 0.
fn identity_of(path: &[u8], build_id: &[u8]) -> u64 {
    let bytes = path.iter().chain(&[0]).chain(build_id);
    bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) | 1
}

impl Default for Modules {
    fn default() -> Self {
        Self::new()
    }
}
