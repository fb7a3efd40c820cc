//! `tmq schema`: tables, views and functions; their columns with type, unit and meaning.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use clap::Args;
use tmq_query::functions::SIGNATURES;
use tmq_query::relations::RELATIONS;
use tmq_query::views::VIEWS;
use tmq_store::schema::TABLES;

use crate::args::OutputArgs;
use crate::error::{Error, Result};
use crate::output::{self, Destination};
use crate::ui::{Styles, Ui};

/// Width that text is wrapped to where there is no terminal.
const DEFAULT_WIDTH: usize = 100;
/// Names at least this similar (Jaro-Winkler) are suggested.
const SIMILAR: f64 = 0.7;

/// Show tables, views and functions; columns with type, unit and meaning
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tmq schema                   everything that a query can name
  tmq schema allocations       the columns of a table or view
  tmq schema --format json     all columns, for programs

Each table is also a Parquet file or directory of files in the recording, readable by pandas, DuckDB and others.")]
pub(crate) struct Schema {
    /// Table or view to describe
    #[arg(value_name = "TABLE")]
    table: Option<String>,

    #[command(flatten)]
    output: OutputArgs,
}

/// A table or view.
struct Relation {
    name: &'static str,
    kind: &'static str,
    doc: String,
    columns: Vec<Column>,
}

/// A column; a view's type and unit follow from its query and are not declared.
struct Column {
    name: &'static str,
    data_type: Option<String>,
    nullable: Option<bool>,
    unit: &'static str,
    meaning: String,
}

impl Schema {
    pub(crate) fn run(self, ui: Ui) -> Result<()> {
        let relations = match &self.table {
            None => relations(),
            Some(name) => vec![find(name)?],
        };
        let mut out = self.output.open()?;
        if let Some(format) = self.output.format() {
            let batch = columns(&relations)?;
            let mut writer = output::open(format, &mut out, &batch.schema(), ui)?;
            writer.write(&batch)?;
            writer.finish()?;
            return out.finish();
        }
        let styles = if self.output.output.is_some() { Styles::PLAIN } else { ui.out() };
        let text = match self.table {
            None => overview(&relations, styles),
            Some(_) => relations.iter().map(|relation| description(relation, styles)).collect(),
        };
        out.write_all(text.as_bytes())?;
        out.finish()
    }
}

/// Describes a table or view; false if there is none of this name.
pub(crate) fn describe(name: &str, out: &mut Destination, ui: Ui) -> Result<bool> {
    let Some(relation) = relations().into_iter().find(|r| r.name == name) else { return Ok(false) };
    out.write_all(description(&relation, ui.out()).as_bytes())?;
    Ok(true)
}

/// The overview of [`Schema`], for the interactive mode.
pub(crate) fn list(out: &mut Destination, ui: Ui) -> Result<()> {
    Ok(out.write_all(overview(&relations(), ui.out()).as_bytes())?)
}

/// Names of all tables and views.
pub(crate) fn names() -> Vec<&'static str> {
    TABLES.iter().map(|t| t.name).chain(VIEWS.iter().map(|v| v.name)).collect()
}

fn relations() -> Vec<Relation> {
    let tables = TABLES.iter().map(|table| Relation {
        name: table.name,
        kind: "table",
        doc: table.doc.to_owned(),
        columns: table
            .columns
            .iter()
            .map(|c| Column {
                name: c.name,
                data_type: Some(sql_type(&(c.data_type)())),
                nullable: Some(c.nullable),
                unit: c.unit,
                meaning: paragraph(c.doc),
            })
            .collect(),
    });
    let views = VIEWS.iter().map(|view| Relation {
        name: view.name,
        kind: "view",
        doc: capitalized(&view.doc()),
        columns: view
            .columns()
            .into_iter()
            .map(|(name, meaning)| Column {
                name,
                data_type: None,
                nullable: None,
                unit: "",
                meaning: meaning.to_owned(),
            })
            .collect(),
    });
    tables.chain(views).collect()
}

fn find(name: &str) -> Result<Relation> {
    let all = relations();
    let similar = |r: &Relation| strsim::jaro_winkler(r.name, name);
    let nearest = all.iter().max_by(|a, b| similar(a).total_cmp(&similar(b))).filter(|r| similar(r) > SIMILAR);
    let error = Error::new(format!("no table or view {name:?}"));
    let error = match nearest {
        Some(relation) => error.hint(format!("did you mean {}?", relation.name)),
        None => error.hint("`tmq schema` lists them"),
    };
    all.into_iter().find(|r| r.name.eq_ignore_ascii_case(name)).ok_or(error)
}

/// One row per column.
fn columns(relations: &[Relation]) -> Result<RecordBatch> {
    let all: Vec<(&Relation, &Column)> = relations.iter().flat_map(|r| r.columns.iter().map(move |c| (r, c))).collect();
    let text = |value: &dyn Fn(&Relation, &Column) -> Option<String>| -> ArrayRef {
        Arc::new(all.iter().map(|(r, c)| value(r, c)).collect::<StringArray>())
    };
    let nullable: ArrayRef = Arc::new(all.iter().map(|(_, c)| c.nullable).collect::<BooleanArray>());
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("table", text(&|r, _| Some(r.name.to_owned())), false),
        ("kind", text(&|r, _| Some(r.kind.to_owned())), false),
        ("column", text(&|_, c| Some(c.name.to_owned())), false),
        ("type", text(&|_, c| c.data_type.clone()), true),
        ("nullable", nullable, true),
        ("unit", text(&|_, c| (!c.unit.is_empty()).then(|| c.unit.to_owned())), true),
        ("meaning", text(&|_, c| Some(c.meaning.clone())), false),
    ])?)
}

fn overview(relations: &[Relation], styles: Styles) -> String {
    let mut text = String::new();
    for (title, kind) in [("Tables", "table"), ("Views", "view")] {
        let _ = writeln!(text, "{}", styles.bold(title));
        let entries = relations.iter().filter(|r| r.kind == kind).map(|r| (r.name, first_paragraph(&r.doc)));
        list_of(&mut text, &entries.collect::<Vec<_>>(), styles);
        text.push('\n');
    }
    for (title, entries) in [("Relations with arguments", RELATIONS), ("Functions", SIGNATURES)] {
        let _ = writeln!(text, "{}", styles.bold(title));
        let entries = entries.iter().map(|(name, doc)| (*name, (*doc).to_owned()));
        list_of(&mut text, &entries.collect::<Vec<_>>(), styles);
        text.push('\n');
    }
    text.pop();
    text
}

/// Names with texts beside them; a name that is too long has its text below.
fn list_of(text: &mut String, entries: &[(&str, String)], styles: Styles) {
    const LONGEST: usize = 20;
    let width = entries.iter().map(|(name, _)| name.len()).filter(|l| *l <= LONGEST).max().unwrap_or(LONGEST);
    let indent = " ".repeat(width + 4);
    for (name, doc) in entries {
        let mut first = format!("  {}{}  ", styles.cyan(name), " ".repeat(width.saturating_sub(name.len())));
        if name.len() > LONGEST {
            let _ = writeln!(text, "{}", first.trim_end());
            first.clone_from(&indent);
        }
        for line in wrap(doc, terminal_width().saturating_sub(width + 4)) {
            let _ = writeln!(text, "{first}{line}");
            first.clone_from(&indent);
        }
    }
}

fn description(relation: &Relation, styles: Styles) -> String {
    let mut text = format!("{} ({})\n", styles.bold(relation.name), relation.kind);
    for paragraph in relation.doc.split("\n\n") {
        for line in wrap(&self::paragraph(paragraph), terminal_width().saturating_sub(2)) {
            let _ = writeln!(text, "  {line}");
        }
        text.push('\n');
    }
    let cells: Vec<[String; 3]> = relation
        .columns
        .iter()
        .map(|c| {
            let null = if c.nullable == Some(true) { " null" } else { "" };
            [c.name.to_owned(), format!("{}{null}", c.data_type.as_deref().unwrap_or("")), c.unit.to_owned()]
        })
        .collect();
    let widths = [0, 1, 2].map(|i| cells.iter().map(|r| r[i].len()).max().unwrap_or(0));
    for (row, column) in cells.iter().zip(&relation.columns) {
        let mut first = format!("  {}", styles.cyan(format!("{:1$}", row[0], widths[0])));
        let mut indent = 2 + widths[0];
        for (cell, width) in row.iter().zip(widths).skip(1).filter(|(_, width)| *width > 0) {
            let _ = write!(first, "  {cell:width$}");
            indent += width + 2;
        }
        for line in wrap(&column.meaning, terminal_width().saturating_sub(indent + 2)) {
            let _ = writeln!(text, "{first}  {line}");
            first = " ".repeat(indent);
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

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn first_paragraph(doc: &str) -> String {
    paragraph(doc.split("\n\n").next().unwrap_or(doc))
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

fn terminal_width() -> usize {
    output::terminal_width().unwrap_or(DEFAULT_WIDTH)
}
