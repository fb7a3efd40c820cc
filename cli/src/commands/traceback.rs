//! `tmq traceback`: the stacks that hold the most memory, with source lines.

use clap::Args;
use tmq_query::Moment;
use tmq_query::report::{GroupBy, Groups, Measure, Mode, Report};

use super::top::at_moment;
use crate::args::{FilterArgs, OutputArgs};
use crate::engine::Engine;
use crate::error::Result;
use crate::input::{self, RecordingArg};
use crate::report::{Shape, Title, TracebackView};
use crate::ui::Ui;

/// Show the stacks that hold the most memory, with source lines
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq traceback                   the stack with the most memory at the peak
  tmq traceback -n 5 app.tmq@end  five stacks with the most memory at the end
  tmq traceback --frames 8        at most the eight most recent frames of each
  tmq traceback --frames=-2       all frames but the two most recent
  tmq traceback --oldest-first    in the order of a Python traceback

The most recent frame comes first.")]
pub(crate) struct Traceback {
    #[command(flatten)]
    recording: RecordingArg,

    /// Show the N largest stacks; 0 shows all
    #[arg(short = 'n', long = "limit", value_name = "N", default_value_t = 1)]
    limit: usize,

    /// Show at most N frames of each stack, the most recent ones; a negative N leaves as many of them out
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    frames: Option<i64>,

    /// Show the oldest frame of each stack first
    #[arg(long)]
    oldest_first: bool,

    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    output: OutputArgs,

    /// Print the SQL behind the report instead of running it
    #[arg(long, help_heading = "Output")]
    show_sql: bool,
}

impl Traceback {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let reference = self.recording.resolve(ui)?;
        let moment = input::moment_or(&reference, Moment::Peak);
        let when = at_moment(&moment);
        let report = Groups {
            recording: 0,
            measure: Measure::Live(moment),
            group_by: GroupBy::Traceback,
            mode: Mode::MostRecent,
            filters: self.filters.filters()?,
            limit: (self.limit > 0).then_some(self.limit),
        };
        let engine = Engine::open(&reference)?;
        if self.show_sql {
            return super::sql::show(&engine.report_sql(&Report::Groups(report))?, &self.output);
        }
        let title = Title { recording: reference.path.display().to_string(), when };
        let shape = Shape { frames: self.frames, oldest_first: self.oldest_first };
        TracebackView { engine: &engine, report, title, shape, ui }.write(&self.output)
    }
}
