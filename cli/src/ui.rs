//! Everything that goes to stderr: notes, warnings, errors, and whether colour is used.
//!
//! stdout belongs to data (see `output`). Lines start with `tmq:` because `tmq record` shares stderr with the program
//! it runs. Writing to a closed stderr is ignored: there is nobody left to tell.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use crate::error::Error;

/// `--color`. Values have comments, not documentation: that would make --help twice as long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    // On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    #[default]
    Auto,
    // Also in files and pipes.
    Always,
    Never,
}

impl Color {
    fn enabled(self, is_terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
                is_terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
            }
        }
    }
}

/// A text style; empty strings when colour is off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Styles {
    on: bool,
}

macro_rules! styles {
    ($($name:ident $code:literal)*) => {$(
        #[doc = concat!("Wraps text in `", stringify!($name), "`.")]
        pub(crate) fn $name(self, text: impl Display) -> String {
            if self.on { format!(concat!("\x1b[", $code, "m{}\x1b[0m"), text) } else { text.to_string() }
        }
    )*};
}

impl Styles {
    /// No colour.
    pub(crate) const PLAIN: Self = Self { on: false };

    styles! { bold "1" dim "2" red "1;31" yellow "1;33" green "32" cyan "36" }
}

/// Where messages go and how they look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    color: Color,
    quiet: bool,
}

impl Ui {
    pub(crate) fn new(color: Color, quiet: bool) -> Self {
        Self { color, quiet }
    }

    /// Styles for stdout.
    pub(crate) fn out(self) -> Styles {
        Styles { on: self.color.enabled(io::stdout().is_terminal()) }
    }

    /// Styles for stderr.
    pub(crate) fn err(self) -> Styles {
        Styles { on: self.color.enabled(io::stderr().is_terminal()) }
    }

    /// The same without notes.
    pub(crate) fn silent(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// Whether a progress bar or a timing would reach a person.
    pub(crate) fn watched(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Says something useful but not needed; silent with `--quiet`.
    pub(crate) fn note(self, text: impl Display) {
        if !self.quiet {
            line(format_args!("{} {text}", self.err().dim("tmq:")));
        }
    }

    /// Says something only if a person watches: timings, row counts.
    pub(crate) fn aside(self, text: impl Display) {
        if self.watched() {
            line(self.err().dim(text));
        }
    }

    /// Says something that a user should know even with `--quiet`.
    pub(crate) fn warn(self, text: impl Display) {
        line(format_args!("tmq: {} {text}", self.err().yellow("warning:")));
    }

    /// Reports a failure.
    pub(crate) fn error(self, error: &Error) {
        line(format_args!("tmq: {} {error}", self.err().red("error:")));
        for detail in error.detail_text().iter().flat_map(|d| d.lines()) {
            line(format_args!("  {detail}"));
        }
        if let Some(hint) = error.hint_text() {
            line(format_args!("tmq: {} {hint}", self.err().green("hint:")));
        }
    }
}

/// Writes one line to stderr as it is.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
