//! C++'s operators that are not built on `malloc`: recorded as a whole, whatever they do with blocks on their way.
//!
//! While one is under way, the thread's state counts as in use and the hooks of blocks that it calls itself pass through
//! ([`made_call`]); what it makes others do, a `new` handler for one, is recorded as ever.

use core::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    compiler_fence,
};

use tmq_wire::record::Kind;

use crate::process;
use crate::record::allocated;
use crate::session::{Entry, begin};
use crate::tls::{Tls, tls};

/// Where the operators' code and that around it lie: first address and length of each.
static OPERATORS: [[AtomicUsize; 2]; 2] = [const { [const { AtomicUsize::new(0) }; 2] }; 2];

/// Says where that code lies: first addresses and the first behind.
pub fn set_code(ranges: [(usize, usize); 2]) {
    for (to, (start, end)) in OPERATORS.iter().zip(ranges) {
        to[0].store(start, Relaxed);
        to[1].store(end - start, Relaxed);
    }
}

/// Whether the operator under way made this call itself, and not something that it called: a handler that is to find
/// memory, or what makes an exception.
pub(crate) fn made_call(entry: Entry) -> bool {
    // SAFETY: the processor pushed the return address there.
    let caller = unsafe { *(entry.sp as *const usize) };
    OPERATORS.iter().any(|range| caller.wrapping_sub(range[0].load(Relaxed)) < range[1].load(Relaxed))
}

/// Such an operator is about to run: until [`leave`], or until it throws, what it does
/// with blocks is no event of its own.
pub fn enter(entry: Entry) {
    let Some(session) = begin(entry) else { return };
    // SAFETY: the block belongs to this thread.
    let t = unsafe { &mut *tls() };
    t.operator_state = session.state;
    t.operator_bytes_left = t.bytes_left;
    compiler_fence(SeqCst);
    t.operator_sp = entry.sp;
}

/// The operator that was entered with stack pointer `sp` is done. False: it was not entered.
#[expect(clippy::must_use_candidate, reason = "a `delete` was recorded before it was entered")]
pub fn leave(sp: usize) -> bool {
    // SAFETY: the block belongs to this thread.
    let t = unsafe { &mut *tls() };
    let is_its = t.operator_sp == sp;
    if is_its {
        leave_of(t);
    }
    is_its
}

/// The operator that the thread is in is done, or threw.
pub(crate) fn leave_of(t: &mut Tls) {
    t.operator_sp = 0;
    t.bytes_left = t.operator_bytes_left;
    // SAFETY: states of this thread are never unmapped.
    unsafe { (*t.operator_state).leave() };
}

/// The `operator new` that was entered with `entry` handed out `address`.
pub fn made(address: *mut u8, size: usize, entry: Entry) {
    if leave(entry.sp) {
        allocated(Kind::Malloc, address, size, entry);
    } else if !process::is_off() {
        process::miss();
    }
}
