//! `Filter` and `DomainFilter`.

use super::frame::{Frame, Trace};
use super::{Pattern, normalize_filename};

/// A filter on the files and lines of tracebacks.
///
/// ```
/// use tmq_query::tracemalloc::{Filter, Frame};
///
/// let filter = Filter::new(true, "/srv/*.pyc").lineno(5);
/// assert_eq!(filter.filename_pattern(), "/srv/*.py");
/// assert!(filter.match_frame(&Frame::new("/srv/a/b.py", 5)));
/// assert!(!filter.match_frame(&Frame::new("/srv/a/b.py", 6)));
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    /// Whether matching traces are kept or dropped.
    pub inclusive: bool,
    /// The line that the same frame must have; none: any, 0: only the unknown line.
    pub lineno: Option<i32>,
    /// Whether any frame may match, or only the most recent one.
    pub all_frames: bool,
    /// The domain that the trace must have.
    pub domain: Option<i32>,
    filename_pattern: String,
    compiled: Pattern,
}

impl Filter {
    /// A filter on the file of the most recent frame.
    #[must_use]
    pub fn new(inclusive: bool, filename_pattern: &str) -> Self {
        let pattern = normalize_filename(filename_pattern);
        Self {
            inclusive,
            lineno: None,
            all_frames: false,
            domain: None,
            filename_pattern: pattern.to_owned(),
            compiled: Pattern::new(pattern),
        }
    }

    /// The same for one line.
    #[must_use]
    pub fn lineno(mut self, lineno: i32) -> Self {
        self.lineno = Some(lineno);
        self
    }

    /// The same for any frame.
    #[must_use]
    pub fn all_frames(mut self) -> Self {
        self.all_frames = true;
        self
    }

    /// The same for one domain.
    #[must_use]
    pub fn domain(mut self, domain: i32) -> Self {
        self.domain = Some(domain);
        self
    }

    /// The pattern, a trailing `.pyc` as `.py`.
    #[must_use]
    pub fn filename_pattern(&self) -> &str {
        &self.filename_pattern
    }

    fn hits(&self, frame: &Frame) -> bool {
        self.compiled.matches(normalize_filename(&frame.filename)) && self.lineno.is_none_or(|l| l == frame.lineno)
    }

    /// Whether a trace with this most recent frame is kept (CPython's `_match_frame`).
    #[must_use]
    pub fn match_frame(&self, frame: &Frame) -> bool {
        self.hits(frame) == self.inclusive
    }

    /// Whether a trace with these frames, most recent first, is kept (CPython's `_match_traceback`).
    #[must_use]
    pub fn match_traceback(&self, frames: &[Frame]) -> bool {
        let frames = if self.all_frames { frames } else { &frames[..frames.len().min(1)] };
        frames.iter().any(|f| self.hits(f)) == self.inclusive
    }

    /// Whether the trace is kept.
    #[must_use]
    pub fn match_trace(&self, trace: &Trace) -> bool {
        let kept = self.match_traceback(trace.traceback.frames());
        match self.domain {
            Some(domain) if self.inclusive => kept && trace.domain == domain,
            Some(domain) => kept || trace.domain != domain,
            None => kept,
        }
    }
}

/// A filter on the domain of traces.
///
/// ```
/// use tmq_query::tracemalloc::{DomainFilter, Frame, Trace, Traceback};
///
/// let trace = Trace { domain: 3, size: 7, traceback: Traceback::new(vec![Frame::unknown()]) };
/// assert!(DomainFilter { inclusive: true, domain: 3 }.match_trace(&trace));
/// assert!(!DomainFilter { inclusive: false, domain: 3 }.match_trace(&trace));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DomainFilter {
    /// Whether matching traces are kept or dropped.
    pub inclusive: bool,
    /// The domain.
    pub domain: i32,
}

impl DomainFilter {
    /// Whether the trace is kept.
    #[must_use]
    pub fn match_trace(&self, trace: &Trace) -> bool {
        (trace.domain == self.domain) == self.inclusive
    }
}

/// Either filter, as [`super::Snapshot::filter_traces`] takes them.
///
/// ```
/// use tmq_query::tracemalloc::{AnyFilter, DomainFilter, Filter};
///
/// let filters: [AnyFilter; 2] = [Filter::new(true, "*.py").into(), DomainFilter { inclusive: false, domain: 1 }.into()];
/// assert!(filters[0].inclusive() && !filters[1].inclusive());
/// ```
#[derive(Clone, Debug)]
pub enum AnyFilter {
    /// On files and lines.
    Frames(Filter),
    /// On domains.
    Domain(DomainFilter),
}

impl AnyFilter {
    /// Whether matching traces are kept or dropped.
    #[must_use]
    pub fn inclusive(&self) -> bool {
        match self {
            Self::Frames(filter) => filter.inclusive,
            Self::Domain(filter) => filter.inclusive,
        }
    }

    /// Whether the trace is kept.
    #[must_use]
    pub fn match_trace(&self, trace: &Trace) -> bool {
        match self {
            Self::Frames(filter) => filter.match_trace(trace),
            Self::Domain(filter) => filter.match_trace(trace),
        }
    }
}

impl From<Filter> for AnyFilter {
    fn from(filter: Filter) -> Self {
        Self::Frames(filter)
    }
}

impl From<DomainFilter> for AnyFilter {
    fn from(filter: DomainFilter) -> Self {
        Self::Domain(filter)
    }
}
