//! Values of a batch as text, and batches with types that other programs understand.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::Result;

/// How tables show a missing value.
const NULL: &str = "NULL";

/// Whether values of this type line up on the right.
pub(super) fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_number(value),
        other => other.is_numeric(),
    }
}

/// Cells of a batch, row by row.
pub(super) struct Cells<'a> {
    columns: Vec<ArrayFormatter<'a>>,
    rows: usize,
}

impl<'a> Cells<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self> {
        let options = FormatOptions::new().with_null(NULL).with_display_error(true);
        let columns =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<_, _>>()?;
        Ok(Self { columns, rows: batch.num_rows() })
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        (0..self.rows).map(|row| self.columns.iter().map(|c| c.value(row).to_string()).collect())
    }
}

/// The schema with types that every reader knows: plain strings instead of views.
pub(super) fn portable_schema(schema: &Schema) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(portable_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The batch with the types of [`portable_schema`].
pub(super) fn portable_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| cast(column, field.data_type()))
        .collect::<Result<Vec<ArrayRef>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn portable_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(portable_type(field.data_type())))
}

fn portable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(portable_field(item)),
        DataType::LargeList(item) => DataType::LargeList(portable_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(portable_field).collect()),
        other => other.clone(),
    }
}

/// The schema with lists and structs as text, for formats without nesting.
pub(super) fn flat_schema(schema: &Schema) -> SchemaRef {
    let flat = |field: &FieldRef| match field.data_type().is_nested() {
        true => Arc::new(Field::new(field.name(), DataType::Utf8, field.is_nullable())),
        false => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(flat).collect::<Fields>()))
}

/// The batch with the types of [`flat_schema`].
pub(super) fn flat_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = FormatOptions::new().with_display_error(true);
    let mut columns = Vec::with_capacity(batch.num_columns());
    for column in batch.columns() {
        if !column.data_type().is_nested() {
            columns.push(Arc::clone(column));
            continue;
        }
        let text = ArrayFormatter::try_new(column, &options)?;
        let values = (0..column.len()).map(|row| column.is_valid(row).then(|| text.value(row).to_string()));
        columns.push(Arc::new(values.collect::<StringArray>()) as ArrayRef);
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
