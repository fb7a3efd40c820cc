//! Line editing: completion of names and keywords, and going on until the semicolon.

use std::borrow::Cow;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Result};

use super::super::split;
use super::meta::{self, Meta};

/// Keywords that queries are made of.
const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COUNT",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXCLUDE",
    "EXISTS",
    "EXPLAIN",
    "ANALYZE",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "QUALIFY",
    "RECURSIVE",
    "RIGHT",
    "SELECT",
    "SHOW",
    "SUM",
    "TABLES",
    "THEN",
    "TRUE",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
];

/// Completes from the session's names; highlights and hints nothing.
pub(super) struct Helper {
    names: Vec<String>,
    files: FilenameCompleter,
}

impl Helper {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names, files: FilenameCompleter::new() }
    }

    /// Names and keywords that begin with `word`; keywords in the case in which the word is typed.
    fn candidates(&self, word: &str) -> Vec<String> {
        let lower = word.to_lowercase();
        let names = self.names.iter().filter(|name| name.to_lowercase().starts_with(&lower)).cloned();
        let shout = word.chars().any(char::is_uppercase);
        let keywords = KEYWORDS
            .iter()
            .map(|k| if shout { (*k).to_owned() } else { k.to_lowercase() })
            .filter(|k| k.to_lowercase().starts_with(&lower));
        let mut all: Vec<String> = names.chain(keywords).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        if line.starts_with("\\i ") {
            return self.files.complete(line, pos, ctx);
        }
        let typed = &line[..pos];
        let start = typed
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map_or(0, |i| i + typed[i..].chars().next().map_or(1, char::len_utf8));
        let word = &typed[start..];
        if typed.starts_with('\\') && !typed.contains(' ') {
            let names = meta::NAMES.iter().filter(|n| n.starts_with(typed));
            return Ok((0, names.map(|n| pair(n)).collect()));
        }
        if word.is_empty() && !typed.ends_with('.') {
            return Ok((start, Vec::new()));
        }
        Ok((start, self.candidates(word).iter().map(|c| pair(c)).collect()))
    }
}

fn pair(text: &str) -> Pair {
    Pair { display: text.to_owned(), replacement: text.to_owned() }
}

impl Validator for Helper {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let text = ctx.input();
        let done = Meta::parse(text).is_some() || split::is_complete(text);
        Ok(if done { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Helper {
    type Hint = String;
}

impl Highlighter for Helper {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Borrowed(hint)
    }
}

impl rustyline::Helper for Helper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keywords_complete_in_the_case_typed() {
        let helper = Helper::new(vec!["allocations".to_owned(), "alloc_ns".to_owned(), "stacks".to_owned()]);
        assert_eq!(helper.candidates("alloc"), ["alloc_ns", "allocations"]);
        assert_eq!(helper.candidates("sel"), ["select"]);
        assert_eq!(helper.candidates("SEL"), ["SELECT"]);
        assert_eq!(helper.candidates("ST"), ["stacks"]);
    }
}
