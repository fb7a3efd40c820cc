//! What makes a group, and which frames of a stack count for it.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// What makes a group of blocks.
///
/// ```
/// use tmq_query::report::GroupBy;
///
/// assert_eq!("lineno".parse::<GroupBy>().unwrap(), GroupBy::Lineno);
/// assert!("line".parse::<GroupBy>().unwrap_err().to_string().starts_with("unknown key_type: 'line': use one of site"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// Function and line of the frame a person would name (function and module where there is no line, module and offset
    /// where there is no name either).
    Site,
    /// File and line of the most recent frame, as in tracemalloc.
    Lineno,
    /// File of the most recent frame, as in tracemalloc.
    Filename,
    /// The files and lines of all frames, as in tracemalloc.
    Traceback,
    /// Function of the frame a person would name.
    Function,
    /// Module (executable or library) of the frame a person would name.
    Module,
    /// Thread that allocated.
    Thread,
    /// Process that allocated.
    Process,
    /// Which call made the block: malloc, calloc, ...
    Kind,
    /// Domain: heap, memory maps, or the numbers of an imported recording.
    Domain,
    /// Power of two at or above the size.
    Size,
}

/// Which frames of a stack count for a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One frame per stack.
    #[default]
    MostRecent,
    /// Every frame, as often as it occurs, as tracemalloc's `cumulative` does: recursion counts a block several times.
    Cumulative,
    /// Every group that occurs in the stack, once.
    Inclusive,
}

impl GroupBy {
    /// All groupings, in the order of documentation.
    pub const ALL: [Self; 11] = [
        Self::Site,
        Self::Lineno,
        Self::Filename,
        Self::Traceback,
        Self::Function,
        Self::Module,
        Self::Thread,
        Self::Process,
        Self::Kind,
        Self::Domain,
        Self::Size,
    ];

    /// Its name, as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Lineno => "lineno",
            Self::Filename => "filename",
            Self::Traceback => "traceback",
            Self::Function => "function",
            Self::Module => "module",
            Self::Thread => "thread",
            Self::Process => "process",
            Self::Kind => "kind",
            Self::Domain => "domain",
            Self::Size => "size",
        }
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Whether its key is a frame, so that [`Mode::Cumulative`] and [`Mode::Inclusive`] mean something.
    #[must_use]
    pub fn is_frame(self) -> bool {
        matches!(self, Self::Site | Self::Lineno | Self::Filename | Self::Function | Self::Module)
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GroupBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|g| g.name() == text).ok_or_else(|| Error::GroupBy { text: text.to_owned() })
    }
}
