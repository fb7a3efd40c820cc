//! `tmq top`, `tmq leaks`, `tmq temporary`: the groups of blocks that hold, lost or wasted the most memory.

use clap::Args;
use tmq_query::report::{Groups, Measure, Report};
use tmq_query::{Moment, RecordingRef};

use crate::args::{FilterArgs, GroupArgs, OutputArgs};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::input::{self, RecordingArg};
use crate::report::{GroupsReport, Title};
use crate::ui::Ui;

/// Options of every report of groups.
#[derive(Debug, Args)]
pub(crate) struct GroupsArgs {
    #[command(flatten)]
    recording: RecordingArg,
    #[command(flatten)]
    groups: GroupArgs,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,

    /// Print the SQL behind the report instead of running it
    #[arg(long, help_heading = "Output")]
    show_sql: bool,
}

/// Show where the memory is: the largest groups of live blocks, at the peak or at another moment
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq top                             ten places of the newest recording, at its peak
  tmq top app.tmq@end -n 0            all places with memory at the end
  tmq top -g function --inclusive     by function, blocks of called functions included
  tmq top -I '*/parser/*' -g lineno   only blocks allocated from within parser/, by line
  tmq top --allocated -g module       everything ever allocated, by module
  tmq top --show-sql                  the query behind it, to change and pass to tmq sql")]
pub(crate) struct Top {
    #[command(flatten)]
    args: GroupsArgs,

    /// Count every block ever allocated, not only those live at the moment
    #[arg(long, help_heading = "Grouping")]
    allocated: bool,
}

/// Show blocks that were never freed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq leaks                    ten places whose blocks were never freed
  tmq leaks -g traceback -n 3  with their stacks
  tmq leaks -X '*/libssl*'     without what libssl holds

What a process keeps until it ends is not always a mistake: compare two runs with `tmq diff`.")]
pub(crate) struct Leaks {
    #[command(flatten)]
    args: GroupsArgs,
}

/// Show blocks that were freed before their thread allocated again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq temporary                ten places that allocate most memory for nothing
  tmq temporary -g function    by function")]
pub(crate) struct Temporary {
    #[command(flatten)]
    args: GroupsArgs,
}

impl Top {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        self.args.check()?;
        let reference = self.args.recording.resolve(ui)?;
        if self.allocated {
            refuse_moment(&reference, "--allocated counts the whole run")?;
            return self.args.run(&reference, Measure::Allocated, "allocated in all", ui);
        }
        let moment = input::moment_or(&reference, Moment::Peak);
        let when = at_moment(&moment);
        self.args.run(&reference, Measure::Live(moment), &when, ui)
    }
}

impl Leaks {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        self.args.check()?;
        let reference = self.args.recording.resolve(ui)?;
        refuse_moment(&reference, "leaks are what is live at the end")?;
        self.args.run(&reference, Measure::Live(Moment::End), "never freed", ui)
    }
}

impl Temporary {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        self.args.check()?;
        let reference = self.args.recording.resolve(ui)?;
        refuse_moment(&reference, "temporary blocks are counted over the whole run")?;
        self.args.run(&reference, Measure::Temporary, "freed before the next allocation", ui)
    }
}

impl GroupsArgs {
    /// Finds mistakes before a recording is looked for.
    fn check(&self) -> Result<()> {
        self.groups.mode()?;
        self.filters.filters().map(drop)
    }

    fn run(&self, reference: &RecordingRef, measure: Measure, when: &str, ui: Ui) -> Result<()> {
        let report = Groups {
            recording: 0,
            measure,
            group_by: self.groups.group_by,
            mode: self.groups.mode()?,
            filters: self.filters.filters()?,
            limit: self.groups.limit(),
        };
        let engine = Engine::open(reference)?;
        if self.show_sql {
            return super::sql::show(&engine.report_sql(&Report::Groups(report))?, &self.output);
        }
        let title = Title { recording: reference.path.display().to_string(), when: when.to_owned() };
        GroupsReport { engine: &engine, report, title, ui }.write(&self.output)
    }
}

/// How a moment reads in a title.
pub(crate) fn at_moment(moment: &Moment) -> String {
    match moment {
        Moment::Start | Moment::End | Moment::Peak => format!("live at the {moment}"),
        Moment::Mark(name) => format!("live at the mark {name}"),
        Moment::At(ns) => format!("live at {}", crate::report::format_time(*ns)),
        Moment::Share(_) => format!("live at {moment} of the run"),
    }
}

/// Refuses a moment where none can be meant.
fn refuse_moment(reference: &RecordingRef, why: &str) -> Result<()> {
    match &reference.moment {
        None => Ok(()),
        Some(Moment::End) if why.contains("at the end") => Ok(()),
        Some(moment) => Err(Error::usage(format!("{why}: @{moment} does not apply"))
            .hint(format!("tmq top {}@{moment} shows what was live then", reference.path.display()))),
    }
}
