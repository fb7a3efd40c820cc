//! `libtmq_preload.so`: exports `malloc` and its relatives and hands what they do to `tmq_recorder`.
//!
//! Symbols live in this crate only: an rlib that exported `malloc` would interpose every program that links it.
//!
//! - [`hooks`]: the one list of hooks and the code behind each;
//! - [`operators`]: C++'s, where an allocator brings its own;
//! - [`real`]: where the real functions are.
//!
//! The library is built without the standard library (profile `preload`: `panic = "abort"`), so that nothing but libc
//! is loaded into the target with it. A workspace build that unwinds links `std` instead; such a library works too.
#![cfg_attr(panic = "abort", no_std)]

mod hooks;
mod operators;
mod real;

use tmq_recorder::arena::Arena;

#[global_allocator]
static ARENA: Arena = Arena::new();

#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: an illegal instruction ends the process where the bug is; there is nothing to return to.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

/// Starts recording before the program's own constructors run, if no allocation has started it already.
#[used]
#[unsafe(link_section = ".init_array.00099")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn constructor() {
        real::resolve();
        if tmq_recorder::session::start().is_some() && !tmq_recorder::elf::is_first(real::own_dynamic(), c"malloc") {
            tmq_recorder::record::bypassed();
        }
    }
    constructor
};

// The library uses memcpy and its like only; naming libc makes the loader relocate it before this library.
#[link(name = "c")]
unsafe extern "C" {}
