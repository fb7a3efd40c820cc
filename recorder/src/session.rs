//! A hook under way: the state of its thread from [`begin`] to [`Session::end`], and what it writes.
//!
//! A thread has a state for each level at which hooks can be under way: a signal handler may call one while another is.
//! Which one is free is seen by the stack pointers that they were entered with, so a hook that was left by a `longjmp`
//! blocks nothing.

use core::sync::atomic::{
    Ordering::{Relaxed, SeqCst},
    compiler_fence,
};

use tmq_wire::layout::LossReason;
use tmq_wire::record::{ADDRESS_BITS, Kind, NO_STACK};

use crate::process::{self, Process};
use crate::thread::{self, ThreadState};
use crate::tls::{Tls, tls};
use crate::unwind::walk;
use crate::{elf, operator, sys};

/// Where a hook was called: the registers that unwinding starts from.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Stack pointer at the hook's first instruction, pointing to the return address.
    pub sp: usize,
    /// rbp at the hook's first instruction.
    pub bp: u64,
}

/// A hook under way in the recorded process: holds the thread's state until [`Session::end`].
pub(crate) struct Session {
    pub(crate) state: &'static mut ThreadState,
}

/// Starts recording in this process, if it is to be recorded. Called by the library's constructor and by the first hook.
#[cold]
#[inline(never)]
#[expect(clippy::must_use_candidate, reason = "the constructor has no use for it")]
pub fn start() -> Option<&'static Process> {
    process::start(|path| elf::initial_environment(tmq_wire::ENV_REGION.as_bytes(), path))
}

/// Begins a hook of blocks; `None`: do not record.
#[inline(always)]
pub(crate) fn begin(entry: Entry) -> Option<Session> {
    begin_for(entry, true)
}

/// Begins a hook; `None`: do not record. `for_blocks`: what an operator does on its way is no event of its own.
#[inline(always)]
pub(crate) fn begin_for(entry: Entry, for_blocks: bool) -> Option<Session> {
    let tls = tls();
    // SAFETY: the block belongs to this thread; references into it end before any other code of this thread runs.
    let state = unsafe { (*tls).states[0] };
    if !state.is_null() {
        // SAFETY: states in this thread's block are this thread's, and never unmapped. Nobody uses this one: no hook is
        // under way at its level, and those of handlers that come after the store take another.
        let state = unsafe { &mut *state };
        if state.epoch == process::epoch() && state.entry_sp.load(Relaxed) == 0 {
            state.enter(entry.sp);
            return Some(Session { state });
        }
    }
    begin_slow(tls, entry, for_blocks)
}

#[cold]
#[inline(never)]
fn begin_slow(tls: *mut Tls, entry: Entry, for_blocks: bool) -> Option<Session> {
    if process::is_off() {
        return None;
    }
    // SAFETY: as in `begin_for`.
    let t = unsafe { &mut *tls };
    if t.operator_sp != 0 {
        if entry.sp >= t.operator_sp {
            operator::leave_of(t); // it threw
        } else if for_blocks && operator::made_call(entry) {
            return None;
        }
    }
    // One that was left by a `longjmp` out of a handler lies below, not above.
    if entry.sp < t.registering {
        process::miss();
        return None;
    }
    t.registering = entry.sp;
    compiler_fence(SeqCst);
    let session = open_session(t, entry);
    compiler_fence(SeqCst);
    t.registering = 0;
    session
}

/// The recorded process, started if need be. `None`: there is none; or it is just being started, which is counted.
pub(crate) fn running() -> Option<&'static Process> {
    if process::epoch() == 0 {
        return start();
    }
    let process = process::current();
    if process.is_none() && !process::is_off() {
        process::miss();
    }
    process
}

/// In a fork child, whatever the block points to is the parent's.
pub(crate) fn settle_image(t: &mut Tls, process: &Process) {
    if t.image != process.incarnation() {
        t.operator_sp = 0;
        t.states = [core::ptr::null_mut(); crate::tls::LEVELS];
        t.random = 0;
        t.image = process.incarnation();
    }
}

fn open_session(t: &mut Tls, entry: Entry) -> Option<Session> {
    let process = running()?;
    settle_image(t, process);
    let Some(level) = thread::settle_level(t, entry.sp) else {
        process.lose(LossReason::Nested, 1);
        return None;
    };
    let state = t.states[level];
    let state = if state.is_null() {
        thread::acquire(process, t, level)?
    } else {
        // SAFETY: as in `begin_for`.
        unsafe { &mut *state }
    };
    if state.epoch != process::epoch() {
        state.epoch = process::epoch();
        state.forget_stacks();
    }
    state.enter(entry.sp);
    Some(Session { state })
}

impl Session {
    #[inline(always)]
    pub(crate) fn end(self) {
        self.state.leave();
    }

    #[inline(always)]
    pub(crate) fn stack(&mut self, entry: Entry) -> u32 {
        walk::capture(process::recorded(), self.state, entry.sp, entry.bp)
    }

    #[inline(always)]
    pub(crate) fn free_stack(&mut self, entry: Entry) -> u32 {
        if process::recorded().free_stacks.load(Relaxed) == 0 { NO_STACK } else { self.stack_of_free(entry) }
    }

    #[cold]
    #[inline(never)]
    fn stack_of_free(&mut self, entry: Entry) -> u32 {
        self.stack(entry)
    }

    /// Makes room for records that belong together, of so many slots with what they may need besides. False: there is none,
    /// and what was begun is ended.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, slots: usize) -> bool {
        let has_room = self.state.stream.has_room(slots) || self.next_chunk();
        if !has_room {
            self.state.stream.cancel();
        }
        has_room
    }

    #[cold]
    #[inline(never)]
    fn next_chunk(&mut self) -> bool {
        let may_wait = self.state.may_wait();
        self.state.stream.next_chunk(process::recorded(), may_wait)
    }

    /// Records what an allocation function handed out, and ends the hook.
    #[inline(always)]
    pub(crate) fn allocation(mut self, kind: Kind, address: u64, size: u64, entry: Entry) {
        if !lose_address(address) {
            self.state.stream.begin();
            let tsc = sys::rdtsc();
            let stack = self.stack(entry);
            self.write(kind, address, size, stack, tsc);
        }
        self.end();
    }

    /// Writes one event with a stamp that was taken since `begin` of the stream.
    #[inline(always)]
    pub(crate) fn write(&mut self, kind: Kind, address: u64, size: u64, stack: u32, tsc: u64) {
        if self.reserve(4) {
            self.state.stream.event(kind, address, size, stack, tsc);
            self.state.stream.finish();
        }
    }

    /// Writes two events that belong together.
    #[inline(always)]
    pub(crate) fn write_pair(&mut self, old: (Kind, u64, u64, u32, u64), new: (Kind, u64, u64, u32, u64)) {
        if self.reserve(8) {
            self.state.stream.event(old.0, old.1, old.2, old.3, old.4);
            self.state.stream.event(new.0, new.1, new.2, new.3, new.4);
            self.state.stream.finish();
        }
    }
}

/// Whether an address is one that records cannot hold.
#[inline(always)]
pub(crate) fn is_beyond(address: u64) -> bool {
    address >> ADDRESS_BITS != 0
}

/// The same, which is counted.
#[inline(always)]
pub(crate) fn lose_address(address: u64) -> bool {
    if is_beyond(address) {
        process::recorded().lose(LossReason::AddressRange, 1);
    }
    is_beyond(address)
}

/// The stamp of something that is about to be done to a block (see [`crate::record`]).
#[inline(always)]
pub(crate) fn stamp_before() -> u64 {
    if thread::is_alone() { sys::rdtsc() } else { sys::rdtsc_after_loads() }
}
