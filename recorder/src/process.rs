//! The process image: how recording starts, what happens in a fork child, and what all threads share.
//!
//! ```text
//!             region opened                     fork child sees a zeroed epoch
//! UNTRIED ──────────────────▶ ON ──────────────────────────────────▶ starts anew: ON or OFF
//!    │  no region, no slot     │ collector gone
//!    └───────────▶ OFF ◀───────┘
//! ```
//!
//! A fork child is recognised by a page that the kernel clears in children (`MADV_WIPEONFORK`), not by
//! `pthread_atfork`, which `_Fork` and raw `clone` pass by. A `vfork` child shares the page with its parent and records
//! as the parent's thread, which is what it is until it calls exec.

use core::cell::UnsafeCell;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use tmq_wire::ProcessSlot;
use tmq_wire::layout::{LossReason, PROCESS_LIVE};
use tmq_wire::payload::{self, ORIGIN_EXEC, ORIGIN_FORK, Writer};
use tmq_wire::record::Kind;

use crate::region::Region;
use crate::stream::Stream;
use crate::unwind::rules::RuleTable;
use crate::{arena, modules::Modules, nodes::Nodes, sampler::Sampler, sys, thread::ThreadState};

const UNTRIED: u32 = 0;
const STARTING: u32 = 1;
const ON: u32 = 2;
const OFF: u32 = 3;

/// Longest path of a region that is accepted.
const MAX_REGION_PATH: usize = 256;

/// Longest path of an executable in the record of a process.
const MAX_EXE_IN_RECORD: usize = 1024;
/// Longest path of an executable that is known.
const MAX_EXE_PATH: usize = 2048;

/// The page that the kernel clears in fork children: the epoch, or zeros.
#[repr(C, align(4096))]
struct EpochPage {
    /// Changes whenever cached stacks and rules lose their meaning: a module was unloaded, or this is a new process.
    epoch: AtomicU64,
}

static FALLBACK_PAGE: EpochPage = EpochPage { epoch: AtomicU64::new(0) };
static EPOCH_PAGE: AtomicPtr<EpochPage> = AtomicPtr::new((&raw const FALLBACK_PAGE).cast_mut());
static STATE: AtomicU32 = AtomicU32::new(UNTRIED);
/// Epochs never repeat, in fork children neither, so that a state of the parent is never taken for the child's.
static NEXT_EPOCH: AtomicU64 = AtomicU64::new(1);
static PROCESS: Process = Process::new();
/// Hooks that came while recording was just starting, before there was a place to count them.
static MISSED: AtomicU32 = AtomicU32::new(0);

/// What all threads of a process image share.
#[derive(Debug)]
pub struct Process {
    region: UnsafeCell<Option<Region>>,
    path: UnsafeCell<[u8; MAX_REGION_PATH]>,
    exe: UnsafeCell<[u8; MAX_EXE_PATH]>,
    exe_len: AtomicUsize,
    slot_index: AtomicU32,
    incarnation: AtomicU32,
    pid: AtomicU32,
    /// Most recent frames to keep, 0 for all.
    pub max_depth: AtomicU32,
    /// Whether frees get a stack too.
    pub free_stacks: AtomicU32,
    /// Verify every n-th stack, 0 for none.
    pub verify_every: AtomicU32,
    /// All thread states ever made, linked by `next`.
    pub threads: AtomicPtr<ThreadState>,
    /// The calling-context tree.
    pub nodes: Nodes,
    /// Loaded modules.
    pub modules: Modules,
    /// Unwind rules by return address.
    pub rules: RuleTable,
    /// Sampling.
    pub sampler: Sampler,
}

// SAFETY: `region`, `path` and `exe` are written only by the one thread that moved `STATE` to `STARTING`, and read only after
// it moved on to `ON` with Release; everything else is atomic.
unsafe impl Sync for Process {}

impl Process {
    const fn new() -> Self {
        Self {
            region: UnsafeCell::new(None),
            path: UnsafeCell::new([0; MAX_REGION_PATH]),
            exe: UnsafeCell::new([0; MAX_EXE_PATH]),
            exe_len: AtomicUsize::new(0),
            slot_index: AtomicU32::new(0),
            incarnation: AtomicU32::new(0),
            pid: AtomicU32::new(0),
            max_depth: AtomicU32::new(0),
            free_stacks: AtomicU32::new(0),
            verify_every: AtomicU32::new(0),
            threads: AtomicPtr::new(core::ptr::null_mut()),
            nodes: Nodes::new(),
            modules: Modules::new(),
            rules: RuleTable::new(),
            sampler: Sampler::new(),
        }
    }

    /// The region; only for code that runs while the state is `ON`.
    #[inline(always)]
    #[must_use]
    pub fn region(&self) -> &Region {
        // SAFETY: set before the state became ON and not changed while threads record.
        let region = unsafe { &*self.region.get() };
        match region {
            Some(region) => region,
            // SAFETY: `Process` is handed out by `current` and `start` only after the region was set.
            None => unsafe { core::hint::unreachable_unchecked() },
        }
    }

    /// Number of this image within the recording.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation.load(Relaxed)
    }

    /// Index of the process slot.
    #[must_use]
    pub fn slot_index(&self) -> u32 {
        self.slot_index.load(Relaxed)
    }

    /// Path of the executable as it was when the program started: later it may be out of reach (chroot).
    #[must_use]
    pub fn exe(&self) -> &[u8] {
        // SAFETY: written before the state became ON.
        let path: &[u8] = unsafe { &*self.exe.get() };
        &path[..self.exe_len.load(Relaxed)]
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.load(Relaxed)
    }

    /// The process slot in the region.
    #[must_use]
    pub fn slot(&self) -> &'static ProcessSlot {
        self.region().process_slot(self.slot_index())
    }

    /// Counts `n` lost records.
    #[cold]
    pub fn lose(&self, reason: LossReason, n: u64) {
        self.slot().losses[reason as usize].fetch_add(n, Relaxed);
    }
}

/// Epoch now; 0 in a fork child that has not started anew, and before recording.
#[inline(always)]
#[must_use]
pub fn epoch() -> u64 {
    // SAFETY: the pointer is to the fallback or to a page that is never unmapped.
    unsafe { (*EPOCH_PAGE.load(Relaxed)).epoch.load(Relaxed) }
}

/// Invalidates everything that threads have cached about code and stacks.
pub fn new_epoch() {
    let epoch = NEXT_EPOCH.fetch_add(1, Relaxed) + 1;
    // SAFETY: as in `epoch`.
    unsafe { (*EPOCH_PAGE.load(Relaxed)).epoch.store(epoch, Release) };
}

/// The recorded process; `None` if this process is not recorded (or not yet: see [`start`]).
#[inline]
#[must_use]
pub fn current() -> Option<&'static Process> {
    (STATE.load(Acquire) == ON).then_some(&PROCESS)
}

/// The recorded process, for callers that know that it is: they hold a state of the current [`epoch`], and epochs end
/// when recording does. Its atomics may be read in any case.
#[inline(always)]
#[must_use]
pub fn recorded() -> &'static Process {
    &PROCESS
}

/// Whether recording was tried and is off for good.
#[inline(always)]
#[must_use]
pub fn is_off() -> bool {
    STATE.load(Relaxed) == OFF
}

/// Counts a hook that cannot be recorded because it comes, in a signal handler or another thread, while the recorder is
/// being set up.
#[cold]
pub fn miss() {
    match current() {
        Some(process) if epoch() != 0 => process.lose(LossReason::Nested, 1),
        _ => drop(MISSED.fetch_add(1, Relaxed)),
    }
}

/// Stops recording in this process for good.
#[cold]
pub fn stop() {
    STATE.store(OFF, Release);
    new_epoch();
}

/// Starts recording in a process that has not tried yet, or starts anew in a fork child. `None`: not recorded, or
/// another thread (or an interrupted call of this one) is just starting.
#[cold]
#[inline(never)]
pub fn start(environment: impl FnOnce(&mut [u8]) -> usize) -> Option<&'static Process> {
    let state = STATE.load(Acquire);
    match state {
        ON if epoch() != 0 => return Some(&PROCESS),
        OFF => return None,
        STARTING => {
            miss();
            return None;
        }
        _ => {}
    }
    if STATE.compare_exchange(state, STARTING, AcqRel, Relaxed).is_err() {
        miss();
        return None;
    }
    let good = if state == ON { start_in_child() } else { start_first(environment) };
    // In this order: a handler between the two finds a process that is being started, and not one that has to be.
    new_epoch();
    STATE.store(if good { ON } else { OFF }, Release);
    let missed = MISSED.swap(0, Relaxed);
    if good && missed > 0 {
        PROCESS.lose(LossReason::Nested, missed.into());
    }
    good.then_some(&PROCESS)
}

fn start_first(environment: impl FnOnce(&mut [u8]) -> usize) -> bool {
    // SAFETY: this thread alone is in STARTING.
    let (path, region) = unsafe { (&mut *PROCESS.path.get(), &mut *PROCESS.region.get()) };
    let n = environment(&mut path[..MAX_REGION_PATH - 1]);
    if n == 0 {
        return false;
    }
    *region = Region::open(&path[..=n]);
    if region.is_none() {
        return false;
    }
    let Some(page) = arena::map(4096) else { return false };
    // SAFETY: the page was mapped just now. Without WIPEONFORK (kernels before 4.14) a child could not be told from its
    // parent and would write into the parent's streams, so such systems are not recorded.
    if !unsafe { sys::wipe_on_fork(page, 4096) } {
        return false;
    }
    EPOCH_PAGE.store(page.cast(), Release);
    // SAFETY: as above.
    let exe = unsafe { &mut *PROCESS.exe.get() };
    PROCESS.exe_len.store(sys::read_link(b"/proc/self/exe\0", exe).unwrap_or(0), Relaxed);
    register(0)
}

/// The address space is a copy of the parent's: the region is mapped, tables hold what the parent knew. Only this
/// thread exists.
fn start_in_child() -> bool {
    PROCESS.threads.store(core::ptr::null_mut(), Relaxed);
    PROCESS.nodes.reset();
    PROCESS.modules.reset(&PROCESS.rules);
    PROCESS.sampler.reset();
    crate::verify::reset();
    let parent = PROCESS.incarnation();
    PROCESS.region().header().follow.load(Relaxed) != 0 && register(parent)
}

fn register(forked_from: u32) -> bool {
    let region = *PROCESS.region();
    if !region.is_recording() {
        return false;
    }
    let pid = sys::getpid();
    let header = region.header();
    // Without following, only the process that the collector started is recorded (whatever it execs).
    if header.follow.load(Relaxed) == 0 && sys::getppid() != header.collector_pid.load(Relaxed) {
        return false;
    }
    let Some(index) = region.claim_process() else { return false };
    let incarnation = header.next_incarnation.0.fetch_add(1, Relaxed);
    let slot = region.process_slot(index);
    slot.pid.store(pid, Relaxed);
    slot.incarnation.store(incarnation, Relaxed);
    slot.forked_from.store(forked_from, Relaxed);
    slot.start_tsc.store(sys::rdtsc(), Relaxed);
    // Release: whoever sees the slot live sees the words above (layout rule 5).
    slot.state.store(PROCESS_LIVE, Release);
    PROCESS.slot_index.store(index, Relaxed);
    PROCESS.incarnation.store(incarnation, Relaxed);
    PROCESS.pid.store(pid, Relaxed);
    PROCESS.max_depth.store(header.max_depth.load(Relaxed), Relaxed);
    PROCESS.free_stacks.store(header.free_stacks.load(Relaxed), Relaxed);
    PROCESS.verify_every.store(header.verify_every.load(Relaxed), Relaxed);
    PROCESS.rules.prepare() && PROCESS.nodes.prepare() && PROCESS.sampler.prepare(header.sample_interval.load(Relaxed))
}

/// Says in `stream` which program this is. Called once per image, by the first thread that gets a stream.
pub fn describe(process: &Process, stream: &mut Stream) {
    /// Too large for the stack of a thread that may have 16 KiB in all.
    struct Scratch {
        argv: [u8; 2048],
        slots: [tmq_wire::record::Slot; payload::MAX_PAYLOAD_SLOTS],
    }
    let Some(memory) = arena::map(size_of::<Scratch>()) else { return };
    // SAFETY: the mapping is large enough, zeroed (a valid `Scratch`), page-aligned and this call's own.
    let scratch = unsafe { &mut *memory.cast::<Scratch>() };
    let exe = process.exe();
    let argv_len = read_file(b"/proc/self/cmdline\0", &mut scratch.argv);
    let mut writer = Writer::new(&mut scratch.slots);
    let forked = process.slot().forked_from.load(Relaxed) != 0;
    writer.process(&payload::Process {
        pid: process.pid(),
        ppid: sys::getppid(),
        origin: if forked { ORIGIN_FORK } else { ORIGIN_EXEC },
        exe: &exe[..exe.len().min(MAX_EXE_IN_RECORD)],
        argv: &scratch.argv[..argv_len],
    });
    let used = writer.slots_used();
    stream.blob(process, Kind::Process, 0, 0, &scratch.slots[..used]);
}

fn read_file(path: &[u8], buffer: &mut [u8]) -> usize {
    let Ok(fd) = sys::open(path, sys::O_RDONLY_CLOEXEC) else { return 0 };
    let n = sys::read(fd, buffer).unwrap_or(0);
    sys::close(fd);
    n
}
