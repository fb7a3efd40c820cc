//! System calls and processor instructions, made directly so that `errno` and libc's state stay untouched.

use core::arch::asm;

/// A system call's result: a value, or the positive error number.
pub type SysResult = Result<usize, i32>;

/// Error number: no such process.
pub const ESRCH: i32 = 3;
/// Error number: interrupted.
pub const EINTR: i32 = 4;

const SYS_READ: usize = 0;
const SYS_CLOSE: usize = 3;
const SYS_MMAP: usize = 9;
const SYS_MUNMAP: usize = 11;
const SYS_RT_SIGPROCMASK: usize = 14;
const SYS_IOCTL: usize = 16;
const SYS_SCHED_YIELD: usize = 24;
const SYS_MINCORE: usize = 27;
const SYS_MADVISE: usize = 28;
const SYS_GETPID: usize = 39;
const SYS_KILL: usize = 62;
const SYS_READLINK: usize = 89;
const SYS_GETPPID: usize = 110;
const SYS_GETTID: usize = 186;
const SYS_FUTEX: usize = 202;
const SYS_TGKILL: usize = 234;
const SYS_CLOCK_GETTIME: usize = 228;
const SYS_OPENAT: usize = 257;

/// `O_RDWR | O_CLOEXEC`
pub const O_RDWR_CLOEXEC: usize = 0o2000002;
/// `O_RDONLY | O_CLOEXEC`
pub const O_RDONLY_CLOEXEC: usize = 0o2000000;

/// Makes a system call with up to six arguments.
///
/// # Safety
/// The arguments must be valid for the call; pointers must point to memory the kernel may use as the call says.
#[inline]
unsafe fn syscall(n: usize, a: [usize; 6]) -> SysResult {
    let result: isize;
    // SAFETY: the kernel preserves all registers but rax, rcx and r11; the caller vouches for the arguments.
    unsafe {
        asm!("syscall", inlateout("rax") n as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if (-4095..0).contains(&result) { Err(-result as i32) } else { Ok(result as usize) }
}

/// Time stamp counter. Not serialising: the processor may read it while earlier loads are still waiting, so it can be too
/// early against what other threads did, by as long as a cache line takes to come; see [`rdtsc_after_loads`].
#[inline(always)]
#[must_use]
pub fn rdtsc() -> u64 {
    // SAFETY: every x86_64 processor has rdtsc.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Time stamp counter, read when all earlier loads are complete. For what has to come after something that another thread
/// did: a free after the allocation from which the address came.
#[inline(always)]
#[must_use]
pub fn rdtsc_after_loads() -> u64 {
    // SAFETY: every x86_64 processor has lfence.
    unsafe { core::arch::x86_64::_mm_lfence() };
    rdtsc()
}

/// Maps `bytes` of private zeroed memory; `None` if there is none.
#[must_use]
pub fn map_anonymous(bytes: usize) -> Option<*mut u8> {
    const PROT_READ_WRITE: usize = 3;
    const MAP_PRIVATE_ANONYMOUS_NORESERVE: usize = 0x2 | 0x20 | 0x4000;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
    let result =
        unsafe { syscall(SYS_MMAP, [0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_NORESERVE, usize::MAX, 0]) };
    result.ok().map(|address| address as *mut u8)
}

/// Maps `bytes` of the file shared; `None` on any error.
#[must_use]
pub fn map_shared(fd: usize, bytes: usize) -> Option<*mut u8> {
    const PROT_READ_WRITE: usize = 3;
    const MAP_SHARED: usize = 1;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let result = unsafe { syscall(SYS_MMAP, [0, bytes, PROT_READ_WRITE, MAP_SHARED, fd, 0]) };
    result.ok().map(|address| address as *mut u8)
}

/// Removes a mapping.
///
/// # Safety
/// Nothing may use the range any more.
pub unsafe fn unmap(address: *mut u8, bytes: usize) {
    // SAFETY: the caller gives the range up.
    let _ = unsafe { syscall(SYS_MUNMAP, [address as usize, bytes, 0, 0, 0, 0]) };
}

/// Makes a private anonymous range read as zeros again.
///
/// # Safety
/// The range must be private anonymous memory whose content nobody needs.
pub unsafe fn zero_pages(address: *mut u8, bytes: usize) {
    const MADV_DONTNEED: usize = 4;
    // SAFETY: the caller vouches for the range.
    let _ = unsafe { syscall(SYS_MADVISE, [address as usize, bytes, MADV_DONTNEED, 0, 0, 0]) };
}

/// Asks that the pages read as zeros in children made by fork. False if the kernel cannot (before 4.14).
///
/// # Safety
/// The range must be private anonymous memory.
pub unsafe fn wipe_on_fork(address: *mut u8, bytes: usize) -> bool {
    const MADV_WIPEONFORK: usize = 18;
    // SAFETY: the caller vouches for the range.
    unsafe { syscall(SYS_MADVISE, [address as usize, bytes, MADV_WIPEONFORK, 0, 0, 0]) }.is_ok()
}

/// Whether every page of the range is mapped.
#[must_use]
pub fn is_mapped(start: usize, end: usize) -> bool {
    let mut pages = [0u8; 256];
    let first = start & !4095;
    let bytes = end.saturating_sub(first);
    if bytes > pages.len() * 4096 {
        return false;
    }
    // SAFETY: mincore writes one byte per page, and there is room for as many.
    unsafe { syscall(SYS_MINCORE, [first, bytes, pages.as_mut_ptr() as usize, 0, 0, 0]) }.is_ok()
}

/// Whether every page of the range can be read. The kernel is asked to read there for a call that then fails for another
/// reason; it needs neither `/proc` nor a descriptor, and no sandbox denies it.
#[must_use]
pub fn is_readable(start: usize, end: usize) -> bool {
    const NO_SUCH_OPERATION: usize = 1 << 20;
    const EINVAL: i32 = 22;
    (start & !4095..end).step_by(4096).all(|page| {
        // SAFETY: reads eight bytes at most, and changes nothing: there is no such operation.
        let result = unsafe { syscall(SYS_RT_SIGPROCMASK, [NO_SUCH_OPERATION, page, 0, 8, 0, 0]) };
        result == Err(EINVAL)
    })
}

/// Lets other threads run.
pub fn give_way() {
    // SAFETY: no arguments.
    let _ = unsafe { syscall(SYS_SCHED_YIELD, [0; 6]) };
}

/// Opens a file; `path` must end with a zero byte.
///
/// # Errors
/// The error number of `openat`.
pub fn open(path: &[u8], flags: usize) -> SysResult {
    debug_assert_eq!(path.last(), Some(&0));
    const AT_FDCWD: usize = -100isize as usize;
    // SAFETY: `path` is zero-terminated.
    unsafe { syscall(SYS_OPENAT, [AT_FDCWD, path.as_ptr() as usize, flags, 0, 0, 0]) }
}

/// Closes a file descriptor.
pub fn close(fd: usize) {
    // SAFETY: closing a descriptor touches no memory.
    let _ = unsafe { syscall(SYS_CLOSE, [fd, 0, 0, 0, 0, 0]) };
}

/// Reads into `buffer`.
///
/// # Errors
/// The error number of `read`.
pub fn read(fd: usize, buffer: &mut [u8]) -> SysResult {
    // SAFETY: the kernel writes at most `buffer.len()` bytes.
    unsafe { syscall(SYS_READ, [fd, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// Reads the target of a symbolic link; `path` must end with a zero byte.
///
/// # Errors
/// The error number of `readlink`.
pub fn read_link(path: &[u8], buffer: &mut [u8]) -> SysResult {
    debug_assert_eq!(path.last(), Some(&0));
    // SAFETY: `path` is zero-terminated; the kernel writes at most `buffer.len()` bytes.
    unsafe { syscall(SYS_READLINK, [path.as_ptr() as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// `ioctl` with a pointer argument.
///
/// # Errors
/// The error number of `ioctl`.
///
/// # Safety
/// `argument` must be what `request` expects.
pub unsafe fn ioctl(fd: usize, request: usize, argument: *mut u8) -> SysResult {
    // SAFETY: the caller vouches for the argument.
    unsafe { syscall(SYS_IOCTL, [fd, request, argument as usize, 0, 0, 0]) }
}

/// This process's id.
#[must_use]
pub fn getpid() -> u32 {
    // SAFETY: no arguments.
    unsafe { syscall(SYS_GETPID, [0; 6]) }.unwrap_or(0) as u32
}

/// The parent's process id.
#[must_use]
pub fn getppid() -> u32 {
    // SAFETY: no arguments.
    unsafe { syscall(SYS_GETPPID, [0; 6]) }.unwrap_or(0) as u32
}

/// This thread's id.
#[must_use]
pub fn gettid() -> u32 {
    // SAFETY: no arguments.
    unsafe { syscall(SYS_GETTID, [0; 6]) }.unwrap_or(0) as u32
}

/// Whether thread `tid` of process `pid` exists.
#[must_use]
pub fn thread_exists(pid: u32, tid: u32) -> bool {
    // SAFETY: signal 0 only checks.
    let result = unsafe { syscall(SYS_TGKILL, [pid as usize, tid as usize, 0, 0, 0, 0]) };
    result != Err(ESRCH)
}

/// Whether process `pid` exists.
#[must_use]
pub fn process_exists(pid: u32) -> bool {
    // SAFETY: signal 0 only checks.
    let result = unsafe { syscall(SYS_KILL, [pid as usize, 0, 0, 0, 0, 0]) };
    result != Err(ESRCH)
}

/// Sleeps on a shared futex while it holds `value`, at most `milliseconds`.
pub fn futex_wait(word: &core::sync::atomic::AtomicU32, value: u32, milliseconds: u64) {
    const FUTEX_WAIT: usize = 0;
    let timeout = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    // SAFETY: both pointers are valid for the duration of the call.
    let _ = unsafe {
        syscall(SYS_FUTEX, [word.as_ptr() as usize, FUTEX_WAIT, value as usize, timeout.as_ptr() as usize, 0, 0])
    };
}

/// Milliseconds of a clock that never goes back.
#[must_use]
pub fn monotonic_ms() -> u64 {
    const CLOCK_MONOTONIC: usize = 1;
    let mut now = [0u64; 2];
    // SAFETY: `now` has the size of a timespec and outlives the call.
    let _ = unsafe { syscall(SYS_CLOCK_GETTIME, [CLOCK_MONOTONIC, now.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    now[0] * 1000 + now[1] / 1_000_000
}

/// Wakes everybody who sleeps on a shared futex.
pub fn futex_wake(word: &core::sync::atomic::AtomicU32) {
    const FUTEX_WAKE: usize = 1;
    // SAFETY: the pointer is valid for the duration of the call.
    let _ = unsafe { syscall(SYS_FUTEX, [word.as_ptr() as usize, FUTEX_WAKE, i32::MAX as usize, 0, 0, 0]) };
}

/// Thread control block of this thread (`fs:0`). With glibc it lies above the thread's stack, in the same mapping.
#[inline(always)]
#[must_use]
pub fn thread_pointer() -> usize {
    let value: usize;
    // SAFETY: the x86_64 psABI stores the thread pointer at fs:0.
    unsafe { asm!("mov {}, fs:0", out(reg) value, options(nostack, readonly, preserves_flags)) };
    value
}

/// A mapping of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vma {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
    /// Whether it may be executed.
    pub executable: bool,
}

/// The mapping that contains `address`, as the kernel knows it just now: by the `PROCMAP_QUERY` ioctl (Linux 6.11), or
/// by reading `/proc/self/maps`. `None` if there is no such mapping or no `/proc`.
#[must_use]
pub fn vma_at(address: usize) -> Option<Vma> {
    let fd = open(b"/proc/self/maps\0", O_RDONLY_CLOEXEC).ok()?;
    let found = match query_vma(fd, address) {
        Ok(vma) => Some(vma),
        Err(2) => None, // ENOENT: no mapping there
        Err(_) => scan_maps(fd, address),
    };
    close(fd);
    found
}

fn query_vma(fd: usize, address: usize) -> Result<Vma, i32> {
    // struct procmap_query of linux/fs.h: size, query_flags, query_addr, vma_start, vma_end, vma_flags, ...
    const PROCMAP_QUERY: usize = 0xc068_6611;
    let mut query = [0u64; 13];
    query[0] = size_of_val(&query) as u64;
    query[2] = address as u64;
    // SAFETY: the structure has the size that the request number names.
    unsafe { ioctl(fd, PROCMAP_QUERY, query.as_mut_ptr().cast()) }?;
    Ok(Vma { start: query[3] as usize, end: query[4] as usize, executable: query[5] & 4 != 0 })
}

/// Reads `start-end perms ...` lines until one contains `address`.
fn scan_maps(fd: usize, address: usize) -> Option<Vma> {
    let mut buffer = [0u8; 1024];
    let (mut numbers, mut field, mut column, mut executable) = ([0usize; 2], 0usize, 0usize, false);
    loop {
        let n = match read(fd, &mut buffer) {
            Ok(0) => return None,
            Ok(n) => n,
            Err(EINTR) => continue,
            Err(_) => return None,
        };
        for &byte in &buffer[..n] {
            match byte {
                b'\n' => {
                    if numbers[0] <= address && address < numbers[1] {
                        return Some(Vma { start: numbers[0], end: numbers[1], executable });
                    }
                    (numbers, field, column, executable) = ([0; 2], 0, 0, false);
                }
                b'-' if field == 0 => field = 1,
                b' ' => (field, column) = (field.max(1) + 1, 0),
                b'x' if field == 2 && column == 2 => executable = true,
                _ if field < 2 => {
                    let digit = (byte as char).to_digit(16).unwrap_or(0) as usize;
                    numbers[field] = numbers[field] << 4 | digit;
                }
                _ => column += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_the_same_mapping() {
        let here = both_ways_find_the_same_mapping as *const () as usize;
        let vma = vma_at(here).unwrap();
        assert!(vma.start <= here && here < vma.end && vma.executable, "{vma:?}");
        let fd = open(b"/proc/self/maps\0", O_RDONLY_CLOEXEC).unwrap();
        assert_eq!(scan_maps(fd, here), Some(vma));
        close(fd);
        let local = 0u64;
        let stack = vma_at(&raw const local as usize).unwrap();
        assert!(!stack.executable);
        assert_eq!(vma_at(8), None);
    }

    #[test]
    fn mapped_ranges_are_told_from_holes() {
        let p = map_anonymous(3 * 4096).unwrap() as usize;
        assert!(is_mapped(p + 10, p + 3 * 4096));
        // SAFETY: nobody uses the middle page.
        unsafe { unmap((p + 4096) as *mut u8, 4096) };
        assert!(!is_mapped(p, p + 3 * 4096));
        assert!(is_readable(p + 10, p + 20) && is_readable(p + 2 * 4096, p + 3 * 4096));
        assert!(!is_readable(p, p + 3 * 4096) && !is_readable(p + 5000, p + 5001));
    }

    #[test]
    fn threads_exist_until_they_end() {
        assert!(thread_exists(getpid(), gettid()));
        let tid = std::thread::spawn(gettid).join().unwrap();
        while thread_exists(getpid(), tid) {
            std::thread::yield_now();
        }
    }
}
