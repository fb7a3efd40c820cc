//! Where in a query an error is: the line, with a mark below the place.
//!
//! The parser says `Line: N, Column: M`. The planner says only which name it does not know, so that name is looked for.

use super::split::Scanner;
use crate::error::Error;

/// What the engine puts in front of every message of a kind; says nothing to a user.
const PREFIXES: [&str; 5] =
    ["Error during planning: ", "Schema error: ", "SQL error: ", "Arrow error: ", "Invalid argument error: "];
/// Names at least this similar (Jaro-Winkler) are suggested.
const SIMILAR: f64 = 0.8;

/// Makes an error of the engine readable: its message without wrappers, the line of the query if the error says or shows
/// where it is, and the nearest of `names` if a table is not known.
pub(super) fn explain(error: Error, sql: &str, names: &[&str]) -> Error {
    let message = error.to_string();
    let place = parser_place(&message).or_else(|| name_place(&message, sql));
    let mut clean = message.as_str();
    for prefix in PREFIXES {
        clean = clean.strip_prefix(prefix).unwrap_or(clean);
    }
    let clean = clean.strip_prefix("ParserError(\"").and_then(|c| c.strip_suffix("\")")).unwrap_or(clean);
    let clean = clean.replace("tmq.public.", "").replace(".\n", "\n");
    let (first, rest) = clean.split_once('\n').unwrap_or((&clean, ""));
    // A suggestion says more than the list of everything that would be valid.
    let (first, rest) = match first.split_once(". Did you mean ") {
        Some((first, name)) => (first, format!("did you mean {name}")),
        None => (first, rest.to_owned()),
    };
    let mut error = error.message(first);
    if let Some((line_number, column)) = place
        && let Some(line) = sql.lines().nth(line_number - 1)
    {
        let prefix = format!("{line_number} | ");
        let shown = line.replace('\t', " ");
        let mark = " ".repeat(prefix.len() + column.saturating_sub(1));
        error = error.detail(format!("{prefix}{shown}\n{mark}^"));
    }
    let nearest = unknown_name(&message).filter(|_| message.contains("table '")).and_then(|n| nearest(&n, names));
    match (rest.as_str(), nearest) {
        (_, Some(name)) => error.hint(format!("did you mean {name}?")),
        ("", None) => error,
        (rest, None) => error.hint(rest.replace('\n', " ").replace("Did you", "did you").replace("Valid", "valid")),
    }
}

fn nearest(name: &str, names: &[&str]) -> Option<String> {
    let similar = |other: &str| strsim::jaro_winkler(other, name);
    names
        .iter()
        .max_by(|a, b| similar(a).total_cmp(&similar(b)))
        .filter(|n| similar(n) > SIMILAR)
        .map(|n| (*n).to_owned())
}

/// `... at Line: 1, Column: 8`.
fn parser_place(message: &str) -> Option<(usize, usize)> {
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<usize>().ok();
    let (_, rest) = message.split_once("Line: ")?;
    let line = number(rest)?;
    let column = number(rest.split_once("Column: ")?.1)?;
    // Line 0 stands for the end of the text, of which the parser knows no position.
    (line > 0 && column > 0).then_some((line, column))
}

/// The first occurrence, outside quotes and comments, of the name that the message complains about.
fn name_place(message: &str, sql: &str) -> Option<(usize, usize)> {
    let name = unknown_name(message)?;
    let mut scanner = Scanner::new(sql);
    while let Some((at, _)) = scanner.next_code() {
        if !sql.is_char_boundary(at) {
            continue;
        }
        let (before, rest) = sql.split_at(at);
        let begins = !before.chars().next_back().is_some_and(is_word);
        let matches = rest.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(&name));
        if begins && matches && !rest[name.len()..].chars().next().is_some_and(is_word) {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            return Some((line, column));
        }
    }
    None
}

/// The name in messages such as `No field named x`, `table 'a.b.x' not found`, `Invalid function 'x'`.
fn unknown_name(message: &str) -> Option<String> {
    const BEFORE: [&str; 6] =
        ["No field named ", "no column named ", "column '", "table '", "Invalid function '", "function '"];
    let (_, rest) = BEFORE.iter().find_map(|phrase| message.split_once(phrase))?;
    let name: String =
        rest.trim_start_matches(['"', '\'', '`']).chars().take_while(|c| is_word(*c) || *c == '.').collect();
    let last = name.trim_end_matches('.').rsplit('.').next()?;
    (!last.is_empty()).then(|| last.to_owned())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(message: &str, sql: &str) -> Option<String> {
        explain(Error::new(message), sql, &[]).detail_text().map(str::to_owned)
    }

    #[test]
    fn the_parser_says_where() {
        let shown = detail("Expected: x, found: y at Line: 2, Column: 3", "select 1\nfrom from\n").unwrap();
        assert_eq!(shown, "2 | from from\n      ^");
        assert_eq!(detail("Expected: x, found: EOF", "select"), None);
    }

    #[test]
    fn wrappers_go_and_advice_becomes_a_hint() {
        let names = ["allocations", "stacks"];
        let error = Error::new("Error during planning: table 'tmq.public.allocation' not found");
        let error = explain(error, "select * from allocation", &names);
        assert_eq!(error.to_string(), "table 'allocation' not found");
        assert_eq!(error.hint_text(), Some("did you mean allocations?"));
        let error = explain(Error::new("SQL error: ParserError(\"Expected: a\")"), "select", &names);
        assert_eq!(error.to_string(), "Expected: a");
        let error = explain(Error::new("Schema error: No field named x.\nValid fields are y."), "select x", &names);
        assert_eq!((error.to_string().as_str(), error.hint_text()), ("No field named x", Some("valid fields are y.")));
    }

    #[test]
    fn the_planner_says_what() {
        let sql = "select size, 'sise' -- sise\n, a.sise from allocations a";
        let shown = detail("Schema error: No field named sise. Did you mean 'size'?", sql).unwrap();
        assert_eq!(shown, "2 | , a.sise from allocations a\n        ^");
        let shown = detail("table 'tmq.public.allocs' not found", "select * from allocs").unwrap();
        assert_eq!(shown, "1 | select * from allocs\n                  ^");
        assert_eq!(detail("No field named b.x.", "select 1"), None);
    }
}
