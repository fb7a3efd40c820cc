//! `tmq sql`: any question in SQL, once or interactively.

mod locate;
mod params;
mod repl;
mod split;

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueHint};
use tmq_query::{RecordingRef, SessionOptions};

use crate::args::OutputArgs;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::input;
use crate::output::{Destination, Format};
use crate::progress::patiently;
use crate::report::{ALL_COLUMNS, format_count, stream};
use crate::ui::Ui;
use params::Params;

/// Ask anything in SQL; without a query, interactively
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq sql                                            interactive, on the newest recording
  tmq sql \"select * from stacks limit 5\"
  tmq sql -r old.tmq -r new.tmq \"select recording, count(*) from allocations group by recording\"
  tmq sql -f report.sql --param min=4096 -o big.parquet
  echo 'select count(*) from allocations' | tmq sql --format json

`tmq schema` lists tables and columns. On a terminal the result is a table, in a pipe CSV. Several \
statements are separated by semicolons. In the interactive mode \\? shows help.")]
pub(crate) struct Sql {
    /// Query to run; from stdin if that is a pipe and there is no -f
    #[arg(value_name = "QUERY", conflicts_with = "file")]
    query: Option<String>,

    /// Recording to ask, [NAME=]REC; can be repeated, and the last part of the path may have * and ?
    #[arg(short, long = "recording", value_name = "REC", value_hint = ValueHint::DirPath)]
    recording: Vec<OsString>,

    /// Read the query from FILE
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// Value for $NAME in the query: a number, or any other text
    #[arg(long, value_name = "NAME=VALUE")]
    param: Vec<String>,

    /// Allow statements that write or change settings, such as COPY, CREATE and SET
    #[arg(long)]
    allow_write: bool,

    /// Memory that a query may use before it spills to disk [default: half of the machine's]
    #[arg(long, value_name = "BYTES", value_parser = crate::bytes::parse)]
    memory_limit: Option<u64>,

    /// Processor threads that a query may use [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    #[command(flatten)]
    output: OutputArgs,
}

impl Sql {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let params = Params::parse(&self.param)?;
        let query = self.query_text()?;
        let recordings = self.recordings(ui)?;
        let options = SessionOptions {
            allow_write: self.allow_write,
            memory_limit: self.memory_limit.map(|b| usize::try_from(b).unwrap_or(usize::MAX)),
            threads: self.threads.map(usize::from),
            ..SessionOptions::default()
        };
        let engine = Engine::open_with(&recordings, &options)?;
        match query {
            Some(text) => self.run_text(&engine, &params.apply(&text)?, ui),
            None => repl::run(&engine, self.output.format(), ui),
        }
    }

    /// The text to run; none for the interactive mode.
    fn query_text(&self) -> Result<Option<String>> {
        if let Some(query) = &self.query {
            if query.ends_with(".tmq") && Path::new(query).is_dir() {
                return Err(
                    Error::usage(format!("{query} is a recording, not a query")).hint(format!("tmq sql -r {query}"))
                );
            }
            return Ok(Some(query.clone()));
        }
        let mut text = String::new();
        match self.file.as_deref() {
            Some(path) if path != Path::new("-") => {
                text = std::fs::read_to_string(path)
                    .map_err(|e| Error::io(format_args!("cannot read {}", path.display()), &e))?;
            }
            None if std::io::stdin().is_terminal() => return self.check_interactive().map(|()| None),
            _ => {
                std::io::stdin().read_to_string(&mut text).map_err(|e| Error::io("cannot read stdin", &e))?;
            }
        }
        Ok(Some(text))
    }

    /// The interactive mode needs the whole terminal.
    fn check_interactive(&self) -> Result<()> {
        if std::io::stdout().is_terminal() && self.output.output.is_none() {
            return Ok(());
        }
        Err(Error::usage("no query: the interactive mode writes to the terminal only")
            .hint("give the query as an argument, with -f FILE or through a pipe"))
    }

    fn recordings(&self, ui: Ui) -> Result<Vec<RecordingRef>> {
        if self.recording.is_empty() {
            return Ok(vec![input::resolve(None, ui)?]);
        }
        let mut all = Vec::new();
        for text in &self.recording {
            all.extend(input::resolve_all(text, ui)?);
        }
        Ok(all)
    }

    fn run_text(&self, engine: &Engine, text: &str, ui: Ui) -> Result<()> {
        let mut out = self.output.open()?;
        let format = self.output.format().unwrap_or_else(|| default_format(&out));
        let statements = split::statements(text);
        if statements.is_empty() {
            return Err(Error::from(tmq_query::Error::EmptyQuery));
        }
        if format.is_binary() && statements.len() > 1 {
            return Err(Error::usage("a binary format can hold the result of one statement only")
                .hint("run the statements one by one, or use --format ndjson"));
        }
        for (i, statement) in statements.iter().enumerate() {
            if i > 0 && matches!(format, Format::Table | Format::Markdown) {
                out.write_all(b"\n")?;
            }
            execute(engine, statement.text, format, &mut out, ui)?;
        }
        out.finish()
    }
}

/// A table for people, CSV for programs.
fn default_format(out: &Destination) -> Format {
    if out.is_terminal() { Format::Table } else { Format::Csv }
}

/// Runs one statement and writes its rows; tells on stderr how many there were and how long it took.
fn execute(engine: &Engine, sql: &str, format: Format, out: &mut Destination, ui: Ui) -> Result<()> {
    let begin = Instant::now();
    let result = engine.block_on(async {
        let answer = patiently(ui, "running the query", engine.sql(sql)).await?;
        stream(answer.schema(), answer, format, out, ALL_COLUMNS, ui).await
    });
    let written = result.map_err(|error| locate::explain(error, sql, &crate::commands::schema::names()))?;
    out.flush()?;
    if written.cut {
        ui.aside("(… marks values cut to fit the terminal; --format csv shows them whole)");
    }
    let rows = format_count(i64::try_from(written.rows).unwrap_or(i64::MAX), "row", "rows");
    ui.aside(format_args!("{rows} in {:.3} s", begin.elapsed().as_secs_f64()));
    Ok(())
}

/// Prints a query, ready to be run or piped back into `tmq sql`.
pub(crate) fn show(sql: &str, output: &OutputArgs) -> Result<()> {
    let mut out = Destination::new(output.output.as_deref())?;
    let sql = sql.trim_end().trim_end_matches(';');
    out.write_all(format!("{sql};\n").as_bytes())?;
    out.finish()
}
