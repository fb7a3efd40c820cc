//! Stacks that a thread has had lately, beside the last one.
//!
//! Programs alternate: a loop allocates from three places, and each time the last few frames differ from those before
//! while everything further out stays. To walk these frames anew costs some 200 instructions each. So what a walk found
//! is kept as a *branch*: the leaf's state, the words by which the frames from there on were found, and the frame of the
//! [`Chain`] that they led to. If a later stack has the same leaf, the same words, and the chain still has that frame in
//! that state, then unwinding would go the same way down to it, and from there on the chain's own words prove the rest.
//!
//! What makes a branch valid is only what unwinding reads, as for the chain. It may therefore hang on a chain that has
//! changed further in since, and two branches of the same leaf may stand side by side. A branch is found by the leaf's
//! state; where several have the same, their words tell.

use super::chain::{Chain, Found, Frame, read};
use crate::arena;
use crate::nodes::Path;

/// Words of a branch; with more, the stack is walked each time.
const MAX_WORDS: usize = 24;
/// Words that are compared with one branch instruction.
const GROUP: usize = 4;
/// Branches of leaves with the same hash.
const WAYS: usize = 4;
const SET_BITS: u32 = 4;
const BRANCHES: usize = WAYS << SET_BITS;
/// Walks of a thread before it gets memory for branches: short threads need none.
const WALKS_BEFORE: u32 = 16;

const _: () = assert!(MAX_WORDS.is_multiple_of(GROUP));

/// A leaf and its frames up to one of the chain.
#[derive(Debug)]
#[repr(C, align(64))]
struct Branch {
    /// State of the leaf.
    sp: u64,
    pc: u64,
    bp: u64,
    /// State of the frame of the chain.
    join_sp: u64,
    join_bp: u64,
    /// Its index, and its node: which code it and all frames further out are in.
    join: u32,
    join_node: u32,
    /// Node of the leaf.
    node: u32,
    path: Path,
    /// Words compared, a multiple of [`GROUP`].
    words: u32,
    bp_matters: bool,
    join_bp_matters: bool,
    /// Distances of the words from the leaf's stack pointer.
    offsets: [i32; MAX_WORDS],
    values: [u64; MAX_WORDS],
}

const _: () = assert!(size_of::<Branch>() == 384);

impl Branch {
    #[inline(always)]
    fn has_leaf(&self, leaf: &Frame) -> bool {
        self.sp == leaf.sp && self.pc == leaf.pc && (self.bp == leaf.bp || !self.bp_matters)
    }

    /// Whether the chain has the frame that this branch leads to.
    #[inline(always)]
    fn hangs_on(&self, chain: &Chain) -> bool {
        let join = self.join as usize;
        join < chain.len && {
            let frame = chain.frame(join);
            // The node says which code, and with it flags and rules.
            frame.node == self.join_node
                && frame.sp == self.join_sp
                && (frame.bp == self.join_bp || !self.join_bp_matters)
        }
    }

    /// Whether memory is as it was.
    #[inline(always)]
    fn is_unchanged(&self) -> bool {
        let difference = |i: usize| {
            let slot = self.sp.wrapping_add_signed(self.offsets[i].into());
            // SAFETY: words of branches lie in the thread's own stack at or above the leaf's stack pointer, which is that
            // of the hook under way (`has_leaf`), or are the return address right below it.
            unsafe { read(slot as usize) ^ self.values[i] }
        };
        (0..self.words as usize)
            .step_by(GROUP)
            .all(|i| difference(i) | difference(i + 1) | difference(i + 2) | difference(i + 3) == 0)
    }
}

/// What stands behind the tags, in one mapping.
#[derive(Debug)]
#[repr(C)]
struct Table {
    /// By set and way: a hash of the branch's leaf; 0: there is none.
    tags: [[u64; WAYS]; 1 << SET_BITS],
    branches: [Branch; BRANCHES],
}

/// The branches of a thread.
#[derive(Debug)]
pub struct Memo {
    /// Null until the thread has walked a few stacks.
    table: *mut Table,
    walks: u32,
    /// Which way of a set is given up next.
    next: u32,
}

impl Default for Memo {
    fn default() -> Self {
        Self::new()
    }
}

#[inline(always)]
fn tag_of(leaf: &Frame) -> u64 {
    (leaf.pc ^ leaf.sp.rotate_left(24)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

#[inline(always)]
fn set_of(tag: u64) -> usize {
    (tag >> (64 - SET_BITS)) as usize
}

impl Memo {
    /// No branches and no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { table: core::ptr::null_mut(), walks: 0, next: 0 }
    }

    /// Forgets all branches: code has changed, or the thread is another one.
    pub fn clear(&mut self) {
        if !self.table.is_null() {
            // SAFETY: the table is this thread's, and never unmapped.
            unsafe { (*self.table).tags = [[0; WAYS]; 1 << SET_BITS] };
        }
    }

    /// The node and path of the stack that ends in `leaf`, if a branch and the chain prove it.
    #[inline(always)]
    pub(super) fn find(&self, chain: &Chain, leaf: &Frame) -> Option<(u32, Path)> {
        if self.table.is_null() {
            return None;
        }
        // SAFETY: as in `clear`.
        let table = unsafe { &*self.table };
        let tag = tag_of(leaf);
        let set = set_of(tag);
        for way in 0..WAYS {
            if table.tags[set][way] != tag {
                continue;
            }
            let branch = &table.branches[set * WAYS + way];
            if branch.has_leaf(leaf) && branch.is_unchanged() {
                // Another branch with these words would lead to the same frame.
                let is_proven = branch.hangs_on(chain) && chain.unchanged_below(branch.join as usize) == 0;
                return is_proven.then_some((branch.node, branch.path));
            }
        }
        None
    }

    /// Keeps the stack of the chain, which was walked down to its frame `join`, as a branch that leads to that frame.
    #[inline(always)]
    pub(super) fn keep(&mut self, chain: &Chain, leaf: &Frame, join: usize, found: Found) {
        if self.table.is_null() {
            self.walks += 1;
            if self.walks < WALKS_BEFORE || !self.make_table() {
                return;
            }
        }
        let checks = chain.checks_between(join, chain.len - 1);
        if checks.len() <= MAX_WORDS {
            self.put(chain, leaf, join, found, checks);
        }
    }

    #[inline(never)]
    fn put(&mut self, chain: &Chain, leaf: &Frame, join: usize, found: Found, checks: &[[u64; 2]]) {
        // SAFETY: as in `clear`; nothing else refers to it now.
        let table = unsafe { &mut *self.table };
        let tag = tag_of(leaf);
        let set = set_of(tag);
        let branches = &mut table.branches[set * WAYS..][..WAYS];
        let tags = &mut table.tags[set];
        // The same stack may be there with a frame of a chain that is gone.
        let same = (0..WAYS).find(|&way| tags[way] == 0 || (tags[way] == tag && branches[way].node == found.node));
        let way = same.unwrap_or_else(|| {
            self.next = self.next.wrapping_add(1);
            self.next as usize % WAYS
        });
        let (branch, joined) = (&mut branches[way], chain.frame(join));
        tags[way] = 0;
        let mut words = 0;
        // From the leaf on, so that stacks that differ are soon told apart.
        for &[slot, value] in checks.iter().rev() {
            let Ok(offset) = i32::try_from(slot.wrapping_sub(leaf.sp)) else { return };
            (branch.offsets[words], branch.values[words]) = (offset, value);
            words += 1;
        }
        while !words.is_multiple_of(GROUP) {
            // The return address of the leaf, which is compared already.
            (branch.offsets[words], branch.values[words]) = (-8, leaf.pc);
            words += 1;
        }
        (branch.sp, branch.pc, branch.bp, branch.bp_matters) = (leaf.sp, leaf.pc, leaf.bp, found.bp_matters);
        (branch.join, branch.join_node, branch.join_sp) = (join as u32, joined.node, joined.sp);
        (branch.join_bp, branch.join_bp_matters) = (joined.bp, joined.bp_matters);
        (branch.node, branch.path, branch.words) = (found.node, found.path, words as u32);
        tags[way] = tag;
    }

    #[cold]
    #[inline(never)]
    fn make_table(&mut self) -> bool {
        self.walks = 0;
        match arena::map(size_of::<Table>()) {
            // Zeroed, which means that there is no branch.
            Some(memory) => self.table = memory.cast(),
            None => return false,
        }
        true
    }
}
