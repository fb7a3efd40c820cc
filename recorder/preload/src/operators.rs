//! C++'s `operator new` and `operator delete`, which other allocators define beside `malloc`.
//!
//! libstdc++'s are built on `malloc`, whose hook sees them. Those of an allocator (jemalloc, tcmalloc, mimalloc) go past
//! it, some in one direction only: a block would be seen when it is made and not when it is freed. So every operator is
//! exported here, as a jump: to the real one, or, where that lies in the library that `malloc` comes from, to code that
//! records.
//!
//! That code is assembly around the real call, because exceptions pass through it (`std::bad_alloc`). What the real
//! operator does with `malloc` and `free` themselves on its way is not recorded a second time.
//!
//! Programs may load C++ long after their start; the real operators are looked up then.
#![expect(non_snake_case, reason = "these are the names of C++'s symbols")]

use core::arch::naked_asm;
use core::ffi::{CStr, c_void};
use core::sync::atomic::{
    AtomicBool, AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};

use tmq_recorder::elf;
use tmq_recorder::operator;
use tmq_recorder::record::{self, Entry};

use crate::real;

/// One operator. The code below knows where `target` and `real` are.
#[repr(C)]
struct Operator {
    /// Where a call goes.
    target: AtomicPtr<c_void>,
    /// The real operator, once it is known.
    real: AtomicPtr<c_void>,
    /// Whether it lies in a library that was loaded by the program, and may go again.
    is_late: AtomicBool,
    name: &'static CStr,
    /// `target` before the real operator is known.
    late: unsafe extern "C" fn(),
    /// `target` where the operator is not built on `malloc`.
    direct: unsafe extern "C" fn(),
}

macro_rules! operators {
    ($( $kind:ident $name:ident )*) => {
        $(
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() {
                naked_asm!(
                    ".cfi_startproc",
                    "jmp qword ptr [rip + {operator}]",
                    ".cfi_endproc",
                    operator = sym statics::$name,
                )
            }
        )*
        #[expect(non_upper_case_globals, reason = "named like what they stand for")]
        mod statics {
            use super::*;
            $(
                pub(super) static $name: Operator = Operator {
                    target: AtomicPtr::new(late::$name as *const () as *mut c_void),
                    real: AtomicPtr::new(core::ptr::null_mut()),
                    is_late: AtomicBool::new(false),
                    name: match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                        Ok(name) => name,
                        Err(_) => panic!("names end with a zero byte"),
                    },
                    late: late::$name,
                    direct: direct::$name,
                };
            )*
        }
        mod late {
            use super::*;
            $(
                #[unsafe(naked)]
                pub(super) unsafe extern "C" fn $name() {
                    naked_asm!(
                        ".cfi_startproc",
                        "push rdi", ".cfi_adjust_cfa_offset 8",
                        "push rsi", ".cfi_adjust_cfa_offset 8",
                        "push rdx", ".cfi_adjust_cfa_offset 8",
                        "lea rdi, [rip + {operator}]",
                        "call {find}",
                        "pop rdx", ".cfi_adjust_cfa_offset -8",
                        "pop rsi", ".cfi_adjust_cfa_offset -8",
                        "pop rdi", ".cfi_adjust_cfa_offset -8",
                        "jmp rax",
                        ".cfi_endproc",
                        operator = sym statics::$name, find = sym find_late,
                    )
                }
            )*
        }
        mod direct {
            use super::*;
            $( operators!(@direct $kind $name); )*
        }
        static ALL: &[&Operator] = &[$( &statics::$name ),*];
    };
    // rdi: the size. The real operator may throw; nothing has to be undone then.
    (@direct new $name:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                "push rdi", ".cfi_adjust_cfa_offset 8",
                "push rsi", ".cfi_adjust_cfa_offset 8",
                "push rdx", ".cfi_adjust_cfa_offset 8",
                "lea rdi, [rsp + 24]",
                "mov rsi, rbp",
                "call {making}",
                "mov rdx, [rsp]",
                "mov rsi, [rsp + 8]",
                "mov rdi, [rsp + 16]",
                "call qword ptr [rip + {operator} + 8]",
                "mov [rsp], rax",
                "mov rdi, rax",
                "mov rsi, [rsp + 16]",
                "lea rdx, [rsp + 24]",
                "mov rcx, rbp",
                "call {made}",
                "mov rax, [rsp]",
                "add rsp, 24", ".cfi_adjust_cfa_offset -24",
                "ret",
                ".cfi_endproc",
                operator = sym statics::$name, making = sym making, made = sym made,
            )
        }
    };
    // rdi: the block.
    (@direct delete $name:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                "push rdi", ".cfi_adjust_cfa_offset 8",
                "push rsi", ".cfi_adjust_cfa_offset 8",
                "push rdx", ".cfi_adjust_cfa_offset 8",
                "lea rsi, [rsp + 24]",
                "mov rdx, rbp",
                "call {freeing}",
                "mov rdx, [rsp]",
                "mov rsi, [rsp + 8]",
                "mov rdi, [rsp + 16]",
                "call qword ptr [rip + {operator} + 8]",
                "lea rdi, [rsp + 24]",
                "call {freed}",
                "add rsp, 24", ".cfi_adjust_cfa_offset -24",
                "ret",
                ".cfi_endproc",
                operator = sym statics::$name, freeing = sym freeing, freed = sym freed,
            )
        }
    };
}

operators! {
    new _Znwm
    new _Znam
    new _ZnwmRKSt9nothrow_t
    new _ZnamRKSt9nothrow_t
    new _ZnwmSt11align_val_t
    new _ZnamSt11align_val_t
    new _ZnwmSt11align_val_tRKSt9nothrow_t
    new _ZnamSt11align_val_tRKSt9nothrow_t
    delete _ZdlPv
    delete _ZdaPv
    delete _ZdlPvm
    delete _ZdaPvm
    delete _ZdlPvSt11align_val_t
    delete _ZdaPvSt11align_val_t
    delete _ZdlPvmSt11align_val_t
    delete _ZdaPvmSt11align_val_t
    delete _ZdlPvRKSt9nothrow_t
    delete _ZdaPvRKSt9nothrow_t
    delete _ZdlPvSt11align_val_tRKSt9nothrow_t
    delete _ZdaPvSt11align_val_tRKSt9nothrow_t
}

extern "C" fn making(sp: usize, bp: u64) {
    operator::enter(Entry { sp, bp });
}

extern "C" fn made(block: *mut u8, size: usize, sp: usize, bp: u64) {
    operator::made(block, size, Entry { sp, bp });
}

extern "C" fn freeing(block: *mut u8, sp: usize, bp: u64) {
    let entry = Entry { sp, bp };
    record::freeing(block, entry, || ());
    operator::enter(entry);
}

extern "C" fn freed(sp: usize) {
    operator::leave(sp);
}

/// Finds what is there when the program starts.
pub(crate) fn resolve() {
    let allocator = elf::next_definition(real::own_dynamic(), c"malloc");
    for operator in ALL {
        if let Some((address, bias)) = elf::next_definition(real::own_dynamic(), operator.name) {
            operator.set(address, allocator.is_some_and(|(_, its)| its == bias));
        }
    }
    let find = elf::find_object_function();
    let around = |address: usize| elf::range_at(find, address).unwrap_or((0, 0));
    operator::set_code([around(allocator.map_or(0, |(malloc, _)| malloc)), around(real::own_dynamic())]);
}

/// Libraries were unloaded: what was found in one is looked up anew.
pub(crate) fn forget_late() {
    for operator in ALL.iter().filter(|operator| operator.is_late.load(Relaxed)) {
        operator.target.store(operator.late as *mut c_void, Relaxed);
    }
}

/// The real operator, of a program that loads C++ only now. Not the one of the caller's own scope, which only the loader
/// knows, but the first that was loaded: all but the most unusual are built on `malloc`.
extern "C" fn find_late(operator: &Operator) -> *mut c_void {
    if let Some(address) = elf::find_loaded(real::own_dynamic(), operator.name) {
        operator.is_late.store(true, Relaxed);
        operator.set(address, false);
    }
    // Acquire pairs with the Release in `set`.
    operator.real.load(Acquire)
}

impl Operator {
    fn set(&self, address: usize, is_direct: bool) {
        let address = address as *mut c_void;
        self.real.store(address, Release);
        self.target.store(if is_direct { self.direct as *mut c_void } else { address }, Release);
    }
}
