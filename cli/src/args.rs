//! The command line as a whole: global options, the list of commands, and options that several commands share.
//!
//! Each command's own arguments are in its file below `commands/`, beside the code that runs them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint};
use tmq_query::report::{DomainFilter, Filters, FrameFilter, GroupBy, Mode};
use tmq_store::recording::MANIFEST_NAME;

use crate::commands;
use crate::error::{Error, Result};
use crate::exit::{self, Exit};
use crate::output::{Destination, Format};
use crate::ui::{self, Color};

const ABOUT: &str = "Records every allocation of a program and answers questions about them in SQL";

const EXAMPLES: &str = "\
Examples:
  tmq record ./app --fast        run ./app, write app.<pid>.tmq
  tmq top                        the ten places that hold the most memory at the peak
  tmq top @end -g function       the same at the end, by function
  tmq diff old.tmq new.tmq       what grew between two recordings
  tmq sql \"select kind, count(*) from allocations group by kind\"

A recording is named by its directory. Without one, the newest *.tmq of the current directory is \
used. A moment of it follows an @: app.tmq@peak, @start, @end, @1.5s, @40%, @mark:NAME.";

/// Arguments of `tmq`.
#[derive(Debug, Parser)]
#[command(name = "tmq", version, about = ABOUT, after_help = after_help(), max_term_width = 100,
          subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", display_order = 900)]
    pub(crate) color: Color,

    /// Say nothing on stderr but warnings and errors
    #[arg(short, long, global = true, display_order = 901)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Record(Box<commands::record::Record>),
    Top(commands::top::Top),
    Leaks(commands::top::Leaks),
    Temporary(commands::top::Temporary),
    Diff(commands::diff::Diff),
    Traceback(commands::traceback::Traceback),
    Addr(commands::addr::Addr),
    Sql(commands::sql::Sql),
    Schema(commands::schema::Schema),
    Info(commands::info::Info),
    Mark(commands::mark::Mark),
    Import(commands::import::Import),
    Export(commands::export::Export),
    Repair(commands::repair::Repair),
    Completions(commands::completions::Completions),
    Man(commands::man::Man),
}

/// The command line as clap sees it, for completions and man pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{}", exit::HELP)
}

/// Prints what clap has to say: help and version to stdout, mistakes to stderr.
pub(crate) fn report(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // The only way this fails is a closed stdout, which is no failure.
        let _ = error.print();
        return Exit::Success;
    }
    let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let text = error.render();
    let text = if colored { text.ansi().to_string() } else { text.to_string() };
    let prefix = if text.trim_start().starts_with("error") || colored { "tmq: " } else { "" };
    ui::line(format_args!("{prefix}{}", text.trim_end()));
    if let Some(advice) = forgotten_command(error) {
        ui::line(format_args!("tmq: hint: {advice}"));
    }
    Exit::Usage
}

/// What was meant by `tmq ./app` and `tmq app.tmq`.
fn forgotten_command(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let path = Path::new(word);
    if path.join(MANIFEST_NAME).is_file() {
        return Some(format!("tmq top {word}"));
    }
    (word.contains('/') || path.is_file()).then(|| format!("tmq record {word}"))
}

/// `--format` and `-o`.
#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// Format of the result [default: what the name of FILE says]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) format: Option<Format>,

    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
}

impl OutputArgs {
    /// The format asked for, by `--format` or by the file's name.
    pub(crate) fn format(&self) -> Option<Format> {
        self.format.or_else(|| self.output.as_deref().and_then(Format::of_file))
    }

    /// Opens the destination and makes sure that the format may go there.
    pub(crate) fn open(&self) -> Result<Destination> {
        let destination = Destination::new(self.output.as_deref())?;
        if let Some(format) = self.format() {
            format.check(&destination)?;
        }
        Ok(destination)
    }
}

/// How blocks are grouped, and how many groups are shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct GroupArgs {
    /// What makes a group; a site is the function and line of the first frame outside allocators and containers, and
    /// lineno, filename and traceback are tracemalloc's keys
    #[arg(short, long, value_name = "KEY", default_value = "site", value_parser = group_by(), help_heading = "Grouping")]
    pub(crate) group_by: GroupBy,

    /// Count a block for every frame of its stack, as tracemalloc does: recursion counts it several times
    #[arg(short, long, conflicts_with = "inclusive", help_heading = "Grouping")]
    pub(crate) cumulative: bool,

    /// Count a block for every group that occurs in its stack, once
    #[arg(long, help_heading = "Grouping")]
    pub(crate) inclusive: bool,

    /// Show the N largest groups; 0 shows all
    #[arg(short = 'n', long = "limit", value_name = "N", default_value_t = 10, help_heading = "Grouping")]
    pub(crate) limit: usize,
}

impl GroupArgs {
    pub(crate) fn mode(&self) -> Result<Mode> {
        if self.cumulative && self.group_by == GroupBy::Traceback {
            return Err(Error::usage("cumulative mode cannot be used with grouping by traceback")
                .hint("a traceback already has every frame: leave --cumulative out, or group by lineno or filename"));
        }
        Ok(match (self.cumulative, self.inclusive) {
            (true, _) => Mode::Cumulative,
            (_, true) => Mode::Inclusive,
            _ => Mode::MostRecent,
        })
    }

    /// `-n`, where 0 means no limit.
    pub(crate) fn limit(&self) -> Option<usize> {
        (self.limit > 0).then_some(self.limit)
    }
}

fn group_by() -> impl TypedValueParser<Value = GroupBy> {
    PossibleValuesParser::new(GroupBy::ALL.map(GroupBy::name))
        .try_map(|name| name.parse::<GroupBy>().map_err(|e| e.to_string()))
}

/// Which blocks count.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FilterArgs {
    /// Keep blocks whose most recent frame matches; PAT is a file with * ? [..], function:PAT or module:PAT; each may follow domain:N:
    #[arg(short, long, value_name = "PAT[:LINE]", help_heading = "Filters")]
    pub(crate) include: Vec<String>,

    /// Drop blocks whose most recent frame matches
    #[arg(short = 'x', long, value_name = "PAT[:LINE]", help_heading = "Filters")]
    pub(crate) exclude: Vec<String>,

    /// Keep blocks with any frame that matches
    #[arg(short = 'I', long, value_name = "PAT[:LINE]", help_heading = "Filters")]
    pub(crate) include_any: Vec<String>,

    /// Drop blocks with any frame that matches
    #[arg(short = 'X', long, value_name = "PAT[:LINE]", help_heading = "Filters")]
    pub(crate) exclude_any: Vec<String>,

    /// Keep blocks of this domain: 0 is the heap (the default), 1 are anonymous memory maps
    #[arg(long, value_name = "N", help_heading = "Filters")]
    pub(crate) domain: Vec<i32>,

    /// Drop blocks of this domain
    #[arg(long, value_name = "N", help_heading = "Filters")]
    pub(crate) not_domain: Vec<i32>,
}

impl FilterArgs {
    pub(crate) fn filters(&self) -> Result<Filters> {
        let groups = [
            (&self.include, true, false),
            (&self.exclude, false, false),
            (&self.include_any, true, true),
            (&self.exclude_any, false, true),
        ];
        let mut frames = Vec::new();
        for (patterns, inclusive, any_frame) in groups {
            for pattern in patterns {
                frames.push(FrameFilter::parse(inclusive, any_frame, pattern).map_err(Error::usage)?);
            }
        }
        let domain = |inclusive| move |domain: &i32| DomainFilter { inclusive, domain: *domain };
        let domains = self.domain.iter().map(domain(true)).chain(self.not_domain.iter().map(domain(false))).collect();
        Ok(Filters { frames, domains })
    }
}
