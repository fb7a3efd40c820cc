//! What a thread keeps of its last stack: frames, and the words that prove them.
//!
//! Frames are kept outermost first, so that a new stack that shares its outer frames with the last one changes the end
//! only. Fresh frames are collected most recent first, in the order in which a walk meets them, beside them.

use tmq_wire::record::ROOT_COMPLETE;

use crate::arena;
use crate::nodes::Path;

/// Deepest stack that is kept whole.
pub const MAX_FRAMES: usize = 8192;
const FIRST_CAPACITY: usize = 64;
/// Most words that one frame is read from: pc, rbp, stack pointer.
const CHECKS_PER_FRAME: usize = 3;
/// Checks that are compared with one branch instruction.
const GROUP: usize = 4;
/// Checks that always hold, below the first: so many that any number of checks can be compared in groups.
const PADDING: usize = GROUP - 1;

/// What a frame's rule does with the rbp that the frame resumes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum BpUse {
    /// Nothing: the caller resumes with the same.
    Passes,
    /// It is replaced by a word from the stack without having been looked at.
    Replaces,
    /// The caller is found by it.
    Needs,
}

/// A frame: its state when it resumes, and the words this state was read from.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Frame {
    /// Stack pointer when it resumes.
    pub(super) sp: u64,
    /// Where execution continues: a return address, or with `NODE_EXACT` the interrupted instruction.
    pub pc: u64,
    pub(super) bp: u64,
    /// Where `pc` was read.
    pub(super) pc_slot: usize,
    /// Where `bp` was read; 0: it was not read but came with the callee's state. While it does not matter, the word there
    /// may change, and `bp` is what it once was.
    pub(super) bp_slot: usize,
    /// Where `sp` was read, in frames that are found by a saved stack pointer (realigned ones, signals); 0: it follows
    /// from `pc_slot`.
    pub(super) sp_slot: usize,
    /// Number of [`Check`]s of this frame and all further out.
    pub(super) checks: u32,
    pub(super) node: u32,
    /// Where the tree has that node.
    pub(super) path: Path,
    /// `NODE_*`.
    pub(super) flags: u8,
    /// What this frame's rule does with the rbp it resumes with.
    pub(super) bp_use: BpUse,
    /// Whether that rbp matters to this frame or one further out before it is read anew from the stack. Optimised code
    /// keeps other things than frame pointers in rbp; as long as no rule looks at it, a different value is no different
    /// state.
    pub(super) bp_matters: bool,
}

const _: () = assert!(size_of::<Frame>() == 64);

impl Frame {
    /// A frame about which nothing is known.
    pub(super) const EMPTY: Self = Self {
        sp: 0,
        pc: 0,
        bp: 0,
        pc_slot: 0,
        bp_slot: 0,
        sp_slot: 0,
        checks: 0,
        node: 0,
        path: Path::of_root(0),
        flags: 0,
        bp_use: BpUse::Needs,
        bp_matters: true,
    };

    /// Whether unwinding from here would go as it went from `other`, as far as registers are concerned.
    #[inline(always)]
    pub(super) fn is_same_state(&self, other: &Self) -> bool {
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

    /// rbp when the frame resumes; of a frame that is kept, only if it matters.
    #[must_use]
    pub fn bp(&self) -> u64 {
        self.bp
    }

    /// Whether the frame was found by an ordinary rule: not behind a signal, a realigned stack or by guessing.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.flags == 0 && self.sp_slot == 0
    }
}

/// What is known of a frame when all further out are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) node: u32,
    pub(super) path: Path,
    /// See [`Frame::bp_matters`].
    pub(super) bp_matters: bool,
}

/// A word that the last walk read: its address and its value.
type Check = [u64; 2];

/// What the checks of [`PADDING`] are about.
static ZERO: u64 = 0;

/// The frames of a thread's last stack, outermost first, and room for the fresh ones of the next.
#[derive(Debug)]
pub struct Chain {
    frames: *mut Frame,
    fresh: *mut Frame,
    /// What was read to find `frames`, in their order: everything that must be equal for them to be equal. Below it lies
    /// [`PADDING`].
    checks: *mut Check,
    capacity: usize,
    pub(super) len: usize,
    pub(super) root: u32,
    /// Whether every word lies in the thread's own stack and so stays readable.
    pub(super) own: bool,
    /// Stack pointer of a frame with so many others further out that a stack that reaches it is too deep to be kept; 0:
    /// none is known.
    pub(super) deep_sp: u64,
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
            deep_sp: 0,
        }
    }

    /// Forgets the last stack.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets that the stack is too deep, for another thread.
    pub fn shallow(&mut self) {
        self.deep_sp = 0;
    }

    /// Frame `index` of the last stack, counted from the outermost one.
    #[inline(always)]
    pub(super) fn frame(&self, index: usize) -> &Frame {
        debug_assert!(index < self.len);
        // SAFETY: `index < len <= capacity`, and frames below `len` were written.
        unsafe { &*self.frames.add(index) }
    }

    /// The frames of the last stack but the most recent one, from it outwards.
    pub(super) fn callers(&self) -> impl Iterator<Item = &Frame> {
        (0..self.len.saturating_sub(1)).rev().map(|i| self.frame(i))
    }

    /// The first `count` fresh frames but the most recent one, from it outwards.
    pub fn fresh_callers(&self, count: usize) -> impl Iterator<Item = &Frame> {
        (1..count).map(|i| self.fresh(i))
    }

    /// Fresh frame `index` of the walk under way, counted from the most recent one.
    #[inline(always)]
    pub(super) fn fresh(&self, index: usize) -> &Frame {
        debug_assert!(index < self.capacity);
        // SAFETY: the walk has written the frames that it reads, and asked for room for them.
        unsafe { &*self.fresh.add(index) }
    }

    /// Fresh frame `index` and the room for its caller.
    #[inline(always)]
    pub(super) fn fresh_pair(&mut self, index: usize) -> (&mut Frame, &mut Frame) {
        debug_assert!(index + 1 < self.capacity);
        // SAFETY: as in `fresh`; the two are different, and memory of the arena is zeroed, which is a valid frame.
        unsafe { (&mut *self.fresh.add(index), &mut *self.fresh.add(index + 1)) }
    }

    /// Whether there is room for fresh frame `index` and its caller, after making it if need be.
    #[inline(always)]
    pub(super) fn has_room(&mut self, index: usize) -> bool {
        index + 1 < self.capacity || self.grow()
    }

    /// Whether `len` frames can be kept, after making room if need be.
    pub(super) fn can_keep(&mut self, len: usize) -> bool {
        while len > self.capacity {
            if !self.grow() {
                return false;
            }
        }
        len <= MAX_FRAMES
    }

    #[cold]
    fn grow(&mut self) -> bool {
        let capacity = if self.capacity == 0 { FIRST_CAPACITY } else { self.capacity * 2 };
        if capacity > MAX_FRAMES * 2 {
            return false;
        }
        let bytes = capacity * 2 * size_of::<Frame>() + (capacity * CHECKS_PER_FRAME + PADDING) * size_of::<Check>();
        let Some(memory) = arena::map(bytes) else { return false };
        let frames = memory.cast::<Frame>();
        // SAFETY: the three arrays fit the new mapping; the old ones hold `capacity` items each, not all of them written,
        // which copying raw memory does not mind.
        unsafe {
            let fresh = frames.add(capacity);
            let padding = fresh.add(capacity).cast::<Check>();
            (0..PADDING).for_each(|i| padding.add(i).write([&raw const ZERO as u64, ZERO]));
            let checks = padding.add(PADDING);
            if self.capacity > 0 {
                core::ptr::copy_nonoverlapping(self.frames, frames, self.capacity);
                core::ptr::copy_nonoverlapping(self.fresh, fresh, self.capacity);
                core::ptr::copy_nonoverlapping(self.checks, checks, self.capacity * CHECKS_PER_FRAME);
            }
            (self.frames, self.fresh, self.checks, self.capacity) = (frames, fresh, checks, capacity);
        }
        true
    }

    /// How many words the frames below `top` were found by.
    #[inline(always)]
    fn checks_below(&self, top: usize) -> usize {
        if top == 0 { 0 } else { self.frame(top - 1).checks as usize }
    }

    /// Whether check `index` does not hold: 0 if it does.
    ///
    /// # Safety
    /// It must be one that was written or of the padding, and its address be readable.
    #[inline(always)]
    unsafe fn difference(&self, index: isize) -> u64 {
        // SAFETY: the caller vouches for both.
        unsafe {
            let [slot, word] = *self.checks.offset(index);
            read(slot as usize) ^ word
        }
    }

    /// Whether the words of the frames below `top` are what they were.
    #[inline(always)]
    pub(super) fn is_unchanged_below(&self, top: usize) -> bool {
        if !self.own {
            return self.unchanged_below(top) == 0;
        }
        let mut left = self.checks_below(top).cast_signed();
        while left > 0 {
            // SAFETY: all words of a chain that is `own` lie in the thread's own stack and stay readable, also behind one
            // that has changed; `left` is at least 1, and there is padding below the first.
            let changed = unsafe {
                self.difference(left - 1)
                    | self.difference(left - 2)
                    | self.difference(left - 3)
                    | self.difference(left - 4)
            };
            if changed != 0 {
                return false;
            }
            left -= GROUP.cast_signed();
        }
        true
    }

    /// Compares the words of the frames below `top` with memory, from the most recent on; how many are left when one has
    /// changed, 0 if none has.
    #[inline(never)]
    pub(super) fn unchanged_below(&self, top: usize) -> usize {
        let mut left = self.checks_below(top);
        // SAFETY: those below `left` were written. A checked address lies in the thread's own stack above the stack pointer,
        // or, one by one from the leaf on, unwinding from scratch would read it too: all words above are equal, so it would
        // be in the same states.
        while left > 0 && unsafe { self.difference(left.cast_signed() - 1) } == 0 {
            left -= 1;
        }
        left
    }

    /// The words by which the frames from `first` to the one before `end` were found, outermost first.
    #[inline(always)]
    pub(super) fn checks_between(&self, first: usize, end: usize) -> &[Check] {
        let (from, to) = (self.checks_below(first), self.checks_below(end));
        debug_assert!(from <= to);
        // SAFETY: the first `to` checks were written.
        unsafe { core::slice::from_raw_parts(self.checks.add(from), to - from) }
    }

    /// The frame below `top` that check `index` belongs to.
    #[inline(always)]
    pub(super) fn frame_of_check(&self, index: usize, top: usize) -> usize {
        let (mut low, mut high) = (0, top);
        while low < high {
            let middle = low.midpoint(high);
            if self.frame(middle).checks as usize <= index { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Puts fresh frame `from` in place `index`, its checks behind `checks` others; the new number of checks.
    #[inline(always)]
    pub(super) fn keep(&mut self, from: usize, index: usize, found: Found, mut checks: usize) -> usize {
        debug_assert!(from < self.capacity && index < self.capacity);
        // SAFETY: both indices are below `capacity`, and there is room for three checks per frame.
        unsafe {
            let kept = self.frames.add(index);
            *kept = *self.fresh.add(from);
            let frame = &mut *kept;
            self.checks.add(checks).write([frame.pc_slot as u64, frame.pc]);
            checks += 1;
            // As long as no rule looks at it, it is no part of the proof.
            if frame.bp_slot != 0 && found.bp_matters {
                self.checks.add(checks).write([frame.bp_slot as u64, frame.bp]);
                checks += 1;
            }
            if frame.sp_slot != 0 {
                self.checks.add(checks).write([frame.sp_slot as u64, frame.sp]);
                checks += 1;
            }
            (frame.checks, frame.node, frame.path) = (checks as u32, found.node, found.path);
            frame.bp_matters = found.bp_matters;
        }
        checks
    }
}

/// # Safety
/// `address` must be readable.
#[inline(always)]
pub(super) unsafe fn read(address: usize) -> u64 {
    // SAFETY: the caller vouches for the address; volatile, because it is other code's live stack.
    unsafe { (address as *const u64).read_volatile() }
}
