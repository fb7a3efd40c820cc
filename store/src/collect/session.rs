//! The loop of a running recording: drain, heed signals, look after the processes, until all has ended.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use tmq_wire::ENV_REGION;
use tmq_wire::layout::CollectorState;

use super::clock::Calibration;
use super::drain::Drain;
use super::inspect::Verdict;
use super::launch::Child;
use super::mark::Control;
use super::pace::Pace;
use super::processes::Processes;
use super::procfs::{self, Births};
use super::record::{Observer, Options, Progress};
use super::region::{CloseOnDrop, Region};
use super::sink::Sink;
use super::sys;
use super::sys::signals::Signals;
use crate::Error;
use crate::ingest::Input;

/// Time for records under construction to be finished after the recording was closed.
const SETTLE: Duration = Duration::from_millis(2);
/// How long a process that inherited the recorder may take to register once nothing else runs.
const REGISTRATION_GRACE: Duration = Duration::from_millis(200);
/// Pause between two searches for such processes.
const REGISTRATION_POLL: Duration = Duration::from_millis(20);
/// How often the observer hears of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// How often resident memory is read at first, and at most seldom.
const RSS_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// How often the end of the target is looked for once recording has stopped.
const WAIT_POLL: Duration = Duration::from_millis(20);

/// A running recording.
pub(super) struct Session<'a> {
    options: &'a Options,
    region: &'a Region,
    drain: Drain<'a>,
    pub(super) child: Child,
    signals: &'a Signals,
    control: Option<Control>,
    calibration: Calibration,
    pace: Pace,
    started: Instant,
    next_progress: Instant,
    next_rss: Instant,
    told_waiting: usize,
    straggling_since: Option<Instant>,
    next_search: Instant,
    births: Births,
    asked_to_end: u32,
    closing: bool,
    /// Record slots collected.
    pub(super) slots: u64,
    /// Rounds of the drain.
    pub(super) rounds: u64,
    _close: CloseOnDrop<'a>,
}

impl<'a> Session<'a> {
    /// The recording of a target that was just started.
    pub(super) fn new(
        options: &'a Options,
        region: &'a Region,
        child: Child,
        signals: &'a Signals,
        control: Option<Control>,
        calibration: Calibration,
        births: Births,
    ) -> Self {
        let now = Instant::now();
        Self {
            options,
            region,
            drain: Drain::new(region, Processes::new(child.pid)),
            child,
            signals,
            control,
            calibration,
            pace: Pace::new(region.chunks(), options.config.sample_interval > 0),
            started: now,
            next_progress: now + PROGRESS_EVERY,
            next_rss: now,
            told_waiting: 0,
            straggling_since: None,
            next_search: now,
            births,
            asked_to_end: 0,
            closing: false,
            slots: 0,
            rounds: 0,
            _close: CloseOnDrop(region),
        }
    }

    /// Drains until all has ended, then closes the recording.
    pub(super) fn run(&mut self, sink: &mut dyn Sink, observer: &mut dyn Observer) -> Result<(), Error> {
        let result = self.drain_until_end(sink, observer);
        self.region.set_state(CollectorState::Closed);
        result?;
        if self.drain.processes.running() > 0 {
            std::thread::sleep(SETTLE);
        }
        self.slots += self.drain.last_round(sink)?.slots;
        self.rounds += 1;
        self.calibration.poll(Instant::now(), true, sink)?;
        self.report_losses(sink)
    }

    fn drain_until_end(&mut self, sink: &mut dyn Sink, observer: &mut dyn Observer) -> Result<(), Error> {
        loop {
            // Acquire pairs with the Release of a target that wants to be seen: the round sees what it has done before.
            let wake = self.region.wake_word().load(Acquire);
            let exit = self.child.poll();
            self.heed_signals();
            if let Some(exit) = exit {
                self.drain.processes.child_ended(exit);
            }
            let round = self.drain.round(exit.is_some(), sink)?;
            self.rounds += 1;
            self.slots += round.slots;
            let now = Instant::now();
            self.observe(now, sink, observer)?;
            if self.is_over(now, observer) {
                return Ok(());
            }
            let is_single = exit.is_none() && self.drain.processes.seen() <= 1;
            let sleep = self.pace.after(round.freed, is_single);
            // A partial round without anything new waits for a chunk that is nowhere to be seen.
            let goes_on = round.is_partial && round.slots > 0;
            if !sleep.is_zero() && !goes_on {
                sys::futex_wait(self.region.wake_word(), wake, sleep);
            }
        }
    }

    /// What else is to be noted between two rounds.
    fn observe(&mut self, now: Instant, sink: &mut dyn Sink, observer: &mut dyn Observer) -> Result<(), Error> {
        self.calibration.poll(now, false, sink)?;
        for (tsc, name) in self.control.iter().flat_map(|control| control.take(self.drain.watermark())) {
            sink.input(Input::Mark { tsc, name: &name })?;
        }
        if now >= self.next_rss {
            let (least, most) = RSS_EVERY;
            // A five-hundredth of the time so far, within bounds, and more for many processes.
            let distance = (now.duration_since(self.started) / 500).clamp(least, most);
            let crowd = u32::try_from(self.drain.processes.running() / 8).unwrap_or(u32::MAX).max(1);
            self.next_rss = now + distance.saturating_mul(crowd);
            let bytes = self.drain.processes.resident_bytes();
            if bytes > 0 {
                sink.input(Input::Rss { tsc: sys::tsc(), bytes })?;
            }
        }
        if now >= self.next_progress {
            self.next_progress = now + PROGRESS_EVERY;
            observer.progress(Progress {
                elapsed: now.duration_since(self.started),
                slots: self.slots,
                processes: self.drain.processes.running(),
            });
        }
        Ok(())
    }

    fn heed_signals(&mut self) {
        let received = self.signals.take();
        let ended = self.child.exit().is_some();
        if received.interrupted && ended {
            self.closing = true;
        }
        if let Some(signal) = received.terminate {
            self.asked_to_end += 1;
            if received.forward && self.asked_to_end == 1 {
                self.child.signal(signal);
            }
            self.closing |= ended || self.asked_to_end > 1;
        }
    }

    fn is_over(&mut self, now: Instant, observer: &mut dyn Observer) -> bool {
        if self.closing {
            return true;
        }
        if self.child.exit().is_none() {
            return false;
        }
        let running = self.drain.processes.running();
        if running == 0 {
            return !self.may_register(now);
        }
        self.straggling_since = None;
        if self.options.wait_for_descendants && running != self.told_waiting {
            self.told_waiting = running;
            observer.waiting_for_descendants(running);
        }
        !self.options.wait_for_descendants
    }

    /// Whether a process that the command left behind may be about to register. Between fork or exec and that moment
    /// nothing but its environment shows that it belongs to the recording; those that never register are not waited for.
    fn may_register(&mut self, now: Instant) -> bool {
        if !self.options.config.follow || !self.options.wait_for_descendants {
            return false;
        }
        let since = *self.straggling_since.get_or_insert(now);
        if now.duration_since(since) > REGISTRATION_GRACE {
            return false;
        }
        if now < self.next_search {
            return true;
        }
        self.next_search = now + REGISTRATION_POLL;
        let entry = format!("{ENV_REGION}={}", self.region.path());
        procfs::anyone_with(entry.as_bytes(), &self.births, &self.drain.processes.pids())
    }

    /// After recording stopped early: waits for the target as a shell would, unless asked to end twice.
    pub(super) fn outlive_target(&mut self) {
        while self.child.poll().is_none() && !self.closing {
            self.heed_signals();
            sys::futex_wait(self.region.wake_word(), self.region.wake_word().load(Relaxed), WAIT_POLL);
        }
    }

    fn report_losses(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        let losses = self.drain.losses;
        let refused = self.region.header().processes_refused.0.load(Relaxed).into();
        let all = [
            ("processes_refused", refused, "processes beyond the number that can be recorded at one time"),
            ("stray", losses.stray_slots, "records of processes that never registered or had ended"),
            ("stream_gap", losses.gaps, "threads of which some records never arrived"),
            ("unfinished", losses.stuck, "events under construction for seconds, which others did not wait for"),
            ("lost_chunks", losses.lost_chunks, "buffers lost because a program damaged the shared memory"),
        ];
        for (reason, count, detail) in all.into_iter().filter(|&(_, count, _)| count > 0) {
            sink.input(Input::Loss { incarnation: None, reason, count, detail })?;
        }
        Ok(())
    }

    /// Why no process registered, if none did.
    pub(super) fn nothing_recorded(&self, verdict: &Verdict) -> Option<String> {
        if self.drain.processes.seen() > 0 {
            return None;
        }
        Some(match verdict {
            Verdict::CannotRecord { reason, .. } => reason.clone(),
            _ => "the program ended before it was set up, cleared its environment, or was run with other rights: \
                  the recorder was never loaded into it"
                .to_owned(),
        })
    }
}
