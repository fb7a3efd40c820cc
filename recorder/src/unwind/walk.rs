//! Walks a stack, proving how much of the thread's last stack is unchanged.
//!
//! Unwinding is a deterministic function of the start state (return address, stack pointer, rbp), of the words it reads
//! from the stack and of the loaded code. [`Chain`](super::chain::Chain) keeps, for every frame of the last stack, its
//! state and which words it was read from. A new walk steps through frames with the rules until it meets a cached frame
//! in the same state; then it compares the words that the rest of the walk would read with those that it read last time.
//! If they are all equal and the epoch (loaded code) is the same, the rest of the stack is proven equal, tree nodes
//! included. At the first word that differs the walk goes on with the rules from the frame above it. Before a walk begins,
//! [`Memo`](super::memo::Memo) is asked whether one has gone this way lately.
//!
//! Nothing is written to the stack and nothing assumed about who changes it, so exceptions, `longjmp`, coroutines and
//! reused stacks need no special care. Words are compared from the leaf on. If they lie in the thread's own stack, which
//! stays readable, that is done in groups, otherwise one by one and only as long as they are equal, so no address is read
//! that unwinding from scratch would not read.

use core::sync::atomic::Ordering::Relaxed;

use tmq_wire::record::{NO_STACK, ROOT_TRUNCATED};

use super::chain::{BpUse, Found, Frame, MAX_FRAMES, read};
use super::memo::Leaf;
use super::step::{End, Step, is_verifying};
use crate::nodes::{Key, Path};
use crate::process::{self, Process};
use crate::thread::ThreadState;
use crate::verify;

/// What is kept of a stack that is deeper than [`MAX_FRAMES`]: the most recent frames.
const KEPT_OF_DEEPER: usize = 512;
/// Stack that verification may need; on less it is not done.
const VERIFY_STACK_BYTES: usize = 128 << 10;

/// Number of the tree node for the stack of a hook entered with stack pointer `sp` (at the return address) and `bp`.
#[inline(always)]
pub fn capture(process: &Process, state: &mut ThreadState, sp: usize, bp: u64) -> u32 {
    // SAFETY: the processor pushed the return address there.
    let pc = unsafe { read(sp) };
    // The whole stack is as it was at the last event: no frame is fresh. The chain holds stacks of the thread's own stack
    // only, so an equal stack pointer says that this is one.
    if let Some(last) = state.chain.len.checked_sub(1) {
        let frame = state.chain.frame(last);
        let is_same_leaf =
            frame.sp == sp as u64 + 8 && frame.pc == pc && (frame.bp == bp || !frame.bp_matters) && frame.flags == 0;
        if is_same_leaf && state.chain.is_unchanged_below(last) && !is_verifying(process) {
            return frame.node;
        }
    }
    capture_changed(process, state, sp, pc, bp)
}

/// The stack differs from the last one.
#[inline(never)]
// SAFETY: a section of code.
#[unsafe(link_section = ".text.tmq_hot")]
fn capture_changed(process: &Process, state: &mut ThreadState, sp: usize, pc: u64, bp: u64) -> u32 {
    // Nothing of a remembered stack depends on rules, so code that was unloaded meanwhile does not matter.
    if state.bounds.contains(sp)
        && process.max_depth.load(Relaxed) == 0
        && !is_verifying(process)
        && let Some((node, _)) = state.memo.find(&state.chain, Leaf::new(sp, pc, bp))
    {
        return node;
    }
    capture_new(process, state, sp, pc, bp)
}

/// The stack is none that is remembered; or that is to be verified.
#[inline(never)]
fn capture_new(process: &Process, state: &mut ThreadState, sp: usize, pc: u64, bp: u64) -> u32 {
    let hook = Leaf::new(sp, pc, bp);
    let leaf = hook.frame();
    let depth = process.max_depth.load(Relaxed) as usize;
    if state.bounds.contains(sp) && depth == 0 {
        let remembered = if is_verifying(process) { state.memo.find(&state.chain, hook) } else { None };
        let mut node = match remembered {
            Some((node, _)) => node,
            None => walk(process, state, &leaf),
        };
        if state.epoch != process::epoch() {
            node = walk_again(process, state, &leaf);
        }
        if is_verifying(process) {
            count_down_to_verify(process, state, leaf, remembered);
        }
        node
    } else {
        capture_uncached(process, state, &leaf, if depth == 0 { MAX_FRAMES } else { depth.min(MAX_FRAMES) })
    }
}

/// While the stack was walked, code was found to lie where other code had been, or code was unloaded: rules that were used
/// may have been those of the old one. Once more, unless that goes on and on.
#[cold]
#[inline(never)]
fn walk_again(process: &Process, state: &mut ThreadState, leaf: &Frame) -> u32 {
    state.epoch = process::epoch();
    state.forget_stacks();
    state.chain.deep_sp = 0;
    walk(process, state, leaf)
}

#[cold]
#[inline(never)]
fn count_down_to_verify(process: &Process, state: &mut ThreadState, leaf: Frame, remembered: Option<(u32, Path)>) {
    state.until_verify = state.until_verify.saturating_sub(1);
    if state.until_verify == 0 && state.bounds.room_below(leaf.pc_slot) >= VERIFY_STACK_BYTES {
        state.until_verify = process.verify_every.load(Relaxed);
        let is_remembered_right = remembered.is_none_or(|found| is_same_as_walked(process, state, &leaf, found));
        verify::verify(process, state, leaf, is_remembered_right);
    }
}

/// Whether walking from `leaf` leads to the node that a branch said, and so that the chain holds its frames.
fn is_same_as_walked(process: &Process, state: &mut ThreadState, leaf: &Frame, (node, path): (u32, Path)) -> bool {
    let walked = walk(process, state, leaf);
    // Two threads may number the same node at the same time, each for itself.
    walked == node || state.chain.len.checked_sub(1).is_some_and(|last| state.chain.frame(last).path == path)
}

/// Walks from `leaf` without any cached stack. Says whether that finds the frames that the chain holds, and how many fresh
/// ones it leaves.
#[must_use]
pub fn compare_with_scratch(process: &Process, state: &mut ThreadState, leaf: &Frame) -> (bool, usize) {
    if state.chain.len == 0 {
        return (true, 0); // too deep to be kept
    }
    let (n, _) = walk_uncached(process, state, leaf, MAX_FRAMES * 2);
    let is_same = n == state.chain.len
        && (0..n).all(|i| {
            let (kept, fresh) = (state.chain.frame(n - 1 - i), state.chain.fresh(i));
            (kept.pc, kept.sp, kept.flags) == (fresh.pc, fresh.sp, fresh.flags)
        });
    (is_same, n)
}

/// The walk with prefix validation, on the thread's own stack.
#[inline(always)]
fn walk(process: &Process, state: &mut ThreadState, leaf: &Frame) -> u32 {
    let own_high = state.bounds.high();
    let mut high = own_high;
    let mut top = state.chain.len;
    if state.chain.deep_sp != 0
        && let Some(node) = still_deeper(process, state, leaf)
    {
        return node;
    }
    if !state.chain.has_room(0) {
        return deeper(process, state, leaf);
    }
    *state.chain.fresh_pair(0).0 = *leaf;
    // Fresh frame `n` is the current one.
    let mut n = 0;
    let root = loop {
        let current = state.chain.fresh(n);
        while top > 0 && state.chain.frame(top - 1).sp < current.sp {
            top -= 1;
        }
        if top > 0 && state.chain.frame(top - 1).is_same_state(current) {
            // From here on the walk would go as it went, if memory is as it was. The frame itself may have been found by
            // other words than last time, so it counts as fresh.
            top -= 1;
            state.chain.fresh_pair(n).0.bp_use = state.chain.frame(top).bp_use;
            if state.chain.is_unchanged_below(top) {
                break state.chain.root;
            }
            // None, if another thread has meanwhile put back what it had changed in this one's stack.
            let Some(last_changed) = state.chain.unchanged_below(top).checked_sub(1) else { break state.chain.root };
            let changed = state.chain.frame_of_check(last_changed, top);
            let Some(last) = take_over(state, n, changed + 1..top) else { return deeper(process, state, leaf) };
            (n, top) = (last, changed + 1);
        }
        if !state.chain.has_room(n) {
            // As many frames as can be kept are further out than this one.
            state.chain.deep_sp = n.checked_sub(MAX_FRAMES).map_or(0, |i| state.chain.fresh(i).sp);
            return deeper(process, state, leaf);
        }
        match step(process, state, n, &mut high) {
            None => n += 1,
            Some(root) => {
                top = 0;
                break root;
            }
        }
    };
    // The bound moves only when a signal frame leads to another stack.
    finish(process, state, leaf, (top, n + 1), root, high == own_high)
}

/// Takes over cached frames that are in the states they were in, under a caller yet to be found, as fresh ones behind
/// number `n`; the number of the last. An rbp that did not matter may matter to the new caller: it is read again, or what
/// came with the state.
#[inline(always)]
fn take_over(state: &mut ThreadState, mut n: usize, frames: core::ops::Range<usize>) -> Option<usize> {
    for i in frames.rev() {
        if !state.chain.has_room(n) {
            return None;
        }
        let kept = *state.chain.frame(i);
        let (callee, frame) = state.chain.fresh_pair(n);
        *frame = kept;
        if kept.bp_slot == 0 {
            frame.bp = callee.bp;
        } else if !kept.bp_matters {
            // SAFETY: the callee is in the state that it was in when this address was found to be readable stack.
            frame.bp = unsafe { read(kept.bp_slot) };
        }
        n += 1;
    }
    Some(n)
}

/// Finds the caller of fresh frame `n`.
#[inline(always)]
fn step(process: &Process, state: &mut ThreadState, n: usize, high: &mut usize) -> End {
    let (frame, caller) = state.chain.fresh_pair(n);
    match (Step { frame, caller, high: &mut *high }).fast(process) {
        Ok(end) => end,
        Err(()) => step_slow(process, state, n, high),
    }
}

#[cold]
#[inline(never)]
fn step_slow(process: &Process, state: &mut ThreadState, n: usize, high: &mut usize) -> End {
    // Looking a module up writes to the stream, so the frames are worked on outside of the state.
    let mut frame = *state.chain.fresh(n);
    let mut caller = Frame::EMPTY;
    let end = Step { frame: &mut frame, caller: &mut caller, high }.slow(process, state);
    let (to_frame, to_caller) = state.chain.fresh_pair(n);
    (*to_frame, *to_caller) = (frame, caller);
    end
}

/// Joins `n` fresh frames to the `base` cached ones that hold, giving every fresh frame its node.
#[inline(always)]
fn finish(
    process: &Process,
    state: &mut ThreadState,
    leaf: &Frame,
    (base, n): (usize, usize),
    root: u32,
    own: bool,
) -> u32 {
    if !state.chain.can_keep(base + n) {
        state.chain.deep_sp = (base + n).checked_sub(MAX_FRAMES + 1).map_or(0, |i| state.chain.fresh(i).sp);
        return deeper(process, state, leaf);
    }
    state.chain.root = root;
    let (mut found, mut checks) = match base.checked_sub(1).map(|last| state.chain.frame(last)) {
        Some(last) => (Found { node: last.node, path: last.path, bp_matters: last.bp_matters }, last.checks as usize),
        None => (Found { node: root, path: Path::of_root(root), bp_matters: false }, 0),
    };
    state.chain.own = own && (base == 0 || state.chain.own);
    for i in (0..n).rev() {
        let frame = state.chain.fresh(i);
        let bp_matters = match frame.bp_use {
            BpUse::Passes => found.bp_matters,
            BpUse::Replaces => false,
            BpUse::Needs => true,
        };
        let key = key_of(found.node, found.path, frame);
        let node = process.nodes.intern(process, state, key);
        if node == NO_STACK {
            state.chain.clear();
            return NO_STACK;
        }
        found = Found { node, path: key.path, bp_matters };
        checks = state.chain.keep(i, base + n - 1 - i, found, checks);
    }
    state.chain.len = base + n;
    if state.chain.own {
        state.memo.keep(&state.chain, Leaf { sp: leaf.sp, pc: leaf.pc, bp: leaf.bp }, base, found);
    }
    found.node
}

#[inline(always)]
fn key_of(parent: u32, path: Path, frame: &Frame) -> Key {
    Key { parent, path: path.to(frame.pc, frame.flags), pc: frame.pc, flags: frame.flags }
}

/// The stack is deeper than what is kept whole.
#[cold]
#[inline(never)]
fn deeper(process: &Process, state: &mut ThreadState, leaf: &Frame) -> u32 {
    capture_uncached(process, state, leaf, KEPT_OF_DEEPER)
}

/// Recursion beyond what is kept calls the hooks at each of its levels: to walk the whole stack each time, only to find
/// that it is still too deep, would take a hundred times as long as the frames that are kept. `None`: it may not be.
#[cold]
#[inline(never)]
fn still_deeper(process: &Process, state: &mut ThreadState, leaf: &Frame) -> Option<u32> {
    if leaf.sp > state.chain.deep_sp {
        state.chain.deep_sp = 0; // what lies further out may change from now on
        return None;
    }
    Some(deeper(process, state, leaf))
}

/// Walks from scratch and keeps nothing: with a depth limit, or on a stack that is not the thread's own.
#[cold]
#[inline(never)]
fn capture_uncached(process: &Process, state: &mut ThreadState, leaf: &Frame, limit: usize) -> u32 {
    state.chain.clear();
    let (n, root) = walk_uncached(process, state, leaf, limit);
    if root != ROOT_TRUNCATED {
        state.chain.deep_sp = 0;
    }
    let (mut node, mut path) = (root, Path::of_root(root));
    for i in (0..n).rev() {
        let key = key_of(node, path, state.chain.fresh(i));
        (node, path) = (process.nodes.intern(process, state, key), key.path);
        if node == NO_STACK {
            break;
        }
    }
    node
}

/// Number of fresh frames, and the root they end at.
fn walk_uncached(process: &Process, state: &mut ThreadState, leaf: &Frame, limit: usize) -> (usize, u32) {
    let sp = leaf.sp as usize - 8;
    let mut high = if state.bounds.contains(sp) { state.bounds.high() } else { state.bounds.foreign_high(sp) };
    if !state.chain.has_room(0) {
        return (0, ROOT_TRUNCATED);
    }
    *state.chain.fresh_pair(0).0 = *leaf;
    let mut n = 0;
    loop {
        if !state.chain.has_room(n) {
            return (n + 1, ROOT_TRUNCATED);
        }
        match step(process, state, n, &mut high) {
            Some(root) => return (n + 1, root),
            None if n + 1 == limit => return (limit, ROOT_TRUNCATED),
            None => n += 1,
        }
    }
}
