//! One open recording: its files, its tables, and the few facts that planning needs (moments, sampling, origin).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use tmq_store::Recording;
use tmq_store::schema::{MOMENTS, TABLES, Table};

use crate::tables::RecordingTable;
use crate::{Error, Moment, RecordingRef};

/// `metadata.source` of recordings made from a tracemalloc snapshot, whose domains are Python's own numbers.
pub(crate) const SOURCE_TRACEMALLOC: &str = "tracemalloc";

/// An open recording.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Name in SQL.
    pub(crate) name: String,
    /// The files.
    pub(crate) recording: Recording,
    /// Its tables by name.
    pub(crate) tables: HashMap<&'static str, Arc<RecordingTable>>,
    /// The `metadata` table.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The `moments` table: (name, kind, at_ns), in its order.
    pub(crate) moments: Vec<(String, String, i64)>,
}

impl Opened {
    /// Opens the recording and reads its two smallest tables.
    pub(crate) fn open(reference: &RecordingRef) -> Result<Self, Error> {
        let recording = Recording::open(&reference.path)?;
        let tables = TABLES
            .iter()
            .map(|t| Ok((t.name, Arc::new(RecordingTable::of_one(t, &recording)?))))
            .collect::<Result<_, Error>>()?;
        let metadata = recording.metadata()?;
        let moments = read_moments(&recording)?;
        Ok(Self { name: reference.name(), recording, tables, metadata, moments })
    }

    /// Whether domains are those of an imported snapshot, so that none of them is a memory map.
    pub(crate) fn is_imported(&self) -> bool {
        self.metadata.get("source").is_some_and(|s| s == SOURCE_TRACEMALLOC)
    }

    /// When a moment was. Start and end are named, not timed: what is live then does not depend on the clock.
    pub(crate) fn at_ns(&self, moment: &Moment) -> Result<i64, Error> {
        let of_kind = |kind: &str| self.moments.iter().find(|m| m.1 == kind).map_or(0, |m| m.2);
        match moment {
            Moment::Start => Ok(of_kind("start")),
            Moment::End => Ok(of_kind("end")),
            Moment::Peak => Ok(of_kind("peak")),
            Moment::At(ns) => Ok(*ns),
            Moment::Share(share) => {
                let (start, end) = (of_kind("start"), of_kind("end"));
                // Recordings are far shorter than the 104 days at which f64 loses nanoseconds.
                Ok(start + ((end - start) as f64 * share).round() as i64)
            }
            Moment::Mark(name) => {
                let marks = || self.moments.iter().filter(|m| m.1 == "mark");
                let found = marks().filter(|m| m.0 == *name).map(|m| m.2).max();
                found.ok_or_else(|| Error::NoSuchMark {
                    recording: self.recording.path().to_owned(),
                    name: name.clone(),
                    marks: match marks().map(|m| m.0.as_str()).collect::<Vec<_>>().as_slice() {
                        [] => "it has no marks; set them with `tmq mark NAME` while recording".to_owned(),
                        names => format!("it has {}", names.join(", ")),
                    },
                })
            }
        }
    }

    /// All rows of a table, read directly; for tables of a few rows.
    pub(crate) fn read(&self, table: &'static Table) -> Result<Vec<RecordBatch>, Error> {
        Ok(self.recording.read(table)?)
    }
}

fn read_moments(recording: &Recording) -> Result<Vec<(String, String, i64)>, Error> {
    let mut moments = Vec::new();
    for batch in recording.read(&MOMENTS)? {
        let (names, kinds) = (texts(&batch, "name")?, texts(&batch, "kind")?);
        let at = integers(&batch, "at_ns")?;
        moments.extend(names.into_iter().zip(kinds).zip(at).map(|((name, kind), at)| (name, kind, at.unwrap_or(0))));
    }
    Ok(moments)
}

/// A column as text; null becomes empty.
pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Result<Vec<String>, Error> {
    let array = cast_column(batch, column, &DataType::Utf8)?;
    Ok(array.as_string::<i32>().iter().map(|v| v.unwrap_or_default().to_owned()).collect())
}

/// A column as integers.
pub(crate) fn integers(batch: &RecordBatch, column: &str) -> Result<Vec<Option<i64>>, Error> {
    let array = cast_column(batch, column, &DataType::Int64)?;
    Ok(array.as_primitive::<Int64Type>().iter().collect())
}

fn cast_column(batch: &RecordBatch, column: &str, to: &DataType) -> Result<Arc<dyn Array>, Error> {
    let array = batch
        .column_by_name(column)
        .ok_or_else(|| Error::Report(format!("the recording lacks the column {column}: repair or record it again")))?;
    cast(array, to).map_err(|e| Error::Query(e.into()))
}
