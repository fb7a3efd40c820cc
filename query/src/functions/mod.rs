//! Functions of tmq's SQL: one file each, over plain Rust in `crate::tracemalloc` where that module has the rule.

mod fnmatch;
mod format_size;
mod list_by;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

/// Every aggregate function, ready to register.
pub(crate) fn aggregates() -> Vec<AggregateUDF> {
    vec![AggregateUDF::from(list_by::ListBy::default())]
}

/// Every scalar function, ready to register.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::from(fnmatch::Match::fnmatch())),
        Arc::new(ScalarUDF::from(fnmatch::Match::filename_match())),
        Arc::new(ScalarUDF::from(format_size::FormatSize::default())),
    ]
}

/// Names of all functions with their arguments, for help and completion.
pub static SIGNATURES: &[(&str, &str)] = &[
    (
        "fnmatch(text, pattern)",
        "Whether the text matches a pattern in the syntax of Python's fnmatch: * ? [seq] [!seq]",
    ),
    (
        "filename_match(filename, pattern)",
        "The same as tracemalloc compares files: a trailing .pyc counts as .py on both sides",
    ),
    ("list_by(value, position)", "Aggregate: the values of a group as a list, in the order of their positions"),
    ("format_size(bytes [, sign])", "Bytes with a unit, as tracemalloc writes them; with sign => true also a plus"),
];
