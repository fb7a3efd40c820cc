//! Memory for the recorder itself, straight from the kernel and never given back.
//!
//! Nothing in the recorder frees in its normal life, so a bump pointer over mapped blocks is all there is. The preload
//! library installs [`Arena`] as the global allocator for the one library that needs one (framehop in verify mode).

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::sys;

const BLOCK_BYTES: usize = 1 << 20;

/// Bytes mapped by the recorder in this process.
pub static MAPPED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Maps zeroed memory for good; `None` if there is none. Rounds up to pages.
#[must_use]
pub fn map(bytes: usize) -> Option<*mut u8> {
    let bytes = bytes.next_multiple_of(4096);
    let p = sys::map_anonymous(bytes)?;
    MAPPED_BYTES.fetch_add(bytes, Relaxed);
    Some(p)
}

/// A bump allocator that leaks; lock-free.
#[derive(Debug)]
pub struct Arena {
    /// Next free address of the current block; blocks are aligned to their size, so the block's end follows from it.
    next: AtomicUsize,
}

impl Arena {
    /// An arena without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: AtomicUsize::new(0) }
    }

    fn bump(&self, layout: Layout) -> Option<usize> {
        let mut current = self.next.load(Relaxed);
        loop {
            let start = current.next_multiple_of(layout.align());
            let end = start.checked_add(layout.size())?;
            // A block starts at a multiple of its size; an arena whose pointer sits exactly there is used up.
            if !current.is_multiple_of(BLOCK_BYTES) && end <= current.next_multiple_of(BLOCK_BYTES) {
                match self.next.compare_exchange_weak(current, end, Relaxed, Relaxed) {
                    Ok(_) => return Some(start),
                    Err(now) => current = now,
                }
                continue;
            }
            let block = aligned_block()?;
            match self.next.compare_exchange(current, block + 16, Relaxed, Relaxed) {
                Ok(_) => current = block + 16,
                Err(now) => current = now,
            }
        }
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

fn aligned_block() -> Option<usize> {
    let raw = map(2 * BLOCK_BYTES)? as usize;
    Some(raw.next_multiple_of(BLOCK_BYTES))
}

// SAFETY: blocks are disjoint parts of mappings that live for ever, aligned as asked; a failed request gives null.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let p = if layout.size() >= BLOCK_BYTES / 2 || layout.align() > 4096 {
            if layout.align() > 4096 { None } else { map(layout.size()) }
        } else {
            self.bump(layout).map(|address| address as *mut u8)
        };
        p.unwrap_or(core::ptr::null_mut())
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_disjoint_and_aligned() {
        let arena = Arena::new();
        let mut last_end = 0usize;
        for i in 1..5000usize {
            let layout = Layout::from_size_align(i * 7 % 900 + 1, 1 << (i % 7)).unwrap();
            // SAFETY: the layout has a size.
            let p = unsafe { arena.alloc(layout) };
            assert!(!p.is_null());
            assert_eq!(p as usize % layout.align(), 0);
            // SAFETY: the block is ours.
            unsafe { p.write_bytes(0xaa, layout.size()) };
            assert!(p as usize >= last_end || p as usize + layout.size() <= last_end);
            last_end = p as usize + layout.size();
        }
    }
}
