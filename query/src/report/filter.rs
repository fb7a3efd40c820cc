//! Which blocks count: the filters of tracemalloc, extended to functions and modules.
//!
//! The algebra is tracemalloc's: a block is kept if there is no inclusive filter or any inclusive one matches (frame
//! and domain filters alike), and no exclusive one does.

use crate::Error;

/// All filters of a report.
///
/// ```
/// use tmq_query::report::{DomainFilter, Filters, FrameFilter};
///
/// let filters = Filters {
///     frames: vec![FrameFilter::parse(true, true, "*/parse.c")?, FrameFilter::parse(false, false, "module:libz*")?],
///     domains: vec![DomainFilter { inclusive: false, domain: 1 }],
/// };
/// assert_ne!(filters, Filters::default());
/// # Ok::<(), tmq_query::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Filters on frames.
    pub frames: Vec<FrameFilter>,
    /// Filters on domains. Only the heap is counted (in an imported recording: every domain) unless an inclusive filter,
    /// of either kind, names a domain.
    pub domains: Vec<DomainFilter>,
}

/// A filter on the frames of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameFilter {
    /// Whether matching blocks are kept or dropped.
    pub inclusive: bool,
    /// Whether any frame may match, or only the most recent one.
    pub any_frame: bool,
    /// What is compared.
    pub subject: Subject,
    /// Pattern in the syntax of Python's `fnmatch`, anchored at both ends, case-sensitive.
    pub pattern: String,
    /// The line that the same frame must have; only with [`Subject::File`].
    pub line: Option<i32>,
    /// The domain that the block must be in to match.
    pub domain: Option<i32>,
}

/// What a [`FrameFilter`] compares with its pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The source file; a trailing `.pyc` counts as `.py`, on both sides.
    File,
    /// The function.
    Function,
    /// The module: its path or its last component.
    Module,
}

/// A filter on domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainFilter {
    /// Whether blocks of the domain are kept or dropped.
    pub inclusive: bool,
    /// The domain.
    pub domain: i32,
}

impl FrameFilter {
    /// Reads `PATTERN[:LINE]`, `function:PATTERN` or `module:PATTERN`, each perhaps behind `domain:N:`.
    ///
    /// ```
    /// use tmq_query::report::{FrameFilter, Subject};
    ///
    /// let filter = FrameFilter::parse(true, false, "*/parse.c:120").unwrap();
    /// assert_eq!((filter.pattern.as_str(), filter.line), ("*/parse.c", Some(120)));
    /// assert_eq!(FrameFilter::parse(false, true, "function:operator new*").unwrap().subject, Subject::Function);
    /// assert_eq!(FrameFilter::parse(true, true, "domain:1:*/parse.c").unwrap().domain, Some(1));
    /// ```
    ///
    /// # Errors
    /// The line or domain is too large, or there is no pattern.
    pub fn parse(inclusive: bool, any_frame: bool, text: &str) -> Result<Self, Error> {
        if let Some((digits, rest)) = text.strip_prefix("domain:").and_then(|rest| rest.split_once(':'))
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
        {
            let reason = "the domain is too large";
            let domain = digits.parse().map_err(|_| Error::Filter { text: text.to_owned(), reason })?;
            return Ok(Self { domain: Some(domain), ..Self::parse(inclusive, any_frame, rest)? });
        }
        let make = |subject, pattern: &str, line| Self {
            inclusive,
            any_frame,
            subject,
            pattern: pattern.to_owned(),
            line,
            domain: None,
        };
        if text.is_empty() {
            return Err(Error::Filter { text: String::new(), reason: "write a pattern such as '*/parse.c'" });
        }
        if let Some(pattern) = text.strip_prefix("function:") {
            return Ok(make(Subject::Function, pattern, None));
        }
        if let Some(pattern) = text.strip_prefix("module:") {
            return Ok(make(Subject::Module, pattern, None));
        }
        match text.rsplit_once(':') {
            Some((pattern, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                let line = digits.parse().map_err(|_| Error::Filter {
                    text: text.to_owned(),
                    reason: "the line behind the last colon is too large",
                })?;
                Ok(make(Subject::File, pattern, Some(line)))
            }
            _ => Ok(make(Subject::File, text, None)),
        }
    }
}
