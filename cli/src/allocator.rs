//! The allocator of the `tmq` binary: mimalloc, asked to commit memory as it goes.
//!
//! By default it commits a gigabyte at once and asks for huge pages there, so that the first touch of a few bytes clears
//! two megabytes: more than a short recording needs in all. `unsafe` here is the call that says so, which must come before
//! the first allocation and hence before `main`.

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_arena_eager_commit` of mimalloc 3's `mi_option_e`.
const ARENA_EAGER_COMMIT: c_int = 4;

// Of mimalloc's own C interface; its bindings have it behind a feature that needs another crate.
unsafe extern "C" {
    fn mi_option_set_default(option: c_int, value: c_long);
}

#[used]
// SAFETY: the section is an array of C functions, which this is.
#[unsafe(link_section = ".init_array")]
static CONFIGURE: extern "C" fn() = configure;

extern "C" fn configure() {
    // SAFETY: the option exists; no other thread does yet.
    unsafe { mi_option_set_default(ARENA_EAGER_COMMIT, 0) };
}
