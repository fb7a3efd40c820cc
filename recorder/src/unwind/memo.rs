//! Stacks that a thread has had lately, beside the last one.
//!
//! Programs alternate: a loop allocates from three places, and each time the last few frames differ from those before
//! while everything further out stays. To walk these frames anew costs some 200 instructions each. So what a walk found
//! is kept as a *branch*: the leaf's state, the words by which the frames from there on were found, and the frame of the
//! [`Chain`] that they led to. If a later stack has the same leaf, the same words, and the chain still has that frame in
//! that state, then unwinding would go the same way down to it, and from there on the chain's own words prove the rest.
//!
//! What makes a branch valid is only what unwinding reads, as for the chain. It may therefore hang on a chain that has
//! changed further in since, and many branches of the same leaf may stand side by side, as where all allocations go through
//! one function. So a branch is found by a hash not of the leaf's state alone but also of the words where the next return
//! addresses lay when a stack with this leaf was first kept. What else may lie there now does no harm: it leads to no branch.

use core::arch::asm;

use super::chain::{Chain, Found, Frame, read};
use crate::arena;
use crate::nodes::Path;

/// Words of a branch; with more, the stack is walked each time.
const MAX_WORDS: usize = 16;
/// Bytes of a word.
const WORD: i64 = 8;
/// Words that are compared with one branch instruction.
const GROUP: usize = 4;
/// Branches of leaves with the same hash.
const WAYS: usize = 4;
const SET_BITS: u32 = 6;
const BRANCHES: usize = WAYS << SET_BITS;
/// Walks of a thread before it gets memory for branches: short threads need none.
const WALKS_BEFORE: u32 = 16;

/// Return addresses behind the leaf's that take part in the hash. With fewer, stacks that differ further out crowd one set:
/// with three, a program of 81 paths whose last four frames differ took 25 ns a pair more.
const HASHED: usize = 4;
const HINT_BITS: u32 = 8;

const _: () = assert!(MAX_WORDS.is_multiple_of(GROUP));

/// State of the hook's caller, from which unwinding starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    /// Stack pointer when it resumes.
    pub(super) sp: u64,
    /// Return address.
    pub(super) pc: u64,
    pub(super) bp: u64,
}

impl Leaf {
    /// The caller of a hook that was entered with stack pointer `sp`.
    #[inline(always)]
    pub(super) fn new(sp: usize, pc: u64, bp: u64) -> Self {
        Self { sp: sp as u64 + 8, pc, bp }
    }

    /// It as a frame.
    #[inline(always)]
    pub(super) fn frame(self) -> Frame {
        let Self { sp, pc, bp } = self;
        Frame { pc_slot: sp as usize - 8, pc, bp, sp, ..Frame::EMPTY }
    }
}

/// A leaf and its frames up to one of the chain. Most branches have few words, so a branch's first ones lie in its
/// second cache line.
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
    /// Groups of words that are compared.
    groups: u32,
    bp_matters: bool,
    join_bp_matters: bool,
    /// Distances of the words from the leaf's stack pointer, in words.
    offsets: [i16; MAX_WORDS],
    values: [u64; MAX_WORDS],
}

const _: () = assert!(size_of::<Branch>() == 256);
const _: () = assert!(core::mem::offset_of!(Branch, values) + GROUP * size_of::<u64>() == 128);

impl Branch {
    /// Whether it has this leaf, and memory is as it was.
    #[inline(always)]
    fn is_of(&self, leaf: Leaf) -> bool {
        self.has_leaf(leaf) && self.is_unchanged()
    }

    #[inline(always)]
    fn has_leaf(&self, leaf: Leaf) -> bool {
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
        let groups = self.groups as usize;
        debug_assert!(groups * GROUP <= MAX_WORDS);
        // SAFETY: `put` never writes more groups than there is room for. (Slices of the arrays would tell the compiler how
        // many these are at most, and it would write the loop out.)
        let (offsets, values) = unsafe {
            let offsets: *const [i16; GROUP] = self.offsets.as_ptr().cast();
            let values: *const [u64; GROUP] = self.values.as_ptr().cast();
            (core::slice::from_raw_parts(offsets, groups), core::slice::from_raw_parts(values, groups))
        };
        for (offsets, values) in offsets.iter().zip(values) {
            let difference = |i: usize| {
                let distance = isize::from(offsets[i]) * WORD as isize;
                // SAFETY: words of branches lie in the thread's own stack at or above the leaf's stack pointer, which is
                // that of the hook under way (`has_leaf`), or are the return address right below it.
                unsafe { read((self.sp as usize).wrapping_add_signed(distance)) ^ values[i] }
            };
            if difference(0) | difference(1) | difference(2) | difference(3) != 0 {
                return false;
            }
        }
        true
    }
}

/// What to hash besides a leaf's state.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Hint {
    /// State of the leaf; 0: there is none.
    sp: u64,
    pc: u64,
    /// Distances of the words from the stack pointer.
    offsets: [i32; HASHED],
}

const NO_HINT: Hint = Hint { sp: 0, pc: 0, offsets: [0; HASHED] };

impl Hint {
    /// Where the hint for a leaf is.
    #[inline(always)]
    fn place(leaf: Leaf) -> usize {
        ((leaf.pc ^ leaf.sp.rotate_left(24)).wrapping_mul(FACTOR) >> (64 - HINT_BITS)) as usize
    }

    #[inline(always)]
    fn is_for(&self, leaf: Leaf) -> bool {
        self.sp == leaf.sp && self.pc == leaf.pc
    }

    /// The hash by which branches of this leaf are found.
    #[inline(always)]
    fn tag(&self) -> u64 {
        let word = |i: usize| {
            let slot = self.sp.wrapping_add_signed(self.offsets[i].into());
            // SAFETY: a return address lay there, in the thread's own stack above the leaf's stack pointer (or it is the
            // leaf's own, right below). The leaf under way has this stack pointer (`is_for`), so the stack is in use there.
            unsafe { read(slot as usize) }
        };
        let pair = |i: usize| word(i).rotate_left(32) ^ word(i + 1);
        let first = pair(0).wrapping_mul(FACTOR).rotate_left(17);
        (first ^ pair(2) ^ self.pc ^ self.sp.rotate_left(24)).wrapping_mul(FACTOR) | 1
    }
}

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// All in one mapping; zeros: nothing is kept.
#[derive(Debug)]
#[repr(C)]
struct Table {
    /// By set and way: the hash of the branch; 0: there is none.
    tags: [[u64; WAYS]; 1 << SET_BITS],
    hints: [Hint; 1 << HINT_BITS],
    branches: [Branch; BRANCHES],
}

impl Table {
    /// The branch of a leaf with the words that lie there.
    #[inline(always)]
    fn find(&self, tag: u64, leaf: Leaf) -> Option<&Branch> {
        let set = set_of(tag);
        let ways = opaque(WAYS);
        // SAFETY: as many as a set has.
        let tags = unsafe { core::slice::from_raw_parts(self.tags[set].as_ptr(), ways) };
        let way = opaque(tags.iter().position(|&its| its == tag)?) % WAYS;
        let branch = &self.branches[set * WAYS + way];
        if branch.is_of(leaf) { Some(branch) } else { self.find_further(tag, leaf, way) }
    }

    /// The same, behind one of that tag with other words.
    #[cold]
    #[inline(never)]
    fn find_further(&self, tag: u64, leaf: Leaf, way: usize) -> Option<&Branch> {
        let set = set_of(tag);
        let branches = self.tags[set].iter().zip(&self.branches[set * WAYS..]).skip(way + 1);
        branches.filter(|(its, _)| **its == tag).map(|(_, branch)| branch).find(|branch| branch.is_of(leaf))
    }
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

/// The same number, of which the compiler knows nothing. If it knew the bound of a small loop it would write the loop out,
/// and the recorder shares the processor's caches with the program, also those for instructions.
#[inline(always)]
fn opaque(mut number: usize) -> usize {
    // SAFETY: there are no instructions.
    unsafe { asm!("/* {0} */", inout(reg) number, options(nomem, nostack, pure, preserves_flags)) };
    number
}

#[inline(always)]
fn set_of(tag: u64) -> usize {
    (tag >> (64 - SET_BITS)) as usize
}

/// Where the return addresses behind that of the leaf lie, as distances from its stack pointer `sp`; in a shallow stack the
/// leaf's own stands for those that there are not.
fn next_return_addresses(chain: &Chain, sp: u64) -> Option<[i32; HASHED]> {
    let mut offsets = [-8; HASHED];
    for (offset, frame) in offsets.iter_mut().zip(chain.callers()) {
        *offset = i32::try_from((frame.pc_slot as u64).checked_sub(sp)?).ok()?;
    }
    Some(offsets)
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
            let table = unsafe { &mut *self.table };
            table.tags = [[0; WAYS]; 1 << SET_BITS];
            table.hints = [NO_HINT; 1 << HINT_BITS];
        }
    }

    /// The node and path of the stack that ends in `leaf`, if a branch and the chain prove it.
    #[inline(always)]
    pub(super) fn find(&self, chain: &Chain, leaf: Leaf) -> Option<(u32, Path)> {
        if self.table.is_null() {
            return None;
        }
        // SAFETY: as in `clear`.
        let table = unsafe { &*self.table };
        let hint = &table.hints[Hint::place(leaf)];
        if !hint.is_for(leaf) {
            return None;
        }
        let tag = hint.tag();
        let branch = table.find(tag, leaf)?;
        // Another branch with these words would lead to the same frame.
        let is_proven = branch.hangs_on(chain) && chain.is_unchanged_below(branch.join as usize);
        is_proven.then_some((branch.node, branch.path))
    }

    /// Keeps the stack of the chain, which was walked down to its frame `join`, as a branch that leads to that frame.
    #[inline(always)]
    pub(super) fn keep(&mut self, chain: &Chain, leaf: Leaf, join: usize, found: Found) {
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
    fn put(&mut self, chain: &Chain, leaf: Leaf, join: usize, found: Found, checks: &[[u64; 2]]) {
        // SAFETY: as in `clear`; nothing else refers to it now.
        let table = unsafe { &mut *self.table };
        let hint = &mut table.hints[Hint::place(leaf)];
        if !hint.is_for(leaf) {
            let Some(offsets) = next_return_addresses(chain, leaf.sp) else { return };
            *hint = Hint { sp: leaf.sp, pc: leaf.pc, offsets };
        }
        let tag = hint.tag();
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
            let distance = slot.wrapping_sub(leaf.sp).cast_signed();
            let Some(offset) = i16::try_from(distance / WORD).ok().filter(|_| distance % WORD == 0) else { return };
            (branch.offsets[words], branch.values[words]) = (offset, value);
            words += 1;
        }
        while words == 0 || !words.is_multiple_of(GROUP) {
            // The return address of the leaf, which is compared already.
            (branch.offsets[words], branch.values[words]) = (-1, leaf.pc);
            words += 1;
        }
        (branch.sp, branch.pc, branch.bp, branch.bp_matters) = (leaf.sp, leaf.pc, leaf.bp, found.bp_matters);
        (branch.join, branch.join_node, branch.join_sp) = (join as u32, joined.node, joined.sp);
        (branch.join_bp, branch.join_bp_matters) = (joined.bp, joined.bp_matters);
        (branch.node, branch.path, branch.groups) = (found.node, found.path, (words / GROUP) as u32);
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
