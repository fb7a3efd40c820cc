//! Rows of reports as Rust values.

use arrow::array::{Array, AsArray, Float64Array, Int64Array, ListArray, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

/// What the tables have for a function that is not known.
const UNKNOWN_FUNCTION: &str = "??";

/// One frame of a traceback.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    pub(crate) filename: String,
    pub(crate) lineno: i64,
    pub(crate) function: String,
}

impl Frame {
    /// The function, if it is known.
    pub(crate) fn known_function(&self) -> Option<&str> {
        Some(self.function.as_str()).filter(|function| *function != UNKNOWN_FUNCTION)
    }
}

/// A batch whose columns are read by name, whatever width or view type the engine chose.
pub(crate) struct Reader<'a> {
    batch: &'a RecordBatch,
}

/// A column of text.
pub(crate) struct Texts(Option<StringArray>);
/// A column of whole numbers.
pub(crate) struct Integers(Option<Int64Array>);
/// A column of numbers.
pub(crate) struct Floats(Option<Float64Array>);
/// A column of tracebacks.
pub(crate) struct Tracebacks(Option<(ListArray, StringArray, Int64Array, StringArray)>);

impl<'a> Reader<'a> {
    pub(crate) fn new(batch: &'a RecordBatch) -> Self {
        Self { batch }
    }

    /// A column of text; a missing one reads as nulls.
    pub(crate) fn texts(&self, name: &str) -> Result<Texts> {
        let column = self.cast(name, &DataType::Utf8)?;
        Ok(Texts(column.map(|c| c.as_string::<i32>().clone())))
    }

    /// A column of whole numbers.
    pub(crate) fn integers(&self, name: &str) -> Result<Integers> {
        let column = self.cast(name, &DataType::Int64)?;
        Ok(Integers(column.map(|c| c.as_primitive::<Int64Type>().clone())))
    }

    /// A column of numbers.
    pub(crate) fn floats(&self, name: &str) -> Result<Floats> {
        let column = self.cast(name, &DataType::Float64)?;
        Ok(Floats(column.map(|c| c.as_primitive::<Float64Type>().clone())))
    }

    /// A column of tracebacks.
    pub(crate) fn tracebacks(&self, name: &str) -> Result<Tracebacks> {
        let Some(column) = self.batch.column_by_name(name) else { return Ok(Tracebacks(None)) };
        let unexpected = || Error::new(format!("the column {name} is no list of frames"));
        let list = column.as_any().downcast_ref::<ListArray>().ok_or_else(unexpected)?;
        let frames = list.values().as_any().downcast_ref::<StructArray>().ok_or_else(unexpected)?;
        let field = |field: &str, data_type: &DataType| -> Result<_> {
            Ok(cast(frames.column_by_name(field).ok_or_else(unexpected)?, data_type)?)
        };
        let files = field("filename", &DataType::Utf8)?.as_string::<i32>().clone();
        let lines = field("lineno", &DataType::Int64)?.as_primitive::<Int64Type>().clone();
        let functions = field("function", &DataType::Utf8)?.as_string::<i32>().clone();
        Ok(Tracebacks(Some((list.clone(), files, lines, functions))))
    }

    fn cast(&self, name: &str, data_type: &DataType) -> Result<Option<arrow::array::ArrayRef>> {
        Ok(self.batch.column_by_name(name).map(|column| cast(column, data_type)).transpose()?)
    }
}

impl Texts {
    pub(crate) fn get(&self, row: usize) -> Option<String> {
        self.0.as_ref().filter(|a| a.is_valid(row)).map(|a| a.value(row).to_owned())
    }
}

impl Integers {
    pub(crate) fn get(&self, row: usize) -> Option<i64> {
        self.0.as_ref().filter(|a| a.is_valid(row)).map(|a| a.value(row))
    }
}

impl Floats {
    pub(crate) fn get(&self, row: usize) -> Option<f64> {
        self.0.as_ref().filter(|a| a.is_valid(row)).map(|a| a.value(row))
    }
}

impl Tracebacks {
    pub(crate) fn get(&self, row: usize) -> Vec<Frame> {
        let Some((list, files, lines, functions)) = &self.0 else { return Vec::new() };
        if list.is_null(row) {
            return Vec::new();
        }
        let (begin, end) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
        let text = |array: &StringArray, i: usize, missing: &str| match array.is_valid(i) {
            true => array.value(i).to_owned(),
            false => missing.to_owned(),
        };
        (begin..end)
            .map(|i| Frame {
                filename: text(files, i, "<unknown>"),
                lineno: if lines.is_valid(i) { lines.value(i) } else { 0 },
                function: text(functions, i, UNKNOWN_FUNCTION),
            })
            .collect()
    }
}
