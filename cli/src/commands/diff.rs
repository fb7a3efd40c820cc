//! `tmq diff`: how groups changed between two moments or two recordings.

use std::collections::HashSet;
use std::ffi::OsString;

use clap::Args;
use tmq_query::report::{Diff as DiffReport, Measure, Report, Side};
use tmq_query::{Moment, RecordingRef, SessionOptions};

use crate::args::{FilterArgs, GroupArgs, OutputArgs};
use crate::engine::Engine;
use crate::error::Result;
use crate::input;
use crate::report::{DiffView, SidesView, Title};
use crate::ui::Ui;

/// Show what grew and shrank between two recordings, or between two moments of one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq diff old.tmq new.tmq             what is live at the end: new against old
  tmq diff app.tmq@start app.tmq@peak  how the peak came about
  tmq diff old.tmq@peak new.tmq@peak -g function --format json
  tmq diff @mark:before @mark:after    two marks of the newest recording
  tmq diff @20% @40% @60% @80% @end    five moments side by side: what keeps growing

Groups are matched by content (function, file, line), so recordings of two builds can be compared. \
The largest change, from the first to the last, comes first. Without a moment, the end is compared.")]
pub(crate) struct Diff {
    /// Recording to compare with, perhaps with a moment
    #[arg(value_name = "OLD[@MOMENT]")]
    old: OsString,

    /// Recording whose changes are shown; with several, each has a column, and the trend is named
    #[arg(value_name = "NEW[@MOMENT]", required = true)]
    new: Vec<OsString>,

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
        let sides = self.sides(ui)?;
        let (recordings, places) = open_once(&sides);
        let measure = |reference: &RecordingRef| match self.allocated {
            true => Measure::Allocated,
            false => Measure::Live(input::moment_or(reference, Moment::End)),
        };
        let report = DiffReport {
            sides: sides.iter().zip(places).map(|(s, recording)| Side { recording, measure: measure(s) }).collect(),
            group_by: self.groups.group_by,
            mode: self.groups.mode()?,
            filters: self.filters.filters()?,
            limit: self.groups.limit(),
        };
        let engine = Engine::open_with(&recordings, &SessionOptions::default())?;
        if self.show_sql {
            return super::sql::show(&engine.report_sql(&Report::Diff(report))?, &self.output);
        }
        if let [old, new] = sides.as_slice() {
            let title = Title { recording: describe(new), when: format!("against {}", describe(old)) };
            return DiffView { engine: &engine, report, title, ui }.write(&self.output);
        }
        SidesView { engine: &engine, report, headings: headings(&sides), ui }.write(&self.output)
    }

    /// What is compared, oldest first.
    fn sides(&self, ui: Ui) -> Result<Vec<RecordingRef>> {
        let mut newest_named = false;
        let texts = std::iter::once(&self.old).chain(&self.new);
        texts
            .map(|text| {
                // Several moments of the newest recording: it is named once.
                let newest = text.as_encoded_bytes().starts_with(b"@");
                let quiet = newest && newest_named;
                newest_named |= newest;
                input::resolve(Some(text), if quiet { ui.silent() } else { ui })
            })
            .collect()
    }
}

/// The recordings to open, each directory once, and the position of each side among them. Two of the same name get the
/// names `old` and `new`, more of them numbers.
fn open_once(sides: &[RecordingRef]) -> (Vec<RecordingRef>, Vec<usize>) {
    let same = |a: &RecordingRef, b: &RecordingRef| {
        a.path == b.path || matches!((a.path.canonicalize(), b.path.canonicalize()), (Ok(a), Ok(b)) if a == b)
    };
    let mut recordings: Vec<RecordingRef> = Vec::new();
    let mut places = Vec::new();
    for side in sides {
        let known = recordings.iter().position(|r| same(r, side));
        places.push(known.unwrap_or_else(|| {
            recordings.push(side.clone());
            recordings.len() - 1
        }));
    }
    let names: HashSet<String> = recordings.iter().map(RecordingRef::name).collect();
    if names.len() < recordings.len() {
        let pair = recordings.len() == 2;
        for (number, recording) in recordings.iter_mut().enumerate() {
            let name = ["old", "new"].get(number).filter(|_| pair).map(ToString::to_string);
            recording.alias = Some(name.unwrap_or_else(|| format!("{}_{}", recording.name(), number + 1)));
        }
    }
    (recordings, places)
}

/// Headings of the columns: what differs between the sides.
fn headings(sides: &[RecordingRef]) -> Vec<String> {
    let one = sides.iter().all(|s| s.path == sides[0].path);
    let heading = |side: &RecordingRef| {
        let moment = side.moment.as_ref().map(|moment| format!("@{moment}"));
        match (one, moment) {
            (true, Some(moment)) => moment,
            (true, None) => format!("@{}", Moment::End),
            (false, moment) => format!("{}{}", side.name(), moment.unwrap_or_default()),
        }
    };
    sides.iter().map(heading).collect()
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
        let opened = |texts: &[&str]| {
            let sides: Vec<_> = texts.iter().map(|text| RecordingRef::parse(text).unwrap()).collect();
            let (recordings, places) = open_once(&sides);
            (recordings.iter().map(RecordingRef::name).collect::<Vec<_>>().join(" "), places)
        };
        assert_eq!(opened(&["a.tmq@start", "a.tmq@end"]), ("a".to_owned(), vec![0, 0]));
        assert_eq!(opened(&["x/a.tmq", "y/a.tmq"]), ("old new".to_owned(), vec![0, 1]));
        assert_eq!(opened(&["a.tmq", "b.tmq", "a.tmq@peak"]), ("a b".to_owned(), vec![0, 1, 0]));
        assert_eq!(opened(&["x/a.tmq", "y/a.tmq", "b.tmq"]), ("a_1 a_2 b_3".to_owned(), vec![0, 1, 2]));
    }

    #[test]
    fn headings_say_what_differs() {
        let heads = |texts: &[&str]| {
            headings(&texts.iter().map(|text| RecordingRef::parse(text).unwrap()).collect::<Vec<_>>()).join(" ")
        };
        assert_eq!(heads(&["a.tmq@start", "a.tmq@1.5s", "a.tmq"]), "@start @1500ms @end");
        assert_eq!(heads(&["a.tmq", "b.tmq@peak", "c.tmq"]), "a b@peak c");
    }
}
