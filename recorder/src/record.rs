//! What the hooks call: one function per thing that can happen to memory.
//!
//! Order keys are time stamps: that of a free is taken before the real free, that of an allocation after the real
//! allocation, so for one address they alternate in the order in which the allocator handed it out. A realloc takes both
//! and writes them as one pair of records, and nothing at all if it failed.
//!
//! A stamp taken too early because the processor runs ahead does no harm after an allocation: it has its memory through a
//! lock of the allocator, and the collector allows for the few nanoseconds that this may take. Before a free it would: the
//! address may have come from another thread just now, and its free must not be stamped before its allocation.

use core::sync::atomic::Ordering::Relaxed;

use tmq_wire::layout::LossReason;
use tmq_wire::record::{ADDRESS_BITS, Kind, NO_STACK};

use crate::process::{self, Process};
use crate::thread::{self, ThreadState};
use crate::tls::{Tls, tls};
use crate::unwind::walk;
use crate::{elf, sampler, sys};

/// Where a hook was called: the registers that unwinding starts from.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Stack pointer at the hook's first instruction, pointing to the return address.
    pub sp: usize,
    /// rbp at the hook's first instruction.
    pub bp: u64,
}

/// A hook under way: holds the thread's state until [`Session::end`].
struct Session {
    process: &'static Process,
    state: &'static mut ThreadState,
    tls: *mut Tls,
}

/// Starts recording in this process, if it is to be recorded. Called by the library's constructor and by the first hook.
#[cold]
#[inline(never)]
#[expect(clippy::must_use_candidate, reason = "the constructor has no use for it")]
pub fn start() -> Option<&'static Process> {
    process::start(|path| elf::initial_environment(tmq_wire::ENV_REGION.as_bytes(), path))
}

/// Begins a hook; `None`: do not record.
#[inline(always)]
fn begin(entry: Entry) -> Option<Session> {
    let tls = tls();
    // SAFETY: the block belongs to this thread; references into it end before any other code of this thread runs.
    let t = unsafe { &mut *tls };
    let state = t.states[0];
    // SAFETY: states in this thread's block are this thread's, and never unmapped.
    if t.depth == 0 && !state.is_null() && unsafe { (*state).epoch } == process::epoch() {
        t.depth = 1;
        let process = process::recorded();
        // SAFETY: as above; depth 1 makes nested hooks use another state.
        let state = unsafe { &mut *state };
        state.entry_sp = entry.sp;
        return Some(Session { process, state, tls });
    }
    begin_slow(tls, entry)
}

#[cold]
#[inline(never)]
fn begin_slow(tls: *mut Tls, entry: Entry) -> Option<Session> {
    if process::is_off() {
        return None;
    }
    // SAFETY: as in `begin`.
    let t = unsafe { &mut *tls };
    if t.busy != 0 {
        return None; // a call that registration itself made
    }
    t.busy = 1;
    let session = open_session(t, entry);
    t.busy = 0;
    let (process, state) = session?;
    Some(Session { process, state, tls })
}

fn open_session(t: &mut Tls, entry: Entry) -> Option<(&'static Process, &'static mut ThreadState)> {
    let epoch = process::epoch();
    if epoch == 0 {
        // Not started yet, or a fork child: whatever this block points to is the parent's.
        t.states = [core::ptr::null_mut(); crate::tls::LEVELS];
        t.depth = 0;
        t.random = 0;
        start()?;
    }
    let process = process::current()?;
    let Some(level) = thread::settle_level(t, entry.sp) else {
        process.lose(LossReason::Nested, 1);
        return None;
    };
    let state = t.states[level];
    let state = if state.is_null() {
        thread::acquire(process, t, level)?
    } else {
        // SAFETY: as in `begin`.
        unsafe { &mut *state }
    };
    if state.epoch != process::epoch() {
        state.epoch = process::epoch();
        state.chain.clear();
    }
    t.depth = level as u32 + 1;
    state.entry_sp = entry.sp;
    Some((process, state))
}

impl Session {
    #[inline(always)]
    fn end(self) {
        // SAFETY: as in `begin`.
        unsafe { (*self.tls).depth -= 1 };
    }

    #[inline(always)]
    fn may_wait(&self) -> bool {
        self.state.level == 0
    }

    #[inline(always)]
    fn stack(&mut self, entry: Entry) -> u32 {
        walk::capture(self.process, self.state, entry.sp, entry.bp)
    }

    #[inline(always)]
    fn free_stack(&mut self, entry: Entry) -> u32 {
        if self.process.free_stacks.load(Relaxed) == 0 { NO_STACK } else { self.stack_of_free(entry) }
    }

    #[cold]
    #[inline(never)]
    fn stack_of_free(&mut self, entry: Entry) -> u32 {
        self.stack(entry)
    }

    /// Writes one event with a stamp that was taken since `begin` of the stream.
    #[inline(always)]
    fn write(&mut self, kind: Kind, address: u64, size: u64, stack: u32, tsc: u64) {
        let wait = self.may_wait();
        if self.state.stream.reserve(self.process, 4, wait) {
            self.state.stream.event(kind, address, size, stack, tsc);
            self.state.stream.finish();
        } else {
            self.state.stream.cancel();
        }
    }

    /// Writes two events that belong together.
    fn write_pair(&mut self, old: (Kind, u64, u64, u32, u64), new: (Kind, u64, u64, u32, u64)) {
        let wait = self.may_wait();
        if self.state.stream.reserve(self.process, 8, wait) {
            self.state.stream.event(old.0, old.1, old.2, old.3, old.4);
            self.state.stream.event(new.0, new.1, new.2, new.3, new.4);
            self.state.stream.finish();
        } else {
            self.state.stream.cancel();
        }
    }

    fn lose_address(&mut self, address: u64) -> bool {
        let outside = address >> ADDRESS_BITS != 0;
        if outside {
            self.process.lose(LossReason::AddressRange, 1);
        }
        outside
    }
}

/// Whether an allocation of `size` bytes is due to be recorded: always in exact mode.
#[inline(always)]
fn is_due(size: usize) -> bool {
    // SAFETY: the block belongs to this thread.
    let t = unsafe { &mut *tls() };
    let left = t.bytes_left.wrapping_sub(size.max(1) as i64);
    if left >= 0 && t.epoch == process::epoch() {
        t.bytes_left = left;
        return false;
    }
    t.bytes_left == sampler::ALWAYS || is_due_slow(t, size)
}

/// Consumes the sample that is due and draws the distance to the next.
#[cold]
#[inline(never)]
fn is_due_slow(t: &mut Tls, size: usize) -> bool {
    if process::is_off() {
        return false;
    }
    let process = match process::epoch() {
        0 => start(),
        _ => process::current(),
    };
    let Some(process) = process else { return false };
    if !process.sampler.is_sampling() {
        t.bytes_left = sampler::ALWAYS;
        return true;
    }
    if t.epoch == 0 {
        // The first distance of a thread, before which it has consumed nothing. In a fork child the rest of the parent's
        // distance is as good as a fresh one: the distribution has no memory.
        t.bytes_left = process.sampler.draw(&mut t.random);
    }
    t.epoch = process::epoch();
    t.bytes_left = t.bytes_left.wrapping_sub(size.max(1) as i64);
    if t.bytes_left >= 0 {
        return false;
    }
    t.bytes_left = process.sampler.draw(&mut t.random);
    true
}

/// The stamp of something that is about to be done to a block (see above).
#[inline(always)]
fn stamp_before() -> u64 {
    if thread::is_alone() { sys::rdtsc() } else { sys::rdtsc_after_loads() }
}

/// `address` was handed out by an allocation function.
#[inline(always)]
pub fn allocated(kind: Kind, address: *mut u8, size: usize, entry: Entry) {
    if !address.is_null() && is_due(size) {
        record_allocation(kind, address as u64, size as u64, entry);
    }
}

#[inline(always)]
fn record_allocation(kind: Kind, address: u64, size: u64, entry: Entry) {
    let Some(mut session) = begin(entry) else { return };
    if !session.lose_address(address) && mark_sampled(&session, address) {
        session.state.stream.begin();
        let tsc = sys::rdtsc();
        let stack = session.stack(entry);
        session.write(kind, address, size, stack, tsc);
    }
    session.end();
}

/// In sampled mode, notes that this block's free is wanted.
#[inline(always)]
fn mark_sampled(session: &Session, address: u64) -> bool {
    let sampler = &session.process.sampler;
    if !sampler.is_sampling() || sampler.insert(address) {
        return true;
    }
    session.process.lose(LossReason::NoMemory, 1);
    false
}

/// Whether the free of `address` must be recorded.
#[inline(always)]
fn is_wanted(address: u64) -> bool {
    // Exact, or not recorded (then `begin` says so).
    let sampler = &process::recorded().sampler;
    !sampler.is_sampling() || (process::current().is_some() && sampler.remove(address))
}

/// `address` is about to be given back. Must be called before the real free.
#[inline(always)]
pub fn freeing(address: *mut u8, entry: Entry) {
    if address.is_null() || !is_wanted(address as u64) {
        return;
    }
    let Some(mut session) = begin(entry) else { return };
    if !session.lose_address(address as u64) {
        session.state.stream.begin();
        let tsc = stamp_before();
        let stack = session.free_stack(entry);
        session.write(Kind::Free, address as u64, 0, stack, tsc);
    }
    session.end();
}

/// Makes a realloc of a block: calls `real` and records what it did.
#[inline(always)]
pub fn reallocating(old: *mut u8, size: usize, entry: Entry, real: impl FnOnce() -> *mut u8) -> *mut u8 {
    if old.is_null() {
        let new = real();
        allocated(Kind::ReallocNull, new, size, entry);
        return new;
    }
    if process::is_off() {
        return real();
    }
    if process::current().is_some_and(|p| p.sampler.is_sampling()) {
        return realloc_sampled(old, size, entry, real);
    }
    let Some(mut session) = begin(entry) else { return real() };
    session.state.stream.begin();
    let before = stamp_before();
    let new = real();
    if !new.is_null() {
        let after = sys::rdtsc();
        let stack = session.stack(entry);
        let free_stack = if session.process.free_stacks.load(Relaxed) == 0 { NO_STACK } else { stack };
        session.write_pair(
            (Kind::ReallocOld, old as u64, 0, free_stack, before),
            (Kind::ReallocNew, new as u64, size as u64, stack, after),
        );
    } else if size == 0 {
        let stack = session.free_stack(entry);
        session.write(Kind::Free, old as u64, 0, stack, before);
    } else {
        session.state.stream.cancel();
    }
    session.end();
    new
}

/// Sampled mode: the old block's sample ends if it was one, and the new size is drawn independently.
#[cold]
#[inline(never)]
fn realloc_sampled(old: *mut u8, size: usize, entry: Entry, real: impl FnOnce() -> *mut u8) -> *mut u8 {
    let sampler = match process::current() {
        Some(process) => &process.sampler,
        None => return real(),
    };
    let was_sampled = sampler.contains(old as u64);
    let before = stamp_before();
    // The entry of the old block must be gone before the allocator can hand its address to another thread; a failed
    // realloc puts it back.
    let removed = was_sampled && sampler.remove(old as u64);
    let new = real();
    if new.is_null() && size != 0 {
        if removed
            && !sampler.insert(old as u64)
            && let Some(process) = process::current()
        {
            process.lose(LossReason::NoMemory, 1);
        }
        return new;
    }
    if removed && let Some(mut session) = begin(entry) {
        session.state.stream.begin();
        let stack = session.free_stack(entry);
        session.write(Kind::Free, old as u64, 0, stack, before);
        session.end();
    }
    allocated(Kind::ReallocNull, new, size, entry);
    new
}

/// An anonymous mapping was made.
pub fn mapped(address: *mut u8, size: usize, entry: Entry) {
    if process::is_off() {
        return;
    }
    let Some(mut session) = begin(entry) else { return };
    if !session.lose_address(address as u64) {
        session.state.stream.begin();
        let tsc = sys::rdtsc();
        let stack = session.stack(entry);
        session.write(Kind::Mmap, address as u64, size as u64, stack, tsc);
    }
    session.end();
}

/// Makes an `munmap`: calls `real`, which says whether it succeeded, and records it.
pub fn unmapping(address: *mut u8, size: usize, entry: Entry, real: impl FnOnce() -> bool) {
    if process::is_off() {
        real();
        return;
    }
    let Some(mut session) = begin(entry) else {
        real();
        return;
    };
    session.state.stream.begin();
    let before = stamp_before();
    if real() && !session.lose_address(address as u64) {
        let stack = session.free_stack(entry);
        session.write(Kind::Munmap, address as u64, size as u64, stack, before);
    } else {
        session.state.stream.cancel();
    }
    session.end();
}

/// Makes an `mremap`: calls `real`, which gives the new address or `None`, and records it.
pub fn remapping(old: (*mut u8, usize), size: usize, entry: Entry, real: impl FnOnce() -> Option<*mut u8>) {
    if process::is_off() {
        real();
        return;
    }
    let Some(mut session) = begin(entry) else {
        real();
        return;
    };
    session.state.stream.begin();
    let before = stamp_before();
    match real() {
        Some(new) if !session.lose_address(new as u64) => {
            let after = sys::rdtsc();
            let stack = session.stack(entry);
            session.write_pair(
                (Kind::MremapOld, old.0 as u64, old.1 as u64, NO_STACK, before),
                (Kind::MremapNew, new as u64, size as u64, stack, after),
            );
        }
        _ => session.state.stream.cancel(),
    }
    session.end();
}

/// Gives the present moment a name.
#[cold]
pub fn mark(name: &[u8], entry: Entry) {
    if process::is_off() {
        return;
    }
    let Some(session) = begin(entry) else { return };
    session.state.stream.begin();
    let tsc = stamp_before();
    let wait = session.may_wait();
    session.state.stream.mark(session.process, name, tsc, wait);
    session.end();
}

/// A library may have been unloaded.
#[cold]
pub fn unloaded() {
    if let Some(process) = process::current() {
        process.modules.unloaded(process);
    }
}

const _: () = assert!(sampler::ALWAYS < 0);
