//! Streams of records: slots waiting for the watermark, decoded in order.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tmq_wire::DecodeError;
use tmq_wire::record::{self, Decoder, Kind, Record, Slot};

/// Streams at one time.
const MAX_STREAMS: usize = 1 << 20;
/// [`Stream::thread`] before its first event, and after its writer changed.
pub(crate) const NO_THREAD: u32 = u32::MAX;

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
    slots: Vec<Slot>,
    at: usize,
    /// Whether it is ignored from here on.
    is_corrupt: bool,
}

/// Why decoding of a stream stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The next event or mark has this stamp, which is too late.
    Later(u64),
    /// Nothing more at the moment.
    Empty,
    /// It cannot be decoded further.
    Corrupt(String),
}

/// The slots of a stream taken out for decoding, so that the stream's other fields and the model can change meanwhile.
#[derive(Debug)]
pub(crate) struct Cursor {
    slots: Vec<Slot>,
    at: usize,
    decoder: Decoder,
}

/// How many slots ahead of the one being decoded memory is asked for: some 100 ns of work.
const LOOK_AHEAD: usize = 12;

impl Cursor {
    /// The address of an event a few slots ahead; if there is none, anything.
    #[inline(always)]
    pub(crate) fn address_ahead(&self) -> Option<u64> {
        self.slots.get(self.at + LOOK_AHEAD).map(|slot| record::event_address(*slot))
    }

    /// Decodes one record, unless it is an event or a mark with a stamp later than `until`. Returns it with its stamp.
    #[inline(always)]
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
                if tsc < before || (is_timed && tsc > until) {
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
    /// Whether slots are waiting.
    pub(crate) fn is_waiting(&self) -> bool {
        self.at < self.slots.len()
    }

    /// Slots waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.slots.len() - self.at
    }

    fn append(&mut self, slots: &[Slot]) {
        if !self.is_corrupt {
            self.slots.extend_from_slice(slots);
        }
    }

    /// Takes the slots out for decoding.
    pub(crate) fn take(&mut self) -> Cursor {
        let mut decoder = Decoder::default();
        decoder.tsc = self.tsc;
        Cursor { slots: std::mem::take(&mut self.slots), at: self.at, decoder }
    }

    /// Puts back what [`Stream::take`] took.
    pub(crate) fn put_back(&mut self, cursor: Cursor) {
        (self.slots, self.at, self.tsc) = (cursor.slots, cursor.at, cursor.decoder.tsc);
    }

    /// Ignores everything from here on.
    pub(crate) fn give_up(&mut self) {
        self.is_corrupt = true;
        self.slots = Vec::new();
        self.at = 0;
    }

    /// Gives back the room of what has been decoded.
    pub(crate) fn compact(&mut self) {
        const KEEP: usize = 64 << 10;
        if self.at == self.slots.len() {
            self.slots.clear();
            self.slots.shrink_to(KEEP);
        } else {
            self.slots.drain(..self.at);
        }
        self.at = 0;
    }
}

/// All streams by (incarnation, stream number).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Streams {
    index: HashMap<(u32, u32), u32>,
    all: Vec<Stream>,
    unused: Vec<u32>,
    /// Streams with slots waiting.
    pub active: Vec<u32>,
    /// Slots waiting in all streams when they were last counted, plus what came since.
    pub waiting: usize,
}

impl Streams {
    /// The number of a stream, if it is known.
    pub(crate) fn find(&self, incarnation: u32, stream: u32) -> Option<u32> {
        self.index.get(&(incarnation, stream)).copied()
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
        let stream = &mut self.all[number as usize];
        let was_waiting = stream.is_waiting();
        stream.append(slots);
        if !was_waiting && stream.is_waiting() {
            self.active.push(number);
        }
        self.waiting += slots.len();
    }

    /// The stream with this number.
    #[inline]
    pub(crate) fn get(&mut self, number: u32) -> &mut Stream {
        &mut self.all[number as usize]
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

    /// Compacts the active streams and drops those that have nothing waiting from their list.
    pub(crate) fn settle(&mut self) {
        let all = &mut self.all;
        self.waiting = 0;
        let waiting = &mut self.waiting;
        self.active.retain(|&number| {
            let stream = &mut all[number as usize];
            stream.compact();
            *waiting += stream.waiting();
            stream.is_waiting()
        });
    }
}
