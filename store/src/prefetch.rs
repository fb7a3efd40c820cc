//! Asking for memory before it is needed: tables of millions of open blocks do not fit a cache, and events are known in
//! advance, so the processor can fetch several lines at once instead of waiting for each.
//!
//! `unsafe` here is the call of an instruction that cannot fault.

/// Asks for the cache line of `items[index]`; does nothing beyond the end.
#[inline(always)]
pub(crate) fn prefetch<T>(items: &[T], index: usize) {
    let Some(item) = items.get(index) else { return };
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect but on time, for any address, and this one is valid.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(item).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}
