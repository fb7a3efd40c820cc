//! `Statistic` and `StatisticDiff`.

use std::cmp::Ordering;
use std::fmt;

use super::format::format_size;
use super::frame::{Order, Traceback};

/// Bytes and blocks of one group.
///
/// ```
/// use tmq_query::tracemalloc::{Frame, Statistic, Traceback};
///
/// let statistic = Statistic { traceback: Traceback::new(vec![Frame::new("b.py", 1)]), size: 66, count: 2 };
/// assert_eq!(statistic.to_string(), "b.py:1: size=66 B, count=2, average=33 B");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Statistic {
    /// The group.
    pub traceback: Traceback,
    /// Bytes; wider than any sum of sizes needs.
    pub size: i128,
    /// Blocks.
    pub count: i64,
}

impl Statistic {
    /// The text as CPython of that order writes it.
    #[must_use]
    pub fn text(&self, order: Order) -> String {
        let mut text = format!("{}: size={}, count={}", place(&self.traceback, order), bytes(self.size), self.count);
        push_average(&mut text, self.size, self.count);
        text
    }

    /// Largest first: size, count and traceback, all descending.
    pub(crate) fn largest_first(&self, other: &Self, order: Order) -> Ordering {
        let numbers = |s: &Self| (s.size, s.count);
        numbers(other).cmp(&numbers(self)).then_with(|| other.traceback.cmp_in(&self.traceback, order))
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Order::default()))
    }
}

impl fmt::Debug for Statistic {
    /// Python's `repr`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Statistic traceback={:?} size={} count={}>", self.traceback, self.size, self.count)
    }
}

/// How one group changed. A group that is gone has size and count 0; one that is new has differences equal to its size
/// and count.
///
/// ```
/// use tmq_query::tracemalloc::{Frame, StatisticDiff, Traceback};
///
/// let traceback = Traceback::new(vec![Frame::new("gone.py", 1)]);
/// let gone = StatisticDiff { traceback, size: 0, size_diff: -100, count: 0, count_diff: -1 };
/// assert_eq!(gone.to_string(), "gone.py:1: size=0 B (-100 B), count=0 (-1)");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StatisticDiff {
    /// The group.
    pub traceback: Traceback,
    /// Bytes now.
    pub size: i128,
    /// Bytes now minus bytes before.
    pub size_diff: i128,
    /// Blocks now.
    pub count: i64,
    /// Blocks now minus blocks before.
    pub count_diff: i64,
}

impl StatisticDiff {
    /// The text as CPython of that order writes it.
    #[must_use]
    pub fn text(&self, order: Order) -> String {
        let mut text = format!(
            "{}: size={} ({}), count={} ({:+})",
            place(&self.traceback, order),
            bytes(self.size),
            format_size(self.size_diff as f64, true),
            self.count,
            self.count_diff
        );
        push_average(&mut text, self.size, self.count);
        text
    }

    /// Largest change first: |size_diff|, size, |count_diff|, count and traceback, all descending.
    pub(crate) fn largest_first(&self, other: &Self, order: Order) -> Ordering {
        let numbers = |s: &Self| (s.size_diff.abs(), s.size, s.count_diff.abs(), s.count);
        numbers(other).cmp(&numbers(self)).then_with(|| other.traceback.cmp_in(&self.traceback, order))
    }
}

impl fmt::Display for StatisticDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Order::default()))
    }
}

impl fmt::Debug for StatisticDiff {
    /// Python's `repr`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<StatisticDiff traceback={:?} size={} ({:+}) count={} ({:+})>",
            self.traceback, self.size, self.size_diff, self.count, self.count_diff
        )
    }
}

fn place(traceback: &Traceback, order: Order) -> String {
    traceback.first_in(order).map(ToString::to_string).unwrap_or_default()
}

fn bytes(size: i128) -> String {
    format_size(size as f64, false)
}

fn push_average(text: &mut String, size: i128, count: i64) {
    if count != 0 {
        text.push_str(", average=");
        text.push_str(&format_size(size as f64 / count as f64, false));
    }
}
