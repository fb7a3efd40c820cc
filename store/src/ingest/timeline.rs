//! Heap memory over time in a bounded number of bins.
//!
//! Bins begin narrow; when there are too many, neighbours are merged and bins are twice as wide from then on.

use serde::{Deserialize, Serialize};

use super::sites::Amount;

/// Most bins; a recording that is not very short ends with at least half of them.
const MAX_BINS: usize = 4096;
/// Width of the first bins.
const FIRST_WIDTH_NS: i64 = 20_000;

/// Sums of one bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bin {
    /// Live at its end.
    pub live: Amount,
    /// Most bytes live at one time in it.
    pub max_live_bytes: f64,
    /// Allocated in it.
    pub allocated: Amount,
    /// Freed in it.
    pub freed: Amount,
}

/// Bins from time zero to the last event, the last one open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Timeline {
    width_ns: i64,
    closed: Vec<Bin>,
    current: Bin,
    current_end_ns: i64,
    /// Last sample of resident memory in each bin; reaches further or less far than the bins.
    resident: Vec<Option<i64>>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            width_ns: FIRST_WIDTH_NS,
            closed: Vec::new(),
            current: Bin::default(),
            current_end_ns: FIRST_WIDTH_NS,
            resident: Vec::new(),
        }
    }
}

impl Timeline {
    /// Moves on to the bin of `ns`. `live` is what has been live since the last event; an earlier time than before
    /// counts in the open bin.
    #[inline]
    pub(crate) fn advance(&mut self, ns: i64, live: Amount) {
        if ns >= self.current_end_ns {
            self.close_until(ns, live);
        }
    }

    #[cold]
    fn close_until(&mut self, ns: i64, live: Amount) {
        while ns / self.width_ns >= MAX_BINS as i64 {
            self.widen(live);
        }
        let quiet = Bin { live, max_live_bytes: live.bytes, ..Bin::default() };
        while ns >= self.current_end_ns {
            self.current.live = live;
            self.closed.push(std::mem::replace(&mut self.current, quiet));
            self.current_end_ns += self.width_ns;
        }
    }

    /// Merges neighbouring bins.
    fn widen(&mut self, live: Amount) {
        self.current.live = live;
        // The open bin becomes the second half of a pair, or stays the first half of one.
        let pairs_with_last = self.closed.len() % 2 == 1;
        if pairs_with_last {
            let first = self.closed.pop().unwrap_or_default();
            self.current = merge(first, self.current);
        }
        self.closed =
            self.closed.chunks(2).map(|pair| pair.iter().copied().reduce(merge).unwrap_or_default()).collect();
        self.resident = self.resident.chunks(2).map(|pair| pair.iter().rev().find_map(|sample| *sample)).collect();
        self.width_ns *= 2;
        self.current_end_ns = (self.closed.len() as i64 + 1) * self.width_ns;
    }

    /// Counts an allocation after which `live_bytes` are live.
    #[inline]
    pub(crate) fn allocate(&mut self, amount: Amount, live_bytes: f64) {
        self.current.allocated.add(amount);
        if live_bytes > self.current.max_live_bytes {
            self.current.max_live_bytes = live_bytes;
        }
    }

    /// Counts a free.
    #[inline]
    pub(crate) fn free(&mut self, amount: Amount) {
        self.current.freed.add(amount);
    }

    /// Notes resident memory at `ns`; `live` is what is live now, in the open bin.
    pub(crate) fn resident(&mut self, ns: i64, bytes: i64, live: Amount) {
        while ns / self.width_ns >= MAX_BINS as i64 {
            self.widen(live);
        }
        let bin = (ns.max(0) / self.width_ns) as usize;
        if self.resident.len() <= bin {
            self.resident.resize(bin + 1, None);
        }
        self.resident[bin] = Some(bytes);
    }

    /// Width of a bin.
    pub(crate) fn width_ns(&self) -> i64 {
        self.width_ns
    }

    /// All bins with the resident memory last seen, up to the last event or sample.
    pub(crate) fn finish(&self, live: Amount) -> Vec<(Bin, Option<i64>)> {
        let mut bins = self.closed.clone();
        bins.push(Bin { live, ..self.current });
        let quiet = Bin { live, max_live_bytes: live.bytes, ..Bin::default() };
        bins.resize(bins.len().max(self.resident.len()), quiet);
        let mut seen = None;
        bins.into_iter()
            .enumerate()
            .map(|(i, bin)| {
                seen = self.resident.get(i).copied().flatten().or(seen);
                (bin, seen)
            })
            .collect()
    }
}

fn merge(first: Bin, second: Bin) -> Bin {
    let mut merged = Bin { max_live_bytes: first.max_live_bytes.max(second.max_live_bytes), ..second };
    merged.allocated.add(first.allocated);
    merged.freed.add(first.freed);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::testing::Rng;

    fn one(bytes: f64) -> Amount {
        Amount { blocks: 1.0, bytes }
    }

    #[test]
    fn bins_add_up_at_any_width() {
        let mut rng = Rng::new(1);
        let mut timeline = Timeline::default();
        let mut live = Amount::default();
        let mut history = Vec::new();
        let mut ns = 0;
        for _ in 0..50_000 {
            ns += rng.below(20_000) as i64;
            timeline.advance(ns, live);
            let amount = one(rng.below(100) as f64);
            if rng.below(2) == 0 {
                live.add(amount);
                timeline.allocate(amount, live.bytes);
            } else {
                live.subtract(amount);
                timeline.free(amount);
            }
            if rng.below(100) == 0 {
                timeline.resident(ns, ns, live);
            }
            history.push((ns, live.bytes));
        }
        let bins = timeline.finish(live);
        assert!(bins.len() <= MAX_BINS && bins.len() > MAX_BINS / 2);
        let mut before = 0.0;
        for (i, (bin, resident)) in bins.iter().enumerate() {
            let (start, end) = (i as i64 * timeline.width_ns(), (i as i64 + 1) * timeline.width_ns());
            let within: Vec<f64> = history.iter().filter(|h| (start..end).contains(&h.0)).map(|h| h.1).collect();
            assert_eq!(bin.live.bytes, *within.last().unwrap_or(&before), "bin {i}");
            assert_eq!(bin.max_live_bytes, within.iter().copied().fold(before, f64::max), "bin {i}");
            assert_eq!(bin.live.bytes, before + bin.allocated.bytes - bin.freed.bytes, "bin {i}");
            assert!(resident.is_none_or(|r| r < end));
            before = bin.live.bytes;
        }
    }

    #[test]
    fn a_far_stamp_costs_little() {
        let mut timeline = Timeline::default();
        timeline.advance(i64::MAX / 2, one(5.0));
        assert!(timeline.finish(one(5.0)).len() <= MAX_BINS);
    }
}
