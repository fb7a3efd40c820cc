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

/// Columns of `diff`; `None` is all. With more than two sides, those of each side and the trend follow.
pub(super) fn of_diff(format: Format, group_by: GroupBy, sides: usize) -> Option<Vec<String>> {
    let mut columns: Vec<String> = of_groups(format, group_by)?.into_iter().map(str::to_owned).collect();
    let mut after = |name: &str, more: Vec<String>| {
        let at = columns.iter().position(|column| column == name).map_or(columns.len(), |i| i + 1);
        columns.splice(at..at, more);
    };
    after("size", vec!["size_diff".to_owned()]);
    after("count", vec!["count_diff".to_owned()]);
    if sides > 2 {
        let each = (1..=sides).flat_map(|side| [format!("size_{side}"), format!("count_{side}")]);
        after("average", each.chain(["trend".to_owned()]).collect());
    }
    Some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keys_are_fixed() {
        assert_eq!(
            of_diff(Format::Json, GroupBy::Site, 2).unwrap(),
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
        assert_eq!(of_diff(Format::Parquet, GroupBy::Site, 3), None);
        let table = of_diff(Format::Table, GroupBy::Site, 2).unwrap();
        assert_eq!(table, ["size", "size_diff", "count", "count_diff", "average", "label"]);
        let table = of_diff(Format::Table, GroupBy::Site, 3).unwrap();
        assert_eq!(table[5..], ["size_1", "count_1", "size_2", "count_2", "size_3", "count_3", "trend", "label"]);
    }
}
