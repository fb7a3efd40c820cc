//! The keys of JSON reports: fixed, whatever columns the query has besides.

use tmq_query::report::GroupBy;

/// Keys of `top`, `leaks`, `temporary` and `traceback`.
pub(super) fn group_keys(group_by: GroupBy) -> Vec<&'static str> {
    let mut keys = vec!["filename", "lineno", "function", "module", "size", "count", "average", "traceback"];
    // Threads, kinds and the like have no frame: the label is all there is.
    if !has_frame(group_by) {
        keys.insert(0, "label");
    }
    keys
}

/// Keys of `diff`.
pub(super) fn diff_keys(group_by: GroupBy) -> Vec<&'static str> {
    let mut keys = group_keys(group_by);
    let after = |keys: &[&str], name| keys.iter().position(|k| *k == name).map_or(keys.len(), |i| i + 1);
    keys.insert(after(&keys, "size"), "size_diff");
    keys.insert(after(&keys, "count"), "count_diff");
    keys
}

fn has_frame(group_by: GroupBy) -> bool {
    group_by.is_frame() || group_by == GroupBy::Traceback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fixed() {
        assert_eq!(
            diff_keys(GroupBy::Site),
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
        assert_eq!(group_keys(GroupBy::Thread)[0], "label");
    }
}
