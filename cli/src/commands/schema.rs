//! `tmq schema`: the tables of a recording, their columns with type, unit and meaning.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use clap::Args;
use tmq_store::schema::{TABLES, Table};

use crate::args::OutputArgs;
use crate::error::{Error, Result};
use crate::output::{self, Destination};
use crate::ui::{Styles, Ui};

/// Width that text is wrapped to where there is no terminal.
const DEFAULT_WIDTH: usize = 100;

/// Show tables and columns with type, unit and meaning
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq schema                   all tables
  tmq schema allocations       the columns of one
  tmq schema --format json     everything, for programs

Each table is also a Parquet file or directory of files in the recording, readable by pandas, DuckDB and others.")]
pub(crate) struct Schema {
    /// Table or view to describe
    #[arg(value_name = "TABLE")]
    table: Option<String>,

    #[command(flatten)]
    output: OutputArgs,
}

impl Schema {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let tables = match &self.table {
            None => TABLES.to_vec(),
            Some(name) => vec![find(name)?],
        };
        let mut out = self.output.open()?;
        if let Some(format) = self.output.format() {
            let batch = columns(&tables)?;
            let mut writer = output::open(format, &mut out, &batch.schema(), ui)?;
            writer.write(&batch)?;
            writer.finish()?;
            return out.finish();
        }
        let styles = if self.output.output.is_some() { Styles::PLAIN } else { ui.out() };
        let text = match self.table {
            None => overview(&tables, styles),
            Some(_) => tables.iter().map(|table| description(table, styles)).collect(),
        };
        out.write_all(text.as_bytes())?;
        out.finish()
    }
}

/// Describes a table of the schema; false if it is none.
pub(crate) fn describe(name: &str, out: &mut Destination, ui: Ui) -> Result<bool> {
    let Some(table) = tmq_store::schema::table(name) else { return Ok(false) };
    out.write_all(description(table, ui.out()).as_bytes())?;
    Ok(true)
}

fn find(name: &str) -> Result<&'static Table> {
    tmq_store::schema::table(name).ok_or_else(|| {
        let similar = |t: &&&Table| strsim::jaro_winkler(t.name, name);
        let nearest = TABLES.iter().max_by(|a, b| similar(a).total_cmp(&similar(b)));
        let error = Error::new(format!("no table {name:?}"));
        match nearest {
            Some(table) if similar(&table) > 0.7 => error.hint(format!("did you mean {}?", table.name)),
            _ => error.hint("`tmq schema` lists the tables"),
        }
    })
}

/// One row per column of the tables.
fn columns(tables: &[&'static Table]) -> Result<RecordBatch> {
    let all: Vec<_> = tables.iter().flat_map(|t| t.columns.iter().map(move |c| (t, c))).collect();
    let text = |f: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new((0..all.len()).map(|i| Some(f(i))).collect::<StringArray>())
    };
    let nullable: ArrayRef = Arc::new(all.iter().map(|(_, c)| Some(c.nullable)).collect::<BooleanArray>());
    Ok(RecordBatch::try_from_iter([
        ("table", text(&|i| all[i].0.name.to_owned())),
        ("column", text(&|i| all[i].1.name.to_owned())),
        ("type", text(&|i| sql_type(&(all[i].1.data_type)()))),
        ("nullable", nullable),
        ("unit", text(&|i| all[i].1.unit.to_owned())),
        ("meaning", text(&|i| paragraph(all[i].1.doc))),
    ])?)
}

fn overview(tables: &[&Table], styles: Styles) -> String {
    let name_width = tables.iter().map(|t| t.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for table in tables {
        let padding = " ".repeat(name_width - table.name.len() + 2);
        let lines = wrap(&paragraph(table.doc), width().saturating_sub(name_width + 2));
        for (i, line) in lines.iter().enumerate() {
            let _ = match i {
                0 => writeln!(text, "{}{padding}{line}", styles.bold(table.name)),
                _ => writeln!(text, "{}{line}", " ".repeat(name_width + 2)),
            };
        }
    }
    text
}

fn description(table: &Table, styles: Styles) -> String {
    let mut text = format!("{}\n", styles.bold(table.name));
    for line in wrap(&paragraph(table.doc), width().saturating_sub(2)) {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    let rows: Vec<[String; 3]> = table
        .columns
        .iter()
        .map(|c| {
            let null = if c.nullable { " null" } else { "" };
            [c.name.to_owned(), format!("{}{null}", sql_type(&(c.data_type)())), c.unit.to_owned()]
        })
        .collect();
    let widths = [0, 1, 2].map(|i| rows.iter().map(|r| r[i].len()).max().unwrap_or(0));
    let indent = widths.iter().map(|w| w + 2).sum::<usize>() + 2;
    for (row, column) in rows.iter().zip(table.columns) {
        let name = format!("{:1$}", row[0], widths[0]);
        let lines = wrap(&paragraph(column.doc), width().saturating_sub(indent));
        let first = lines.first().map_or("", String::as_str);
        let _ = writeln!(text, "  {}  {:3$}  {:4$}  {first}", styles.cyan(name), row[1], row[2], widths[1], widths[2]);
        for line in lines.iter().skip(1) {
            let _ = writeln!(text, "{}{line}", " ".repeat(indent));
        }
    }
    text
}

/// The type as SQL calls it.
fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Utf8 => "text".to_owned(),
        DataType::List(item) => format!("{}[]", sql_type(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

/// Documentation comes line by line as it stands in the source.
fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(20);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn width() -> usize {
    output::terminal_width().unwrap_or(DEFAULT_WIDTH)
}
