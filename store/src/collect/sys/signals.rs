//! Signals of the `tmq` process while it records, and what it inherited before Rust's runtime changed it.
//!
//! While a target runs, Ctrl-C and Ctrl-\ are the target's: they reach it directly, being in the same process group, and
//! `tmq` only takes note. A request to end (`SIGTERM`, `SIGHUP`) that was sent to `tmq` itself is passed on by the caller.
//! Handlers, never `SIG_IGN`, are used for that: exec resets handlers, but would hand an ignored signal to the target.
//! A signal that was ignored when `tmq` started (`nohup`, background jobs) stays ignored.
//!
//! Handlers only count. Any of them also ends a running [`futex_wait`](super::futex_wait) early, so the collector reacts
//! at once.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// The bit of a signal in a set kept as a number.
pub(super) const fn bit(signal: libc::c_int) -> u64 {
    1 << (signal - 1)
}

/// Signals with a handler while a recording runs.
const HANDLED: [libc::c_int; 5] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD];

static COUNTS: [AtomicU32; HANDLED.len()] = [const { AtomicU32::new(0) }; HANDLED.len()];
/// Bit n-1: signal n was sent by a process to `tmq`, not by the terminal to the whole foreground group.
static SENT: AtomicU64 = AtomicU64::new(0);
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Bit n-1: signal n was ignored (only for signals that Rust's runtime changes) when the process started.
static INHERITED_IGNORED: AtomicU64 = AtomicU64::new(0);
/// Bit n-1: signal n was blocked when the process started.
static INHERITED_BLOCKED: AtomicU64 = AtomicU64::new(0);
/// Bit n: descriptor n (0..=2) was closed when the process started.
static INHERITED_CLOSED: AtomicU32 = AtomicU32::new(0);

// Rust's runtime ignores SIGPIPE and opens closed standard descriptors before `main`; what a target has to inherit can
// only be seen before that, in an initialiser of the executable.
#[used]
// SAFETY: the section is an array of C functions, which this is.
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn() = remember;

extern "C" fn remember() {
    if action(libc::SIGPIPE, None).is_ok_and(|old| old.sa_sigaction == libc::SIG_IGN) {
        INHERITED_IGNORED.fetch_or(bit(libc::SIGPIPE), Relaxed);
    }
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `mask` is live; a null new mask only reads.
    if unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), mask.as_mut_ptr()) } == 0 {
        // SAFETY: all zeros is a valid value, and the call has filled it.
        let mask = unsafe { mask.assume_init() };
        // SAFETY: `mask` is live and the numbers are those of signals.
        let blocked = (1..=64).filter(|&n| unsafe { libc::sigismember(&raw const mask, n) } == 1);
        INHERITED_BLOCKED.store(blocked.fold(0, |bits, n| bits | bit(n)), Relaxed);
    }
    // A write beyond the limit of a file's size is an error of that write, which has to be reported, and tmq has to go on
    // while its target does.
    if action(libc::SIGXFSZ, None).is_ok_and(|old| old.sa_sigaction == libc::SIG_DFL) {
        let _ = action(libc::SIGXFSZ, Some(handler(0)));
    }
    // SAFETY: no pointers are passed.
    let closed = (0..3).filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1);
    INHERITED_CLOSED.store(closed.fold(0, |bits, fd| bits | 1 << fd), Relaxed);
}

/// What a target has to be given back between fork and exec. Plain numbers: the child may not allocate.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::collect) struct Inherited {
    /// Bit n-1: signal n is to be ignored.
    pub(super) ignored: u64,
    /// Bit n-1: signal n is to be at its default.
    pub(super) default: u64,
    /// Bit n-1: signal n is to be blocked.
    pub(super) blocked: u64,
    /// Bit n: descriptor n is to be closed.
    pub(super) closed: u32,
}

/// Undoes what a shell does to jobs in the background, where SIGINT and SIGQUIT are ignored.
#[cfg(test)]
pub(in crate::collect) fn heed_keyboard() {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: the default action is the kernel's.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

extern "C" fn note(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if let Some(count) = HANDLED.iter().position(|&n| n == signal).and_then(|at| COUNTS.get(at)) {
        // SAFETY: the kernel passes a live siginfo to handlers installed with SA_SIGINFO.
        let code = unsafe { (*info).si_code };
        if code <= 0 {
            SENT.fetch_or(bit(signal), Relaxed);
        }
        // Release pairs with the swap in `take`, which then sees the bit set above.
        count.fetch_add(1, Release);
    }
}

/// What arrived since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::collect) struct Received {
    /// Ctrl-C or Ctrl-\.
    pub(in crate::collect) interrupted: bool,
    /// A request to end.
    pub(in crate::collect) terminate: Option<libc::c_int>,
    /// It was sent to `tmq` alone, so the target has not seen it.
    pub(in crate::collect) forward: bool,
}

/// The handlers of a recording; dropping it puts everything back.
pub(in crate::collect) struct Signals {
    saved: [Option<libc::sigaction>; HANDLED.len()],
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

impl Signals {
    /// Installs the handlers. Dispositions belong to the whole process, so there can be only one recording at a time.
    pub(in crate::collect) fn install() -> io::Result<Self> {
        if INSTALLED.swap(true, AcqRel) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "this process is recording already"));
        }
        let mut signals = Self { saved: [None; HANDLED.len()] };
        for (at, &signal) in HANDLED.iter().enumerate() {
            COUNTS[at].store(0, Relaxed);
            let old = action(signal, None)?;
            if old.sa_sigaction != libc::SIG_IGN || signal == libc::SIGCHLD {
                action(signal, Some(handler(0)))?;
                signals.saved[at] = Some(old);
            }
        }
        SENT.store(0, Relaxed);
        Ok(signals)
    }

    /// What the target has to inherit.
    pub(in crate::collect) fn inherited(&self) -> Inherited {
        let mut inherited = Inherited {
            ignored: INHERITED_IGNORED.load(Relaxed),
            default: 0,
            blocked: INHERITED_BLOCKED.load(Relaxed),
            closed: INHERITED_CLOSED.load(Relaxed),
        };
        for (at, &signal) in HANDLED.iter().enumerate() {
            match self.saved[at] {
                Some(old) if old.sa_sigaction == libc::SIG_IGN => inherited.ignored |= bit(signal),
                Some(_) => inherited.default |= bit(signal),
                None => {}
            }
        }
        if inherited.ignored & bit(libc::SIGPIPE) == 0 {
            inherited.default |= bit(libc::SIGPIPE);
        }
        inherited
    }

    /// What arrived since the last call.
    pub(in crate::collect) fn take(&self) -> Received {
        // Acquire (of AcqRel) pairs with the Release in `note`.
        let mut arrived = COUNTS.iter().map(|count| count.swap(0, AcqRel) > 0);
        let mut next = || arrived.next().unwrap_or(false);
        let interrupted = next() | next();
        let terminate = if next() {
            Some(libc::SIGTERM)
        } else if next() {
            Some(libc::SIGHUP)
        } else {
            None
        };
        let forward = terminate.is_some_and(|signal| SENT.fetch_and(!(bit(signal)), Relaxed) & bit(signal) != 0);
        Received { interrupted, terminate, forward }
    }

    /// From here on one more signal of each kind is swallowed (the second Ctrl-C of an impatient user was meant for the
    /// target), and the next does what it did before.
    pub(in crate::collect) fn allow_one_more(&self) {
        for (at, &signal) in HANDLED.iter().enumerate() {
            if self.saved[at].is_some() && signal != libc::SIGCHLD {
                // A failure leaves the handler without the limit: the user needs another way to end `tmq`, no more.
                let _ = action(signal, Some(handler(libc::SA_RESETHAND)));
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (at, &signal) in HANDLED.iter().enumerate() {
            if let Some(old) = self.saved[at] {
                let _ = action(signal, Some(old));
            }
        }
        INSTALLED.store(false, Release);
    }
}

fn handler(flags: libc::c_int) -> libc::sigaction {
    // SAFETY: all zeros is a valid sigaction: default disposition, empty mask, no flags.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = note as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | flags;
    action
}

/// Sets the disposition of a signal, if one is given, and returns the old one.
fn action(signal: libc::c_int, new: Option<libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `new` is null or live, `old` is live, and `note` only touches atomics, as a handler must.
    super::check(unsafe { libc::sigaction(signal, new, old.as_mut_ptr()) })?;
    // SAFETY: all zeros is a valid value, and the call has filled it.
    Ok(unsafe { old.assume_init() })
}
