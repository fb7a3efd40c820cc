//! The one thread-local block of the recorder, in the initial-exec model.
//!
//! `std::thread_local!` compiles to a call that may allocate, and destructors would run before the last frees of a
//! thread. This block is plain zeroed `.tbss` at a fixed distance from the thread pointer: reading it takes two
//! instructions and cannot fail, and a new thread (glibc reuses stacks but clears their TLS) starts with zeros, which
//! means "not yet known". It is kept small because it comes out of the loader's static TLS reserve.

use core::arch::{asm, global_asm};

use crate::thread::ThreadState;

/// Signal handlers may interrupt a hook and allocate; each level needs a state of its own. Deeper nesting is counted
/// as lost.
pub const LEVELS: usize = 4;

/// What a thread knows about itself. All zeros: nothing yet.
#[repr(C)]
#[derive(Debug)]
pub struct Tls {
    /// Bytes until the next sample. In exact mode 0, so that no allocation passes by.
    pub bytes_left: u64,
    /// Stack pointer of the hook in which the thread registers itself, so that nested ones pass through; 0: none.
    pub registering: usize,
    /// State of the random numbers of the sampler, 0 before the first.
    pub random: u64,
    /// State by level of nesting; null until first used.
    pub states: [*mut ThreadState; LEVELS],
    /// Epoch under which `bytes_left` was set, see [`crate::process::epoch`].
    pub epoch: u64,
    /// [`Process::incarnation`](crate::process::Process::incarnation) of the image that `states` and `random` belong to.
    pub image: u32,
    /// Whether every allocation is recorded; false: not, or not yet known.
    pub is_exact: bool,
    /// Stack pointer of the `operator new` or `delete` that is under way and recorded as a whole; 0: none.
    pub operator_sp: usize,
    /// The state that it is recorded with.
    pub operator_state: *mut ThreadState,
    /// `bytes_left` when it began.
    pub operator_bytes_left: u64,
}

const TLS_BYTES: usize = 96;
const _: () = assert!(size_of::<Tls>() <= TLS_BYTES);

global_asm!(
    ".pushsection .tbss.tmq_tls,\"awT\",@nobits",
    ".balign 16",
    ".hidden tmq_tls",
    ".globl tmq_tls",
    ".type tmq_tls,@object",
    ".size tmq_tls,{bytes}",
    "tmq_tls:",
    ".zero {bytes}",
    ".popsection",
    bytes = const TLS_BYTES,
);

/// This thread's block. The pointer is valid as long as the thread lives; only the thread itself may use it.
#[inline(always)]
#[must_use]
pub fn tls() -> *mut Tls {
    let pointer: *mut Tls;
    // SAFETY: initial-exec access to a symbol of this object, as the x86_64 TLS ABI prescribes.
    unsafe {
        asm!("mov {0}, qword ptr [rip + tmq_tls@GOTTPOFF]", "add {0}, qword ptr fs:[0]", out(reg) pointer,
            options(nostack, readonly, pure));
    }
    pointer
}
