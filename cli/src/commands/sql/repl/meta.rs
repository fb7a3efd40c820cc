//! Commands of the interactive mode that begin with a backslash.

use clap::ValueEnum;

use crate::error::{Error, Result};
use crate::output::Format;

/// Answer to `\?`.
pub(super) const HELP: &str = "\
  \\d            list tables, views and functions
  \\d TABLE      describe a table or view
  \\format [F]   show or set the format: table, csv, json, ndjson, markdown
  \\timing       show row counts and times, or not
  \\i FILE       run the statements of a file
  \\q            quit (Ctrl-D too)
  \\?            this help
Ctrl-C stops a running query. Tab completes names and keywords.";

/// Names of the commands, for completion.
pub(super) const NAMES: [&str; 6] = ["\\d", "\\format", "\\timing", "\\i", "\\q", "\\?"];

/// A command.
#[derive(Debug, PartialEq)]
pub(super) enum Meta {
    Quit,
    Help,
    Describe(Option<String>),
    Format(Option<Format>),
    Timing,
    Include(String),
}

impl Meta {
    /// Reads a line; none if it is no command of this kind. `quit`, `exit` and `help` are what people type first.
    pub(super) fn parse(line: &str) -> Option<Result<Self>> {
        let line = line.trim().trim_end_matches(';').trim_end();
        match line.to_ascii_lowercase().as_str() {
            "quit" | "exit" => return Some(Ok(Self::Quit)),
            "help" | "?" => return Some(Ok(Self::Help)),
            _ => {}
        }
        let rest = line.strip_prefix('\\')?;
        let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let argument = argument.trim();
        let optional = (!argument.is_empty()).then(|| argument.to_owned());
        Some(match (name, optional) {
            ("q", _) => Ok(Self::Quit),
            ("?" | "h", _) => Ok(Self::Help),
            ("d", table) => Ok(Self::Describe(table)),
            ("timing", _) => Ok(Self::Timing),
            ("i", Some(path)) => Ok(Self::Include(path)),
            ("i", None) => Err(Error::new("\\i needs a file")),
            ("format", None) => Ok(Self::Format(None)),
            ("format", Some(format)) => Format::from_str(&format, true)
                .map(|format| Self::Format(Some(format)))
                .map_err(|_| Error::new(format!("no format {format:?}")).hint("table, csv, json, ndjson or markdown")),
            (other, _) => Err(Error::new(format!("no command \\{other}")).hint("\\? lists them")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_statements_are_told_apart() {
        assert!(Meta::parse("select 1;").is_none());
        assert_eq!(Meta::parse("\\q").unwrap().unwrap(), Meta::Quit);
        assert_eq!(Meta::parse("quit;").unwrap().unwrap(), Meta::Quit);
        assert_eq!(Meta::parse("\\d stacks;").unwrap().unwrap(), Meta::Describe(Some("stacks".to_owned())));
        assert_eq!(Meta::parse("\\format JSON").unwrap().unwrap(), Meta::Format(Some(Format::Json)));
        assert!(Meta::parse("\\format xml").unwrap().is_err());
        assert!(Meta::parse("\\nope").unwrap().is_err());
    }
}
