//! The formats, and the one writer that commands see.

use std::path::Path;

use arrow::csv;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::json::{Writer as JsonWriter, WriterBuilder as JsonBuilder};
use arrow::record_batch::RecordBatch;
use clap::ValueEnum;

use super::columnar::ColumnarWriter;
use super::destination::Destination;
use super::table::{Look, TableWriter};
use super::values::{flat_batch, flat_schema};
use crate::error::{Error, Result};
use crate::ui::Ui;

/// `--format`. Values have comments, not documentation: that would make --help twice as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Csv,
    // One array of objects.
    Json,
    // One object per line.
    Ndjson,
    Markdown,
    Parquet,
    // Arrow IPC: a file with -o, a stream in a pipe.
    Arrow,
}

impl Format {
    /// The format that a file's name asks for.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Self::Csv,
            "json" => Self::Json,
            "ndjson" | "jsonl" => Self::Ndjson,
            "md" | "markdown" => Self::Markdown,
            "parquet" => Self::Parquet,
            "arrow" | "feather" | "ipc" => Self::Arrow,
            "txt" => Self::Table,
            _ => return None,
        })
    }

    /// Whether the output is not text.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    /// Refuses to write binary data to a terminal.
    pub(crate) fn check(self, destination: &Destination) -> Result<()> {
        if self.is_binary() && destination.is_terminal() {
            let name = self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
            return Err(Error::usage(format!("{name} is binary, a terminal cannot show it"))
                .hint(format!("write it to a file: -o result.{name}")));
        }
        Ok(())
    }
}

/// Writes the batches of one result.
pub(crate) struct Writer<'a> {
    rows: u64,
    encoder: Encoder<'a>,
}

enum Encoder<'a> {
    Table(TableWriter<&'a mut Destination>),
    Csv(SchemaRef, Box<csv::Writer<&'a mut Destination>>),
    Json(Box<JsonWriter<&'a mut Destination, JsonArray>>),
    Ndjson(Box<JsonWriter<&'a mut Destination, LineDelimited>>),
    Columnar(Box<ColumnarWriter<&'a mut Destination>>),
    /// A statement without columns (`SET`, `CREATE VIEW`): there is nothing to write.
    Nothing,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    /// Rows of the result.
    pub(crate) rows: u64,
    /// Whether values were shortened to fit the terminal.
    pub(crate) cut: bool,
}

/// Begins a result with this schema.
pub(crate) fn open<'a>(format: Format, out: &'a mut Destination, schema: &Schema, ui: Ui) -> Result<Writer<'a>> {
    format.check(out)?;
    let seekable = matches!(out, Destination::File(_));
    let fit = out.is_terminal().then(terminal_width).flatten();
    let styles = if seekable { crate::ui::Styles::PLAIN } else { ui.out() };
    let json = || JsonBuilder::new().with_explicit_nulls(true);
    let encoder = match format {
        _ if schema.fields().is_empty() => Encoder::Nothing,
        Format::Table => Encoder::Table(TableWriter::new(out, schema, Look::Plain, styles, fit)),
        Format::Markdown => {
            Encoder::Table(TableWriter::new(out, schema, Look::Markdown, crate::ui::Styles::PLAIN, None))
        }
        Format::Csv => {
            let schema = flat_schema(schema);
            let mut writer = csv::WriterBuilder::new().with_header(true).build(out);
            // An empty batch makes the writer print the header, which a result without rows needs too.
            writer.write(&RecordBatch::new_empty(SchemaRef::clone(&schema)))?;
            Encoder::Csv(schema, Box::new(writer))
        }
        Format::Json => Encoder::Json(Box::new(json().build(out))),
        Format::Ndjson => Encoder::Ndjson(Box::new(json().build(out))),
        Format::Parquet => Encoder::Columnar(Box::new(ColumnarWriter::parquet(out, schema)?)),
        Format::Arrow => Encoder::Columnar(Box::new(ColumnarWriter::arrow(out, schema, seekable)?)),
    };
    Ok(Writer { rows: 0, encoder })
}

impl Writer<'_> {
    /// Writes a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        match &mut self.encoder {
            Encoder::Table(table) => table.write(batch)?,
            Encoder::Csv(schema, csv) => csv.write(&flat_batch(batch, schema)?)?,
            Encoder::Json(json) => json.write(batch)?,
            Encoder::Ndjson(json) => json.write(batch)?,
            Encoder::Columnar(columnar) => columnar.write(batch)?,
            Encoder::Nothing => {}
        }
        Ok(())
    }

    /// Completes the result.
    pub(crate) fn finish(mut self) -> Result<Written> {
        let mut cut = false;
        match &mut self.encoder {
            Encoder::Table(table) => cut = table.finish()?,
            Encoder::Csv(..) | Encoder::Nothing => {}
            Encoder::Json(json) => {
                json.finish()?;
                std::io::Write::write_all(json.get_mut(), b"\n")?;
            }
            Encoder::Ndjson(json) => json.finish()?,
            Encoder::Columnar(columnar) => columnar.finish()?,
        }
        Ok(Written { rows: self.rows, cut })
    }
}

/// Columns of the terminal that stdout is, if it is one.
pub(crate) fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0))
}
