//! Which code is loaded where: modules get a number when a frame in them is first seen.
//!
//! `dlopen` is not wrapped (a wrapper breaks RUNPATH look-ups); modules are found when an address misses the rule cache.
//!
//! What was cached about code must be forgotten before other code lies there, however short the time between, and the
//! loader unloads on its own behalf too. Before it maps an object it makes an entry for it by `calloc`, which is a hook:
//! what is gone by then is forgotten there ([`Modules::forget_gone`]). The loader's lock keeps the order: an object that
//! was unmapped before is gone from its tables, and no other can come before that `calloc` returns. Memory that the
//! program maps itself is looked at when it is mapped. After `dlclose` the same is done: all that can be where another
//! `malloc` keeps the loader's `calloc` from the hook.
//!
//! When a module comes to lie where another one was, the generation changes, and with it every key of the
//! calling-context tree, so that an old node is never taken for new code at the same address. A module that comes back
//! to where it was keeps its number: programs may load the same plug-in for every request.
//!
//! A fork child numbers modules anew, but the rules it inherits are of modules that its parent saw. They stay in the
//! table, in front of its own, for as long as they are loaded.

use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use tmq_wire::layout::LossReason;
use tmq_wire::payload::{self, MAX_BUILD_ID, MAX_PAYLOAD_SLOTS, Writer};
use tmq_wire::record::{Kind, NO_MODULE, Slot};

use crate::process::{self, Process};
use crate::thread::ThreadState;
use crate::unwind::rules::RuleTable;
use crate::{arena, elf, sys};

/// Most module instances of one process image; addresses in later ones are recorded as absolute addresses.
const MAX_MODULES: usize = 16_384;
/// With more modules of its ancestors, a fork child forgets them, and their rules.
const MAX_INHERITED: usize = MAX_MODULES / 2;
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
    /// Hash of the build-id alone.
    build: AtomicU64,
    /// When it was loaded, among all loads.
    load: AtomicU32,
    /// Even while it is loaded, odd when nothing is cached about it any more; it only grows.
    state: AtomicU32,
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
    /// How many of those are a fork child's parent's.
    inherited: AtomicUsize,
    /// Modules loaded so far, those counted that were loaded before.
    loads: AtomicU32,
    generation: AtomicU32,
    locked: AtomicU32,
    find_object: AtomicUsize,
    /// Whether there was code of a module that has no entry.
    has_unknown: AtomicU32,
    /// Where the loader lies: first address and length.
    loader: [AtomicUsize; 2],
}

impl Modules {
    /// No modules.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            table: AtomicPtr::new(core::ptr::null_mut()),
            scratch: AtomicPtr::new(core::ptr::null_mut()),
            count: AtomicUsize::new(0),
            inherited: AtomicUsize::new(0),
            loads: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            locked: AtomicU32::new(0),
            find_object: AtomicUsize::new(0),
            has_unknown: AtomicU32::new(0),
            loader: [const { AtomicUsize::new(0) }; 2],
        }
    }

    /// Begins to number anew, in a fork child, where only one thread exists.
    pub fn reset(&self, rules: &RuleTable) {
        self.locked.store(0, Relaxed);
        let count = self.count.load(Relaxed);
        if count > MAX_INHERITED {
            rules.purge(0, u64::MAX);
            self.count.store(0, Relaxed);
        }
        self.inherited.store(self.count.load(Relaxed), Relaxed);
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
        let mut function = self.find_object.load(Acquire);
        if function == 0 {
            function = elf::find_object_function();
            let (start, end) = elf::loader_range(function).unwrap_or((0, 0));
            self.loader[0].store(start, Relaxed);
            self.loader[1].store(end - start, Relaxed);
            // Release pairs with the Acquire above: who goes on to register a module knows where the loader lies.
            self.find_object.store(function, Release);
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
        let found = self.find(&object).or_else(|| self.register(process, state, &object));
        match found {
            Some(index) => {
                let number = index - self.inherited.load(Relaxed);
                (number as u16, pc.wrapping_sub(object.bias as u64))
            }
            None => {
                self.has_unknown.store(1, Relaxed);
                (NO_MODULE, pc)
            }
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
            if module.is_loaded() && eh_frame != 0 && self.range_at(start as u64) == Some((start, end)) {
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

    /// Index of this image's entry for `object`.
    fn find(&self, object: &elf::Object) -> Option<usize> {
        // Acquire pairs with the Release in `register_locked`.
        let count = self.count.load(Acquire);
        (self.inherited.load(Relaxed)..count)
            .rev()
            .find(|&i| self.module(i).is_at(object) && self.module(i).is_loaded())
    }

    /// Whether the code that contains `pc` is what it was when its module was given its number. Not for the hot path.
    #[must_use]
    pub fn is_still(&self, pc: u64) -> bool {
        let Some(object) = self.object_at(pc - 1) else { return true };
        let mut build_id = [0; MAX_BUILD_ID];
        let length = elf::build_id(object.start, object.end, &mut build_id);
        self.find(&object).is_none_or(|i| self.module(i).build.load(Relaxed) == hash(&build_id[..length]))
    }

    #[cold]
    fn register(&self, process: &Process, state: &mut ThreadState, object: &elf::Object) -> Option<usize> {
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

    fn register_locked(&self, process: &Process, state: &mut ThreadState, object: &elf::Object) -> Option<usize> {
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
        let build = hash(build_id);
        let identity = if id_len == 0 { 0 } else { build ^ hash(path).rotate_left(1) | 1 };
        let (count, inherited) = (self.count.load(Relaxed), self.inherited.load(Relaxed));
        let again = (inherited..count).find(|&i| self.module(i).is(object, identity));
        let before = again.map_or(0, |i| self.module(i).load.load(Relaxed));
        self.retire_overlapping(process, before, object, identity);
        let index = match again {
            Some(index) => index,
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
                let (number, bias) = ((count - inherited) as u32, object.bias as u64);
                if !state.stream.blob(process, Kind::Module, number, bias, &scratch.slots[..used]) {
                    return None;
                }
                count
            }
        };
        let module = self.module(index);
        module.start.store(object.start, Relaxed);
        module.end.store(object.end, Relaxed);
        module.bias.store(object.bias, Relaxed);
        module.eh_frame_hdr.store(object.eh_frame_hdr, Relaxed);
        module.eh_frame.store(elf::eh_frame(object).unwrap_or(0), Relaxed);
        module.tables_end.store(object.tables.1, Relaxed);
        module.identity.store(identity, Relaxed);
        module.build.store(build, Relaxed);
        module.load.store(self.loads.fetch_add(1, Relaxed) + 1, Relaxed);
        // Release pairs with the Acquire in `is_loaded`: who sees it loaded sees what it is.
        module.state.store((module.state.load(Relaxed) + 2) & !1, Release);
        self.count.store(count.max(index + 1), Release);
        // What is cached about a parent's entry holds for this one from now on.
        let inherited = (0..inherited).map(|i| self.module(i)).filter(|module| module.is_same_as(object, identity));
        inherited.for_each(|module| module.retire(module.state.load(Relaxed)));
        Some(index)
    }

    /// Ends modules that lie where `object` does now. It was loaded here before as load number `before`, or never (0): if
    /// other code has been here since, the generation changes.
    fn retire_overlapping(&self, process: &Process, before: u32, object: &elf::Object, identity: u64) {
        let inherited = self.inherited.load(Relaxed);
        let mut reused = false;
        for i in 0..self.count.load(Relaxed) {
            let module = self.module(i);
            if !module.overlaps(object.start, object.end) {
                continue;
            }
            let state = module.state.load(Relaxed);
            if i < inherited && module.is_same_as(object, identity) {
                continue;
            }
            if state & 1 == 0 {
                // Unloaded, and not seen to be: by a loader that makes its entries in another way, or past the hooks.
                process.lose(LossReason::LateUnload, 1);
                module.forget(process, state);
            }
            reused |= module.load.load(Relaxed) > before;
        }
        if reused {
            self.next_generation(process);
        }
    }

    /// Other code lies where code lay: nodes from now on are others than before.
    fn next_generation(&self, process: &Process) {
        loop {
            let now = self.generation.load(Relaxed);
            let next = (now + 1) % (1 << GENERATION_BITS);
            if next == 0 {
                process.nodes.forget(); // generations begin again
            }
            if self.generation.compare_exchange(now, next, Relaxed, Relaxed).is_ok() {
                break;
            }
        }
        process::new_epoch();
    }

    /// Whether `address` lies in the loader. False as long as no module is known.
    #[inline(always)]
    #[must_use]
    pub fn is_in_loader(&self, address: usize) -> bool {
        address.wrapping_sub(self.loader[0].load(Relaxed)) < self.loader[1].load(Relaxed)
    }

    /// The program mapped `start..end`: forgets what lay there, or at least what was cached about it. Whether the loader
    /// still lists it is no matter: it takes a module out of its list after it has unmapped it.
    pub fn forget_in(&self, process: &Process, start: usize, end: usize) {
        if self.has_unknown.load(Relaxed) != 0 {
            process::new_epoch();
        }
        for module in (0..self.count.load(Acquire)).map(|i| self.module(i)) {
            let state = module.state.load(Acquire);
            if state & 1 == 0 && module.overlaps(start, end) {
                module.forget(process, state);
                self.next_generation(process); // code that is no module's may call from where its did
            }
        }
    }

    /// Looks which modules are gone and forgets what is cached about them. No lock is taken, and any number of threads may
    /// be here at once: each returns only when nothing is cached about a module that was gone when it came.
    #[cold]
    #[inline(never)]
    pub fn forget_gone(&self, process: &Process) {
        if self.has_unknown.load(Relaxed) != 0 {
            process::new_epoch(); // whether it is code that nothing is known of that has gone, nobody can tell
        }
        for module in (0..self.count.load(Acquire)).map(|i| self.module(i)) {
            // Acquire pairs with the Release in `retire`: who sees that it is retired need not do again what was done before.
            let state = module.state.load(Acquire);
            let (start, end) = (module.start.load(Relaxed), module.end.load(Relaxed));
            if state & 1 == 0 && self.range_at(start as u64) != Some((start, end)) {
                module.forget(process, state);
            }
        }
    }
}

impl Module {
    /// Forgets what is cached about it.
    fn forget(&self, process: &Process, state: u32) {
        let (start, end) = (self.start.load(Relaxed), self.end.load(Relaxed));
        process.rules.purge(start as u64, end as u64);
        process::new_epoch();
        self.retire(state);
    }

    fn is_loaded(&self) -> bool {
        // Acquire pairs with the Release in `register_locked`.
        self.state.load(Acquire) & 1 == 0
    }

    /// Nothing is cached about it any more, if it is still as it was in `state`, an even one: it may have come back.
    fn retire(&self, state: u32) {
        // Release: see `forget_gone`.
        let _ = self.state.compare_exchange(state & !1, state | 1, Release, Relaxed);
    }

    fn overlaps(&self, start: usize, end: usize) -> bool {
        self.start.load(Relaxed) < end && start < self.end.load(Relaxed)
    }

    fn is_at(&self, object: &elf::Object) -> bool {
        self.start.load(Relaxed) == object.start
            && self.end.load(Relaxed) == object.end
            && self.bias.load(Relaxed) == object.bias
    }

    /// Whether this is `object`, as far as anything says so.
    fn is_same_as(&self, object: &elf::Object, identity: u64) -> bool {
        self.identity.load(Relaxed) == identity && self.is_at(object)
    }

    /// Whether this is `object`, loaded earlier at the same place.
    fn is(&self, object: &elf::Object, identity: u64) -> bool {
        identity != 0 && self.is_same_as(object, identity)
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Default for Modules {
    fn default() -> Self {
        Self::new()
    }
}
