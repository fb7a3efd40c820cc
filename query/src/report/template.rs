//! The files of `sql/reports/` as templates: `{name}` stands for a value, everything else is as written.
//!
//! Values are inserted in one pass and are not looked through again, so that a pattern with braces in it is just text.

use std::fmt::Write as _;

macro_rules! templates {
    ($($name:ident),+ $(,)?) => {
        $(
            #[doc = concat!("`sql/reports/", stringify!($name), ".sql`")]
            pub(crate) const $name: &str = include_str!(concat!("../../sql/reports/", stringify!($name), ".sql"));
        )+
    };
}

/// The templates, named like their files.
#[expect(non_upper_case_globals, reason = "the names are those of files")]
pub(crate) mod files {
    templates! {
        address, by_stack, changes, counted_rows, counted_stored, frames_every, frames_leaf, frames_matching, frames_of_stack,
        frames_once, groups, kept, lines, lines_of, result_diff, result_diff_tracebacks, result_groups,
        result_tracebacks, side, snapshot, snapshot_blocks, snapshot_stacks, stacks_by_any, stacks_by_leaf, texts_of,
        traced_memory, traced_now, traced_peak, traced_stored, tracebacks,
    }
}

/// Fills a template in.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template.trim_end();
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        match values.iter().find(|(n, _)| *n == name) {
            Some((_, value)) => out.push_str(value),
            None => {
                debug_assert!(false, "template without a value for {name}");
                let _ = write!(out, "{{{name}}}");
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// A template without its comment at the head, for use inside an expression.
pub(crate) fn inline(template: &str, values: &[(&str, &str)]) -> String {
    let body: Vec<&str> = template.lines().skip_while(|line| line.starts_with("--")).collect();
    fill(&body.join("\n"), values)
}

/// Text as a SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as a SQL identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Removes lines without text, which values that are empty leave behind.
pub(crate) fn tidy(sql: &str) -> String {
    let lines: Vec<&str> = sql.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_inserted_once() {
        assert_eq!(fill("a {x} b {y}\n", &[("x", "{y}"), ("y", "1")]), "a {y} b 1");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(inline("-- head\nSELECT {x}\n", &[("x", "1")]), "SELECT 1");
    }
}
