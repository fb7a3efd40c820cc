//! The verify mode: unwinds a stack again from scratch and compares.
//!
//! Four comparisons. A walk finds what the branches of the memo got wrong. The walk without any cache finds what the prefix
//! validation got wrong. The build-ids of the code that the frames are in, read anew, find what the table of modules got
//! wrong. framehop, which reads the same tables by other code, finds what the rules got wrong; where it is known to end
//! early or to err (signal frames, realigned stacks, code without tables; mstange/framehop issues 31 and 48) only the
//! frames before that are compared.

use alloc::boxed::Box;
use core::ops::ControlFlow;
use core::sync::atomic::{
    AtomicPtr, AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, MustNotAllocateDuringUnwind, Unwinder as _};

use crate::process::Process;
use crate::thread::ThreadState;
use crate::unwind::chain::Frame;
use crate::unwind::walk;
use crate::{process, region};

struct Oracle {
    unwinder: UnwinderX86_64<&'static [u8], MustNotAllocateDuringUnwind>,
    cache: CacheX86_64<MustNotAllocateDuringUnwind>,
    epoch: u64,
    loads: u32,
}

static ORACLE: AtomicPtr<Oracle> = AtomicPtr::new(core::ptr::null_mut());
static LOCKED: AtomicU32 = AtomicU32::new(0);

/// Compares the chain that the last walk left with unwinding `leaf` from scratch, and counts the outcome.
/// `is_remembered_right`: what was remembered of this stack, if anything was, is what that walk found.
#[cold]
#[inline(never)]
pub fn verify(process: &Process, state: &mut ThreadState, leaf: Frame, is_remembered_right: bool) {
    let (same_walk, frames) = walk::compare_with_scratch(process, state, &leaf);
    let callers = state.chain.fresh_callers(frames).map(|caller| caller.pc);
    let same_code = core::iter::once(leaf.pc).chain(callers).all(|pc| process.modules.is_still(pc));
    // A nested level could wait for ever for a lock that the interrupted level of the same thread holds.
    let tries = if state.level == 0 { 1_000_000 } else { 1 };
    let locked = (0..tries).any(|_| {
        core::hint::spin_loop();
        LOCKED.compare_exchange_weak(0, 1, AcqRel, Relaxed).is_ok()
    });
    let same_oracle = if locked {
        let same = compare_with_oracle(process, state, leaf, frames);
        LOCKED.store(0, Release);
        same
    } else {
        true
    };
    let slot = process.slot();
    region::count(&slot.verified, 1);
    if !is_remembered_right || !same_walk || !same_code || !same_oracle {
        region::count(&slot.mismatches, 1);
    }
}

/// Forgets the oracle, in a fork child: the lock may have been held, and modules are numbered anew.
pub fn reset() {
    LOCKED.store(0, Relaxed);
    ORACLE.store(core::ptr::null_mut(), Relaxed);
}

/// `frames`: how many fresh ones the chain has.
fn compare_with_oracle(process: &Process, state: &ThreadState, leaf: Frame, frames: usize) -> bool {
    let mut oracle = ORACLE.load(Acquire);
    // SAFETY: used under the lock only, and never freed.
    let fresh = !oracle.is_null()
        && unsafe { (*oracle).epoch == process::epoch() && (*oracle).loads == process.modules.loads() };
    if !fresh {
        oracle = Box::into_raw(Box::new(build(process)));
        ORACLE.store(oracle, Release);
    }
    // SAFETY: as above.
    let oracle = unsafe { &mut *oracle };
    let high = state.bounds.high() as u64;
    let mut read = |address: u64| {
        if address < leaf.sp() || address >= high || !address.is_multiple_of(8) {
            return Err(());
        }
        // SAFETY: between the stack pointer and the end of the thread's own stack.
        Ok(unsafe { (address as *const u64).read_volatile() })
    };
    let mut regs = UnwindRegsX86_64::new(leaf.pc, leaf.sp(), leaf.bp());
    let mut expected = leaf.pc;
    let outcome = state.chain.fresh_callers(frames).try_for_each(|caller| {
        if !caller.is_plain() {
            return ControlFlow::Break(true); // framehop's known limits
        }
        let address = FrameAddress::from_return_address(expected);
        let Some(address) = address else { return ControlFlow::Break(false) };
        match oracle.unwinder.unwind_frame(address, &mut regs, &mut oracle.cache, &mut read) {
            Ok(Some(pc)) if pc == caller.pc => expected = pc,
            // framehop takes a frame pointer of 0 for the end of the stack.
            Ok(None) if caller.bp() == 0 => return ControlFlow::Break(true),
            Ok(_) => return ControlFlow::Break(false),
            Err(_) => return ControlFlow::Break(true),
        }
        ControlFlow::Continue(())
    });
    matches!(outcome, ControlFlow::Continue(()) | ControlFlow::Break(true))
}

fn build(process: &Process) -> Oracle {
    let mut unwinder = UnwinderX86_64::new();
    process.modules.for_each_loaded(|object| {
        // SAFETY: the segment stays mapped while the module is loaded. The unwinder reads only entries of addresses on live
        // stacks, whose modules cannot be unloaded, and is rebuilt when modules change.
        let bytes = |from: usize| unsafe { core::slice::from_raw_parts(from as *const u8, object.tables_end - from) };
        let svma = |address: usize| address.wrapping_sub(object.bias) as u64;
        let info = ExplicitModuleSectionInfo {
            base_svma: svma(object.start),
            eh_frame_svma: Some(svma(object.eh_frame)..svma(object.tables_end)),
            eh_frame: Some(bytes(object.eh_frame)),
            eh_frame_hdr_svma: Some(svma(object.eh_frame_hdr)..svma(object.tables_end)),
            eh_frame_hdr: Some(bytes(object.eh_frame_hdr)),
            ..Default::default()
        };
        let range = object.start as u64..object.end as u64;
        unwinder.add_module(Module::new("".into(), range, object.start as u64, info));
    });
    Oracle { unwinder, cache: CacheX86_64::new_in(), epoch: process::epoch(), loads: process.modules.loads() }
}
