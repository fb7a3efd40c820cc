//! A sink that checks the collector's promises as they are made.

use std::collections::{BTreeMap, HashMap, HashSet};

use tmq_wire::record::{Decoder, FIRST_NODE, Record};

use crate::Error;
use crate::collect::sink::Sink;
use crate::ingest::{Input, ProcessCounters};

/// What arrived of one stream.
#[derive(Default)]
pub(super) struct Stream {
    decoder: Decoder,
    /// Events so far.
    pub(super) events: u64,
    /// Thread ids.
    pub(super) threads: Vec<u32>,
}

/// What arrived of one image.
#[derive(Default)]
pub(super) struct Image {
    pub(super) pid: u32,
    pub(super) forked_from: u32,
    pub(super) start: u64,
    #[expect(clippy::type_complexity, reason = "the fields of one input, compared as they are")]
    pub(super) ended: Option<(Option<u64>, Option<i32>, Option<i32>, ProcessCounters)>,
    nodes: HashSet<u32>,
}

/// What was said once: which streams had something to come before the stamp `complete`.
#[derive(Debug)]
pub(super) struct OnlyMissing {
    pub(super) streams: Vec<(u32, u32)>,
    pub(super) complete: u64,
    /// Before which everything could be put in order then.
    pub(super) reached: u64,
}

/// Everything that arrived.
#[derive(Default)]
pub(super) struct Check {
    pub(super) images: BTreeMap<u32, Image>,
    pub(super) streams: BTreeMap<(u32, u32), Stream>,
    pub(super) watermark: u64,
    pub(super) clocks: u32,
    pub(super) rss: Vec<i64>,
    pub(super) names: HashMap<(u32, u32), String>,
    pub(super) marks: Vec<(u64, String)>,
    pub(super) losses: BTreeMap<String, u64>,
    /// Broken promises.
    pub(super) faults: Vec<String>,
    /// Events not below the watermark yet: stamp, image, stack.
    pub(super) pending: Vec<(u64, u32, u32)>,
    /// The streams that were said to be the only ones with something to come before a stamp.
    pub(super) missing: Option<(Vec<(u32, u32)>, u64)>,
    /// All that was said so.
    pub(super) only_missing: Vec<OnlyMissing>,
    /// Garbage is expected; only the order of inputs is checked.
    pub(super) hostile: bool,
    /// The real recorder writes: addresses are what they are.
    pub(super) real: bool,
    /// Fails from this number of slots on.
    pub(super) full_after: Option<u64>,
    pub(super) slots: u64,
    /// Called with every batch of slots.
    pub(super) on_slots: Option<Box<dyn FnMut()>>,
}

impl Check {
    pub(super) fn events(&self) -> u64 {
        self.streams.values().map(|stream| stream.events).sum()
    }

    pub(super) fn assert_sound(&self) {
        assert!(self.faults.is_empty(), "{:?}", &self.faults[..self.faults.len().min(5)]);
    }

    fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    fn slots(&mut self, incarnation: u32, id: u32, slots: &[tmq_wire::record::Slot]) {
        self.slots += slots.len() as u64;
        match self.images.get(&incarnation) {
            None => self.fault(format!("slots of unknown image {incarnation}")),
            Some(image) if image.ended.is_some() => self.fault(format!("slots of ended image {incarnation}")),
            _ => {}
        }
        let (hostile, real, watermark) = (self.hostile, self.real, self.watermark);
        let stream = self.streams.entry((incarnation, id)).or_default();
        let mut faults = Vec::new();
        let (mut at, mut last) = (0, stream.decoder.tsc);
        while let Some(decoded) = stream.decoder.next(slots, at) {
            let (record, next) = match decoded {
                Ok(decoded) => decoded,
                Err(error) => {
                    faults.push(format!("{error:?} in stream {id}"));
                    break;
                }
            };
            at = next;
            match record {
                Record::Event { address, stack, tsc, .. } => {
                    if !real && address >> 3 != stream.events {
                        faults.push(format!("stream {id}: event {} where {} is due", address >> 3, stream.events));
                    }
                    if tsc < last || tsc < watermark {
                        faults.push(format!("stream {id}: stamp {tsc} after {last}, watermark {watermark}"));
                    }
                    let said = self.missing.as_ref().filter(|(missing, _)| !missing.contains(&(incarnation, id)));
                    if said.is_some_and(|(_, before)| tsc < *before) {
                        faults.push(format!("stream {id}: stamp {tsc} where only other streams were missing"));
                    }
                    last = tsc;
                    stream.events += 1;
                    if stack >= FIRST_NODE {
                        self.pending.push((tsc, incarnation, stack));
                    }
                }
                Record::Node { id, .. } => drop(self.images.entry(incarnation).or_default().nodes.insert(id)),
                Record::Thread { tid } => stream.threads.push(tid),
                Record::Time { .. } => {}
                Record::Blob { .. } if real => {}
                other => faults.push(format!("unexpected {other:?}")),
            }
        }
        if !hostile {
            self.faults.extend(faults);
        }
    }

    fn advance(&mut self, tsc: u64) {
        if tsc < self.watermark {
            self.fault(format!("watermark {tsc} after {}", self.watermark));
        }
        if self.missing.take().is_some_and(|(_, before)| before > tsc) && !self.hostile {
            self.fault(format!("watermark {tsc} below what was said to be complete but for some streams"));
        }
        self.watermark = tsc;
        let images = &self.images;
        let mut unknown = 0;
        self.pending.retain(|&(stamp, incarnation, stack)| {
            let due = stamp < tsc;
            unknown += u64::from(due && !images.get(&incarnation).is_some_and(|image| image.nodes.contains(&stack)));
            !due
        });
        if unknown > 0 && !self.hostile {
            self.fault(format!("{unknown} complete events refer to unknown nodes"));
        }
    }
}

impl Sink for Check {
    fn only_missing(&mut self, missing: &[(u32, u32)], tsc: u64) -> Result<u64, Error> {
        // Whose stamps mean nothing ends whenever it says.
        if !self.hostile && self.missing.as_ref().is_some_and(|(_, before)| *before > tsc) {
            self.fault(format!("complete before {tsc} only, less than was said"));
        }
        let of = |key: &(u32, u32)| self.streams.get(key).map_or(0, |stream| stream.decoder.tsc);
        let reached = missing.iter().map(of).min().unwrap_or(0).min(tsc);
        // Nodes may still come: see `ingest::code`.
        self.watermark = self.watermark.max(reached);
        self.missing = Some((missing.to_vec(), tsc));
        self.only_missing.push(OnlyMissing { streams: missing.to_vec(), complete: tsc, reached });
        Ok(reached)
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), Error> {
        if self.full_after.is_some_and(|limit| self.slots >= limit) {
            return Err(Error::DiskFull { path: "test".into() });
        }
        match input {
            Input::ProcessSeen { incarnation, pid, forked_from, start_tsc } => {
                let image = Image { pid, forked_from, start: start_tsc, ..Image::default() };
                if self.images.insert(incarnation, image).is_some() {
                    self.fault(format!("image {incarnation} seen twice"));
                }
            }
            Input::ProcessImage { incarnation, exe, .. } => {
                if exe.is_empty() || !self.images.contains_key(&incarnation) {
                    self.fault(format!("image {incarnation} described as {exe:?}"));
                }
            }
            Input::Slots { incarnation, stream, slots } => {
                self.slots(incarnation, stream, slots);
                if let Some(call) = &mut self.on_slots {
                    call();
                }
            }
            Input::Watermark { tsc } => self.advance(tsc),
            Input::Clock { ticks_per_second, .. } => {
                self.clocks += 1;
                assert!(ticks_per_second > 1e6);
            }
            Input::Rss { bytes, .. } => self.rss.push(bytes),
            Input::ThreadName { incarnation, tid, name } => {
                self.names.insert((incarnation, tid), name.to_owned());
            }
            Input::ProcessEnded { incarnation, tsc, exit_code, exit_signal, counters } => {
                if let (Some(tsc), Some((_, before))) = (tsc, self.missing.as_ref())
                    && tsc < *before
                    && !self.hostile
                {
                    self.fault(format!("image {incarnation} ended before {before}, which was complete"));
                }
                let ended = Some((tsc, exit_code, exit_signal, counters));
                match self.images.get_mut(&incarnation) {
                    Some(image) if image.ended.is_none() => image.ended = ended,
                    _ => self.fault(format!("end of image {incarnation} out of place")),
                }
            }
            Input::Loss { reason, count, .. } => *self.losses.entry(reason.to_owned()).or_default() += count,
            Input::Mark { tsc, name } => self.marks.push((tsc, name.to_owned())),
        }
        Ok(())
    }
}
