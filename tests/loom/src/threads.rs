//! Thread states change hands: new ones are linked into a list, abandoned ones are taken over; and whether a thread may
//! think that it is alone.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use loom::thread;

use crate::check;

/// States there can be; `next` and the list's head are numbers of them, 0 for none.
const STATES: usize = 3;

/// What can be weakened.
#[derive(Clone, Copy)]
struct How {
    /// The exchange that links a state, in `create`.
    link: Ordering,
    /// The load of the list's head, in `adopt`.
    head: Ordering,
    /// Whether an owner is replaced by an exchange, not by a load and a store.
    exchange: bool,
}

const PRODUCT: How = How { link: Release, head: Acquire, exchange: true };

/// `ThreadState`; what only its owner touches, and what is constant once it is linked, in cells that loom watches.
struct State {
    owner: AtomicU32,
    next: UnsafeCell<usize>,
    stream: UnsafeCell<u32>,
}

struct Process {
    how: How,
    states: Vec<State>,
    /// States made so far, in place of `arena::map`.
    made: AtomicUsize,
    threads: AtomicUsize,
    /// Whether thread 1 is gone: what the kernel says to `sys::thread_exists`, which it learns from the thread's end.
    gone: AtomicBool,
}

impl Process {
    fn new(how: How) -> Self {
        let state = |_| State { owner: AtomicU32::new(0), next: UnsafeCell::new(0), stream: UnsafeCell::new(0) };
        Self {
            how,
            states: (0..=STATES).map(state).collect(),
            made: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
        }
    }

    /// `acquire` of `recorder/src/thread.rs`; then the thread writes into its stream.
    fn record(&self, tid: u32) {
        let state = self.adopt(tid).unwrap_or_else(|| self.create(tid));
        // SAFETY: this thread owns the state; loom checks that.
        self.states[state].stream.with_mut(|stream| unsafe { *stream += 1 });
    }

    /// `adopt`.
    fn adopt(&self, tid: u32) -> Option<usize> {
        let mut state = self.threads.load(self.how.head);
        while state != 0 {
            let owner = &self.states[state].owner;
            let old = owner.load(Relaxed);
            let abandoned = old == 1 && self.gone.load(Acquire);
            if abandoned {
                if self.how.exchange {
                    if owner.compare_exchange(old, tid, AcqRel, Relaxed).is_ok() {
                        return Some(state);
                    }
                } else {
                    owner.store(tid, Release);
                    return Some(state);
                }
            }
            // SAFETY: links are stored before a state can be found; loom checks that.
            state = self.states[state].next.with(|next| unsafe { *next });
        }
        None
    }

    /// `create`.
    fn create(&self, tid: u32) -> usize {
        let state = self.made.fetch_add(1, Relaxed) + 1;
        self.states[state].owner.store(tid, Relaxed);
        let mut head = self.threads.load(Relaxed);
        loop {
            // SAFETY: not published yet; loom checks that.
            self.states[state].next.with_mut(|next| unsafe { *next = head });
            match self.threads.compare_exchange(head, state, self.how.link, Relaxed) {
                Ok(_) => return state,
                Err(now) => head = now,
            }
        }
    }
}

/// Thread 1 records and ends; two others come, find its state or make their own.
fn states(how: How) {
    check(3, move || {
        let process = Arc::new(Process::new(how));
        let threads = [2, 3].map(|tid| {
            let process = Arc::clone(&process);
            thread::spawn(move || process.record(tid))
        });
        process.record(1);
        process.gone.store(true, Release);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut count = 0;
        let mut state = process.threads.load(Acquire);
        while state != 0 {
            count += 1;
            // SAFETY: no other thread is left.
            state = process.states[state].next.with(|next| unsafe { *next });
        }
        assert_eq!(count, process.made.load(Relaxed));
    });
}

#[test]
fn a_state_has_one_owner_and_none_is_lost() {
    states(PRODUCT);
}

#[test]
#[should_panic]
fn fails_if_states_are_linked_relaxed() {
    states(How { link: Relaxed, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_the_list_is_loaded_relaxed() {
    states(How { head: Relaxed, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_owners_are_replaced_without_an_exchange() {
    states(How { exchange: false, ..PRODUCT });
}

/// How the program hands an address from one thread to another, and whether the other one had said that it records
/// before it had the address.
#[derive(Clone, Copy)]
struct Handing {
    publish: Ordering,
    said_before: bool,
}

/// A second thread says so (`acquire`, `create`) and allocates; the first one gets the address from it, and must not
/// think that it is alone when it frees (`is_alone` of `recorder/src/thread.rs`, `stamp_before` of
/// `recorder/src/session.rs`).
fn alone(how: Handing) {
    check(4, move || {
        let shared = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
        let other = Arc::clone(&shared);
        let other = thread::spawn(move || {
            let (is_shared, address) = &*other;
            if how.said_before {
                is_shared.store(true, Release);
            }
            address.store(0x1000, how.publish);
            if !how.said_before {
                is_shared.store(true, Release);
            }
        });
        let (is_shared, address) = &*shared;
        if address.load(Acquire) != 0 {
            let is_alone = !is_shared.load(Relaxed);
            assert!(!is_alone);
        }
        other.join().unwrap();
    });
}

#[test]
fn nobody_is_alone_with_an_address_from_another_thread() {
    alone(Handing { publish: Release, said_before: true });
}

#[test]
#[should_panic]
fn fails_if_a_thread_says_so_after_its_first_event() {
    alone(Handing { publish: Release, said_before: false });
}

/// Programs that hand addresses over without synchronisation are wrong themselves; x86_64 keeps this order for them.
#[test]
#[should_panic]
fn fails_if_the_program_does_not_synchronise() {
    alone(Handing { publish: Relaxed, said_before: true });
}
