//! What a command reports when it fails: one sentence, perhaps a hint, and the exit code.
//!
//! Messages are lower-case fragments that name the file or argument concerned; a hint says what to do next.

use std::fmt::{self, Display};

use crate::exit::Exit;

/// Result of everything in this crate that can fail.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Error {
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    exit: Exit,
}

impl Error {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), detail: None, hint: None, exit: Exit::Failure }
    }

    /// `what: reason`, for errors of the operating system.
    pub(crate) fn io(what: impl Display, error: &std::io::Error) -> Self {
        Self::new(format!("{what}: {}", reason(error)))
    }

    /// A mistake in the command line that clap could not see: exit code 2.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(message).exit(Exit::Usage)
    }

    /// Adds what the user could do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Replaces the message.
    #[must_use]
    pub(crate) fn message(mut self, message: impl Display) -> Self {
        self.message = message.to_string();
        self
    }

    /// Adds lines that show where the mistake is.
    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// Replaces the exit code.
    #[must_use]
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub(crate) fn code(&self) -> Exit {
        self.exit
    }

    pub(crate) fn detail_text(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(reason(&error))
    }
}

/// What the system says, in small letters and without its number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::new(error)
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::new(error)
    }
}
