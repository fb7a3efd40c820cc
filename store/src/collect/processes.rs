//! The recorded process images: found in their slots, watched until they end, and what `/proc` says about them.
//!
//! An image is known by its incarnation, a process by its id *as the collector sees it*: a process in another pid
//! namespace writes an id into its slot that means something else here, and is looked up among the namespaced processes.
//! A pidfd pins the process, so that a reused id cannot be mistaken for it; where pidfds are not to be had, the start time
//! serves instead.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use tmq_wire::ProcessSlot;
use tmq_wire::layout::{PROCESS_CLAIMED, PROCESS_ENDED, PROCESS_FREE, PROCESS_LIVE};

use super::names::Names;
use super::procfs::{self, Memory, Stat};
use super::region::Region;
use super::sink::Sink;
use super::sys::{self, Exit, Watch};
use crate::Error;
use crate::ingest::{Input, ProcessCounters};

/// How often processes without a pidfd, and slots that are claimed but never filled, are looked at.
const SLOW_CHECK: Duration = Duration::from_millis(20);
/// A slot claimed this long ago by a process that is gone was left behind by a kill.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(1);

/// Distance of two scans of the process slots while some image is missing: a scan of all takes some 40 microseconds.
const FIRST_SCAN: Duration = Duration::from_millis(10);
/// The distance grows to this while the image does not appear.
const LAST_SCAN: Duration = Duration::from_secs(1);

/// One recorded image.
#[derive(Debug)]
struct Process {
    slot: usize,
    pid: u32,
    /// Watched for its end; without one the start time is compared.
    handle: Option<OwnedFd>,
    start: Option<u64>,
    start_tsc: u64,
    /// When it ended, once it has.
    end: Option<u64>,
    /// It gave up recording, as its slot says, but runs on.
    retired: Option<u64>,
    memory: Memory,
}

impl Process {
    fn new(slot: usize, pid: u32) -> Self {
        let memory = Memory::none();
        Self { slot, pid, handle: None, start: None, start_tsc: 0, end: None, retired: None, memory }
    }

    /// When it wrote its last record or ended; `None`: it runs on, perhaps after the recording was closed.
    fn ended_at(&self) -> Option<u64> {
        self.retired.or(self.end)
    }
}

/// All images that have not been finished.
#[derive(Debug)]
pub(super) struct Processes {
    live: BTreeMap<u32, Process>,
    finished: HashSet<u32>,
    watch: Option<Watch>,
    /// Numbers given to images so far, plus one.
    announced: u32,
    /// Slots below this have been in use.
    touched: usize,
    next_scan: Instant,
    scan_distance: Duration,
    claimed: HashMap<usize, Instant>,
    child: u32,
    exit: Option<Exit>,
    since: u64,
    next_slow_check: Instant,
    page_bytes: i64,
    pub(super) names: Names,
}

impl Processes {
    /// No process yet. The end of `child` is told by [`child_ended`](Self::child_ended), so that its status is known.
    pub(super) fn new(child: u32) -> Self {
        Self {
            live: BTreeMap::new(),
            finished: HashSet::new(),
            watch: Watch::new().ok(),
            announced: 1,
            touched: 0,
            next_scan: Instant::now(),
            scan_distance: FIRST_SCAN,
            claimed: HashMap::new(),
            child,
            exit: None,
            since: Stat::own_start(),
            next_slow_check: Instant::now(),
            page_bytes: sys::page_bytes(),
            names: Names::default(),
        }
    }

    /// The direct child has ended.
    pub(super) fn child_ended(&mut self, exit: Exit) {
        self.exit = Some(exit);
    }

    /// Number of images that have not ended.
    pub(super) fn running(&self) -> usize {
        self.live.values().filter(|process| process.end.is_none()).count()
    }

    /// Number of images seen so far.
    pub(super) fn seen(&self) -> usize {
        self.live.len() + self.finished.len()
    }

    /// Process ids of the images that have not been finished.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.live.values().map(|process| process.pid).collect()
    }

    /// Whether chunks of this image are drained.
    pub(super) fn is_live(&self, incarnation: u32) -> bool {
        self.live.contains_key(&incarnation)
    }

    /// Whether an unfinished record of this image holds the watermark back. An image not seen yet counts.
    pub(super) fn holds_back(&self, incarnation: u32) -> bool {
        match self.live.get(&incarnation) {
            Some(process) => process.end.is_none() && process.retired.is_none(),
            None => !self.finished.contains(&incarnation),
        }
    }

    /// Images that ended and wait to be drained a last time.
    pub(super) fn ended(&self) -> Vec<u32> {
        self.live.iter().filter(|(_, process)| process.end.is_some()).map(|(&incarnation, _)| incarnation).collect()
    }

    /// When the first of them ended.
    pub(super) fn first_end(&self) -> Option<u64> {
        self.live.values().filter(|process| process.end.is_some()).filter_map(Process::ended_at).min()
    }

    /// Images that have not been finished.
    pub(super) fn all(&self) -> Vec<u32> {
        self.live.keys().copied().collect()
    }

    /// Looks for images that appeared, and tells the sink. Most are found by their first chunk ([`find_writer`](Self::find_writer));
    /// a scan of all slots finds those that write nothing, and is made now and then, or at once if the search is to be
    /// `thorough`.
    pub(super) fn find(
        &mut self,
        region: &Region,
        now: Instant,
        thorough: bool,
        sink: &mut dyn Sink,
    ) -> Result<(), Error> {
        // Acquire pairs with the increment by a process that registers.
        let announced = region.header().next_incarnation.0.load(Acquire);
        if announced != self.announced {
            (self.announced, self.scan_distance) = (announced, FIRST_SCAN);
        }
        let complete = self.seen() >= announced.saturating_sub(1) as usize;
        if complete || !(thorough || now >= self.next_scan) {
            return Ok(());
        }
        // Some never come: a process can be killed between taking its number and filling its slot.
        self.next_scan = now + self.scan_distance;
        self.scan_distance = (self.scan_distance * 2).min(LAST_SCAN);
        // Never fewer than before, whatever the header says now.
        self.touched = self.touched.max(region.processes_touched());
        let mut found = Vec::new();
        for index in 0..self.touched {
            let Some(slot) = region.process(index) else { continue };
            // Acquire pairs with the process's store of LIVE: the words of the slot are valid.
            match slot.state.load(Acquire) {
                PROCESS_LIVE | PROCESS_ENDED => self.note_new(index, slot, &mut found),
                PROCESS_CLAIMED => drop(self.claimed.entry(index).or_insert_with(Instant::now)),
                _ => {}
            }
        }
        // An image that replaced another by exec has the higher number, and has to come after it.
        found.sort_unstable_by_key(|&(incarnation, _)| incarnation);
        self.admit(region, &found, sink)
    }

    /// Looks for the image of a chunk, which is not known yet. Whether it is known now.
    pub(super) fn find_writer(
        &mut self,
        region: &Region,
        incarnation: u32,
        now: Instant,
        sink: &mut dyn Sink,
    ) -> Result<bool, Error> {
        // All slots, not that of the chunk alone: the image may have replaced others by exec that come before it.
        self.find(region, now, true, sink)?;
        Ok(self.is_live(incarnation))
    }

    fn note_new(&mut self, index: usize, slot: &ProcessSlot, found: &mut Vec<(u32, usize)>) {
        self.claimed.remove(&index);
        let incarnation = slot.incarnation.load(Relaxed);
        let known = self.live.contains_key(&incarnation) || self.finished.contains(&incarnation);
        if incarnation != 0 && !known && !found.iter().any(|&(other, _)| other == incarnation) {
            found.push((incarnation, index));
        }
    }

    fn admit(&mut self, region: &Region, found: &[(u32, usize)], sink: &mut dyn Sink) -> Result<(), Error> {
        let mut namespaced = None;
        for &(incarnation, index) in found {
            let Some(slot) = region.process(index) else { continue };
            let start_tsc = slot.start_tsc.load(Relaxed);
            let mut process = self.identify(index, slot.pid.load(Relaxed), &mut namespaced);
            process.start_tsc = start_tsc;
            let pid = process.pid;
            // One that could not be identified may have written an id of another namespace, which here belongs to an
            // image that runs on.
            if process.end.is_none() || Stat::of(pid).is_none_or(|stat| stat.is_gone()) {
                for (&other, image) in self.live.iter_mut().filter(|(_, image)| image.pid == pid) {
                    if other < incarnation {
                        image.end = Some(image.end.map_or(start_tsc, |end| end.min(start_tsc)));
                    } else {
                        process.end = Some(process.end.map_or(image.start_tsc, |end| end.min(image.start_tsc)));
                    }
                }
            }
            let watched = match (&self.watch, &process.handle) {
                (Some(watch), Some(handle)) => watch.add(handle, incarnation.into()).is_ok(),
                _ => false,
            };
            if !watched {
                process.handle = None;
            }
            self.live.insert(incarnation, process);
            let forked_from = slot.forked_from.load(Relaxed);
            sink.input(Input::ProcessSeen { incarnation, pid, forked_from, start_tsc })?;
        }
        self.describe(region, found, sink)
    }

    /// Says what new images are: one that never has anything to record, as under sampling, does not say it itself. A
    /// forked one is what its parent is; `/proc` may already have what it executed since.
    fn describe(&self, region: &Region, found: &[(u32, usize)], sink: &mut dyn Sink) -> Result<(), Error> {
        for &(incarnation, index) in found {
            let is_forked = region.process(index).is_none_or(|slot| slot.forked_from.load(Relaxed) != 0);
            let Some(process) = self.live.get(&incarnation).filter(|p| p.end.is_none() && !is_forked) else { continue };
            if let Some((ppid, exe, argv)) = procfs::image(process.pid) {
                sink.input(Input::ProcessImage { incarnation, ppid, exe: &exe, argv: &argv })?;
            }
        }
        Ok(())
    }

    /// Finds the process behind the id that it wrote into its slot.
    fn identify(&self, slot: usize, claimed: u32, namespaced: &mut Option<HashMap<u32, u32>>) -> Process {
        if let Some(process) = self.identify_here(slot, claimed) {
            return process;
        }
        let ended = || Process { end: Some(sys::tsc()), ..Process::new(slot, claimed) };
        if claimed == self.child && self.exit.is_some() {
            // It was waited for, so `/proc` knows nothing of it any more.
            return ended();
        }
        // Either it has ended already, or its id is one of another namespace.
        let others = namespaced.get_or_insert_with(|| procfs::namespaced(self.since));
        if let Some(process) = others.get(&claimed).and_then(|&pid| self.identify_here(slot, pid)) {
            return process;
        }
        ended()
    }

    fn identify_here(&self, slot: usize, pid: u32) -> Option<Process> {
        let handle = sys::pidfd_open(pid).ok();
        let stat = Stat::of(pid);
        match stat {
            // Everything recorded is a descendant, so it is younger than this process.
            Some(stat) if stat.start < self.since => return None,
            // With neither, there is no such process; with a handle alone, `/proc` hides it.
            None if handle.is_none() => return None,
            _ => {}
        }
        let start = stat.map(|stat| stat.start);
        Some(Process { handle, start, memory: Memory::of(pid), ..Process::new(slot, pid) })
    }

    /// Finds out which images have ended. To be called before the scan that is to drain them completely.
    pub(super) fn check(&mut self, region: &Region, now: Instant) {
        let tsc = sys::tsc();
        let (child, exit) = (self.child, self.exit);
        if let Some(watch) = &self.watch {
            for incarnation in watch.ready() {
                let process = u32::try_from(incarnation).ok().and_then(|incarnation| self.live.get_mut(&incarnation));
                if let Some(process) = process
                    && process.pid != child
                {
                    process.end.get_or_insert(tsc);
                }
            }
        }
        if exit.is_some() {
            for process in self.live.values_mut().filter(|process| process.pid == child) {
                process.end.get_or_insert(tsc);
            }
        }
        if now >= self.next_slow_check {
            self.next_slow_check = now + SLOW_CHECK;
            self.check_slowly(region, now, tsc);
        }
    }

    fn check_slowly(&mut self, region: &Region, now: Instant, tsc: u64) {
        for process in self.live.values_mut() {
            if process.handle.is_none() && process.pid != self.child {
                let same =
                    Stat::of(process.pid).is_some_and(|stat| !stat.is_gone() && Some(stat.start) == process.start);
                if !same {
                    process.end.get_or_insert(tsc);
                }
            }
            // Acquire pairs with the process's last store to its slot.
            if region.process(process.slot).is_some_and(|slot| slot.state.load(Acquire) == PROCESS_ENDED) {
                process.retired.get_or_insert(tsc);
            }
        }
        self.claimed.retain(|&index, since| {
            let Some(slot) = region.process(index) else { return false };
            if slot.state.load(Acquire) != PROCESS_CLAIMED {
                return false;
            }
            let pid = slot.pid.load(Relaxed);
            let left = now.duration_since(*since) > CLAIM_TIMEOUT && pid != 0;
            if left && Stat::of(pid).is_none_or(|stat| stat.is_gone()) {
                release(slot);
                return false;
            }
            true
        });
    }

    /// Resident memory of all running images.
    pub(super) fn resident_bytes(&self) -> i64 {
        let running = self.live.values().filter(|process| process.end.is_none());
        running.filter_map(|process| process.memory.resident(self.page_bytes)).fold(0, i64::saturating_add)
    }

    /// Reads the names of threads that are due.
    pub(super) fn refresh_names(&mut self, now: Instant, sink: &mut dyn Sink) -> Result<(), Error> {
        let live = &self.live;
        self.names.refresh(now, |incarnation| live.get(&incarnation).map(|process| process.pid), sink)
    }

    /// Tells the sink that an image is done with, and gives its slot back if it has ended.
    pub(super) fn finish(&mut self, region: &Region, incarnation: u32, sink: &mut dyn Sink) -> Result<(), Error> {
        let Some(process) = self.live.remove(&incarnation) else { return Ok(()) };
        self.finished.insert(incarnation);
        self.names.forget(incarnation);
        let slot = region.process(process.slot);
        let counters = slot.map(counters).unwrap_or_default();
        if let Some(slot) = slot
            && process.end.is_some()
        {
            release(slot);
        }
        let last_of_child = process.pid == self.child && !self.live.values().any(|other| other.pid == self.child);
        let (exit_code, exit_signal) = match self.exit.filter(|_| last_of_child && process.end.is_some()) {
            Some(Exit::Code(code)) => (Some(code), None),
            Some(Exit::Signal(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        let tsc = process.ended_at();
        sink.input(Input::ProcessEnded { incarnation, tsc, exit_code, exit_signal, counters })
    }
}

fn counters(slot: &ProcessSlot) -> ProcessCounters {
    let mut losses = [0; tmq_wire::layout::LOSS_REASONS];
    for (to, from) in losses.iter_mut().zip(&slot.losses) {
        *to = from.load(Relaxed);
    }
    ProcessCounters {
        losses,
        verified: slot.verified.load(Relaxed),
        mismatches: slot.mismatches.load(Relaxed),
        recorder_bytes: slot.recorder_bytes.load(Relaxed),
        hooks: slot.hooks.load(Relaxed),
    }
}

/// Gives a slot back (rule 5), all its words zero.
fn release(slot: &ProcessSlot) {
    for word in [&slot.pid, &slot.incarnation, &slot.forked_from] {
        word.store(0, Relaxed);
    }
    for word in slot.losses.iter().chain([&slot.start_tsc, &slot.verified, &slot.mismatches]) {
        word.store(0, Relaxed);
    }
    for word in [&slot.recorder_bytes, &slot.hooks] {
        word.store(0, Relaxed);
    }
    // Release pairs with the Acquire of the process that claims the slot.
    slot.state.store(PROCESS_FREE, Release);
}
