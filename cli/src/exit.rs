//! Exit codes: part of the interface, listed in `tmq help` and the man page.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

/// How `tmq` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// 0: done. A reader that closed the pipe early counts as done.
    Success,
    /// 1: something failed; the message is on stderr.
    Failure,
    /// 2: the command line could not be understood.
    Usage,
    /// 3: this program cannot be recorded (static, setuid, ...); it was not started.
    CannotRecord,
    /// 126: the command to record exists but cannot be executed.
    NotExecutable,
    /// 127: the command to record was not found.
    CommandNotFound,
    /// 130: ended by Ctrl-C.
    Interrupted,
    /// `tmq record` only: the status of the recorded program, 128 + N if signal N ended it.
    Target(u8),
}

/// The text about exit codes in help and man pages.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done (also if the reader of the output closed it early)
    1  something failed; the message is on stderr
    2  the command line could not be understood
  130  interrupted by Ctrl-C
  `tmq record` ends like the program it ran (128 + N if signal N ended it), or with
    3  this program cannot be recorded; it was not started
  126  the command exists but cannot be executed
  127  the command was not found";

impl Exit {
    /// The exit of a recorded program, as a shell would report it.
    #[must_use]
    pub fn of_target(status: ExitStatus) -> Self {
        let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(1);
        Self::Target(u8::try_from(code).unwrap_or(1))
    }

    /// The number the operating system sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::CannotRecord => 3,
            Self::NotExecutable => 126,
            Self::CommandNotFound => 127,
            Self::Interrupted => 130,
            Self::Target(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_status_is_what_a_shell_reports() {
        assert_eq!(Exit::of_target(ExitStatus::from_raw(0)).code(), 0);
        assert_eq!(Exit::of_target(ExitStatus::from_raw(7 << 8)).code(), 7);
        assert_eq!(Exit::of_target(ExitStatus::from_raw(9)).code(), 137);
    }
}
