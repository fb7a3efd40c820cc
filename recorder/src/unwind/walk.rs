//! Walks a stack, proving how much of the thread's last stack is unchanged.
//!
//! Unwinding is a deterministic function of the start state (return address, stack pointer, rbp), of the words it reads
//! from the stack and of the loaded code. [`Chain`] keeps, for every frame of the last stack, its state and which words
//! it was read from. A new walk steps through frames with the rules until it meets a cached frame in the same state;
//! then it compares the words that the rest of the walk would read with those that it read last time. If they are all
//! equal and the epoch (loaded code) is the same, the rest of the stack is proven equal, tree nodes included. At the
//! first word that differs the walk goes on with the rules from the frame above it.
//!
//! Nothing is written to the stack and nothing assumed about who changes it, so exceptions, `longjmp`, coroutines and
//! reused stacks need no special care. Words are compared from the leaf on and only as long as they are equal, so no
//! address is read that unwinding from scratch would not read.

use core::sync::atomic::Ordering::Relaxed;

use tmq_wire::record::{NODE_EXACT, NODE_FALLBACK, NO_STACK, ROOT_BROKEN, ROOT_COMPLETE, ROOT_TRUNCATED};

use crate::process::Process;
use crate::thread::ThreadState;
use crate::unwind::cfi::{self, Found};
use crate::unwind::rules::Rule;
use crate::{arena, sys};

/// Deepest stack that is kept whole.
pub const MAX_FRAMES: usize = 8192;
/// What is kept of a deeper one: the most recent frames.
const KEPT_OF_DEEPER: usize = 512;
const FIRST_CAPACITY: usize = 64;

/// A frame: its state when it resumes, and the words this state was read from.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Frame {
    /// Where `pc` was read.
    pc_slot: usize,
    /// Where execution continues: a return address, or with [`NODE_EXACT`] the interrupted instruction.
    pub pc: u64,
    /// Where `bp` was read; 0: it was not read but came with the callee's state.
    bp_slot: usize,
    bp: u64,
    /// One more word that the state depends on (see [`Rule::Realigned`] and signal frames); 0: none.
    aux_slot: usize,
    aux: u64,
    sp: u64,
    node: u32,
    /// `NODE_*`.
    flags: u8,
}

/// The frames of a thread's last stack, outermost first, and room for the fresh ones of the next.
#[derive(Debug)]
pub struct Chain {
    frames: *mut Frame,
    fresh: *mut Frame,
    capacity: usize,
    len: usize,
    root: u32,
}

impl Chain {
    /// An empty chain without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { frames: core::ptr::null_mut(), fresh: core::ptr::null_mut(), capacity: 0, len: 0, root: ROOT_COMPLETE }
    }

    /// Forgets the last stack.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    #[inline(always)]
    fn frame(&self, index: usize) -> &Frame {
        debug_assert!(index < self.len);
        // SAFETY: `index < len <= capacity`, and frames below `len` were written.
        unsafe { &*self.frames.add(index) }
    }

    /// The `n` fresh frames of the walk under way, most recent first.
    fn fresh(&self, n: usize) -> &[Frame] {
        debug_assert!(n <= self.capacity);
        // SAFETY: the walk has written the first `n`.
        unsafe { core::slice::from_raw_parts(self.fresh, n) }
    }

    #[inline(always)]
    fn push_fresh(&mut self, n: usize, frame: Frame) -> bool {
        if n == self.capacity && !self.grow() {
            return false;
        }
        // SAFETY: `n < capacity`.
        unsafe { self.fresh.add(n).write(frame) };
        true
    }

    #[cold]
    fn grow(&mut self) -> bool {
        let capacity = if self.capacity == 0 { FIRST_CAPACITY } else { self.capacity * 2 };
        if capacity > MAX_FRAMES * 2 {
            return false;
        }
        let bytes = capacity * size_of::<Frame>();
        let Some(memory) = arena::map(2 * bytes) else { return false };
        let frames = memory.cast::<Frame>();
        // SAFETY: both halves of the new mapping are large enough; the old arrays hold `capacity` frames, not all of
        // them written, which copying raw memory does not mind.
        unsafe {
            let fresh = frames.add(capacity);
            if self.capacity > 0 {
                core::ptr::copy_nonoverlapping(self.frames, frames, self.capacity);
                core::ptr::copy_nonoverlapping(self.fresh, fresh, self.capacity);
            }
            (self.frames, self.fresh, self.capacity) = (frames, fresh, capacity);
        }
        true
    }

    /// Index of the most recent frame below `top` whose words have changed; `None`: all are as they were.
    #[inline(always)]
    fn first_changed(&self, top: usize) -> Option<usize> {
        // SAFETY (of `read` below): unwinding from scratch would read the same addresses: all words above are equal, so
        // it would be in the same states.
        (0..top).rev().find(|&i| {
            let f = self.frame(i);
            (unsafe { read(f.pc_slot) } != f.pc)
                || (f.bp_slot != 0 && unsafe { read(f.bp_slot) } != f.bp)
                || (f.aux_slot != 0 && unsafe { read(f.aux_slot) } != f.aux)
        })
    }
}

/// # Safety
/// `address` must be readable.
#[inline(always)]
unsafe fn read(address: usize) -> u64 {
    // SAFETY: the caller vouches for the address; volatile, because it is other code's live stack.
    unsafe { (address as *const u64).read_volatile() }
}

enum Step {
    Caller(Frame),
    End(u32),
}

/// Number of the tree node for the stack of a hook entered with stack pointer `sp` (at the return address) and `bp`.
#[inline(always)]
pub fn capture(process: &Process, state: &mut ThreadState, sp: usize, bp: u64) -> u32 {
    let own = state.bounds.contains(sp);
    let depth = process.max_depth.load(Relaxed) as usize;
    // SAFETY: the processor pushed the return address there.
    let pc = unsafe { read(sp) };
    let leaf = Frame { pc_slot: sp, pc, bp_slot: 0, bp, aux_slot: 0, aux: 0, sp: sp as u64 + 8, node: 0, flags: 0 };
    if own && depth == 0 {
        let high = state.bounds.high();
        walk(process, state, leaf, high)
    } else {
        capture_uncached(process, state, leaf, if depth == 0 { MAX_FRAMES } else { depth.min(MAX_FRAMES) })
    }
}

/// The walk with prefix validation, on the thread's own stack.
#[inline(always)]
fn walk(process: &Process, state: &mut ThreadState, leaf: Frame, high: usize) -> u32 {
    let mut high = high;
    let mut top = state.chain.len;
    let mut n = 0;
    let mut current = leaf;
    let root = loop {
        while top > 0 && state.chain.frame(top - 1).sp < current.sp {
            top -= 1;
        }
        if top > 0 {
            let cached = state.chain.frame(top - 1);
            if cached.sp == current.sp
                && cached.pc == current.pc
                && cached.bp == current.bp
                && cached.flags == current.flags
            {
                let Some(changed) = state.chain.first_changed(top - 1) else { break state.chain.root };
                // Frames above the changed one are in the states they were in, under a caller yet to be found.
                for i in (changed + 1..top).rev() {
                    let frame = *state.chain.frame(i);
                    if !state.chain.push_fresh(n, frame) {
                        return deeper(process, state, leaf);
                    }
                    n += 1;
                }
                current = *state.chain.frame(changed + 1);
                top = changed + 1;
                match step(process, state, &current, &mut high) {
                    Step::Caller(caller) => current = caller,
                    Step::End(root) => {
                        top = 0;
                        break root;
                    }
                }
                continue;
            }
        }
        if !state.chain.push_fresh(n, current) {
            return deeper(process, state, leaf);
        }
        n += 1;
        match step(process, state, &current, &mut high) {
            Step::Caller(caller) => current = caller,
            Step::End(root) => {
                top = 0;
                break root;
            }
        }
    };
    finish(process, state, leaf, top, n, root)
}

/// Joins `n` fresh frames to the `base` cached ones that hold, giving every fresh frame its node.
#[inline(always)]
fn finish(process: &Process, state: &mut ThreadState, leaf: Frame, base: usize, n: usize, root: u32) -> u32 {
    if base + n > MAX_FRAMES {
        return deeper(process, state, leaf);
    }
    while base + n > state.chain.capacity {
        if !state.chain.grow() {
            return deeper(process, state, leaf);
        }
    }
    state.chain.root = root;
    let mut node = if base > 0 { state.chain.frame(base - 1).node } else { root };
    for i in 0..n {
        let mut frame = state.chain.fresh(n)[n - 1 - i];
        node = process.nodes.intern(process, state, node, frame.pc, frame.flags);
        if node == NO_STACK {
            state.chain.clear();
            return NO_STACK;
        }
        frame.node = node;
        // SAFETY: `base + i < capacity`, made sure above.
        unsafe { state.chain.frames.add(base + i).write(frame) };
    }
    state.chain.len = base + n;
    node
}

/// The stack is deeper than what is kept whole.
#[cold]
#[inline(never)]
fn deeper(process: &Process, state: &mut ThreadState, leaf: Frame) -> u32 {
    capture_uncached(process, state, leaf, KEPT_OF_DEEPER)
}

/// Walks from scratch and keeps nothing: with a depth limit, or on a stack that is not the thread's own.
#[cold]
#[inline(never)]
fn capture_uncached(process: &Process, state: &mut ThreadState, leaf: Frame, limit: usize) -> u32 {
    state.chain.clear();
    let (n, root) = walk_uncached(process, state, leaf, limit);
    let mut node = root;
    for i in (0..n).rev() {
        let frame = state.chain.fresh(n)[i];
        node = process.nodes.intern(process, state, node, frame.pc, frame.flags);
        if node == NO_STACK {
            break;
        }
    }
    node
}

fn walk_uncached(process: &Process, state: &mut ThreadState, leaf: Frame, limit: usize) -> (usize, u32) {
    let sp = leaf.sp as usize - 8;
    let own = state.bounds.contains(sp);
    let mut high = if own { state.bounds.high() } else { state.bounds.foreign_high(sp) };
    let mut current = leaf;
    let mut n = 0;
    loop {
        if !state.chain.push_fresh(n, current) {
            return (n, ROOT_TRUNCATED);
        }
        n += 1;
        match step(process, state, &current, &mut high) {
            Step::End(root) => return (n, root),
            Step::Caller(_) if n == limit => return (n, ROOT_TRUNCATED),
            Step::Caller(caller) => current = caller,
        }
    }
}

/// The caller of `frame`.
#[inline(always)]
fn step(process: &Process, state: &mut ThreadState, frame: &Frame, high: &mut usize) -> Step {
    let rule = if frame.flags & NODE_EXACT == 0 { process.rules.get(frame.pc) } else { None };
    match rule {
        Some(rule) if rule != Rule::Special => apply(frame, rule, *high),
        _ => step_slow(process, state, frame, high),
    }
}

#[inline(always)]
fn apply(frame: &Frame, rule: Rule, high: usize) -> Step {
    let readable = |address: u64| frame.sp <= address && address < high as u64 && address % 8 == 0;
    // SAFETY (of the reads below): `readable` addresses lie between the stack pointer and the end of a mapped stack.
    let (cfa, bp_slot, aux_slot) = match rule {
        Rule::Sp { offset } => (frame.sp.wrapping_add(offset.into()), 0, 0),
        Rule::SpSaved { offset, saved } => {
            let cfa = frame.sp.wrapping_add(offset.into());
            (cfa, cfa.wrapping_add_signed(saved.into()), 0)
        }
        Rule::BpSaved { offset, saved } => {
            let cfa = frame.bp.wrapping_add(offset.into());
            (cfa, cfa.wrapping_add_signed(saved.into()), 0)
        }
        Rule::Bp { offset } => (frame.bp.wrapping_add(offset.into()), 0, 0),
        Rule::Realigned { offset, saved } => {
            let aux_slot = frame.bp.wrapping_add_signed(offset.into());
            if !readable(aux_slot) {
                return Step::End(ROOT_BROKEN);
            }
            let cfa = unsafe { read(aux_slot as usize) };
            (cfa, frame.bp.wrapping_add_signed(saved.into()), aux_slot)
        }
        Rule::End => return Step::End(ROOT_COMPLETE),
        Rule::Special => return Step::End(ROOT_BROKEN),
    };
    let pc_slot = cfa.wrapping_sub(8);
    if !readable(pc_slot) || (bp_slot != 0 && !readable(bp_slot)) {
        return Step::End(ROOT_BROKEN);
    }
    let pc = unsafe { read(pc_slot as usize) };
    if pc == 0 {
        return Step::End(ROOT_COMPLETE);
    }
    let bp = if bp_slot == 0 { frame.bp } else { unsafe { read(bp_slot as usize) } };
    Step::Caller(Frame {
        pc_slot: pc_slot as usize,
        pc,
        bp_slot: bp_slot as usize,
        bp,
        aux_slot: aux_slot as usize,
        aux: if aux_slot == 0 { 0 } else { cfa },
        sp: cfa,
        node: 0,
        flags: 0,
    })
}

/// A frame without a remembered rule: looks it up, or finds its caller in another way.
#[cold]
#[inline(never)]
fn step_slow(process: &Process, state: &mut ThreadState, frame: &Frame, high: &mut usize) -> Step {
    let exact = frame.flags & NODE_EXACT != 0;
    let pc = if exact { frame.pc } else { frame.pc - 1 };
    let Some(object) = process.modules.object_at(pc) else { return step_outside_modules(process, frame, *high) };
    // Makes the module known, and with it whether it lies where another one was.
    process.modules.place(process, state, frame.pc);
    let found = cfi::find(&object, pc);
    match found {
        Found::Rule(rule) => {
            if !exact {
                process.rules.put(frame.pc, rule);
            }
            apply(frame, rule, *high)
        }
        Found::Signal => {
            process.rules.put(frame.pc, Rule::Special);
            step_signal(state, frame, high)
        }
        Found::Unsupported => {
            process.rules.put(frame.pc, Rule::Special);
            Step::End(ROOT_BROKEN)
        }
        Found::Nothing => {
            process.rules.put(frame.pc, Rule::Special);
            step_frame_pointer(process, frame, *high)
        }
    }
}

/// The frame that a signal interrupted: its registers lie in the signal context, which the stack pointer points to when
/// the handler has returned (`struct ucontext` of the x86_64 kernel ABI).
fn step_signal(state: &mut ThreadState, frame: &Frame, high: &mut usize) -> Step {
    const RBP_OFFSET: u64 = 120;
    const RSP_OFFSET: u64 = 160;
    const RIP_OFFSET: u64 = 168;
    if frame.sp + RIP_OFFSET + 8 > *high as u64 || frame.sp % 8 != 0 {
        return Step::End(ROOT_BROKEN);
    }
    let slot = |offset: u64| (frame.sp + offset) as usize;
    // SAFETY: the three words lie between the stack pointer and the end of the stack, checked above.
    let (bp, sp, pc) = unsafe { (read(slot(RBP_OFFSET)), read(slot(RSP_OFFSET)), read(slot(RIP_OFFSET))) };
    // The handler may have run on another stack than what it interrupted.
    let address = sp as usize;
    if !(frame.sp as usize..*high).contains(&address) {
        *high = if state.bounds.contains(address) { state.bounds.high() } else { state.bounds.foreign_high(address) };
        if *high == 0 {
            return Step::End(ROOT_BROKEN);
        }
    }
    Step::Caller(Frame {
        pc_slot: slot(RIP_OFFSET),
        pc,
        bp_slot: slot(RBP_OFFSET),
        bp,
        aux_slot: slot(RSP_OFFSET),
        aux: sp,
        sp,
        node: 0,
        flags: NODE_EXACT,
    })
}

/// Code without call frame information: if rbp is a frame pointer that leads to a return address in a known module, it
/// is believed, and the caller marked; otherwise the stack ends here.
fn step_frame_pointer(process: &Process, frame: &Frame, high: usize) -> Step {
    let Step::Caller(mut caller) = apply(frame, Rule::BpSaved { offset: 16, saved: -16 }, high) else {
        return Step::End(ROOT_BROKEN);
    };
    if caller.sp <= frame.sp + 8 || process.modules.object_at(caller.pc.wrapping_sub(1)).is_none() {
        return Step::End(ROOT_BROKEN);
    }
    caller.flags = NODE_FALLBACK;
    Step::Caller(caller)
}

/// The address came by a valid rule but lies in no module: code made at run time, or a stack that is not what it seems.
fn step_outside_modules(process: &Process, frame: &Frame, high: usize) -> Step {
    let executable = sys::vma_at(frame.pc as usize).is_some_and(|vma| vma.executable);
    if executable { step_frame_pointer(process, frame, high) } else { Step::End(ROOT_BROKEN) }
}
