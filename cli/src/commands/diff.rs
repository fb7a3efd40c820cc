//! `tmq diff`: how groups changed between two moments or two recordings.

use std::ffi::OsString;

use clap::Args;
use tmq_query::report::{Diff as DiffReport, Measure, Report, Side};
use tmq_query::{Moment, RecordingRef, SessionOptions};

use crate::args::{FilterArgs, GroupArgs, OutputArgs};
use crate::engine::Engine;
use crate::error::Result;
use crate::input;
use crate::report::{DiffView, Title};
use crate::ui::Ui;

/// Show what grew and shrank between two recordings, or between two moments of one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq diff old.tmq new.tmq             what is live at the end: new against old
  tmq diff app.tmq@start app.tmq@peak  how the peak came about
  tmq diff old.tmq@peak new.tmq@peak -g function --format json
  tmq diff @mark:before @mark:after    two marks of the newest recording

Groups are matched by content (function, file, line), so recordings of two builds can be compared. \
The largest change comes first. Without a moment, the end is compared.")]
pub(crate) struct Diff {
    /// Recording to compare with, perhaps with a moment
    #[arg(value_name = "OLD[@MOMENT]")]
    old: OsString,

    /// Recording whose changes are shown
    #[arg(value_name = "NEW[@MOMENT]")]
    new: OsString,

    #[command(flatten)]
    groups: GroupArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,

    /// Count every block ever allocated, not only live ones
    #[arg(long, help_heading = "Grouping")]
    allocated: bool,

    /// Print the SQL behind the report instead of running it
    #[arg(long, help_heading = "Output")]
    show_sql: bool,
}

impl Diff {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let old = input::resolve(Some(&self.old), ui)?;
        // Two moments of the newest recording: it is named once.
        let again = self.new.as_encoded_bytes().starts_with(b"@") && self.old.as_encoded_bytes().starts_with(b"@");
        let new = input::resolve(Some(&self.new), if again { ui.silent() } else { ui })?;
        let (recordings, new_index) = pair(old.clone(), new.clone());
        let measure = |reference: &RecordingRef| match self.allocated {
            true => Measure::Allocated,
            false => Measure::Live(input::moment_or(reference, Moment::End)),
        };
        let report = DiffReport {
            sides: vec![
                Side { recording: 0, measure: measure(&old) },
                Side { recording: new_index, measure: measure(&new) },
            ],
            group_by: self.groups.group_by,
            mode: self.groups.mode()?,
            filters: self.filters.filters()?,
            limit: self.groups.limit(),
        };
        let engine = Engine::open_with(&recordings, &SessionOptions::default())?;
        if self.show_sql {
            return super::sql::show(&engine.report_sql(&Report::Diff(report))?, &self.output);
        }
        let title = Title { recording: describe(&new), when: format!("against {}", describe(&old)) };
        DiffView { engine: &engine, report, title, ui }.write(&self.output)
    }
}

/// The recordings to open and the position of the new one. The same directory is opened once; two of the same name get
/// the names `old` and `new`.
fn pair(mut old: RecordingRef, mut new: RecordingRef) -> (Vec<RecordingRef>, usize) {
    let same =
        old.path == new.path || matches!((old.path.canonicalize(), new.path.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if same {
        return (vec![old], 0);
    }
    if old.name() == new.name() {
        old.alias = Some("old".to_owned());
        new.alias = Some("new".to_owned());
    }
    (vec![old, new], 1)
}

fn describe(reference: &RecordingRef) -> String {
    match &reference.moment {
        Some(moment) => format!("{}@{moment}", reference.path.display()),
        None => reference.path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_is_opened_once_and_equal_names_are_told_apart() {
        let reference = |text: &str| RecordingRef::parse(text).unwrap();
        assert_eq!(pair(reference("a.tmq@start"), reference("a.tmq@end")).1, 0);
        let (both, index) = pair(reference("x/a.tmq"), reference("y/a.tmq"));
        assert_eq!(index, 1);
        assert_eq!(both.iter().map(RecordingRef::name).collect::<Vec<_>>(), ["old", "new"]);
        let (both, _) = pair(reference("a.tmq"), reference("b.tmq"));
        assert_eq!(both.iter().map(RecordingRef::name).collect::<Vec<_>>(), ["a", "b"]);
    }
}
