//! The hooks: one list, and behind each name at most ten lines.
//!
//! Each exported function is a naked stub that hands the registers unwinding starts from (stack pointer and rbp as they
//! are at the first instruction) to its body as two more arguments. The stub has no frame, so the caller's frame is the
//! first one of the recorded stack.

use core::arch::naked_asm;
use core::ffi::{CStr, c_char, c_int, c_long, c_void};

use tmq_recorder::session::Entry;
use tmq_recorder::{mapping, record, unloading};
use tmq_wire::record::Kind;

use crate::{operators, real};

/// Declares exported functions: `name(arguments) -> result, registers of the two extra arguments, { body }`, with attributes
/// for stub and body.
macro_rules! hooks {
    ($(
        $(#[$attribute:meta])*
        $name:ident ( $($arg:ident: $ty:ty),* ) -> $ret:ty, $sp:literal, $bp:literal, |$entry:ident| $body:block
    )*) => {
        $(
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            $(#[$attribute])*
            unsafe extern "C" fn $name($(_: $ty),*) -> $ret {
                // SAFETY: two caller-saved registers that carry no argument of this function are set, then the body is
                // entered as if it had been called. The return address must lie where the ABI has it: compiled code stores
                // pairs of words where it takes the stack to be aligned. Callers in assembler may be off by a word, which
                // the C library's functions happen to bear; another return address on top makes up for it.
                naked_asm!(
                    ".cfi_startproc",
                    concat!("mov ", $sp, ", rsp"),
                    concat!("mov ", $bp, ", rbp"),
                    "test spl, 8",
                    "jz 2f",
                    "jmp {body}",
                    "2:",
                    "call {body}",
                    "ret",
                    ".cfi_endproc",
                    body = sym body::$name,
                )
            }
        )*

        #[expect(clippy::undocumented_unsafe_blocks, reason = "said once, below, for all")]
        mod body {
            use super::*;
            $(
                $(#[$attribute])*
                pub(super) unsafe extern "C" fn $name($($arg: $ty,)* sp: usize, bp: u64) -> $ret {
                    let $entry = Entry { sp, bp };
                    $body
                }
            )*
        }
    };
}

// SAFETY (of every `unsafe` below): the arguments are the caller's, handed on unchanged, under the contract of the
// function that it called. The section is one of code: see `record`.
hooks! {
    #[unsafe(link_section = ".text.tmq_hot")]
    malloc(size: usize) -> *mut u8, "rsi", "rdx", |entry| {
        record::allocating(Kind::Malloc, size, entry, move || unsafe { real::malloc(size) })
    }
    #[unsafe(link_section = ".text.tmq_hot")]
    calloc(count: usize, size: usize) -> *mut u8, "rdx", "rcx", |entry| {
        if unloading::may_precede_mapping(size, entry) {
            unloading::forget_gone();
        }
        let bytes = count.wrapping_mul(size);
        record::allocating(Kind::Calloc, bytes, entry, move || unsafe { real::calloc(count, size) })
    }
    #[unsafe(link_section = ".text.tmq_hot")]
    realloc(old: *mut u8, size: usize) -> *mut u8, "rdx", "rcx", |entry| {
        record::reallocating(old, size, entry, move || unsafe { real::realloc(old, size) })
    }
    reallocarray(old: *mut u8, count: usize, size: usize) -> *mut u8, "rcx", "r8", |entry| {
        match count.checked_mul(size) {
            // Not the real reallocarray, which calls realloc through its hook.
            Some(bytes) => record::reallocating(old, bytes, entry, move || unsafe { real::realloc(old, bytes) }),
            None => unsafe { real::reallocarray(old, count, size) },
        }
    }
    #[unsafe(link_section = ".text.tmq_hot")]
    free(address: *mut u8) -> (), "rsi", "rdx", |entry| {
        unsafe { free_block(address, entry) };
    }
    cfree(address: *mut u8) -> (), "rsi", "rdx", |entry| {
        unsafe { free_block(address, entry) };
    }
    free_sized(address: *mut u8, _size: usize) -> (), "rdx", "rcx", |entry| {
        unsafe { free_block(address, entry) };
    }
    free_aligned_sized(address: *mut u8, _alignment: usize, _size: usize) -> (), "rcx", "r8", |entry| {
        unsafe { free_block(address, entry) };
    }
    posix_memalign(out: *mut *mut u8, alignment: usize, size: usize) -> c_int, "rcx", "r8", |entry| {
        let result = unsafe { real::posix_memalign(out, alignment, size) };
        if result == 0 {
            record::allocated(Kind::Memalign, unsafe { *out }, size, entry);
        }
        result
    }
    aligned_alloc(alignment: usize, size: usize) -> *mut u8, "rdx", "rcx", |entry| {
        let p = unsafe { real::aligned_alloc(alignment, size) };
        record::allocated(Kind::Memalign, p, size, entry);
        p
    }
    memalign(alignment: usize, size: usize) -> *mut u8, "rdx", "rcx", |entry| {
        let p = unsafe { real::memalign(alignment, size) };
        record::allocated(Kind::Memalign, p, size, entry);
        p
    }
    valloc(size: usize) -> *mut u8, "rsi", "rdx", |entry| {
        let p = unsafe { real::valloc(size) };
        record::allocated(Kind::Memalign, p, size, entry);
        p
    }
    pvalloc(size: usize) -> *mut u8, "rsi", "rdx", |entry| {
        let p = unsafe { real::pvalloc(size) };
        record::allocated(Kind::Memalign, p, size, entry);
        p
    }
    munmap(address: *mut u8, size: usize) -> c_int, "rdx", "rcx", |entry| {
        let mut result = 0;
        mapping::unmapping(address, size, entry, || {
            result = unsafe { real::munmap(address, size) };
            result == 0
        });
        result
    }
    // Not of libc: what `tmq.h` calls.
    tmq_mark(name: *const c_char) -> (), "rsi", "rdx", |entry| {
        if !name.is_null() {
            record::mark(unsafe { CStr::from_ptr(name) }.to_bytes(), entry);
        }
    }
    dlclose(handle: *mut c_void) -> c_int, "rsi", "rdx", |_entry| {
        let result = unsafe { real::dlclose(handle) };
        unloading::forget_gone();
        operators::forget_late();
        result
    }
}

/// Gives a block back. One function for all its names, so that the code is there once.
///
/// # Safety
/// As for the function of the C library.
#[inline(always)]
unsafe fn free_block(address: *mut u8, entry: Entry) {
    // SAFETY: the caller vouches for the address.
    record::freeing(address, entry, move || unsafe { real::free(address) });
}

/// Stubs of functions with so many arguments that the two extra ones go on the stack, as arguments seven and eight.
macro_rules! wide_hooks {
    ($( $name:ident => $body:path; )*) => {
        $(
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() {
                naked_asm!(
                    ".cfi_startproc",
                    "test spl, 8",
                    "jz 2f",
                    "sub rsp, 8",
                    ".cfi_adjust_cfa_offset 8",
                    "push rbp",
                    ".cfi_adjust_cfa_offset 8",
                    "lea rax, [rsp + 16]",
                    "push rax",
                    ".cfi_adjust_cfa_offset 8",
                    "call {body}",
                    "add rsp, 24",
                    ".cfi_adjust_cfa_offset -24",
                    "ret",
                    // The same from a stack that is off by a word.
                    "2:",
                    "push rbp",
                    ".cfi_adjust_cfa_offset 8",
                    "lea rax, [rsp + 8]",
                    "push rax",
                    ".cfi_adjust_cfa_offset 8",
                    "call {body}",
                    "add rsp, 16",
                    ".cfi_adjust_cfa_offset -16",
                    "ret",
                    ".cfi_endproc",
                    body = sym $body,
                )
            }
        )*
    };
}

wide_hooks! {
    mmap => mmap_body;
    mmap64 => mmap_body;
    mremap => mremap_body;
}

unsafe extern "C" fn mmap_body(
    address: *mut u8,
    size: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: c_long,
    sp: usize,
    bp: u64,
) -> *mut u8 {
    const MAP_ANONYMOUS: c_int = 0x20;
    // SAFETY: the arguments are the caller's.
    let p = unsafe { real::mmap(address, size, protection, flags, fd, offset) };
    if p as isize != -1 {
        unloading::mapped_over(p as usize, size);
        if flags & MAP_ANONYMOUS != 0 {
            mapping::mapped(p, size, Entry { sp, bp });
        }
    }
    p
}

unsafe extern "C" fn mremap_body(
    old: *mut u8,
    old_size: usize,
    size: usize,
    flags: c_int,
    new: *mut u8,
    _sixth: usize,
    sp: usize,
    bp: u64,
) -> *mut u8 {
    let mut result = core::ptr::null_mut();
    mapping::remapping((old, old_size), size, Entry { sp, bp }, || {
        // SAFETY: the arguments are the caller's.
        result = unsafe { real::mremap(old, old_size, size, flags, new) };
        if result as isize != -1 {
            unloading::mapped_over(result as usize, size);
        }
        (result as isize != -1).then_some(result)
    });
    result
}
