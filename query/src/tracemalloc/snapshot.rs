//! `Snapshot`: blocks at a moment, and what can be asked about them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;

use super::filter::AnyFilter;
use super::frame::{Frame, Order, Trace, Traceback};
use super::repr::repr;
use super::statistic::{Statistic, StatisticDiff};

/// What makes a group.
///
/// ```
/// use tmq_query::tracemalloc::KeyType;
///
/// assert_eq!("lineno".parse(), Ok(KeyType::Lineno));
/// assert_eq!("line".parse::<KeyType>().unwrap_err().to_string(), "unknown key_type: 'line'");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// All frames.
    Traceback,
    /// File of the most recent frame.
    Filename,
    /// File and line of the most recent frame.
    Lineno,
}

impl FromStr for KeyType {
    type Err = ContractError;

    fn from_str(text: &str) -> Result<Self, ContractError> {
        match text {
            "traceback" => Ok(Self::Traceback),
            "filename" => Ok(Self::Filename),
            "lineno" => Ok(Self::Lineno),
            _ => Err(ContractError::UnknownKeyType(repr(text))),
        }
    }
}

/// What CPython's module raises, in its words.
///
/// ```
/// use tmq_query::tracemalloc::{ContractError, KeyType, Snapshot};
///
/// let error = Snapshot::new(vec![], 1).statistics(KeyType::Traceback, true).unwrap_err();
/// assert_eq!(error, ContractError::CumulativeTraceback);
/// assert_eq!(error.to_string(), "cumulative mode cannot by used with key type 'traceback'");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// ValueError.
    #[error("unknown key_type: {0}")]
    UnknownKeyType(String),
    /// ValueError; the slip is CPython's.
    #[error("cumulative mode cannot by used with key type 'traceback'")]
    CumulativeTraceback,
    /// IndexError: a traceback without frames has no file.
    #[error("tuple index out of range")]
    EmptyTraceback,
}

/// Blocks at a moment, as Python's `tracemalloc.Snapshot`.
///
/// ```
/// use tmq_query::tracemalloc::{Frame, KeyType, Snapshot, Trace, Traceback};
///
/// let traceback = Traceback::new(vec![Frame::new("a.py", 2), Frame::new("b.py", 4)]);
/// let trace = Trace { domain: 0, size: 10, traceback };
/// let snapshot = Snapshot::new(vec![trace.clone(), trace], 2);
/// let lines = snapshot.statistics(KeyType::Lineno, false).unwrap();
/// assert_eq!(lines[0].to_string(), "a.py:2: size=20 B, count=2, average=10 B");
/// ```
#[derive(Clone)]
pub struct Snapshot {
    /// The blocks, in no particular order.
    pub traces: Vec<Trace>,
    /// Most frames that were kept of a stack.
    pub traceback_limit: u32,
    order: Order,
}

impl Snapshot {
    /// A snapshot with the seed's order of frames.
    #[must_use]
    pub fn new(traces: Vec<Trace>, traceback_limit: u32) -> Self {
        Self { traces, traceback_limit, order: Order::default() }
    }

    /// The same with ties broken as CPython of that order does.
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// The order of frames that breaks ties.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// A new snapshot of the traces that filters keep: any inclusive one matches (or there is none), and no exclusive one.
    ///
    /// ```
    /// use tmq_query::tracemalloc::{DomainFilter, Filter, Frame, Snapshot, Trace, Traceback};
    ///
    /// let trace = |domain, file| Trace { domain, size: 8, traceback: Traceback::new(vec![Frame::new(file, 1)]) };
    /// let snapshot = Snapshot::new(vec![trace(0, "a.py"), trace(1, "a.py"), trace(0, "b.py")], 1);
    /// let filters = [Filter::new(true, "a.*").into(), DomainFilter { inclusive: false, domain: 1 }.into()];
    /// assert_eq!(snapshot.filter_traces(&filters).traces, [trace(0, "a.py")]);
    /// ```
    #[must_use]
    pub fn filter_traces(&self, filters: &[AnyFilter]) -> Self {
        let (inclusive, exclusive): (Vec<_>, Vec<_>) = filters.iter().partition(|f| f.inclusive());
        let kept = |trace: &&Trace| {
            (inclusive.is_empty() || inclusive.iter().any(|f| f.match_trace(trace)))
                && exclusive.iter().all(|f| f.match_trace(trace))
        };
        let traces = self.traces.iter().filter(kept).cloned().collect();
        Self { traces, ..*self }
    }

    /// Groups, largest first: size, count and traceback, all descending. With `cumulative` every frame of a traceback
    /// counts, as often as it occurs.
    ///
    /// # Errors
    /// What CPython raises.
    pub fn statistics(&self, key: KeyType, cumulative: bool) -> Result<Vec<Statistic>, ContractError> {
        let mut statistics: Vec<Statistic> = self
            .group_by(key, cumulative)?
            .into_iter()
            .map(|(traceback, (size, count))| Statistic { traceback, size, count })
            .collect();
        statistics.sort_unstable_by(|a, b| a.largest_first(b, self.order));
        Ok(statistics)
    }

    /// How groups changed since `old`, as CPython has it: largest change first: |size_diff|, size, |count_diff|, count and traceback, all
    /// descending. Groups that did not change are there too.
    ///
    /// ```
    /// use tmq_query::tracemalloc::{Frame, KeyType, Snapshot, Trace, Traceback};
    ///
    /// let trace = |size, line| Trace { domain: 0, size, traceback: Traceback::new(vec![Frame::new("a.py", line)]) };
    /// let old = Snapshot::new(vec![trace(10, 2), trace(66, 7)], 1);
    /// let new = Snapshot::new(vec![trace(10, 2), trace(400, 9)], 1);
    /// let changes = new.compare_to(&old, KeyType::Lineno, false).unwrap();
    /// let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    /// assert_eq!(lines[0], "a.py:9: size=400 B (+400 B), count=1 (+1), average=400 B");
    /// assert_eq!(lines[1], "a.py:7: size=0 B (-66 B), count=0 (-1)");
    /// assert_eq!(lines[2], "a.py:2: size=10 B (+0 B), count=1 (+0), average=10 B");
    /// ```
    ///
    /// # Errors
    /// What CPython raises.
    pub fn compare_to(&self, old: &Self, key: KeyType, cumulative: bool) -> Result<Vec<StatisticDiff>, ContractError> {
        let mut before = old.group_by(key, cumulative)?;
        let mut diffs = Vec::new();
        for (traceback, (size, count)) in self.group_by(key, cumulative)? {
            let (old_size, old_count) = before.remove(&traceback).unwrap_or_default();
            diffs.push(StatisticDiff {
                traceback,
                size,
                size_diff: size - old_size,
                count,
                count_diff: count - old_count,
            });
        }
        diffs.extend(before.into_iter().map(|(traceback, (size, count))| StatisticDiff {
            traceback,
            size: 0,
            size_diff: -size,
            count: 0,
            count_diff: -count,
        }));
        diffs.sort_unstable_by(|a, b| a.largest_first(b, self.order));
        Ok(diffs)
    }

    fn group_by(&self, key: KeyType, cumulative: bool) -> Result<HashMap<Traceback, (i128, i64)>, ContractError> {
        if cumulative && key == KeyType::Traceback {
            return Err(ContractError::CumulativeTraceback);
        }
        // Traces by stack first: there are far fewer stacks than traces.
        let mut stacks: HashMap<&[Frame], (i128, i64)> = HashMap::new();
        for trace in &self.traces {
            let sum = stacks.entry(trace.traceback.frames()).or_default();
            sum.0 += i128::from(trace.size);
            sum.1 += 1;
        }
        let mut groups = HashMap::new();
        for (frames, sum) in stacks {
            match (key, cumulative) {
                (KeyType::Traceback, _) => add(&mut groups, frames.to_vec(), sum),
                (KeyType::Lineno, false) => add(&mut groups, frames[..frames.len().min(1)].to_vec(), sum),
                (KeyType::Filename, false) => {
                    let first = frames.first().ok_or(ContractError::EmptyTraceback)?;
                    add(&mut groups, vec![Frame::new(first.filename.clone(), 0)], sum);
                }
                (KeyType::Lineno, true) => frames.iter().for_each(|f| add(&mut groups, vec![f.clone()], sum)),
                (KeyType::Filename, true) => {
                    frames.iter().for_each(|f| add(&mut groups, vec![Frame::new(f.filename.clone(), 0)], sum));
                }
            }
        }
        Ok(groups)
    }
}

fn add(groups: &mut HashMap<Traceback, (i128, i64)>, frames: Vec<Frame>, sum: (i128, i64)) {
    match groups.entry(Traceback::new(frames)) {
        Entry::Occupied(mut entry) => {
            entry.get_mut().0 += sum.0;
            entry.get_mut().1 += sum.1;
        }
        Entry::Vacant(entry) => {
            entry.insert(sum);
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("traces", &self.traces.len())
            .field("traceback_limit", &self.traceback_limit)
            .finish_non_exhaustive()
    }
}
