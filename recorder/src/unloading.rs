//! What the hooks call where code may have gone, before other code can lie there (see [`crate::modules`]).

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::process::{self, Process};
use crate::session::{self, Entry};

/// Whether the loader's `calloc` goes past the hook.
static IS_BYPASSED: AtomicBool = AtomicBool::new(false);

/// The loader's `calloc` goes past the hook: what is gone is looked for wherever the program maps something.
pub(crate) fn loader_is_not_seen() {
    IS_BYPASSED.store(true, Relaxed);
}

/// Size of the elements of the loader's per-thread tables (`dtv_t`), which it allocates for every thread.
const DTV_ELEMENT: usize = 16;

/// Whether this `calloc` of elements of `size` bytes comes from the loader, which may be about to map an object: then
/// [`forget_gone`] must come before.
#[inline(always)]
#[must_use]
pub fn may_precede_mapping(size: usize, entry: Entry) -> bool {
    // SAFETY: the processor pushed the return address there.
    let caller = unsafe { *(entry.sp as *const usize) };
    process::recorded().modules.is_in_loader(caller) && size != DTV_ELEMENT
}

/// The recorded process, started if need be; what is missed while it is just being started is no event.
fn started() -> Option<&'static Process> {
    if process::epoch() == 0 { session::start() } else { process::current() }
}

/// Code may be gone, and other code about to lie where it lay.
#[cold]
#[inline(never)]
pub fn forget_gone() {
    if let Some(process) = started() {
        process.modules.forget_gone(process);
    }
}

/// The program mapped `size` bytes at `address`, perhaps where a module lay.
pub fn mapped_over(address: usize, size: usize) {
    if let Some(process) = started() {
        process.modules.forget_in(process, address, address.saturating_add(size));
        if IS_BYPASSED.load(Relaxed) {
            process.modules.forget_gone(process);
        }
    }
}
