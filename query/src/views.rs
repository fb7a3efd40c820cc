//! The views of `sql/views/`: one file each, embedded here, planned when they are first named.
//!
//! A file begins with a comment: `-- NAME: what a row is.`, followed by grain and caveats. In its last SELECT every
//! output column stands on a line of its own, `expression AS name, -- meaning`; a test compares these lines with the
//! planned columns.

/// One view.
#[derive(Debug)]
pub struct View {
    /// Name in SQL.
    pub name: &'static str,
    /// The whole file.
    pub sql: &'static str,
}

macro_rules! views {
    ($($name:literal),+ $(,)?) => {
        /// Every view, in the order of documentation.
        pub static VIEWS: &[View] = &[
            $( View { name: $name, sql: include_str!(concat!("../sql/views/", $name, ".sql")) }, )+
        ];
    };
}

views! {
    "at_peak",
    "leaks",
    "temporary",
    "top_allocators",
    "by_process",
    "by_thread",
    "by_module",
    "by_size",
    "by_kind",
    "timeline_readable",
    "lifetimes",
    "stack_totals",
    "stacks_named",
    "frames_named",
    "allocations_named",
    "tracer",
}

impl View {
    /// What it is: the comment at the head of its file.
    #[must_use]
    pub fn doc(&self) -> String {
        let head = self.sql.lines().map_while(|line| line.strip_prefix("--"));
        let text = head.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
        text.strip_prefix(self.name).and_then(|t| t.strip_prefix(": ")).unwrap_or(&text).trim_end().to_owned()
    }

    /// Its columns with their meanings, from the comments.
    #[must_use]
    pub fn columns(&self) -> Vec<(&'static str, &'static str)> {
        self.sql.lines().filter_map(documented_column).collect()
    }
}

/// `... AS name, -- meaning`
fn documented_column(line: &'static str) -> Option<(&'static str, &'static str)> {
    let (code, meaning) = line.split_once(" -- ")?;
    let (_, name) = code.trim_end().trim_end_matches(',').rsplit_once(" AS ")?;
    Some((name, meaning))
}

/// The view with this name.
#[must_use]
pub fn view(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|v| v.name == name)
}
