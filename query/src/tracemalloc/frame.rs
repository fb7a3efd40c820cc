//! `Frame`, `Traceback` and `Trace`.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

use super::format::format_size;
use super::repr::repr;

/// File name of frames of which nothing is known.
pub const UNKNOWN: &str = "<unknown>";

/// Which end of a traceback comes first.
///
/// CPython up to 3.6, the seed, keeps the most recent frame first; 3.7 and later the oldest. It decides how tracebacks
/// compare, which breaks ties, and which frame stands for a traceback in text.
///
/// ```
/// use tmq_query::tracemalloc::{Frame, Order, Traceback};
///
/// let traceback = Traceback::new(vec![Frame::new("a.py", 2), Frame::new("b.py", 4)]);
/// assert_eq!(traceback.first_in(Order::MostRecentFirst).unwrap().to_string(), "a.py:2");
/// assert_eq!(traceback.first_in(Order::OldestFirst).unwrap().to_string(), "b.py:4");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// CPython 3.4 to 3.6.
    #[default]
    MostRecentFirst,
    /// CPython 3.7 and later.
    OldestFirst,
}

/// A place in a source file. Ordered by file name (by code points) and line.
///
/// ```
/// use tmq_query::tracemalloc::Frame;
///
/// let frame = Frame::new("a.py", 2);
/// assert_eq!(frame.to_string(), "a.py:2");
/// assert_eq!(format!("{frame:?}"), "<Frame filename='a.py' lineno=2>");
/// assert!(frame < Frame::new("a.py", 10) && frame > Frame::new("B.py", 99));
/// assert_eq!(Frame::unknown().to_string(), "<unknown>:0");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// The file; [`UNKNOWN`] if it is not known.
    pub filename: Arc<str>,
    /// The line; 0 if it is not known.
    pub lineno: i32,
}

impl Frame {
    /// A frame.
    pub fn new(filename: impl Into<Arc<str>>, lineno: i32) -> Self {
        Self { filename: filename.into(), lineno }
    }

    /// The only frame of a block whose stack is not known.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new(UNKNOWN, 0)
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.filename, self.lineno)
    }
}

impl fmt::Debug for Frame {
    /// Python's `repr`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Frame filename={} lineno={}>", repr(&self.filename), self.lineno)
    }
}

/// Where a block was allocated: frames, most recent first. Equality, hash and order look at the frames alone; a proper
/// prefix is smaller.
///
/// ```
/// use tmq_query::tracemalloc::{Frame, Traceback};
///
/// let traceback = Traceback::new(vec![Frame::new("a.py", 2), Frame::new("b.py", 4)]);
/// assert_eq!(traceback.to_string(), "a.py:2");
/// assert!(Traceback::new(vec![Frame::new("a.py", 2)]) < traceback);
/// ```
#[derive(Clone)]
pub struct Traceback {
    frames: Arc<[Frame]>,
    /// Frames that the stack really had, if known.
    pub total_nframe: Option<u32>,
}

impl Traceback {
    /// A traceback of frames, most recent first.
    #[must_use]
    pub fn new(frames: Vec<Frame>) -> Self {
        Self { frames: frames.into(), total_nframe: None }
    }

    /// The same with the number of frames that the stack really had.
    #[must_use]
    pub fn with_total(mut self, total_nframe: Option<u32>) -> Self {
        self.total_nframe = total_nframe;
        self
    }

    /// The frames, most recent first.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Compares as CPython of that order does.
    #[must_use]
    pub fn cmp_in(&self, other: &Self, order: Order) -> Ordering {
        match order {
            Order::MostRecentFirst => self.frames.cmp(&other.frames),
            Order::OldestFirst => self.frames.iter().rev().cmp(other.frames.iter().rev()),
        }
    }

    /// The frame that stands for the traceback in text: the first one in that order; none if it is empty.
    #[must_use]
    pub fn first_in(&self, order: Order) -> Option<&Frame> {
        match order {
            Order::MostRecentFirst => self.frames.first(),
            Order::OldestFirst => self.frames.last(),
        }
    }

    /// The traceback as lines, most recent frame first, at most `limit` frames, as CPython 3.4 writes it. A negative
    /// limit gives nothing.
    ///
    /// ```
    /// use tmq_query::tracemalloc::{Frame, Traceback};
    ///
    /// let traceback = Traceback::new(vec![Frame::new("a.py", 2), Frame::new("b.py", 4)]);
    /// let mut source = |file: &str, line: i32| (file == "a.py" && line == 2).then(|| "    x = []\n".to_owned());
    /// let lines = traceback.format(None, &mut source);
    /// assert_eq!(lines, ["  File \"a.py\", line 2", "    x = []", "  File \"b.py\", line 4"]);
    /// ```
    pub fn format(&self, limit: Option<i64>, source: &mut impl Source) -> Vec<String> {
        let limit = limit.map_or(self.frames.len(), |l| usize::try_from(l.max(0)).unwrap_or(usize::MAX));
        lines(self.frames.iter().take(limit), source)
    }

    /// The same as CPython 3.7 and later write it: oldest frame first unless `most_recent_first`. A positive limit keeps
    /// the most recent frames, a negative one all but that many of the most recent (CPython's documentation says
    /// otherwise; this is what its code does).
    ///
    /// ```
    /// use tmq_query::tracemalloc::{Frame, SourceFiles, Traceback};
    ///
    /// let traceback = Traceback::new(vec![Frame::new("/no/a.py", 2), Frame::new("/no/b.py", 4), Frame::new("/no/c.py", 6)]);
    /// let mut files = SourceFiles::default();
    /// let oldest_first = traceback.format_since_37(Some(2), false, &mut files);
    /// assert_eq!(oldest_first, ["  File \"/no/b.py\", line 4", "  File \"/no/a.py\", line 2"]);
    /// let without_most_recent = traceback.format_since_37(Some(-1), true, &mut files);
    /// assert_eq!(without_most_recent, ["  File \"/no/b.py\", line 4", "  File \"/no/c.py\", line 6"]);
    /// ```
    pub fn format_since_37(
        &self,
        limit: Option<i64>,
        most_recent_first: bool,
        source: &mut impl Source,
    ) -> Vec<String> {
        let count = i64::try_from(self.frames.len()).unwrap_or(i64::MAX);
        let kept = match limit {
            None => 0..count,
            Some(limit) if limit > 0 => 0..limit.min(count),
            Some(0) => 0..0,
            Some(limit) => (-limit).min(count)..count,
        };
        let kept = &self.frames[kept.start as usize..kept.end as usize];
        if most_recent_first { lines(kept.iter(), source) } else { lines(kept.iter().rev(), source) }
    }
}

fn lines<'a>(frames: impl Iterator<Item = &'a Frame>, source: &mut impl Source) -> Vec<String> {
    let mut lines = Vec::new();
    for frame in frames {
        lines.push(format!("  File \"{}\", line {}", frame.filename, frame.lineno));
        if let Some(text) = source.line(&frame.filename, frame.lineno) {
            let text = text.trim();
            if !text.is_empty() {
                lines.push(format!("    {text}"));
            }
        }
    }
    lines
}

impl PartialEq for Traceback {
    fn eq(&self, other: &Self) -> bool {
        self.frames == other.frames
    }
}

impl Eq for Traceback {}

impl std::hash::Hash for Traceback {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.frames.hash(state);
    }
}

impl PartialOrd for Traceback {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Traceback {
    /// The seed's order.
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_in(other, Order::MostRecentFirst)
    }
}

impl fmt::Display for Traceback {
    /// The most recent frame; empty for an empty traceback, for which Python raises IndexError.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.frames.first().map_or(Ok(()), |frame| write!(f, "{frame}"))
    }
}

impl fmt::Debug for Traceback {
    /// Python's `repr`, in the seed's order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Traceback (")?;
        for (i, frame) in self.frames.iter().enumerate() {
            write!(f, "{}{frame:?}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str(if self.frames.len() == 1 { ",)" } else { ")" })?;
        if let Some(total) = self.total_nframe {
            write!(f, " total_nframe={total}")?;
        }
        f.write_str(">")
    }
}

/// One block.
///
/// ```
/// use tmq_query::tracemalloc::{Frame, Trace, Traceback};
///
/// let trace = Trace { domain: 0, size: 10, traceback: Traceback::new(vec![Frame::new("b.py", 4)]) };
/// assert_eq!(trace.to_string(), "b.py:4: 10 B");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Trace {
    /// Its address space: 0 is the heap.
    pub domain: i32,
    /// Bytes asked for.
    pub size: i64,
    /// Where it was allocated.
    pub traceback: Traceback,
}

impl Trace {
    /// The text as CPython of that order writes it.
    #[must_use]
    pub fn text(&self, order: Order) -> String {
        let place = self.traceback.first_in(order).map(ToString::to_string).unwrap_or_default();
        format!("{place}: {}", format_size(self.size as f64, false))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Order::default()))
    }
}

impl fmt::Debug for Trace {
    /// Python's `repr`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = format_size(self.size as f64, false);
        write!(f, "<Trace domain={} size={size}, traceback={:?}>", self.domain, self.traceback)
    }
}

/// Where the text of source lines comes from: a closure, or [`SourceFiles`].
///
/// ```
/// use tmq_query::tracemalloc::Source;
///
/// let mut source = |file: &str, line: i32| Some(format!("<{file}, {line}>"));
/// assert_eq!(source.line("a.py", 2).as_deref(), Some("<a.py, 2>"));
/// ```
pub trait Source {
    /// The line, with or without its end; none if it cannot be read.
    fn line(&mut self, filename: &str, lineno: i32) -> Option<String>;
}

impl<F: FnMut(&str, i32) -> Option<String>> Source for F {
    fn line(&mut self, filename: &str, lineno: i32) -> Option<String> {
        self(filename, lineno)
    }
}

/// Source files of this machine, each read once. A file that has changed since the recording shows its new lines.
///
/// ```
/// use tmq_query::tracemalloc::{Source, SourceFiles};
///
/// assert_eq!(SourceFiles::default().line("/does/not/exist", 1), None);
/// ```
#[derive(Debug, Default)]
pub struct SourceFiles {
    files: HashMap<String, Vec<String>>,
}

/// A file with more lines than this is not shown beyond them.
const MAX_LINES: usize = 1 << 20;

impl Source for SourceFiles {
    fn line(&mut self, filename: &str, lineno: i32) -> Option<String> {
        let index = usize::try_from(lineno).ok()?.checked_sub(1)?;
        if !self.files.contains_key(filename) {
            self.files.insert(filename.to_owned(), read_lines(filename));
        }
        self.files.get(filename)?.get(index).cloned()
    }
}

/// The lines of a text file; empty if there is none, or if it is a device or a directory.
fn read_lines(filename: &str) -> Vec<String> {
    let regular = std::fs::metadata(filename).is_ok_and(|m| m.is_file());
    let Some(file) = regular.then(|| File::open(filename).ok()).flatten() else { return Vec::new() };
    let lines = BufReader::new(file).split(b'\n').take(MAX_LINES);
    lines.map_while(Result::ok).map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
}
