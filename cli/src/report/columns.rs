//! Which columns of a report each format shows.
//!
//! JSON has fixed keys, whatever else the query returns; tables for people have what fits a line; files of rows (CSV,
//! Parquet, Arrow) have everything.

use tmq_query::report::GroupBy;

use crate::output::Format;

/// Columns of `top`, `leaks`, `temporary` and `traceback`; `None` is all.
pub(super) fn of_groups(format: Format, group_by: GroupBy) -> Option<Vec<&'static str>> {
    let mut columns = match format {
        Format::Json | Format::Ndjson => {
            vec!["filename", "lineno", "function", "module", "size", "count", "average", "traceback"]
        }
        Format::Table | Format::Markdown => return Some(vec!["size", "count", "average", "label"]),
        Format::Csv | Format::Parquet | Format::Arrow => return None,
    };
    // Threads, kinds and the like have no frame: the label is all there is.
    if !group_by.is_frame() && group_by != GroupBy::Traceback {
        columns.insert(0, "label");
    }
    Some(columns)
}

/// Columns of `diff`; `None` is all.
pub(super) fn of_diff(format: Format, group_by: GroupBy) -> Option<Vec<&'static str>> {
    let mut columns = of_groups(format, group_by)?;
    for (name, diff) in [("size", "size_diff"), ("count", "count_diff")] {
        let after = columns.iter().position(|column| *column == name).map_or(columns.len(), |i| i + 1);
        columns.insert(after, diff);
    }
    Some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keys_are_fixed() {
        assert_eq!(
            of_diff(Format::Json, GroupBy::Site).unwrap(),
            [
                "filename",
                "lineno",
                "function",
                "module",
                "size",
                "size_diff",
                "count",
                "count_diff",
                "average",
                "traceback"
            ]
        );
        assert_eq!(of_groups(Format::Ndjson, GroupBy::Thread).unwrap()[0], "label");
    }

    #[test]
    fn files_have_everything_and_tables_a_line() {
        assert_eq!(of_diff(Format::Parquet, GroupBy::Site), None);
        let table = of_diff(Format::Table, GroupBy::Site).unwrap();
        assert_eq!(table, ["size", "size_diff", "count", "count_diff", "average", "label"]);
    }
}
