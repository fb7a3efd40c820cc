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
//! Programs may load C++ long after their start; the real operators are looked up then. C programs that ask whether there
//! are any find these here: without C++ they are `malloc` and `free`.
//!
//! As the hooks do, all of this bears callers whose stack is off by a word.
#![expect(non_snake_case, reason = "these are the names of C++'s symbols")]

use core::arch::naked_asm;
use core::ffi::{CStr, c_void};
use core::sync::atomic::{
    AtomicBool, AtomicPtr,
    Ordering::{Relaxed, Release},
};

use tmq_recorder::elf;
use tmq_recorder::operator;
use tmq_recorder::record;
use tmq_recorder::session::Entry;

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
    /// What does its work where there is no C++: a hook of this library, so that callers are recorded as ever.
    without: AtomicPtr<c_void>,
}

/// Code that calls something with the stack aligned and `rdi`, `rsi` and `rdx` saved on it, once for callers whose stack is
/// as the ABI wants it, and once for those whose stack is off by a word. `$code` is told how many bytes of the stack lie
/// below the return address then.
macro_rules! on_an_aligned_stack {
    ($code:ident) => {
        concat!(
            ".cfi_startproc\n",
            "test spl, 8\njz 2f\n",
            $code!("24"),
            "2:\nsub rsp, 8\n.cfi_adjust_cfa_offset 8\n",
            $code!("32"),
            ".cfi_endproc",
        )
    };
}

macro_rules! save_arguments {
    () => {
        concat!(
            "push rdi\n.cfi_adjust_cfa_offset 8\n",
            "push rsi\n.cfi_adjust_cfa_offset 8\n",
            "push rdx\n.cfi_adjust_cfa_offset 8\n",
        )
    };
}

macro_rules! load_arguments {
    () => {
        "mov rdx, [rsp]\nmov rsi, [rsp + 8]\nmov rdi, [rsp + 16]\n"
    };
}

/// `$above`: bytes of the stack up to the return address.
macro_rules! leave {
    ($above:literal) => {
        concat!("add rsp, ", $above, "\n.cfi_adjust_cfa_offset -", $above, "\n")
    };
}

macro_rules! find_and_go_on {
    ($above:literal) => {
        concat!(
            save_arguments!(),
            "lea rdi, [rip + {operator}]\ncall {find}\n",
            load_arguments!(),
            leave!($above),
            "jmp rax\n",
        )
    };
}

/// `rdi`: the size. The real operator may throw; nothing has to be undone then.
macro_rules! make {
    ($above:literal) => {
        concat!(
            save_arguments!(),
            "lea rdi, [rsp + ",
            $above,
            "]\nmov rsi, rbp\ncall {making}\n",
            load_arguments!(),
            "call qword ptr [rip + {operator} + 8]\n",
            "mov [rsp], rax\nmov rdi, rax\nmov rsi, [rsp + 16]\n",
            "lea rdx, [rsp + ",
            $above,
            "]\nmov rcx, rbp\ncall {made}\n",
            "mov rax, [rsp]\n",
            leave!($above),
            "ret\n",
        )
    };
}

/// `rdi`: the block.
macro_rules! destroy {
    ($above:literal) => {
        concat!(
            save_arguments!(),
            "lea rsi, [rsp + ",
            $above,
            "]\nmov rdx, rbp\ncall {freeing}\n",
            load_arguments!(),
            "call qword ptr [rip + {operator} + 8]\n",
            "lea rdi, [rsp + ",
            $above,
            "]\ncall {freed}\n",
            leave!($above),
            "ret\n",
        )
    };
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
                    without: AtomicPtr::new(operators!(@without $kind) as *const () as *mut c_void),
                };
            )*
        }
        mod late {
            use super::*;
            $(
                #[unsafe(naked)]
                pub(super) unsafe extern "C" fn $name() {
                    naked_asm!(
                        on_an_aligned_stack!(find_and_go_on),
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
    (@direct delete $name:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name() {
            naked_asm!(
                on_an_aligned_stack!(destroy),
                operator = sym statics::$name, freeing = sym freeing, freed = sym freed,
            )
        }
    };
    // `new`, with or without an alignment.
    (@direct $new:ident $name:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name() {
            naked_asm!(
                on_an_aligned_stack!(make),
                operator = sym statics::$name, making = sym making, made = sym made,
            )
        }
    };
    (@without new) => { malloc };
    (@without new_aligned) => { new_aligned };
    (@without delete) => { free };
}

operators! {
    new _Znwm
    new _Znam
    new _ZnwmRKSt9nothrow_t
    new _ZnamRKSt9nothrow_t
    new_aligned _ZnwmSt11align_val_t
    new_aligned _ZnamSt11align_val_t
    new_aligned _ZnwmSt11align_val_tRKSt9nothrow_t
    new_aligned _ZnamSt11align_val_tRKSt9nothrow_t
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

unsafe extern "C" {
    // This library's own hooks, under the names that programs call.
    fn malloc(size: usize) -> *mut u8;
    fn free(address: *mut u8);
}

/// `aligned_alloc`, which takes its arguments the other way round.
#[unsafe(naked)]
unsafe extern "C" fn new_aligned() {
    naked_asm!(".cfi_startproc", "xchg rdi, rsi", "jmp aligned_alloc@PLT", ".cfi_endproc")
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
            operator.is_late.store(false, Relaxed);
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
/// knows, but the first that was loaded: all but the most unusual are built on `malloc`. If there is none, what does its
/// work.
extern "C" fn find_late(operator: &Operator) -> *mut c_void {
    match elf::find_loaded(real::own_dynamic(), operator.name) {
        Some(address) => {
            operator.is_late.store(true, Relaxed);
            operator.set(address, false);
            address as *mut c_void
        }
        None => operator.without.load(Relaxed),
    }
}

impl Operator {
    fn set(&self, address: usize, is_direct: bool) {
        let address = address as *mut c_void;
        // Release pairs with the loads of the assembly above, `target` before `real`, which x86_64 keeps in order.
        self.real.store(address, Release);
        self.target.store(if is_direct { self.direct as *mut c_void } else { address }, Release);
    }
}
