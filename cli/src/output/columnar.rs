//! Parquet and Arrow files: the formats that are not text.

use std::io::Write;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::values::{portable_batch, portable_schema};
use crate::error::Result;

/// Writes one result in a binary format.
pub(super) struct ColumnarWriter<W: Write + Send> {
    schema: SchemaRef,
    encoder: Encoder<W>,
}

enum Encoder<W: Write + Send> {
    Parquet(Box<ArrowWriter<W>>),
    /// A file (also called Feather): readers need to seek in it.
    ArrowFile(Box<FileWriter<W>>),
    /// A stream, for pipes.
    ArrowStream(Box<StreamWriter<W>>),
}

impl<W: Write + Send> ColumnarWriter<W> {
    pub(super) fn parquet(out: W, schema: &Schema) -> Result<Self> {
        let schema = portable_schema(schema);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("tmq ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = ArrowWriter::try_new(out, SchemaRef::clone(&schema), Some(properties))?;
        Ok(Self { schema, encoder: Encoder::Parquet(Box::new(writer)) })
    }

    pub(super) fn arrow(out: W, schema: &Schema, seekable: bool) -> Result<Self> {
        let schema = portable_schema(schema);
        let encoder = match seekable {
            true => Encoder::ArrowFile(Box::new(FileWriter::try_new(out, &schema)?)),
            false => Encoder::ArrowStream(Box::new(StreamWriter::try_new(out, &schema)?)),
        };
        Ok(Self { schema, encoder })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = portable_batch(batch, &self.schema)?;
        match &mut self.encoder {
            Encoder::Parquet(writer) => writer.write(&batch)?,
            Encoder::ArrowFile(writer) => writer.write(&batch)?,
            Encoder::ArrowStream(writer) => writer.write(&batch)?,
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        match &mut self.encoder {
            Encoder::Parquet(writer) => {
                writer.finish()?;
            }
            Encoder::ArrowFile(writer) => writer.finish()?,
            Encoder::ArrowStream(writer) => writer.finish()?,
        }
        Ok(())
    }
}
