//! Thread states: what one thread (at one level of signal nesting) needs to record, and how states change hands.
//!
//! There is no destructor: a thread's last frees come after any hook we could run at its end. Instead every state knows
//! its owner, and a new thread first looks whether an owner is gone and takes that state over, stream and all. 100,000
//! short threads therefore need as many states as ever lived at once.

use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    compiler_fence,
};

use tmq_wire::layout::LossReason;

use crate::process::{self, Process};
use crate::stream::Stream;
use crate::tls::Tls;
use crate::unwind::chain::Chain;
use crate::unwind::memo::Memo;
use crate::unwind::stack_bounds::StackBounds;
use crate::{arena, sys};

/// How many states a new thread looks at for one whose owner is gone.
const PROBES: usize = 8;

/// State of one thread at one level.
#[derive(Debug)]
pub struct ThreadState {
    /// Epoch under which everything cached here was valid.
    pub epoch: u64,
    /// Where records go.
    pub stream: Stream,
    /// Frames of the last stack.
    pub chain: Chain,
    /// Other stacks that it had lately.
    pub memo: Memo,
    /// Which memory is stack.
    pub bounds: StackBounds,
    /// Stacks until the next verification.
    pub until_verify: u32,
    /// Stack pointer at the entry of the hook under way; 0: none is. One word, so that a signal handler between any two
    /// instructions finds either no hook under way or all that it needs to know of it.
    pub entry_sp: AtomicUsize,
    /// Level of nesting that this state serves.
    pub level: u32,
    /// Thread id of the owner.
    owner: AtomicU32,
    next: *mut ThreadState,
}

impl ThreadState {
    /// A hook that was entered with this stack pointer is under way from here on.
    #[inline(always)]
    pub fn enter(&self, sp: usize) {
        self.entry_sp.store(sp, Relaxed);
        // A handler of this very thread must not find the rest of the state in use before it finds the hook.
        compiler_fence(SeqCst);
    }

    /// Forgets all stacks: they may not be what they seem any more.
    pub fn forget_stacks(&mut self) {
        self.chain.clear();
        self.memo.clear();
    }

    /// Whether the program may be held up until there is room for a record: not in a handler that interrupted a hook.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.level == 0
    }

    /// None is.
    #[inline(always)]
    pub fn leave(&self) {
        compiler_fence(SeqCst);
        self.entry_sp.store(0, Relaxed);
    }
}

/// Whether more than one thread has ever recorded.
static SHARED: AtomicBool = AtomicBool::new(false);

/// Whether no other thread has recorded anything yet. Another thread says otherwise before its first event, so whoever
/// has an address from it sees that (loads are not reordered with loads on x86_64).
#[inline(always)]
#[must_use]
pub fn is_alone() -> bool {
    // Relaxed: pairs with the Release stores of `acquire` and `create` through the synchronisation by which the program handed the address on.
    !SHARED.load(Relaxed)
}

/// Where the search for abandoned states goes on.
static CURSOR: AtomicUsize = AtomicUsize::new(0);

/// The state of this thread at `level`, made if need be. `None`: there is no memory, or recording is off.
#[expect(clippy::mut_from_ref, reason = "the state is another mapping, owned by this thread alone")]
#[cold]
#[inline(never)]
pub fn acquire(process: &'static Process, tls: &mut Tls, level: usize) -> Option<&'static mut ThreadState> {
    let tid = sys::gettid();
    let state = match adopt(process, tid, level as u32) {
        Some(state) => {
            SHARED.store(true, Release);
            state
        }
        None => create(process, tid, level as u32)?,
    };
    // SAFETY: states are never unmapped, and `adopt` and `create` made this thread the owner.
    let state = unsafe { &mut *state };
    state.epoch = process::epoch();
    state.entry_sp.store(0, Relaxed);
    state.forget_stacks();
    state.chain.shallow();
    state.bounds = StackBounds::of_this_thread();
    state.until_verify = process.verify_every.load(Relaxed);
    state.stream.open(process, level == 0);
    tls.states[level] = state;
    Some(state)
}

fn adopt(process: &Process, tid: u32, level: u32) -> Option<*mut ThreadState> {
    let head = process.threads.load(Acquire);
    let mut state = head;
    let skip = CURSOR.fetch_add(PROBES / 2, Relaxed);
    let mut total = 0usize;
    let next = |s: *mut ThreadState| {
        // SAFETY: states are linked before the list's head is published and never unmapped.
        unsafe { (*s).next }
    };
    while !state.is_null() {
        total += 1;
        state = next(state);
    }
    if total == 0 {
        return None;
    }
    state = head;
    for _ in 0..skip % total {
        state = next(state);
    }
    for _ in 0..PROBES.min(total) {
        // SAFETY: as above; `owner` and the constant `level` may be read by any thread.
        let (owner, its_level) = unsafe { (&(*state).owner, (*state).level) };
        let old = owner.load(Relaxed);
        // A state of our own number belongs to a dead thread whose number was reused: this thread has none yet.
        let abandoned = its_level == level && (old == tid || !sys::thread_exists(process.pid(), old));
        if abandoned && owner.compare_exchange(old, tid, AcqRel, Relaxed).is_ok() {
            // SAFETY: the exchange made this thread the owner.
            unsafe { (*state).stream.change_thread(process, tid) };
            return Some(state);
        }
        state = next(state);
        if state.is_null() {
            state = head;
        }
    }
    None
}

fn create(process: &Process, tid: u32, level: u32) -> Option<*mut ThreadState> {
    let Some(memory) = arena::map(size_of::<ThreadState>()) else {
        process.lose(LossReason::NoMemory, 1);
        return None;
    };
    let state = memory.cast::<ThreadState>();
    let mut stream = Stream::EMPTY;
    stream.tid = tid;
    let fresh = ThreadState {
        epoch: 0,
        stream,
        chain: Chain::new(),
        memo: Memo::new(),
        bounds: StackBounds::UNKNOWN,
        until_verify: 0,
        entry_sp: AtomicUsize::new(0),
        level,
        owner: AtomicU32::new(tid),
        next: core::ptr::null_mut(),
    };
    // SAFETY: the mapping is large enough, page-aligned and this call's own.
    unsafe { state.write(fresh) };
    let mut head = process.threads.load(Relaxed);
    loop {
        // SAFETY: not published yet.
        unsafe { (*state).next = head };
        // Release pairs with the Acquire in `adopt`.
        match process.threads.compare_exchange_weak(head, state, Release, Relaxed) {
            Ok(_) => break,
            Err(now) => head = now,
        }
    }
    if head.is_null() {
        // SAFETY: this thread owns the state.
        process::describe(process, unsafe { &mut (*state).stream });
    } else {
        SHARED.store(true, Release);
    }
    process.slot().recorder_bytes.store(arena::MAPPED_BYTES.load(Relaxed) as u64, Relaxed);
    Some(state)
}

/// The level at which a hook entered with stack pointer `sp` should record: the first that has none under way. Levels whose
/// hook was left by a `longjmp` out of a signal handler are ended: if they were still under way on this stack, they would
/// lie above `sp`.
#[cold]
#[must_use]
pub fn settle_level(tls: &Tls, sp: usize) -> Option<usize> {
    let mut idle = None;
    for (level, &state) in tls.states.iter().enumerate().rev() {
        if !state.is_null() {
            // SAFETY: a state in this thread's block is this thread's; what it interrupted uses it again only later.
            let state = unsafe { &mut *state };
            let entry_sp = state.entry_sp.load(Relaxed);
            let was_left = state.bounds.contains(sp) && state.bounds.contains(entry_sp) && sp >= entry_sp;
            if entry_sp != 0 && !was_left {
                continue;
            }
            if was_left {
                state.stream.cancel();
                state.forget_stacks();
                state.entry_sp.store(0, Relaxed);
            }
        }
        idle = Some(level);
    }
    idle
}
