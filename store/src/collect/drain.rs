//! Rounds of the collector: what every stream has committed goes to the sink, drained chunks go back to the targets, and
//! a watermark says how far all streams are complete.
//!
//! # Why the watermark holds
//! A round notes the time T0, then makes two passes over the chunk headers. The first reads `inflight`, the second
//! `committed`; the sink is handed everything the second saw, and then the watermark W: the least of the `inflight` of
//! the first pass and of a T0 at least [`VISIBLE_AFTER`] old.
//!
//! Take a record stamped before W that this round does not deliver. Its writer committed it after the second pass, so it
//! took the stamp either before the first pass came by, and then it showed a lower bound in `inflight` (rule 4) and W is
//! not above that; or later, and then the stamp is later than T0. In between lies a writer whose `inflight` was stored
//! but still on its way through the store buffer when the first pass came by: hence the older T0.
//! A writer that changes chunks in the middle of a record opens the new one with the same `inflight` before it seals the
//! old one, and leaves the old one's `inflight` standing, so the first pass meets one of them whichever way it goes. If an
//! earlier round has seen that the old one is sealed, the first pass meets the new one: what stands in chunks that wait to
//! be delivered holds nothing back.
//!
//! The sink may put in order what lies before W as soon as nothing before it can still come. Programs that are far ahead
//! have filled many chunks. So a round delivers only so many of each stream ([`CHUNKS_AT_ONCE`]), leaves the rest to the
//! next one, and tells the sink which streams W does not hold for. As W is then later than nearly all that they have, the
//! sink puts it in order as it comes: what waits fits a cache, however far behind the collector is, and the buffers it
//! waits in are used again. The end of an image is announced when all of it is delivered; W is not above it before.
//!
//! Two passes, not one, because records refer to each other across streams: a stack node is defined by the thread that
//! met it first, and its record is committed before other threads can see the node. What the first pass finds complete
//! can therefore only refer to what the second pass delivers, or to what it leaves to the next round: the sink has to bear
//! that a node comes late (see [`crate::ingest`]'s `code`).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use tmq_wire::ChunkHeader;
use tmq_wire::layout::{CHUNK_OPEN, CHUNK_SEALED, CHUNK_SLOTS};
use tmq_wire::record::{Kind, Slot};

use super::processes::Processes;
use super::region::Region;
use super::sink::Sink;
use super::sys;
use crate::Error;
use crate::ingest::Input;

/// By then a store is visible to every other processor: store buffers drain within a microsecond, and at the latest
/// when their processor does something else.
const VISIBLE_AFTER: Duration = Duration::from_micros(100);
/// A record under construction for so long, by this clock and not by its stamp, belongs to a thread that will never
/// finish it (it jumped out of the recorder) or that is stopped; other threads do not wait for it any longer.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// A pause between two rounds that only a collector that was itself stopped makes; nothing is stuck because of it.
const PAUSE: Duration = Duration::from_millis(500);
/// A later chunk of a stream waits so long for an earlier one that is nowhere to be seen.
const GAP_AFTER: Duration = Duration::from_secs(1);
/// Streams whose position is remembered. Honest ones are as many as threads at one time.
const MAX_STREAMS: usize = 1 << 20;
/// Chunks (2 MiB) that a round delivers before it leaves the rest of those streams that have most to the next one.
const CHUNKS_AT_ONCE: usize = if cfg!(fuzzing) { 2 } else { 64 };
/// Chunks freed between two calls that wake waiting targets.
const WAKE_EVERY: u32 = 32;

/// What the collector knows about a chunk in use, from its own notes: headers can change under its hands.
#[derive(Clone, Copy, Debug, Default)]
struct Memo {
    /// 0: not in use.
    incarnation: u32,
    stream: u32,
    sequence: u32,
    committed: u32,
    delivered: u32,
    sealed: bool,
    inflight: u64,
    inflight_since: Option<Instant>,
}

impl Memo {
    /// A chunk came into use. What the first pass noted about `inflight` stays.
    fn begin(&mut self, header: &ChunkHeader, incarnation: u32) {
        *self = Self {
            incarnation,
            stream: header.stream.load(Relaxed),
            sequence: header.sequence.load(Relaxed),
            inflight: self.inflight,
            inflight_since: self.inflight_since,
            ..Self::default()
        };
    }

    /// Looks how far the chunk is written; whether there is anything to do.
    fn refresh(&mut self, header: &ChunkHeader) -> bool {
        // The state before the count: of a sealed chunk the count is final (rule 2). Acquire pairs with the seal.
        self.sealed |= header.state.load(Acquire) == CHUNK_SEALED;
        // Acquire pairs with the writer's Release: the slots below are complete (rule 1).
        let committed = header.committed.load(Acquire).min(CHUNK_SLOTS as u32);
        self.committed = self.committed.max(committed);
        self.sealed || self.committed > self.delivered
    }
}

/// What is missing from the recording by the collector's own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Slots in chunks of images that never registered, or that had been finished.
    pub(super) stray_slots: u64,
    /// Streams of which a chunk never appeared.
    pub(super) gaps: u64,
    /// Records under construction that were not waited for.
    pub(super) stuck: u64,
    /// Chunks that could not be returned to a corrupt free list.
    pub(super) lost_chunks: u64,
}

/// What one round did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Slots delivered.
    pub(super) slots: u64,
    /// Chunks returned to the targets.
    pub(super) freed: u32,
    /// Whether more was there than it delivered.
    pub(super) is_partial: bool,
}

/// The state of the drain between rounds.
#[derive(Debug)]
pub(super) struct Drain<'a> {
    region: &'a Region,
    pub(super) processes: Processes,
    chunks: Vec<Memo>,
    /// Sequence number of the next chunk, by (incarnation, stream).
    streams: HashMap<(u32, u32), u32>,
    /// Chunks that wait for an earlier one, or for their image.
    waiting: HashMap<u32, Instant>,
    rounds: VecDeque<(Instant, u64)>,
    watermark: u64,
    /// Chunks below this have been in use.
    touched: u32,
    last: Option<Instant>,
    news: Vec<u32>,
    buffer: Vec<Slot>,
    unwoken: u32,
    round: Round,
    pub(super) losses: Losses,
}

impl<'a> Drain<'a> {
    /// Nothing drained yet.
    pub(super) fn new(region: &'a Region, processes: Processes) -> Self {
        Self {
            region,
            processes,
            chunks: vec![Memo::default(); region.chunks() as usize],
            streams: HashMap::new(),
            waiting: HashMap::new(),
            rounds: VecDeque::new(),
            watermark: 0,
            touched: 0,
            last: None,
            news: Vec::new(),
            buffer: Vec::with_capacity(CHUNK_SLOTS),
            unwoken: 0,
            round: Round::default(),
            losses: Losses::default(),
        }
    }

    /// One round; a `thorough` one misses no process. After an error the sink is not called again, and the round is left
    /// unfinished.
    pub(super) fn round(&mut self, thorough: bool, sink: &mut dyn Sink) -> Result<Round, Error> {
        let now = Instant::now();
        self.round = Round::default();
        self.rounds.push_back((now, sys::tsc()));
        self.processes.check(self.region, now);
        let bound = self.first_pass(now);
        self.processes.find(self.region, now, thorough, sink)?;
        self.second_pass(now, sink)?;
        let complete = self.complete_before(now, bound);
        let missing = self.deliver_news(now, sink)?;
        self.processes.refresh_names(now, sink)?;
        for incarnation in self.processes.ended() {
            if missing.iter().all(|&(of, _)| of != incarnation) {
                self.finish_image(incarnation, sink)?;
            }
        }
        self.wake();
        self.round.is_partial = !missing.is_empty();
        match self.round.is_partial {
            true => self.advance_without(&missing, complete, sink)?,
            false => self.advance(complete, sink)?,
        }
        Ok(self.round)
    }

    /// A last round after which every image is finished, running or not.
    pub(super) fn last_round(&mut self, sink: &mut dyn Sink) -> Result<Round, Error> {
        let mut total = self.round(true, sink)?;
        // As many as the pool can need: a program that does not stop would fill it again and again.
        for _ in 0..self.region.chunks() {
            if !self.round.is_partial {
                break;
            }
            total.slots += self.round(true, sink)?.slots;
        }
        let slots = self.round.slots;
        for incarnation in self.processes.all() {
            self.finish_image(incarnation, sink)?;
        }
        total.slots += self.round.slots - slots;
        sink.input(Input::Watermark { tsc: sys::tsc() })?;
        Ok(total)
    }

    /// What the sink was told to be complete.
    pub(super) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Chunks worth a look: never fewer than before, whatever the header says now.
    fn touched(&mut self) -> u32 {
        self.touched = self.touched.max(self.region.chunks_touched());
        self.touched
    }

    /// The earliest stamp that a record under construction may bear.
    fn first_pass(&mut self, now: Instant) -> u64 {
        let mut bound = u64::MAX;
        let paused = self.last.is_none_or(|last| now.duration_since(last) > PAUSE);
        self.last = Some(now);
        for index in 0..self.touched() {
            let Some(header) = self.region.chunk(index) else { break };
            // Acquire pairs with the writer's stores of OPEN and SEALED: the words of the header are valid.
            if !matches!(header.state.load(Acquire), CHUNK_OPEN | CHUNK_SEALED) {
                continue;
            }
            // Acquire keeps the loads of the second pass behind this one.
            let inflight = header.inflight.load(Acquire);
            let memo = &mut self.chunks[index as usize];
            // What stands in a chunk that an earlier round found sealed is in the next chunk by now, if it still holds.
            if inflight == 0 || memo.sealed {
                memo.inflight = 0;
                continue;
            }
            let incarnation = if memo.incarnation != 0 { memo.incarnation } else { header.incarnation.load(Relaxed) };
            if memo.inflight != inflight || (paused && memo.inflight_since.is_some()) {
                (memo.inflight, memo.inflight_since) = (inflight, Some(now));
            }
            if memo.inflight_since.is_some_and(|since| now.duration_since(since) > STUCK_AFTER) {
                memo.inflight_since = None;
                self.losses.stuck += 1;
            }
            if memo.inflight_since.is_some() && self.processes.holds_back(incarnation) {
                bound = bound.min(inflight);
            }
        }
        bound
    }

    /// Notes what is new in which chunk.
    fn second_pass(&mut self, now: Instant, sink: &mut dyn Sink) -> Result<(), Error> {
        self.news.clear();
        for index in 0..self.touched() {
            let Some(header) = self.region.chunk(index) else { break };
            let in_use = self.chunks[index as usize].incarnation != 0;
            if !in_use {
                // Acquire as in the first pass.
                let taken = matches!(header.state.load(Acquire), CHUNK_OPEN | CHUNK_SEALED);
                if !taken || !self.adopt(index, now, sink)? {
                    continue;
                }
            }
            if self.chunks[index as usize].refresh(header) {
                self.news.push(index);
            }
        }
        Ok(())
    }

    /// Takes note of a chunk that came into use; `false`: nobody that is recorded writes it.
    fn adopt(&mut self, index: u32, now: Instant, sink: &mut dyn Sink) -> Result<bool, Error> {
        let Some(header) = self.region.chunk(index) else { return Ok(false) };
        let incarnation = header.incarnation.load(Relaxed);
        if self.processes.is_live(incarnation)
            || (self.processes.holds_back(incarnation)
                && self.processes.find_writer(self.region, incarnation, now, sink)?)
        {
            self.waiting.remove(&index);
            self.chunks[index as usize].begin(header, incarnation);
            return Ok(true);
        }
        let since = *self.waiting.entry(index).or_insert(now);
        if now.duration_since(since) > GAP_AFTER {
            self.losses.stray_slots += u64::from(header.committed.load(Relaxed).min(CHUNK_SLOTS as u32));
            self.free(index);
        }
        Ok(false)
    }

    /// Delivers what is new, the chunks of each stream in their order, but for those that wait for an earlier one. Returns
    /// the streams that have more than it delivered.
    fn deliver_news(&mut self, now: Instant, sink: &mut dyn Sink) -> Result<Vec<(u32, u32)>, Error> {
        let mut news = std::mem::take(&mut self.news);
        let chunks = &self.chunks;
        let stream = |index: u32| (chunks[index as usize].incarnation, chunks[index as usize].stream);
        news.sort_unstable_by_key(|&index| (stream(index), chunks[index as usize].sequence));
        let streams = news.chunk_by(|a, b| stream(*a) == stream(*b)).count();
        let most = (CHUNKS_AT_ONCE / streams.max(1)).max(1);
        let mut missing = Vec::new();
        let mut rest = &news[..];
        while let Some(&first) = rest.first() {
            let Memo { incarnation, stream, .. } = self.chunks[first as usize];
            let same = |&&index: &&u32| {
                let memo = &self.chunks[index as usize];
                (memo.incarnation, memo.stream) == (incarnation, stream)
            };
            let (of_stream, others) = rest.split_at(rest.iter().take_while(same).count());
            if of_stream.len() > most {
                missing.push((incarnation, stream));
            }
            for &index in of_stream.iter().take(most) {
                self.deliver_in_turn(index, now, sink)?;
            }
            rest = others;
        }
        self.news = news;
        Ok(missing)
    }

    /// Delivers a chunk unless it waits for an earlier one of its stream.
    fn deliver_in_turn(&mut self, index: u32, now: Instant, sink: &mut dyn Sink) -> Result<(), Error> {
        let memo = &self.chunks[index as usize];
        let next = self.streams.get(&(memo.incarnation, memo.stream)).copied().unwrap_or(0);
        if memo.sequence > next {
            let since = *self.waiting.entry(index).or_insert(now);
            if now.duration_since(since) < GAP_AFTER {
                return Ok(());
            }
            self.losses.gaps += 1;
        }
        self.waiting.remove(&index);
        self.deliver(index, sink)
    }

    /// Delivers what is committed in a chunk, and frees it if that is all there will be.
    fn deliver(&mut self, index: u32, sink: &mut dyn Sink) -> Result<(), Error> {
        let memo = &mut self.chunks[index as usize];
        let (incarnation, stream) = (memo.incarnation, memo.stream);
        self.region.copy_slots(index, memo.delivered, memo.committed, &mut self.buffer);
        memo.delivered = memo.committed;
        let (sealed, next) = (memo.sealed, memo.sequence.saturating_add(1));
        if !self.buffer.is_empty() {
            let now = Instant::now();
            for slot in self.buffer.iter().filter(|slot| slot[0] >> 59 == Kind::Thread as u64) {
                self.processes.names.seen(incarnation, slot[0] as u32, now);
            }
            self.round.slots += self.buffer.len() as u64;
            sink.slots(incarnation, stream, &mut self.buffer)?;
        }
        if sealed {
            if self.streams.len() >= MAX_STREAMS {
                self.streams.clear();
            }
            let expected = self.streams.entry((incarnation, stream)).or_default();
            *expected = next.max(*expected);
            self.free(index);
        }
        Ok(())
    }

    /// Delivers the rest of an image that writes no more, or of one that the closed recording does not wait for.
    fn finish_image(&mut self, incarnation: u32, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut rest = Vec::new();
        for index in 0..self.touched() {
            let Some(header) = self.region.chunk(index) else { break };
            let memo = &mut self.chunks[index as usize];
            // The image may have been found to have ended after the second pass came by, so everything is read again.
            // Acquire as in the first pass.
            let taken = matches!(header.state.load(Acquire), CHUNK_OPEN | CHUNK_SEALED);
            if memo.incarnation == 0 && taken && header.incarnation.load(Relaxed) == incarnation {
                memo.begin(header, incarnation);
            }
            if memo.incarnation == incarnation {
                memo.refresh(header);
                rest.push((memo.stream, memo.sequence, index));
            }
        }
        rest.sort_unstable();
        for (_, _, index) in rest {
            // Nobody writes the chunk any more, sealed or not (rule 2).
            self.chunks[index as usize].sealed = true;
            self.deliver(index, sink)?;
        }
        self.streams.retain(|&(of, _), _| of != incarnation);
        self.processes.finish(self.region, incarnation, sink)
    }

    fn free(&mut self, index: u32) {
        self.waiting.remove(&index);
        self.chunks[index as usize] = Memo::default();
        if !self.region.free(index) {
            self.losses.lost_chunks += 1;
            return;
        }
        self.round.freed += 1;
        self.unwoken += 1;
        if self.unwoken >= WAKE_EVERY {
            self.wake();
        }
    }

    fn wake(&mut self) {
        if std::mem::take(&mut self.unwoken) > 0 {
            self.region.wake_targets();
        }
    }

    /// The stamp before which everything is delivered at the end of this round.
    fn complete_before(&mut self, now: Instant, bound: u64) -> u64 {
        let visible = |&(at, _): &(Instant, u64)| now.duration_since(at) >= VISIBLE_AFTER;
        while self.rounds.get(1).is_some_and(visible) {
            self.rounds.pop_front();
        }
        match self.rounds.front().filter(|round| visible(round)) {
            Some(&(_, tsc)) => bound.min(tsc).max(self.watermark),
            None => self.watermark,
        }
    }

    /// Tells the sink how far all streams but those `missing` are complete. They are complete themselves as far as the
    /// sink could put things in order.
    fn advance_without(&mut self, missing: &[(u32, u32)], complete: u64, sink: &mut dyn Sink) -> Result<(), Error> {
        let complete = self.processes.first_end().map_or(complete, |end| complete.min(end));
        if complete > self.watermark {
            self.watermark = self.watermark.max(sink.only_missing(missing, complete)?);
        }
        Ok(())
    }

    /// Tells the sink how far all streams are complete.
    fn advance(&mut self, complete: u64, sink: &mut dyn Sink) -> Result<(), Error> {
        if complete > self.watermark {
            self.watermark = complete;
            sink.input(Input::Watermark { tsc: complete })?;
        }
        Ok(())
    }
}
