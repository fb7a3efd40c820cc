//! The functions that the hooks stand in front of: the next definitions in the loader's search order.
//!
//! Found by reading the loader's tables, once, because `dlsym` locks and may allocate. If another allocator is preloaded
//! or linked behind this library, it is the one that is found.

use core::ffi::{CStr, c_int, c_long, c_void};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use tmq_recorder::elf;

macro_rules! real_functions {
    ($( $name:ident ( $($arg:ident: $ty:ty),* ) -> $ret:ty; )*) => {
        $(
            #[doc = concat!("The real `", stringify!($name), "`; before it is known what finds it, null if there is none.")]
            mod $name {
                use super::*;
                pub(super) static ADDRESS: AtomicPtr<c_void> = AtomicPtr::new(unknown as *const () as *mut c_void);

                #[cold]
                unsafe extern "C" fn unknown($($arg: $ty),*) -> $ret {
                    resolve();
                    // SAFETY: the caller's arguments, and the address is known now.
                    unsafe { super::$name($($arg),*) }
                }
            }

            #[doc = concat!("Calls the real `", stringify!($name), "`.")]
            ///
            /// # Safety
            /// As for the function of the C library.
            #[inline(always)]
            pub(crate) unsafe fn $name($($arg: $ty),*) -> $ret {
                let address = $name::ADDRESS.load(Relaxed);
                // SAFETY: the symbol of this name in a C library has this signature; the caller vouches for the
                // arguments. A system without it never links a caller of it.
                unsafe { core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($ty),*) -> $ret>(address)($($arg),*) }
            }
        )*

        /// Finds all functions.
        #[cold]
        pub(crate) fn resolve() {
            crate::operators::resolve();
            $(
                let name = const { c_name(concat!(stringify!($name), "\0")) };
                let address = elf::next_definition(own_dynamic(), name).map_or(0, |(address, _)| address);
                $name::ADDRESS.store(address as *mut c_void, Relaxed);
            )*
        }
    };
}

const fn c_name(name: &str) -> &CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("names end with a zero byte"),
    }
}

real_functions! {
    malloc(size: usize) -> *mut u8;
    calloc(count: usize, size: usize) -> *mut u8;
    realloc(old: *mut u8, size: usize) -> *mut u8;
    reallocarray(old: *mut u8, count: usize, size: usize) -> *mut u8;
    free(address: *mut u8) -> ();
    posix_memalign(out: *mut *mut u8, alignment: usize, size: usize) -> c_int;
    aligned_alloc(alignment: usize, size: usize) -> *mut u8;
    memalign(alignment: usize, size: usize) -> *mut u8;
    valloc(size: usize) -> *mut u8;
    pvalloc(size: usize) -> *mut u8;
    mmap(address: *mut u8, size: usize, protection: c_int, flags: c_int, fd: c_int, offset: c_long) -> *mut u8;
    munmap(address: *mut u8, size: usize) -> c_int;
    mremap(old: *mut u8, old_size: usize, size: usize, flags: c_int, new: *mut u8) -> *mut u8;
    dlclose(handle: *mut c_void) -> c_int;
}

/// Address of this library's dynamic section, by which its entry in the loader's list is recognised.
pub(crate) fn own_dynamic() -> usize {
    let address: usize;
    // SAFETY: the linker defines _DYNAMIC in every shared object.
    unsafe {
        core::arch::asm!(".hidden _DYNAMIC", "lea {}, [rip + _DYNAMIC]", out(reg) address,
            options(nostack, pure, nomem, preserves_flags));
    }
    address
}
