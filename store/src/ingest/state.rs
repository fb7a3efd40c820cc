//! The state of a recording under way: inputs come in, streams are merged by stamp, rows come out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use serde::{Deserialize, Serialize};
use tmq_wire::payload::{self, Reader};
use tmq_wire::record::{Kind, Record, Slot};

use super::clock::Clock;
use super::code::Module;
use super::config::RecordingConfig;
use super::input::Input;
use super::model::{Event, Model};
use super::process::{Identity, NodeEntry, Process};
use super::rows::{ROWS_AT_ONCE, Rows};
use super::sampling::Sampling;
use super::streams::{NO_THREAD, Stop, Streams};
use super::tree::NO_MODULE;
use crate::Error;

/// Process images in one recording.
const MAX_PROCESSES: usize = 1 << 20;
/// Slots that may wait for the watermark (256 MiB). Beyond, everything waiting is merged, in the order known by then.
const MAX_WAITING: usize = 16 << 20;
/// How far behind the last watermark stamps may be at the end; later ones are damaged.
const TAIL_SECONDS: f64 = 60.0;
/// Larger blocks are damaged records: this is all the memory that a process can address (records hold no addresses beyond
/// it either). Sums of such sizes would also be too large for floating-point numbers to hold single bytes.
const MAX_SIZE: u64 = 1 << 47;
/// Longest name, path or argument list that is kept.
const MAX_TEXT: usize = payload::MAX_PAYLOAD_SLOTS * 16;

/// Takes finished rows; leaves the buffer empty.
pub(crate) type Sink<'a> = dyn FnMut(&mut Rows) -> Result<(), Error> + 'a;

/// Something that happens at a stamp but is in no stream.
#[derive(Debug, Serialize, Deserialize)]
enum Control {
    Ended { process: u32 },
    Mark { name: String },
}

/// Everything that a checkpoint saves.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub config: RecordingConfig,
    pub created_unix_ns: i64,
    pub model: Model,
    streams: Streams,
    controls: BTreeMap<(u64, u64), Control>,
    control_count: u64,
    by_incarnation: HashMap<u32, u32>,
    watermark: u64,
    names: HashMap<(u32, u32), String>,
}

impl State {
    /// The state before any input.
    pub(crate) fn new(config: RecordingConfig, created_unix_ns: i64) -> Self {
        let sampling = Sampling::new(config.sample_interval);
        Self {
            config,
            created_unix_ns,
            model: Model::new(sampling),
            streams: Streams::default(),
            controls: BTreeMap::new(),
            control_count: 0,
            by_incarnation: HashMap::new(),
            watermark: 0,
            names: HashMap::new(),
        }
    }

    /// Roughly how long it is when it is saved: what there can be much of.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        /// Bytes of an open block, a site and a node of the tree, as they were seen.
        const BYTES: [usize; 3] = [24, 90, 20];
        let blocks = self.model.processes.iter().map(|process| process.blocks.len()).sum();
        let counts = [blocks, self.model.sites.len(), self.model.code.tree.nodes().len()];
        counts.iter().zip(BYTES).map(|(count, bytes)| (count * bytes) as u64).sum()
    }

    /// Slots that were taken in and wait for the watermark, by incarnation and stream. They are not saved with the state.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (u32, u32, &[Slot])> {
        self.streams.all_waiting()
    }

    /// Takes one input in; rows that are finished by it go to `sink`.
    pub(crate) fn apply(&mut self, input: &Input<'_>, sink: &mut Sink<'_>) -> Result<(), Error> {
        match *input {
            Input::Slots { incarnation, stream, slots } => return self.slots(incarnation, stream, slots, sink),
            Input::Watermark { tsc } => {
                self.watermark = self.watermark.max(tsc);
                return self.merge(self.watermark, &[], sink).map(drop);
            }
            Input::ProcessSeen { incarnation, pid, forked_from, start_tsc } => {
                if let Some(number) = self.process(incarnation) {
                    let process = &mut self.model.processes[number as usize];
                    (process.pid, process.forked_from, process.start_tsc) = (pid, forked_from, start_tsc);
                }
            }
            Input::ProcessImage { incarnation, ppid, exe, argv } => {
                if let Some(number) = self.process(incarnation) {
                    let process = &mut self.model.processes[number as usize];
                    if !process.identity.is_known {
                        process.identity = Identity::new(ppid, exe.as_bytes(), argv.as_bytes());
                    }
                }
            }
            Input::Clock { tsc, unix_ns, ticks_per_second } => {
                self.model.clock.get_or_insert_with(|| Clock::new(tsc, unix_ns, ticks_per_second));
            }
            Input::Rss { tsc, bytes } => {
                if let Some(clock) = self.model.clock {
                    self.model.timeline.resident(clock.ns(tsc), bytes);
                }
            }
            Input::ThreadName { incarnation, tid, name } => {
                if let Some(process) = self.process(incarnation) {
                    self.names.insert((process, tid), name.to_owned());
                }
            }
            Input::ProcessEnded { incarnation, tsc, exit_code, exit_signal, counters } => {
                if let Some(process) = self.process(incarnation) {
                    let image = &mut self.model.processes[process as usize];
                    (image.exit_code, image.exit_signal, image.counters) = (exit_code, exit_signal, counters);
                    if let Some(tsc) = tsc {
                        self.control(tsc, Control::Ended { process });
                    }
                }
            }
            Input::Loss { incarnation, reason, count, detail } => {
                let process = incarnation.and_then(|i| self.process(i));
                self.model.lose(process, reason, count, detail);
            }
            Input::Mark { tsc, name } => self.control(tsc, Control::Mark { name: name.to_owned() }),
        }
        Ok(())
    }

    /// Merges everything that waits and closes all processes. Nothing may be applied afterwards.
    pub(crate) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        let clock = *self.model.clock.get_or_insert_with(|| Clock::new(0, self.created_unix_ns, 1e9));
        let limit = match self.watermark {
            0 => u64::MAX,
            last => last.saturating_add(clock.ticks(TAIL_SECONDS)),
        };
        self.merge(limit, &[], sink)?;
        self.apply_controls(u64::MAX, sink)?;
        for number in std::mem::take(&mut self.streams.active) {
            let process = self.streams.get(number).process;
            self.corrupt(number, process, "its last record is cut off or lies far behind the end of the recording");
        }
        let end = self.model.now_ns;
        self.model.end_totals = self.model.totals;
        for number in 0..self.model.processes.len() as u32 {
            self.close(number, end, sink)?;
        }
        sink(&mut self.model.rows)?;
        for ((process, tid), name) in std::mem::take(&mut self.names) {
            self.model.name_thread(process, tid, name);
        }
        Ok(())
    }

    /// The number of a process image, made if it is new; `None`: there are too many.
    fn process(&mut self, incarnation: u32) -> Option<u32> {
        if let Some(&number) = self.by_incarnation.get(&incarnation) {
            return Some(number);
        }
        let number = self.model.processes.len();
        if number >= MAX_PROCESSES {
            self.model.lose(
                None,
                "too_many_processes",
                1,
                "Process images beyond the first million were not recorded.",
            );
            return None;
        }
        let start_tsc = self.model.clock.map_or(0, |c| c.base_tsc);
        self.model.processes.push(Process { incarnation, start_tsc, ..Process::default() });
        self.by_incarnation.insert(incarnation, number as u32);
        Some(number as u32)
    }

    fn control(&mut self, tsc: u64, control: Control) {
        self.control_count += 1;
        self.controls.insert((tsc, self.control_count), control);
    }

    fn slots(&mut self, incarnation: u32, stream: u32, slots: &[Slot], sink: &mut Sink<'_>) -> Result<(), Error> {
        if let Some(number) = self.stream(incarnation, stream) {
            self.streams.append(number, slots);
        }
        self.merge_if_too_many_wait(sink)
    }

    /// Takes [`Input::Slots`] in, and perhaps the buffer as it is, for which another one is left.
    pub(crate) fn take_slots(
        &mut self,
        incarnation: u32,
        stream: u32,
        slots: &mut Vec<Slot>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Error> {
        if let Some(number) = self.stream(incarnation, stream) {
            self.streams.append_buffer(number, slots);
        }
        self.merge_if_too_many_wait(sink)
    }

    /// The number of a stream, made if it is new; `None`: there are too many.
    fn stream(&mut self, incarnation: u32, stream: u32) -> Option<u32> {
        if let Some(number) = self.streams.find(incarnation, stream) {
            return Some(number);
        }
        let process = self.process(incarnation)?;
        let Some(number) = self.streams.add(incarnation, stream, process) else {
            let detail = "Threads beyond the first million at one time were not recorded.";
            self.model.lose(Some(process), "too_many_streams", 1, detail);
            return None;
        };
        self.model.processes[process as usize].streams.push(number);
        Some(number)
    }

    fn merge_if_too_many_wait(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        if self.streams.waiting <= MAX_WAITING || self.model.clock.is_none() {
            return Ok(());
        }
        let detail = "A thread stood still between two steps of a record while others went on; \
                      events were put in order without waiting for it.";
        self.model.lose(None, "forced_order", 1, detail);
        self.merge(u64::MAX, &[], sink).map(drop)
    }

    /// Applies what has a stamp below `limit` and comes before the end of any of the streams `missing`, which are to go on;
    /// everything else with such a stamp has been taken in. Returns the stamp up to which that is everything.
    pub(crate) fn merge_until_missing(
        &mut self,
        missing: &[(u32, u32)],
        limit: u64,
        sink: &mut Sink<'_>,
    ) -> Result<Option<u64>, Error> {
        // Nothing will be applied of those that are given up, or were never taken in.
        let found = missing.iter().filter_map(|&(of, stream)| self.streams.find(of, stream));
        let mut numbers: Vec<u32> = found.filter(|&number| !self.streams.is_given_up(number)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        self.merge(limit, &numbers, sink)
    }

    /// Applies everything with a stamp below `limit`, in the order of stamps, or until one of the streams `missing`, which
    /// are sorted, has no more. Returns the stamp up to which that is everything, if it is known.
    fn merge(&mut self, limit: u64, missing: &[u32], sink: &mut Sink<'_>) -> Result<Option<u64>, Error> {
        let (Some(clock), Some(last)) = (self.model.clock, limit.checked_sub(1)) else { return Ok(None) };
        let mut heads = BinaryHeap::with_capacity(self.streams.active.len());
        let mut absent = missing.len();
        for i in 0..self.streams.active.len() {
            let number = self.streams.active[i];
            let Some(tsc) = self.run(number, 0, &clock, sink)? else { continue };
            absent -= usize::from(missing.binary_search(&number).is_ok());
            if tsc <= last {
                heads.push(Reverse((tsc, number)));
            }
        }
        if absent > 0 {
            self.streams.settle();
            return Ok(None);
        }
        for &Reverse((tsc, number)) in &heads {
            let ns = clock.ns(tsc);
            if ns < self.model.now_ns {
                let stream = self.streams.get(number);
                self.model.late(stream.process, stream.thread, ns);
            }
        }
        let mut reached = limit;
        while let Some(Reverse((tsc, number))) = heads.pop() {
            if self.next_control() <= tsc {
                self.apply_controls(tsc, sink)?;
            }
            let rival = heads.peek().map_or(last, |Reverse((other, _))| *other);
            let until = rival.min(last).min(self.next_control());
            match self.run(number, until + 1, &clock, sink)? {
                Some(tsc) if tsc <= last => heads.push(Reverse((tsc, number))),
                None if missing.binary_search(&number).is_ok() => {
                    // Its last stamp need not be one of an event, so it may be later than what others have.
                    let next = heads.peek().map_or(limit, |Reverse((tsc, _))| *tsc);
                    reached = limit.min(self.streams.get(number).tsc()).min(next);
                    break;
                }
                _ => {}
            }
        }
        if limit != u64::MAX && missing.is_empty() {
            self.apply_controls(last, sink)?;
        }
        self.streams.settle();
        Ok(Some(reached))
    }

    fn next_control(&self) -> u64 {
        self.controls.first_key_value().map_or(u64::MAX, |((tsc, _), _)| *tsc)
    }

    /// Applies the records of a stream that come before its first event or mark with the stamp `until` or a later one;
    /// returns that stamp.
    fn run(&mut self, number: u32, until: u64, clock: &Clock, sink: &mut Sink<'_>) -> Result<Option<u64>, Error> {
        let stream = self.streams.get(number);
        let (process, mut thread) = (stream.process, stream.thread);
        let mut cursor = self.streams.take(number);
        let mut last_ns = 0;
        let stop = loop {
            if thread != NO_THREAD
                && let Some(ns) = self.model.run(&mut cursor, until, process, thread, clock)
            {
                last_ns = ns;
            }
            if self.model.rows.len() >= ROWS_AT_ONCE {
                sink(&mut self.model.rows)?;
            }
            match cursor.next(until) {
                Ok((Record::Event { kind, address, size, stack, .. }, tsc)) => {
                    let ns = clock.ns(tsc);
                    if thread == NO_THREAD {
                        thread = self.writer(number, process, ns);
                    }
                    last_ns = ns;
                    let size = size.min(MAX_SIZE);
                    self.model.event(&Event { kind, process, thread, address, size, node: stack, ns });
                }
                Ok((Record::Thread { tid }, _)) => {
                    self.model.thread_reached(thread, last_ns);
                    let stream = self.streams.get(number);
                    (stream.tid, stream.thread) = (tid, NO_THREAD);
                    thread = NO_THREAD;
                }
                Ok((record, tsc)) => describe(&mut self.model, process, &record, clock.ns(tsc)),
                Err(Stop::Empty) => {
                    if !self.streams.refill(number, &mut cursor) {
                        break Stop::Empty;
                    }
                }
                Err(stop) => break stop,
            }
        };
        self.model.thread_reached(thread, last_ns);
        self.streams.put_back(number, cursor);
        match stop {
            Stop::Later(tsc) => return Ok(Some(tsc)),
            Stop::Empty => {}
            Stop::Corrupt(reason) => self.corrupt(number, process, &reason),
        }
        Ok(None)
    }

    #[cold]
    fn writer(&mut self, number: u32, process: u32, ns: i64) -> u32 {
        let stream = self.streams.get(number);
        let thread = self.model.thread(process, stream.tid);
        stream.thread = thread;
        self.model.thread_starts(thread, ns);
        thread
    }

    /// Rule 1: a stream that cannot be decoded is ignored from here on.
    #[cold]
    fn corrupt(&mut self, number: u32, process: u32, reason: &str) {
        let stream = self.streams.get(number);
        let (tid, slots) = (stream.tid, stream.waiting() as u64);
        stream.give_up();
        let detail = format!("The records of thread {tid} cannot be read from here on: {reason}.");
        self.model.lose(Some(process), "corrupt_stream", slots.max(1), &detail);
    }

    /// Applies what happened outside of streams up to the stamp `until`.
    fn apply_controls(&mut self, until: u64, sink: &mut Sink<'_>) -> Result<(), Error> {
        let Some(clock) = self.model.clock else { return Ok(()) };
        while let Some(entry) = self.controls.first_entry().filter(|e| e.key().0 <= until) {
            let ((tsc, _), control) = entry.remove_entry();
            let ns = clock.ns(tsc);
            match control {
                Control::Mark { name } => {
                    self.model.now_ns = self.model.now_ns.max(ns);
                    self.model.mark(name, ns, None);
                }
                Control::Ended { process } => {
                    let image = &mut self.model.processes[process as usize];
                    image.end_ns = Some(ns);
                    let mut streams = std::mem::take(&mut image.streams);
                    streams.retain(|&stream| !self.streams.remove(stream));
                    self.close(process, ns, sink)?;
                    self.model.processes[process as usize].streams = streams;
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, process: u32, ns: i64, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut left = self.model.close_process(process, ns);
        while self.model.emit_left(&mut left) {
            if self.model.rows.len() >= ROWS_AT_ONCE {
                sink(&mut self.model.rows)?;
            }
        }
        Ok(())
    }
}

/// Applies a record that says something about a process rather than its memory.
#[cold]
fn describe(model: &mut Model, number: u32, record: &Record<'_>, ns: i64) {
    match *record {
        Record::Blob { kind: Kind::Mark, payload, .. } => {
            let name = Reader(&bytes_of(payload)).text().map(text).unwrap_or_default();
            model.mark(name, ns, Some(number));
        }
        Record::Node { id, parent, module, offset, flags } => {
            let entry = model.processes[number as usize].nodes.entry(id);
            if entry.offset == NodeEntry::UNDEFINED {
                (entry.parent, entry.module, entry.offset, entry.flags) = (parent, module, offset, flags);
            }
        }
        Record::Blob { kind: Kind::Module, arg, payload, .. } => {
            let bytes = bytes_of(payload);
            let Some(module) = Reader(&bytes).module() else { return };
            let content = Module {
                path: module.path.to_vec(),
                build_id: module.build_id.to_vec(),
                process: number,
                start: module.start,
                end: module.end,
            };
            let Some(known) = model.code.module(content) else { return };
            let at = arg.min(u32::from(u16::MAX)) as usize;
            let modules = &mut model.processes[number as usize].modules;
            if modules.len() <= at {
                modules.resize(at + 1, NO_MODULE);
            }
            modules[at] = known;
        }
        Record::Blob { kind: Kind::Process, payload, .. } => {
            let bytes = bytes_of(payload);
            let Some(said) = Reader(&bytes).process() else { return };
            let process = &mut model.processes[number as usize];
            if process.pid == 0 {
                process.pid = said.pid;
            }
            process.identity = Identity::new(said.ppid, said.exe, said.argv);
        }
        Record::Lost { reason, count } => {
            let lost = &mut model.processes[number as usize].lost_in_streams;
            if let Some(sum) = lost.get_mut(reason as usize) {
                *sum = sum.saturating_add(count);
            }
        }
        _ => {}
    }
}

fn bytes_of(payload: &[Slot]) -> Vec<u8> {
    let mut bytes = vec![0; (payload.len() * 16).min(MAX_TEXT)];
    payload::copy_bytes(payload, &mut bytes);
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
