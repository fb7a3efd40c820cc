//! Where in a query an error is: the line, with a mark below the place.
//!
//! The parser says `Line: N, Column: M`. The planner says only which name it does not know, so that name is looked for.

use super::split::Scanner;
use crate::error::Error;

/// Adds the line of the query to an error, if it says or shows where it is.
pub(super) fn explain(error: Error, sql: &str) -> Error {
    let message = error.to_string();
    let place = parser_place(&message).or_else(|| name_place(&message, sql));
    let Some((line_number, column)) = place else { return error };
    let Some(line) = sql.lines().nth(line_number - 1) else { return error };
    let prefix = format!("{line_number} | ");
    let shown = line.replace('\t', " ");
    let mark = " ".repeat(prefix.len() + column.saturating_sub(1));
    error.detail(format!("{prefix}{shown}\n{mark}^"))
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
        explain(Error::new(message), sql).detail_text().map(str::to_owned)
    }

    #[test]
    fn the_parser_says_where() {
        let shown = detail("Expected: x, found: y at Line: 2, Column: 3", "select 1\nfrom from\n").unwrap();
        assert_eq!(shown, "2 | from from\n      ^");
        assert_eq!(detail("Expected: x, found: EOF", "select"), None);
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
