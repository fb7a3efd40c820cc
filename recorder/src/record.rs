//! What the hooks call: one function per thing that can happen to a block ([`crate::mapping`] has those of mappings).
//!
//! Order keys are time stamps: that of a free is taken before the real free, that of an allocation after the real
//! allocation, so for one address they alternate in the order in which the allocator handed it out. A realloc takes both
//! and writes them as one pair of records, and nothing at all if it failed.
//!
//! A stamp taken too early because the processor runs ahead does no harm after an allocation: it has its memory through a
//! lock of the allocator, and the collector allows for the few nanoseconds that this may take. Before a free it would: the
//! address may have come from another thread just now, and its free must not be stamped before its allocation.
//!
//! The program's code and this one compete for the processor's caches for instructions, so what every event executes is
//! short, what few do lies in functions of their own, and all of the former, [`crate::unwind::walk`] and the hooks' stubs
//! included, lies side by side in the section `.text.tmq_hot`: spread over the library, it met in the same few sets of the
//! cache.

use core::sync::atomic::Ordering::Relaxed;

use tmq_wire::layout::LossReason;
use tmq_wire::record::{Kind, NO_STACK};

use crate::process;
use crate::session::{Entry, begin, is_beyond, lose_address, running, settle_image, stamp_before};
use crate::tls::{Tls, tls};
use crate::{sys, unloading};

/// Whether an allocation of `size` bytes passes by without being part of the sample; none does in exact mode.
#[inline(always)]
fn passes(size: usize) -> bool {
    // SAFETY: the block belongs to this thread.
    passes_of(unsafe { &mut *tls() }, size)
}

#[inline(always)]
fn passes_of(t: &mut Tls, size: usize) -> bool {
    match t.bytes_left.checked_sub(size.max(1) as u64) {
        Some(left) if t.epoch == process::epoch() => {
            t.bytes_left = left;
            true
        }
        _ => false,
    }
}

/// Whether an allocation of `size` bytes that did not pass is to be recorded, where that is not known to be the case for all.
/// Consumes the sample that is due and draws the distance to the next.
#[cold]
#[inline(never)]
fn is_due(t: &mut Tls, size: usize) -> bool {
    if process::is_off() {
        return false;
    }
    let Some(process) = running() else { return false };
    settle_image(t, process);
    if !process.sampler.is_sampling() {
        t.is_exact = true;
        return true;
    }
    if t.epoch == 0 {
        // The first distance of a thread, before which it has consumed nothing. In a fork child the rest of the parent's
        // distance is as good as a fresh one: the distribution has no memory.
        t.bytes_left = process.sampler.draw(&mut t.random);
    }
    t.epoch = process::epoch();
    if passes_of(t, size) {
        return false;
    }
    t.bytes_left = process.sampler.draw(&mut t.random);
    true
}

/// `address` was handed out by an allocation function.
#[inline(always)]
pub fn allocated(kind: Kind, address: *mut u8, size: usize, entry: Entry) {
    if !address.is_null() && !passes(size) {
        // SAFETY: the block belongs to this thread.
        let t = unsafe { &mut *tls() };
        if t.is_exact || is_due(t, size) {
            record_allocation(kind, address as u64, size as u64, entry);
        }
    }
}

/// Makes an allocation: calls `real` and records what it handed out. One that passes by is a jump to `real`, so whether it
/// does is decided before; that a failed allocation uses up bytes is no bias, because the distance has no memory.
#[inline(always)]
pub fn allocating(kind: Kind, size: usize, entry: Entry, real: impl FnOnce() -> *mut u8) -> *mut u8 {
    if passes(size) { real() } else { allocating_maybe_due(kind, size, entry, real) }
}

#[inline(never)]
// SAFETY: a section of code.
#[unsafe(link_section = ".text.tmq_hot")]
fn allocating_maybe_due(kind: Kind, size: usize, entry: Entry, real: impl FnOnce() -> *mut u8) -> *mut u8 {
    // SAFETY: the block belongs to this thread.
    if unsafe { !(*tls()).is_exact } {
        return allocating_sampled(kind, size, entry, real);
    }
    let address = real();
    if !address.is_null()
        && let Some(session) = begin(entry)
    {
        session.allocation(kind, address as u64, size as u64, entry);
    }
    address
}

/// The same in sampled mode, and where the mode is not yet known.
#[cold]
#[inline(never)]
fn allocating_sampled(kind: Kind, size: usize, entry: Entry, real: impl FnOnce() -> *mut u8) -> *mut u8 {
    // SAFETY: the block belongs to this thread.
    let is_due = is_due(unsafe { &mut *tls() }, size);
    let address = real();
    if is_due && !address.is_null() {
        record_allocation(kind, address as u64, size as u64, entry);
    }
    address
}

#[inline(never)]
fn record_allocation(kind: Kind, address: u64, size: u64, entry: Entry) {
    let Some(session) = begin(entry) else { return };
    if is_beyond(address) || mark_sampled(address) {
        session.allocation(kind, address, size, entry);
    } else {
        session.end();
    }
}

/// In sampled mode, notes that this block's free is wanted.
fn mark_sampled(address: u64) -> bool {
    let process = process::recorded();
    if !process.sampler.is_sampling() || process.sampler.insert(address) {
        return true;
    }
    process.lose(LossReason::NoMemory, 1);
    false
}

/// Gives a block back: records it and calls `real`. In sampled mode, a block that is not part of the sample is a jump to
/// `real`.
#[inline(always)]
pub fn freeing(address: *mut u8, entry: Entry, real: impl FnOnce()) {
    match process::recorded().sampler.is_left_out(address as u64) {
        None => freeing_exact(address, entry, real),
        Some(true) => real(),
        Some(false) => freeing_sampled(address, entry, real),
    }
}

/// In exact mode, or not recorded (then `begin` says so).
#[inline(never)]
// SAFETY: a section of code.
#[unsafe(link_section = ".text.tmq_hot")]
fn freeing_exact(address: *mut u8, entry: Entry, real: impl FnOnce()) {
    if !address.is_null() {
        record_free(address as u64, entry);
    }
    real();
}

#[cold]
#[inline(never)]
fn freeing_sampled(address: *mut u8, entry: Entry, real: impl FnOnce()) {
    if !address.is_null() && process::current().is_some_and(|process| process.sampler.remove(address as u64)) {
        record_free(address as u64, entry);
    }
    real();
}

/// Must come before the real free.
#[inline(always)]
fn record_free(address: u64, entry: Entry) {
    let Some(mut session) = begin(entry) else { return };
    if !lose_address(address) {
        session.state.stream.begin();
        let tsc = stamp_before();
        let stack = session.free_stack(entry);
        session.write(Kind::Free, address, 0, stack, tsc);
    }
    session.end();
}

/// Makes a realloc of a block: calls `real` and records what it did.
#[inline(always)]
pub fn reallocating(old: *mut u8, size: usize, entry: Entry, real: impl FnOnce() -> *mut u8) -> *mut u8 {
    if old.is_null() {
        return allocating(Kind::ReallocNull, size, entry, real);
    }
    if process::recorded().sampler.is_left_out(old as u64) == Some(true) && passes(size) {
        return real();
    }
    reallocating_maybe_wanted(old, size, entry, real)
}

#[inline(never)]
// SAFETY: a section of code.
#[unsafe(link_section = ".text.tmq_hot")]
fn reallocating_maybe_wanted(old: *mut u8, size: usize, entry: Entry, real: impl FnOnce() -> *mut u8) -> *mut u8 {
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
        let free_stack = if process::recorded().free_stacks.load(Relaxed) == 0 { NO_STACK } else { stack };
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

/// Another `malloc` comes before the hook: nothing that goes through it is seen.
#[cold]
pub fn bypassed() {
    unloading::loader_is_not_seen();
    if let Some(process) = process::current() {
        process.lose(LossReason::Bypassed, 1);
        // Makes a stream, which begins by saying what program this is.
        let here = 0u64;
        if let Some(session) = begin(Entry { sp: &raw const here as usize, bp: 0 }) {
            session.end();
        }
    }
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
    let may_wait = session.state.may_wait();
    session.state.stream.mark(process::recorded(), name, tsc, may_wait);
    session.end();
}
