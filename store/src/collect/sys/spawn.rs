//! fork and exec of the target, in two steps: the child exists and has its process id before the program runs, so that
//! the recording can be named after it.
//!
//! std's `Command` is not used because it sets the signal mask and SIGPIPE of the child to what it thinks is standard,
//! while a recorded program has to inherit exactly what it would have without `tmq`.
//!
//! Rule: between fork and exec the child of a process with threads calls async-signal-safe functions only. Everything it
//! needs (arguments, environment, numbers) is prepared before.

use std::ffi::{CStr, CString};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};

use super::check;
use super::signals::{Inherited, bit};

/// What to run.
#[derive(Debug)]
pub(in crate::collect) struct Image {
    /// The arguments; the first is also the name that is looked up along `PATH`.
    pub(in crate::collect) arguments: Vec<CString>,
    /// The environment, `NAME=value` each.
    pub(in crate::collect) environment: Vec<CString>,
}

/// A child that has not run its program yet. Dropping it ends the child.
#[derive(Debug)]
pub(in crate::collect) struct Paused {
    pid: u32,
    go: PipeWriter,
    failure: PipeReader,
}

/// The environment of this process to the byte, entries included that are not of the form `NAME=value`.
pub(in crate::collect) fn environment() -> Vec<CString> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut entries = Vec::new();
    // SAFETY: libc defines the variable; nothing in `tmq` changes the environment while it records.
    let mut at = unsafe { environ };
    if at.is_null() {
        return entries;
    }
    // SAFETY: `at` points into the array, which a null pointer ends.
    while let Some(entry) = std::ptr::NonNull::new(unsafe { *at }.cast_mut()) {
        // SAFETY: each entry is a C string.
        entries.push(unsafe { CStr::from_ptr(entry.as_ptr()) }.to_owned());
        // SAFETY: the entry was not the null pointer, so there is another behind it.
        at = unsafe { at.add(1) };
    }
    entries
}

/// Pointers to the strings with the null pointer that exec wants at the end.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

impl Paused {
    /// Forks a child that waits for [`release`](Self::release).
    pub(in crate::collect) fn fork(image: &Image, inherited: Inherited) -> io::Result<Self> {
        if image.arguments.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let (wait, go) = io::pipe()?;
        let (failure, report) = io::pipe()?;
        let child = Child {
            arguments: pointers(&image.arguments),
            environment: pointers(&image.environment),
            inherited,
            mask: set_of(inherited.blocked),
            wait: wait.as_raw_fd(),
            report: report.as_raw_fd(),
            not_mine: [go.as_raw_fd(), failure.as_raw_fd()],
        };
        // No handler of ours may run in the child, where a signal would be lost: all are blocked across fork.
        let before = set_mask(&set_of(u64::MAX))?;
        // SAFETY: the child runs only `Child::run`, which keeps to async-signal-safe functions and never returns.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child.run();
        }
        let forked = check(pid);
        set_mask(&before)?;
        Ok(Self { pid: forked? as u32, go, failure })
    }

    /// The process id, which is that of the program later.
    pub(in crate::collect) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the child run its program. The error is that of exec; there is no child then.
    pub(in crate::collect) fn release(mut self) -> io::Result<()> {
        self.go.write_all(&[1])?;
        let mut errno = [0; 4];
        match self.failure.read_exact(&mut errno) {
            // The pipe was closed by a successful exec.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(e) => Err(e),
            Ok(()) => {
                self.reap();
                Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
            }
        }
    }

    /// Ends the child without running the program.
    pub(in crate::collect) fn cancel(self) {
        let Self { pid, go, failure } = self;
        drop((go, failure));
        reap(pid);
    }

    fn reap(&self) {
        reap(self.pid);
    }
}

fn reap(pid: u32) {
    let mut status = 0;
    // SAFETY: `status` is live; the child is ours and ends by itself.
    unsafe { libc::waitpid(pid as libc::pid_t, &raw mut status, 0) };
}

fn set_of(bits: u64) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is live and the call initialises it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised by the call above.
    let mut set = unsafe { set.assume_init() };
    for signal in (1..=64).filter(|&signal| bits & bit(signal) != 0) {
        // SAFETY: `set` is live; the numbers that libc reserves for itself are refused without harm.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// Sets the signal mask of this thread and returns the old one.
fn set_mask(mask: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut old = set_of(0);
    // SAFETY: both sets are live and initialised.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, &raw mut old) } {
        0 => Ok(old),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// All that the child needs, laid out before fork.
struct Child {
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    inherited: Inherited,
    mask: libc::sigset_t,
    wait: RawFd,
    report: RawFd,
    not_mine: [RawFd; 2],
}

impl Child {
    /// The child's part. Async-signal-safe functions only.
    fn run(&self) -> ! {
        for fd in self.not_mine {
            // SAFETY: closing a descriptor of the child, which owns copies of all.
            unsafe { libc::close(fd) };
        }
        let mut byte = 0u8;
        // SAFETY: `byte` is live and one byte long. All signals are blocked, so there is no EINTR.
        if unsafe { libc::read(self.wait, (&raw mut byte).cast(), 1) } != 1 {
            // SAFETY: ends the child without running anything of the parent.
            unsafe { libc::_exit(127) };
        }
        self.restore();
        // glibc's execvpe allocates nothing: it is what its own posix_spawn runs in a vfork child.
        // SAFETY: both arrays end with a null pointer and their strings outlive the call.
        unsafe { libc::execvpe(self.arguments[0], self.arguments.as_ptr(), self.environment.as_ptr()) };
        // SAFETY: errno is this thread's.
        let errno = unsafe { *libc::__errno_location() }.to_ne_bytes();
        // SAFETY: `errno` is live and as long as said; nobody is left to tell if this fails.
        unsafe { libc::write(self.report, errno.as_ptr().cast(), errno.len()) };
        // SAFETY: as above.
        unsafe { libc::_exit(127) }
    }

    fn restore(&self) {
        for signal in 1..=64 {
            if self.inherited.ignored & bit(signal) != 0 {
                // SAFETY: SIG_IGN needs no handler.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            } else if self.inherited.default & bit(signal) != 0 {
                // SAFETY: SIG_DFL needs no handler.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
        }
        for fd in (0..3).filter(|fd| self.inherited.closed & 1 << fd != 0) {
            // SAFETY: closing a descriptor of the child, which Rust's runtime opened in place of a closed one.
            unsafe { libc::close(fd) };
        }
        // SAFETY: the set is live and initialised; the old mask is not wanted.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.mask, std::ptr::null_mut()) };
    }
}
