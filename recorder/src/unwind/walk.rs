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

use tmq_wire::record::{NO_STACK, NODE_EXACT, NODE_FALLBACK, ROOT_BROKEN, ROOT_COMPLETE, ROOT_TRUNCATED};

use crate::process::Process;
use crate::thread::ThreadState;
use crate::unwind::cfi::{self, Found};
use crate::unwind::rules::Rule;
use crate::{arena, elf, sys, verify};

/// Deepest stack that is kept whole.
pub const MAX_FRAMES: usize = 8192;
/// What is kept of a deeper one: the most recent frames.
const KEPT_OF_DEEPER: usize = 512;
const FIRST_CAPACITY: usize = 64;
/// Stack that verification may need; on less it is not done.
const VERIFY_STACK_BYTES: usize = 128 << 10;

/// A frame: its state when it resumes, and the words this state was read from.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Frame {
    /// Where `pc` was read.
    pc_slot: usize,
    /// Where execution continues: a return address, or with [`NODE_EXACT`] the interrupted instruction.
    pub pc: u64,
    /// Where `bp` was read; 0: it was not read but came with the callee's state.
    bp_slot: usize,
    bp: u64,
    /// Where `sp` was read, in frames that are found by a saved stack pointer ([`Rule::Realigned`], signals); 0: it
    /// follows from `pc_slot`.
    sp_slot: usize,
    sp: u64,
    /// Number of [`Check`]s of this frame and all further out.
    checks: usize,
    node: u32,
    /// `NODE_*`.
    flags: u8,
    /// What this frame's rule does with the rbp it resumes with.
    bp_use: BpUse,
    /// Whether that rbp matters to this frame or one further out before it is read anew from the stack. Optimised code
    /// keeps other things than frame pointers in rbp; as long as no rule looks at it, a different value is no different
    /// state.
    bp_matters: bool,
}

/// What a frame's rule does with the rbp that the frame resumes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BpUse {
    /// Nothing: the caller resumes with the same.
    Passes,
    /// It is replaced by a word from the stack without having been looked at.
    Replaces,
    /// The caller is found by it.
    Needs,
}

impl Frame {
    /// Whether unwinding from here would go as it went from `other`, as far as registers are concerned.
    #[inline(always)]
    fn is_same_state(&self, other: &Self) -> bool {
        self.sp == other.sp
            && self.pc == other.pc
            && self.flags == other.flags
            && (self.bp == other.bp || !self.bp_matters)
    }

    /// Stack pointer when the frame resumes.
    #[must_use]
    pub fn sp(&self) -> u64 {
        self.sp
    }

    /// rbp when the frame resumes, as far as it matters.
    #[must_use]
    pub fn bp(&self) -> u64 {
        self.bp
    }

    /// Whether the frame was found by an ordinary rule: not behind a signal, a realigned stack or by guessing.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.flags == 0 && self.sp_slot == 0
    }

    const EMPTY: Self = Self {
        pc_slot: 0,
        pc: 0,
        bp_slot: 0,
        bp: 0,
        sp_slot: 0,
        sp: 0,
        checks: 0,
        node: 0,
        flags: 0,
        bp_use: BpUse::Needs,
        bp_matters: true,
    };
}

const _: () = assert!(size_of::<Frame>() == 64);

/// A word that the last walk read: its address and its value.
type Check = [u64; 2];
/// Most words that one frame is read from: pc, rbp, stack pointer.
const CHECKS_PER_FRAME: usize = 3;

/// The frames of a thread's last stack, outermost first, and room for the fresh ones of the next.
#[derive(Debug)]
pub struct Chain {
    frames: *mut Frame,
    fresh: *mut Frame,
    /// What was read to find `frames`, in their order: everything that must be equal for them to be equal.
    checks: *mut Check,
    capacity: usize,
    len: usize,
    root: u32,
    /// Whether every word lies in the thread's own stack and so stays readable.
    own: bool,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// An empty chain without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: core::ptr::null_mut(),
            fresh: core::ptr::null_mut(),
            checks: core::ptr::null_mut(),
            capacity: 0,
            len: 0,
            root: ROOT_COMPLETE,
            own: true,
        }
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

    /// The frames of the last stack but the most recent one, from it outwards.
    pub fn callers(&self) -> impl Iterator<Item = &Frame> {
        (0..self.len.saturating_sub(1)).rev().map(|i| self.frame(i))
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
        let bytes = capacity * (2 * size_of::<Frame>() + CHECKS_PER_FRAME * size_of::<Check>());
        let Some(memory) = arena::map(bytes) else { return false };
        let frames = memory.cast::<Frame>();
        // SAFETY: the three arrays fit the new mapping; the old ones hold `capacity` items each, not all of them written,
        // which copying raw memory does not mind.
        unsafe {
            let fresh = frames.add(capacity);
            let checks = fresh.add(capacity).cast::<Check>();
            if self.capacity > 0 {
                core::ptr::copy_nonoverlapping(self.frames, frames, self.capacity);
                core::ptr::copy_nonoverlapping(self.fresh, fresh, self.capacity);
                core::ptr::copy_nonoverlapping(self.checks, checks, self.capacity * CHECKS_PER_FRAME);
            }
            (self.frames, self.fresh, self.checks, self.capacity) = (frames, fresh, checks, capacity);
        }
        true
    }

    /// Compares the words of the frames below `top` with memory, from the most recent on; how many are left when one has
    /// changed, 0 if none has.
    #[inline(always)]
    fn unchanged_below(&self, top: usize) -> usize {
        let count = if top == 0 { 0 } else { self.frame(top - 1).checks };
        let mut left = count;
        // SAFETY (of all reads below): the first `count` checks were written. A checked address lies in the thread's own
        // stack above the stack pointer, or, one by one from the leaf on, unwinding from scratch would read it too: all
        // words above are equal, so it would be in the same states.
        let difference = |i: usize| unsafe {
            let [slot, word] = *self.checks.add(i);
            read(slot as usize) ^ word
        };
        if self.own {
            // Four at a time: independent loads and one branch.
            while left >= 4 {
                let i = left - 4;
                if difference(i) | difference(i + 1) | difference(i + 2) | difference(i + 3) != 0 {
                    break;
                }
                left -= 4;
            }
        }
        while left > 0 && difference(left - 1) == 0 {
            left -= 1;
        }
        left
    }

    /// The frame below `top` that check `index` belongs to.
    fn frame_of_check(&self, index: usize, top: usize) -> usize {
        let (mut low, mut high) = (0, top);
        while low < high {
            let middle = low.midpoint(high);
            if self.frame(middle).checks <= index { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Writes frame `index` and its checks behind `checks` others; the new number of checks.
    #[inline(always)]
    fn put(&mut self, index: usize, frame: &Frame, mut checks: usize) -> usize {
        // SAFETY: `index < capacity`, and there is room for three checks per frame.
        unsafe {
            self.checks.add(checks).write([frame.pc_slot as u64, frame.pc]);
            checks += 1;
            if frame.bp_slot != 0 {
                self.checks.add(checks).write([frame.bp_slot as u64, frame.bp]);
                checks += 1;
            }
            if frame.sp_slot != 0 {
                self.checks.add(checks).write([frame.sp_slot as u64, frame.sp]);
                checks += 1;
            }
            self.frames.add(index).write(Frame { checks, ..*frame });
        }
        checks
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
    // SAFETY: the processor pushed the return address there.
    let pc = unsafe { read(sp) };
    // The whole stack is as it was at the last event: no frame is fresh. The chain holds stacks of the thread's own stack
    // only, so an equal stack pointer says that this is one.
    let mut unchanged = None;
    if let Some(last) = state.chain.len.checked_sub(1) {
        let frame = state.chain.frame(last);
        if frame.sp == sp as u64 + 8 && frame.pc == pc && (frame.bp == bp || !frame.bp_matters) && frame.flags == 0 {
            let left = state.chain.unchanged_below(last);
            if left == 0 && process.verify_every.load(Relaxed) == 0 {
                return frame.node;
            }
            unchanged = Some(left);
        }
    }
    let leaf = Frame { pc_slot: sp, pc, bp, sp: sp as u64 + 8, ..Frame::EMPTY };
    capture_changed(process, state, leaf, unchanged)
}

/// The stack differs from the last one. `compared`: how many words are left behind those that are known to be equal, if
/// the leaf is in the state of the last stack's.
#[inline(never)]
fn capture_changed(process: &Process, state: &mut ThreadState, leaf: Frame, compared: Option<usize>) -> u32 {
    let own = state.bounds.contains(leaf.pc_slot);
    let depth = process.max_depth.load(Relaxed) as usize;
    if own && depth == 0 {
        let high = state.bounds.high();
        let node = walk(process, state, leaf, high, compared);
        if process.verify_every.load(Relaxed) != 0 {
            count_down_to_verify(process, state, leaf);
        }
        node
    } else {
        capture_uncached(process, state, leaf, if depth == 0 { MAX_FRAMES } else { depth.min(MAX_FRAMES) })
    }
}

#[cold]
#[inline(never)]
fn count_down_to_verify(process: &Process, state: &mut ThreadState, leaf: Frame) {
    state.until_verify = state.until_verify.saturating_sub(1);
    if state.until_verify == 0 && state.bounds.room_below(leaf.pc_slot) >= VERIFY_STACK_BYTES {
        state.until_verify = process.verify_every.load(Relaxed);
        verify::verify(process, state, leaf);
    }
}

/// Whether walking from `leaf` without any cached stack finds the frames that the chain holds.
#[must_use]
pub fn is_same_from_scratch(process: &Process, state: &mut ThreadState, leaf: Frame) -> bool {
    if state.chain.len == 0 {
        return true; // too deep to be kept
    }
    let (n, _) = walk_uncached(process, state, leaf, MAX_FRAMES * 2);
    let fresh = state.chain.fresh(n);
    n == state.chain.len
        && (0..n).all(|i| {
            let kept = state.chain.frame(n - 1 - i);
            (kept.pc, kept.sp, kept.flags) == (fresh[i].pc, fresh[i].sp, fresh[i].flags)
        })
}

/// The walk with prefix validation, on the thread's own stack.
fn walk(process: &Process, state: &mut ThreadState, leaf: Frame, mut high: usize, mut compared: Option<usize>) -> u32 {
    let mut top = state.chain.len;
    let mut n = 0;
    let mut current = leaf;
    let root = loop {
        while top > 0 && state.chain.frame(top - 1).sp < current.sp {
            top -= 1;
        }
        if top > 0 && state.chain.frame(top - 1).is_same_state(&current) {
            // From here on the walk would go as it went, if memory is as it was. The frame itself may have been found by
            // other words than last time, so it counts as fresh.
            top -= 1;
            current.bp_use = state.chain.frame(top).bp_use;
            let left = compared.take().unwrap_or_else(|| state.chain.unchanged_below(top));
            let Some(last_changed) = left.checked_sub(1) else {
                if !state.chain.push_fresh(n, current) {
                    return deeper(process, state, leaf);
                }
                n += 1;
                break state.chain.root;
            };
            let changed = state.chain.frame_of_check(last_changed, top);
            // Frames above the changed one are in the states they were in, under a caller yet to be found. An rbp that
            // did not matter may matter to the new caller: it is what came with the state until it is read anew.
            for i in (changed + 1..top).rev() {
                if !state.chain.push_fresh(n, current) {
                    return deeper(process, state, leaf);
                }
                n += 1;
                let next = *state.chain.frame(i);
                let bp = if next.bp_slot != 0 { next.bp } else { current.bp };
                current = Frame { bp, ..next };
            }
            top = changed + 1;
        }
        let stepped = step(process, state, &mut current, &mut high);
        if !state.chain.push_fresh(n, current) {
            return deeper(process, state, leaf);
        }
        n += 1;
        match stepped {
            Step::Caller(caller) => current = caller,
            Step::End(root) => {
                top = 0;
                break root;
            }
        }
    };
    // The bound moves only when a signal frame leads to another stack.
    finish(process, state, leaf, (top, n), root, high == state.bounds.high())
}

/// Joins `n` fresh frames to the `base` cached ones that hold, giving every fresh frame its node.
#[inline(always)]
fn finish(
    process: &Process,
    state: &mut ThreadState,
    leaf: Frame,
    (base, n): (usize, usize),
    root: u32,
    own: bool,
) -> u32 {
    if base + n > MAX_FRAMES {
        return deeper(process, state, leaf);
    }
    while base + n > state.chain.capacity {
        if !state.chain.grow() {
            return deeper(process, state, leaf);
        }
    }
    state.chain.root = root;
    let (mut node, mut bp_matters, mut checks) = match base.checked_sub(1).map(|last| state.chain.frame(last)) {
        Some(last) => (last.node, last.bp_matters, last.checks),
        None => (root, false, 0),
    };
    state.chain.own = own && (base == 0 || state.chain.own);
    for i in 0..n {
        let mut frame = state.chain.fresh(n)[n - 1 - i];
        bp_matters = match frame.bp_use {
            BpUse::Passes => bp_matters,
            BpUse::Replaces => false,
            BpUse::Needs => true,
        };
        frame.bp_matters = bp_matters;
        node = process.nodes.intern(process, state, node, frame.pc, frame.flags);
        if node == NO_STACK {
            state.chain.clear();
            return NO_STACK;
        }
        frame.node = node;
        checks = state.chain.put(base + i, &frame, checks);
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
        match step(process, state, &mut current, &mut high) {
            Step::End(root) => return (n, root),
            Step::Caller(_) if n == limit => return (n, ROOT_TRUNCATED),
            Step::Caller(caller) => current = caller,
        }
    }
}

/// The caller of `frame`.
#[inline(always)]
fn step(process: &Process, state: &mut ThreadState, frame: &mut Frame, high: &mut usize) -> Step {
    let rule = if frame.flags & NODE_EXACT == 0 { process.rules.get(frame.pc) } else { None };
    match rule {
        Some(rule) if rule != Rule::Special => apply(frame, rule, *high),
        _ => step_slow(process, state, frame, high),
    }
}

#[inline(always)]
fn apply(frame: &mut Frame, rule: Rule, high: usize) -> Step {
    frame.bp_use = match rule {
        Rule::Sp { .. } | Rule::End => BpUse::Passes,
        Rule::SpSaved { .. } => BpUse::Replaces,
        _ => BpUse::Needs,
    };
    let frame = &*frame;
    let readable = |address: u64| frame.sp <= address && address < high as u64 && address.is_multiple_of(8);
    // SAFETY (of the reads below): `readable` addresses lie between the stack pointer and the end of a mapped stack.
    let (cfa, bp_slot, sp_slot) = match rule {
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
            let sp_slot = frame.bp.wrapping_add_signed(offset.into());
            if !readable(sp_slot) {
                return Step::End(ROOT_BROKEN);
            }
            let cfa = unsafe { read(sp_slot as usize) };
            (cfa, frame.bp.wrapping_add_signed(saved.into()), sp_slot)
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
        sp_slot: sp_slot as usize,
        sp: cfa,
        ..Frame::EMPTY
    })
}

/// A frame without a remembered rule: looks it up, or finds its caller in another way.
#[cold]
#[inline(never)]
fn step_slow(process: &Process, state: &mut ThreadState, frame: &mut Frame, high: &mut usize) -> Step {
    let exact = frame.flags & NODE_EXACT != 0;
    let pc = if exact { frame.pc } else { frame.pc - 1 };
    let Some(object) = process.modules.object_at(pc) else { return step_outside_modules(process, frame, *high) };
    // Makes the module known, and with it whether it lies where another one was.
    process.modules.place(process, state, frame.pc);
    let found = match cfi::find(&object, pc) {
        // A function that is returned into at its very start, with no code before it: nobody called, somebody put the
        // address there (`__start_context` of makecontext, the first frame of a coroutine).
        Found::Nothing if !exact && cfi::find(&object, frame.pc) != Found::Nothing => Found::Rule(Rule::End),
        found => found,
    };
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
fn step_signal(state: &mut ThreadState, frame: &mut Frame, high: &mut usize) -> Step {
    frame.bp_use = BpUse::Replaces;
    const RBP_OFFSET: u64 = 120;
    const RSP_OFFSET: u64 = 160;
    const RIP_OFFSET: u64 = 168;
    if frame.sp + RIP_OFFSET + 8 > *high as u64 || !frame.sp.is_multiple_of(8) {
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
        sp_slot: slot(RSP_OFFSET),
        sp,
        flags: NODE_EXACT,
        ..Frame::EMPTY
    })
}

/// Code without call frame information: if rbp is a frame pointer that leads to a return address in a known module, it
/// is believed, and the caller marked; otherwise the stack ends here.
fn step_frame_pointer(process: &Process, frame: &mut Frame, high: usize) -> Step {
    if frame.sp as usize >= elf::main_stack_end() && frame.sp as usize <= high {
        return Step::End(ROOT_COMPLETE); // the loader's own start, below which is only what the kernel put there
    }
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
fn step_outside_modules(process: &Process, frame: &mut Frame, high: usize) -> Step {
    let executable = sys::vma_at(frame.pc as usize).is_some_and(|vma| vma.executable);
    if executable { step_frame_pointer(process, frame, high) } else { Step::End(ROOT_BROKEN) }
}
