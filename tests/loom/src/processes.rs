//! Process slots: claimed and described by targets, read and given back by the collector (layout rule 5).

use loom::sync::Arc;
use loom::sync::atomic::AtomicU32;
use loom::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use loom::thread;

use crate::check;

const PROCESS_FREE: u32 = 0;
const PROCESS_CLAIMED: u32 = 1;
const PROCESS_LIVE: u32 = 2;
const PROCESS_ENDED: u32 = 3;

/// What can be weakened.
#[derive(Clone, Copy)]
struct How {
    /// The store of `PROCESS_LIVE`.
    live: Ordering,
    /// The store of `PROCESS_FREE`.
    release: Ordering,
    /// The exchange that claims.
    claim: Ordering,
    /// The collector's load of the state.
    see: Ordering,
}

const PRODUCT: How = How { live: Release, release: Release, claim: AcqRel, see: Acquire };

#[derive(Default)]
struct Slot {
    state: AtomicU32,
    incarnation: AtomicU32,
    losses: AtomicU32,
}

struct Region {
    how: How,
    slot: Slot,
    /// `RegionHeader::processes_touched`.
    touched: AtomicU32,
    next_incarnation: AtomicU32,
}

impl Region {
    fn new(how: How) -> Self {
        Self { how, slot: Slot::default(), touched: AtomicU32::new(0), next_incarnation: AtomicU32::new(1) }
    }

    /// `Region::claim_process` and `register` of `recorder/src/process.rs`, a loss, and the image's end.
    fn live(&self) {
        let slot = &self.slot;
        if slot.state.load(Relaxed) != PROCESS_FREE
            || slot.state.compare_exchange(PROCESS_FREE, PROCESS_CLAIMED, self.how.claim, Relaxed).is_err()
        {
            return;
        }
        self.touched.fetch_max(1, Relaxed);
        let incarnation = self.next_incarnation.fetch_add(1, Relaxed);
        slot.incarnation.store(incarnation, Relaxed);
        slot.state.store(PROCESS_LIVE, self.how.live);
        // `Process::lose`. What was counted before would be another image's.
        assert_eq!(slot.losses.fetch_add(1, Relaxed), 0);
        slot.state.store(PROCESS_ENDED, Release);
    }

    /// `Processes::find`, `counters` and `release` of `store/src/collect/processes.rs`.
    fn collect(&self, seen: &mut Vec<u32>) {
        if self.touched.load(Acquire) == 0 {
            return;
        }
        let slot = &self.slot;
        let state = slot.state.load(self.how.see);
        if state == PROCESS_LIVE || state == PROCESS_ENDED {
            let incarnation = slot.incarnation.load(Relaxed);
            assert_ne!(incarnation, 0);
            if seen.last() != Some(&incarnation) {
                seen.push(incarnation);
            }
        }
        if state == PROCESS_ENDED {
            assert_eq!(slot.losses.load(Relaxed), 1);
            slot.incarnation.store(0, Relaxed);
            slot.losses.store(0, Relaxed);
            slot.state.store(PROCESS_FREE, self.how.release);
        }
    }
}

fn model(how: How) {
    check(3, move || {
        let region = Arc::new(Region::new(how));
        let targets = [0, 1].map(|_| {
            let region = Arc::clone(&region);
            thread::spawn(move || region.live())
        });
        let collected = Arc::clone(&region);
        let collector = thread::spawn(move || {
            let mut seen = Vec::new();
            collected.collect(&mut seen);
            collected.collect(&mut seen);
            seen
        });
        targets.into_iter().for_each(|target| target.join().unwrap());
        let mut seen = collector.join().unwrap();
        region.collect(&mut seen);
        let claimed = region.next_incarnation.load(Relaxed) - 1;
        assert!(seen.iter().copied().eq(1..=claimed), "{seen:?} of {claimed}");
    });
}

#[test]
fn a_slot_has_one_owner_and_is_read_whole() {
    model(PRODUCT);
}

#[test]
#[should_panic]
fn fails_if_a_slot_goes_live_relaxed() {
    model(How { live: Relaxed, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_a_slot_is_given_back_relaxed() {
    model(How { release: Relaxed, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_a_slot_is_claimed_relaxed() {
    model(How { claim: Relaxed, ..PRODUCT });
}

#[test]
#[should_panic]
fn fails_if_the_collector_loads_relaxed() {
    model(How { see: Relaxed, ..PRODUCT });
}
