//! Streams of records: slots waiting for the watermark, decoded in order.
//!
//! Slots wait in buffers of a fixed size that all streams share. What a round of the collector brings fills those that
//! the round before has emptied, last in first out, so they stay in the processor's caches; one vector per stream that
//! grows and shrinks would have the kernel clear its pages anew in every round.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use tmq_wire::DecodeError;
use tmq_wire::record::{self, Decoder, Kind, NO_STACK, Plain, Record, Slot};

use super::blocks::Blocks;
use crate::prefetch::prefetch;

/// Streams at one time.
const MAX_STREAMS: usize = 1 << 20;
/// [`Stream::thread`] before its first event, and after its writer changed.
pub(crate) const NO_THREAD: u32 = u32::MAX;

/// Slots in a buffer: a chunk's worth, so that a chunk that was full when it came fills one.
const BUFFER_SLOTS: usize = 2048;
/// Emptied buffers that are kept (4 MiB): what waits at one time, mostly, because a stream that is far ahead is taken in
/// parts.
const POOLED_BUFFERS: usize = 128;

/// Emptied buffers.
#[derive(Debug, Default)]
struct Pool(Vec<Vec<Slot>>);

impl Pool {
    fn take(&mut self) -> Vec<Slot> {
        self.0.pop().unwrap_or_default()
    }

    fn give(&mut self, mut buffer: Vec<Slot>) {
        // A larger one held a record that lay across buffers.
        if self.0.len() < POOLED_BUFFERS && (1..=BUFFER_SLOTS).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// One stream and what of it has not been decoded.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stream {
    key: (u32, u32),
    /// Its process image.
    pub process: u32,
    /// Thread id of its writer.
    pub tid: u32,
    /// Its writer's number, or [`NO_THREAD`].
    pub thread: u32,
    /// Last stamp.
    tsc: u64,
    /// What waits, in order; none is empty. The first may be longer than [`BUFFER_SLOTS`]. Not part of what is saved (see
    /// [`Streams::all_waiting`]).
    #[serde(skip)]
    buffers: VecDeque<Vec<Slot>>,
    /// Slots of the first that are decoded.
    #[serde(skip)]
    at: usize,
    /// Whether it is ignored from here on.
    is_corrupt: bool,
}

/// Why decoding of a stream stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The next event or mark has this stamp, which is not to be applied yet.
    Later(u64),
    /// Nothing more at the moment.
    Empty,
    /// It cannot be decoded further.
    Corrupt(String),
}

/// The first slots of a stream taken out for decoding, so that the stream's other fields and the model can change
/// meanwhile.
#[derive(Debug)]
pub(crate) struct Cursor {
    slots: Vec<Slot>,
    at: usize,
    decoder: Decoder,
}

/// How many slots ahead of the one being decoded memory is asked for, some 15 ns each: the slots themselves, then the page
/// of a block, then the block.
const SLOTS_AHEAD: usize = 64;
const PAGE_AHEAD: usize = 24;
const BLOCK_AHEAD: usize = 12;

impl Cursor {
    /// The address of the block that an event some slots ahead frees.
    #[inline(always)]
    fn freed_ahead(&self, distance: usize) -> Option<u64> {
        self.slots.get(self.at + distance).and_then(|slot| record::freed_address(*slot))
    }

    /// Asks for what the next events need of `blocks`.
    #[inline(always)]
    pub(crate) fn prefetch(&self, blocks: &Blocks) {
        if !blocks.are_many() {
            return;
        }
        prefetch(&self.slots, self.at + SLOTS_AHEAD);
        if let Some(address) = self.freed_ahead(PAGE_AHEAD) {
            blocks.prefetch_page(address);
        }
        if let Some(address) = self.freed_ahead(BLOCK_AHEAD) {
            blocks.prefetch_block(address);
        }
    }

    /// The next record, if it is a plain event before `until`; it stays the next.
    #[inline(always)]
    pub(crate) fn peek_plain(&self, until: u64) -> Option<Plain> {
        self.decoder.peek_plain(&self.slots, self.at, until)
    }

    /// The stamp of the next record, if it is a plain event before `until` that frees `address` from a place that is not
    /// known.
    #[inline(always)]
    pub(crate) fn freed_next(&self, address: u64, until: u64) -> Option<u64> {
        let next = self.slots.get(self.at)?;
        if record::freed_address(*next) != Some(address) {
            return None;
        }
        self.peek_plain(until).filter(|free| free.stack == NO_STACK).map(|free| free.tsc)
    }

    /// Passes the plain event that comes next and has the stamp `tsc`.
    #[inline(always)]
    pub(crate) fn pass(&mut self, tsc: u64) {
        self.decoder.tsc = tsc;
        self.at += 1;
    }

    /// Decodes one record, unless it is an event or a mark with the stamp `until` or a later one. Returns it with its
    /// stamp.
    pub(crate) fn next(&mut self, until: u64) -> Result<(Record<'_>, u64), Stop> {
        let before = self.decoder.tsc;
        match self.slots.get(self.at) {
            None => return Err(Stop::Empty),
            // The decoder recurses for `Extend`; two in a row are never written.
            Some([w0, _]) if is_extend(*w0) => self.check_extend()?,
            Some(_) => {}
        }
        match self.decoder.next(&self.slots, self.at) {
            Some(Ok((record, next))) => {
                let tsc = self.decoder.tsc;
                let is_timed = matches!(record, Record::Event { .. } | Record::Blob { kind: Kind::Mark, .. });
                if tsc < before || (is_timed && tsc >= until) {
                    self.decoder.tsc = before;
                    return Err(too_early_or_late(before, tsc));
                }
                self.at = next;
                Ok((record, tsc))
            }
            None => Err(Stop::Empty),
            Some(Err(error)) => Err(undecodable(&error)),
        }
    }

    #[cold]
    fn check_extend(&self) -> Result<(), Stop> {
        match self.slots.get(self.at + 1) {
            Some([w0, _]) if is_extend(*w0) => {
                Err(Stop::Corrupt(format!("two size extensions in a row in slot {}", self.at)))
            }
            _ => Ok(()),
        }
    }
}

fn is_extend(word: u64) -> bool {
    word >> 59 == Kind::Extend as u64
}

#[cold]
fn too_early_or_late(before: u64, tsc: u64) -> Stop {
    if tsc < before { Stop::Corrupt(format!("time goes back from {before} to {tsc}")) } else { Stop::Later(tsc) }
}

#[cold]
fn undecodable(error: &DecodeError) -> Stop {
    match error {
        DecodeError::Truncated { .. } => Stop::Empty, // The rest may still come.
        other => Stop::Corrupt(other.to_string()),
    }
}

impl Stream {
    /// Its last stamp so far.
    pub(crate) fn tsc(&self) -> u64 {
        self.tsc
    }

    /// Whether slots are waiting.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.buffers.is_empty()
    }

    /// Slots waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.buffers.iter().map(Vec::len).sum::<usize>() - self.at
    }

    /// Slots that came together stay together as far as they can: writers do not cut records, so none is cut here.
    fn append(&mut self, slots: &[Slot], pool: &mut Pool) {
        if self.is_corrupt {
            return;
        }
        for slots in slots.chunks(BUFFER_SLOTS) {
            match self.buffers.back_mut() {
                Some(last) if last.len() + slots.len() <= BUFFER_SLOTS => extend(last, slots),
                _ => {
                    let mut buffer = pool.take();
                    extend(&mut buffer, slots);
                    self.buffers.push_back(buffer);
                }
            }
        }
    }

    /// The same; takes a buffer over as it is if that wastes little of it, and leaves another one.
    fn append_buffer(&mut self, slots: &mut Vec<Slot>, pool: &mut Pool) {
        let is_worth_it = (BUFFER_SLOTS / 2..=BUFFER_SLOTS).contains(&slots.len()) && slots.capacity() <= BUFFER_SLOTS;
        if is_worth_it && !self.is_corrupt {
            self.buffers.push_back(std::mem::replace(slots, pool.take()));
        } else {
            self.append(slots, pool);
        }
    }

    /// Ignores everything from here on.
    pub(crate) fn give_up(&mut self) {
        self.is_corrupt = true;
        self.buffers = VecDeque::new();
        self.at = 0;
    }
}

/// Appends to a buffer, which has the room in the end that it needs: there may be as many as threads.
fn extend(buffer: &mut Vec<Slot>, slots: &[Slot]) {
    let needed = buffer.len() + slots.len();
    if needed > buffer.capacity() {
        buffer.reserve_exact(needed.next_power_of_two() - buffer.len());
    }
    buffer.extend_from_slice(slots);
}

/// All streams by (incarnation, stream number).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Streams {
    index: HashMap<(u32, u32), u32>,
    all: Vec<Stream>,
    unused: Vec<u32>,
    /// Streams with slots waiting.
    #[serde(skip)]
    pub active: Vec<u32>,
    /// Slots waiting in all streams when they were last counted, plus what came since.
    #[serde(skip)]
    pub waiting: usize,
    #[serde(skip)]
    pool: Pool,
}

impl Streams {
    /// The number of a stream, if it is known.
    pub(crate) fn find(&self, incarnation: u32, stream: u32) -> Option<u32> {
        self.index.get(&(incarnation, stream)).copied()
    }

    /// Whether what comes of a stream is ignored.
    pub(crate) fn is_given_up(&self, number: u32) -> bool {
        self.all[number as usize].is_corrupt
    }

    /// Makes a stream; `None`: there are too many.
    pub(crate) fn add(&mut self, incarnation: u32, stream: u32, process: u32) -> Option<u32> {
        let key = (incarnation, stream);
        let new = Stream { key, process, thread: NO_THREAD, ..Stream::default() };
        let number = match self.unused.pop() {
            Some(number) => {
                self.all[number as usize] = new;
                number
            }
            None if self.all.len() >= MAX_STREAMS => return None,
            None => {
                self.all.push(new);
                self.all.len() as u32 - 1
            }
        };
        self.index.insert(key, number);
        Some(number)
    }

    /// Appends slots to a stream.
    pub(crate) fn append(&mut self, number: u32, slots: &[Slot]) {
        self.append_with(number, slots.len(), |stream, pool| stream.append(slots, pool));
    }

    /// The same; may keep the buffer and leave another one.
    pub(crate) fn append_buffer(&mut self, number: u32, slots: &mut Vec<Slot>) {
        self.append_with(number, slots.len(), |stream, pool| stream.append_buffer(slots, pool));
    }

    fn append_with(&mut self, number: u32, slots: usize, append: impl FnOnce(&mut Stream, &mut Pool)) {
        let stream = &mut self.all[number as usize];
        let was_waiting = stream.is_waiting();
        append(stream, &mut self.pool);
        if !was_waiting && stream.is_waiting() {
            self.active.push(number);
        }
        self.waiting += slots;
    }

    /// The stream with this number.
    #[inline]
    pub(crate) fn get(&mut self, number: u32) -> &mut Stream {
        &mut self.all[number as usize]
    }

    /// Takes the first slots of a stream out for decoding.
    pub(crate) fn take(&mut self, number: u32) -> Cursor {
        let stream = &mut self.all[number as usize];
        let mut decoder = Decoder::default();
        decoder.tsc = stream.tsc;
        Cursor { slots: stream.buffers.pop_front().unwrap_or_default(), at: stream.at, decoder }
    }

    /// Gives a cursor that cannot go on the slots that come next; `false`: there are none.
    #[cold]
    pub(crate) fn refill(&mut self, number: u32, cursor: &mut Cursor) -> bool {
        let Some(next) = self.all[number as usize].buffers.pop_front() else { return false };
        if cursor.at < cursor.slots.len() {
            // The record at its end goes on there.
            cursor.slots.drain(..cursor.at);
            cursor.slots.extend_from_slice(&next);
            self.pool.give(next);
        } else {
            self.pool.give(std::mem::replace(&mut cursor.slots, next));
        }
        cursor.at = 0;
        true
    }

    /// Puts back what of [`Streams::take`] is left.
    pub(crate) fn put_back(&mut self, number: u32, cursor: Cursor) {
        let stream = &mut self.all[number as usize];
        stream.tsc = cursor.decoder.tsc;
        if cursor.at < cursor.slots.len() {
            stream.at = cursor.at;
            stream.buffers.push_front(cursor.slots);
        } else {
            stream.at = 0;
            self.pool.give(cursor.slots);
        }
    }

    /// Forgets a stream that has nothing waiting; says whether it did.
    pub(crate) fn remove(&mut self, number: u32) -> bool {
        let stream = &mut self.all[number as usize];
        if stream.is_waiting() {
            return false;
        }
        self.index.remove(&stream.key);
        *stream = Stream::default();
        self.unused.push(number);
        true
    }

    /// Drops streams that have nothing waiting from the list of active ones.
    pub(crate) fn settle(&mut self) {
        let all = &self.all;
        self.waiting = 0;
        let waiting = &mut self.waiting;
        self.active.retain(|&number| {
            let stream = &all[number as usize];
            *waiting += stream.waiting();
            stream.is_waiting()
        });
    }

    /// What waits in all streams, with the stream's incarnation and number. A saved state is without it: it may be
    /// megabytes, and who restores the state appends it again.
    pub(crate) fn all_waiting(&self) -> impl Iterator<Item = (u32, u32, &[Slot])> {
        self.active.iter().map(|&number| &self.all[number as usize]).flat_map(|stream| {
            let (incarnation, number) = stream.key;
            let starts = std::iter::once(stream.at).chain(std::iter::repeat(0));
            stream.buffers.iter().zip(starts).map(move |(buffer, start)| (incarnation, number, &buffer[start..]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::testing::Rng;

    /// Everything that can be decoded at the moment, as text.
    fn decode(streams: &mut Streams, number: u32, out: &mut Vec<String>) {
        let mut cursor = streams.take(number);
        loop {
            match cursor.next(u64::MAX) {
                Ok((record, tsc)) => out.push(format!("{record:?} {tsc}")),
                Err(Stop::Empty) => {
                    if !streams.refill(number, &mut cursor) {
                        break;
                    }
                }
                Err(stop) => panic!("{stop:?}"),
            }
        }
        streams.put_back(number, cursor);
        streams.settle();
    }

    fn random_slots(rng: &mut Rng) -> Vec<Slot> {
        let mut slots = vec![record::time(1000)];
        while slots.len() < 5 * BUFFER_SLOTS {
            match rng.below(40) {
                0 => {
                    // A few are longer than a buffer.
                    let payload = if rng.below(50) == 0 { 2 * BUFFER_SLOTS as u64 + 5 } else { rng.below(64) };
                    slots.push(record::blob(Kind::Mark, payload as u16, 1, 2));
                    slots.extend((0..payload).map(|i| [i, rng.below(u64::MAX)]));
                }
                1..4 => slots.extend([
                    record::extend(1 << 40 | 5),
                    record::event(Kind::Malloc, rng.below(1 << 40) * 8, 5, 16, 9),
                ]),
                _ => slots.push(record::event(Kind::Free, rng.below(1 << 40) * 8, 0, 16, rng.below(1000))),
            }
        }
        slots
    }

    #[test]
    fn records_are_the_same_however_they_are_cut() {
        let mut rng = Rng::new(5);
        for round in 0..30 {
            let slots = random_slots(&mut rng);
            let (mut expected, mut at, mut decoder) = (Vec::new(), 0, Decoder::default());
            while let Some(Ok((record, next))) = decoder.next(&slots, at) {
                expected.push(format!("{record:?} {}", decoder.tsc));
                at = next;
            }
            let mut streams = Streams::default();
            let number = streams.add(1, 2, 0).unwrap();
            let (mut seen, mut rest) = (Vec::new(), slots.as_slice());
            let longest = [1, 3, 100, BUFFER_SLOTS as u64, 5 * BUFFER_SLOTS as u64][round % 5];
            while !rest.is_empty() {
                let (piece, others) = rest.split_at((1 + rng.below(longest) as usize).min(rest.len()));
                rest = others;
                streams.append(number, piece);
                if rng.below(3) == 0 {
                    decode(&mut streams, number, &mut seen);
                    let waiting = streams.waiting;
                    assert_eq!(streams.get(number).waiting(), waiting);
                }
                if rng.below(200) == 0 {
                    let older = streams;
                    streams = postcard::from_bytes(&postcard::to_extend(&older, Vec::new()).unwrap()).unwrap();
                    for (incarnation, stream, slots) in older.all_waiting() {
                        streams.append(streams.find(incarnation, stream).unwrap(), slots);
                    }
                }
            }
            decode(&mut streams, number, &mut seen);
            assert!(seen == expected, "round {round}");
            assert!(!streams.get(number).is_waiting() && streams.active.is_empty());
        }
    }

    #[test]
    fn emptied_buffers_are_used_again_up_to_a_limit() {
        let mut streams = Streams::default();
        let number = streams.add(1, 2, 0).unwrap();
        let slots = vec![record::time(1000); BUFFER_SLOTS];
        for _ in 0..10 {
            for _ in 0..POOLED_BUFFERS + 10 {
                streams.append(number, &slots);
            }
            decode(&mut streams, number, &mut Vec::new());
            assert_eq!(streams.pool.0.len(), POOLED_BUFFERS);
        }
        streams.append(number, &slots[..3]);
        streams.append(number, &slots);
        assert_eq!(streams.get(number).buffers.len(), 2);
        assert_eq!(streams.pool.0.len(), POOLED_BUFFERS - 2);
        streams.get(number).give_up();
        assert!(!streams.get(number).is_waiting());
    }
}
