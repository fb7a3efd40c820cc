//! Which memory is stack: what may be read while unwinding.
//!
//! Between the stack pointer and the upper end of a thread's own stack everything stays mapped while the thread lives.
//! On other stacks (alternate signal stacks, coroutines) nothing is known for good, so the mapping is looked up anew, or
//! checked with one system call, at every stack captured there.

use crate::{elf, sys};

/// The main thread's stack is assumed to reach this far down without asking; beyond, the kernel is asked.
const MAIN_STACK_BYTES: usize = 8 << 20;
/// Most of a foreign stack that is read.
const FOREIGN_BYTES: usize = 256 * 4096;
/// The same where every page has to be asked for by itself.
const UNKNOWN_BYTES: usize = 16 * 4096;

/// Bounds of a thread's own stack.
#[derive(Clone, Copy, Debug)]
pub struct StackBounds {
    low: usize,
    high: usize,
    foreign: (usize, usize),
}

impl StackBounds {
    /// No stack.
    pub const UNKNOWN: Self = Self { low: 0, high: 0, foreign: (0, 0) };

    /// Bounds of the calling thread's own stack.
    #[must_use]
    pub fn of_this_thread() -> Self {
        let local = 0u8;
        let sp = &raw const local as usize;
        let main_end = elf::main_stack_end().next_multiple_of(4096);
        let main = main_end.saturating_sub(MAIN_STACK_BYTES)..main_end;
        if main.contains(&sp) {
            return Self { low: main.start, high: elf::main_stack_end(), foreign: (0, 0) };
        }
        // glibc puts the thread control block at the upper end of the stack that it allocates for a thread.
        let tp = sys::thread_pointer();
        match sys::vma_at(tp) {
            Some(vma) if vma.start <= sp && sp < tp => Self { low: vma.start, high: tp, foreign: (0, 0) },
            // Without `/proc` (chroot, sandboxes, no descriptor left) the lower end is not known: it moves down as the
            // thread comes by.
            None if sp < tp && tp - sp < FOREIGN_BYTES && sys::is_readable(sp, tp) => {
                Self { low: sp & !4095, high: tp, foreign: (0, 0) }
            }
            _ => Self::UNKNOWN,
        }
    }

    /// Whether `address` lies in the thread's own stack.
    #[inline(always)]
    #[must_use]
    pub fn contains(&self, address: usize) -> bool {
        self.low <= address && address < self.high
    }

    /// Bytes of the thread's own stack below `sp`.
    #[must_use]
    pub fn room_below(&self, sp: usize) -> usize {
        if self.contains(sp) { sp - self.low } else { 0 }
    }

    /// Upper end of the thread's own stack.
    #[inline(always)]
    #[must_use]
    pub fn high(&self) -> usize {
        self.high
    }

    /// Upper end of what may be read above `sp`, which is not in the thread's own stack; 0: nothing.
    #[cold]
    pub fn foreign_high(&mut self, sp: usize) -> usize {
        let (low, high) = self.foreign;
        if low <= sp && sp < high && sys::is_mapped(sp, high.min(sp + FOREIGN_BYTES)) {
            return high.min(sp + FOREIGN_BYTES);
        }
        let Some(vma) = sys::vma_at(sp) else { return self.unknown_high(sp) };
        let main_end = elf::main_stack_end();
        if vma.start < main_end && main_end <= vma.end {
            (self.low, self.high) = (vma.start, main_end); // the main stack, deeper than assumed
            return main_end;
        }
        self.foreign = (vma.start, vma.end);
        vma.end.min(sp + FOREIGN_BYTES)
    }

    /// [`Self::foreign_high`] without `/proc`.
    fn unknown_high(&mut self, sp: usize) -> usize {
        if sp < self.low && self.low - sp < FOREIGN_BYTES && sys::is_readable(sp, self.low) {
            self.low = sp & !4095; // guard pages, which cannot be read, part stacks
            return self.high;
        }
        let page = sp & !4095;
        let readable = |&end: &usize| sys::is_readable(end - 4096, end);
        (page + 4096..page + UNKNOWN_BYTES).step_by(4096).take_while(readable).last().unwrap_or(0)
    }
}
