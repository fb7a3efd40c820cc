//! System calls that std does not offer, each behind a safe function.
//!
//! Together with `region` this is the only place of the collector with `unsafe`: [`spawn`] holds fork and exec,
//! [`signals`] the dispositions of signals, and this file the rest.

pub(super) mod signals;
pub(super) mod spawn;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Turns the usual -1 of a system call into an error.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The clock of all records: the time stamp counter, read in program order.
#[cfg(target_arch = "x86_64")]
pub(super) fn tsc() -> u64 {
    use core::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: both instructions exist on every x86-64 processor and touch no memory.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
}

/// The clock of all records: the virtual counter, read in program order.
#[cfg(target_arch = "aarch64")]
pub(super) fn tsc() -> u64 {
    let now: u64;
    // SAFETY: the counter is readable from user space on Linux and reading it touches no memory.
    unsafe { core::arch::asm!("isb", "mrs {}, cntvct_el0", "isb", out(reg) now, options(nomem, nostack)) };
    now
}

/// An anonymous file of `bytes` zeros for its owner only, closed on exec.
pub(super) fn memfd(name: &CStr, bytes: u64) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a C string; the kernel copies it.
    let fd = check(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: a descriptor that was just made and has no other owner.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.set_len(bytes)?;
    Ok(file.into())
}

/// Sleeps until `word` is woken, differs from `expected`, a signal arrives, or the time is over.
pub(super) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: `word` is a live, aligned 32-bit word and `timeout` outlives the call; all outcomes mean "look again".
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const timeout) };
}

/// Wakes all who sleep on `word`, in any process.
pub(super) fn futex_wake_all(word: &AtomicU32) {
    // SAFETY: `word` is a live, aligned 32-bit word; waking changes no memory.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// A handle of process `pid` that becomes readable when all its threads are gone.
pub(super) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    let fd = check(fd as libc::c_int)?;
    // SAFETY: a descriptor that was just made and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends `signal` to process `pid`.
pub(super) fn kill(pid: u32, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    if pid <= 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: no pointers are passed.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// The status as a shell reports it: 128 + signal for a process that a signal ended.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Collects the end of child `pid` if it has ended.
pub(super) fn try_wait(pid: u32) -> io::Result<Option<Exit>> {
    let mut status = 0;
    // SAFETY: `status` is a live integer that the kernel fills.
    let ended = check(unsafe { libc::waitpid(pid as libc::pid_t, &raw mut status, libc::WNOHANG) })?;
    if ended == 0 {
        Ok(None)
    } else if libc::WIFSIGNALED(status) {
        Ok(Some(Exit::Signal(libc::WTERMSIG(status))))
    } else {
        Ok(Some(Exit::Code(libc::WEXITSTATUS(status))))
    }
}

/// A set of descriptors to watch for input, each with a number.
#[derive(Debug)]
pub(super) struct Watch(OwnedFd);

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: a descriptor that was just made and has no other owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches `fd` until it is closed.
    pub(super) fn add(&self, fd: &impl AsFd, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number };
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open and `event` outlives the call.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) }).map(drop)
    }

    /// The numbers of some descriptors that have input now; never waits.
    pub(super) fn ready(&self) -> impl Iterator<Item = u64> + use<> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // SAFETY: `events` is live and as long as said.
        let n = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as libc::c_int, 0) };
        events.into_iter().take(usize::try_from(n).unwrap_or(0)).map(|event| event.u64)
    }
}

/// A datagram socket bound to `path`, writable for its owner only.
pub(super) fn bind_datagram(path: &Path) -> io::Result<UnixDatagram> {
    let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, &from) in address.sun_path.iter_mut().zip(bytes) {
        *to = from as libc::c_char;
    }
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: a descriptor that was just made and has no other owner.
    let socket = unsafe { UnixDatagram::from_raw_fd(fd) };
    // The mode of an unbound socket becomes that of the file that bind makes, so there is no moment at which others
    // could write to it.
    // SAFETY: no pointers are passed.
    check(unsafe { libc::fchmod(fd, 0o600) })?;
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: `address` is live, initialised and as long as said.
    check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Raises the soft limit of open files to the hard one; descriptors are kept per recorded process.
pub(super) fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live and the kernel fills it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0 {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is live and initialised. Failure leaves the old limit, which is handled where files are opened.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// Whether `path` has the extended attribute `name`.
pub(super) fn has_attribute(path: &CStr, name: &CStr) -> bool {
    // SAFETY: both are C strings, and a size of zero asks only for the length.
    unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

/// Effective user and group of this process.
pub(super) fn effective_ids() -> (u32, u32) {
    // SAFETY: no pointers are passed and the call cannot fail.
    let user = unsafe { libc::geteuid() };
    // SAFETY: as above.
    (user, unsafe { libc::getegid() })
}

/// Whether this process may execute `path`, as `execve` will judge it.
pub(super) fn is_executable(path: &CStr) -> bool {
    // SAFETY: `path` is a C string.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) == 0 }
}

/// Bytes in a memory page.
pub(super) fn page_bytes() -> i64 {
    // SAFETY: no pointers are passed.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }
}

/// Maps a file to look at it. Its content may change under the reader, so only checked parsers may read it.
pub(super) fn map_file(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: the mapping is private and read-only, and its readers treat its bytes as arbitrary.
    unsafe { memmap2::Mmap::map(file) }
}
