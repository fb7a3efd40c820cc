//! What every recording promises, whatever it was made from: rows as the manifest counts them, ids that resolve, no
//! negative sums, no free before its allocation.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use tmq_store::Recording;
use tmq_store::schema::{self, TABLES, Table};

/// Columns that name rows of other tables.
const IDS: &[(&str, &Table)] = &[
    ("process_id", &schema::PROCESSES),
    ("thread_id", &schema::THREADS),
    ("free_thread_id", &schema::THREADS),
    ("stack_id", &schema::STACKS),
    ("free_stack_id", &schema::STACKS),
    ("callsite_id", &schema::CALLSITES),
    ("frame_id", &schema::FRAMES),
    ("leaf_frame_id", &schema::FRAMES),
    ("user_leaf_frame_id", &schema::FRAMES),
    ("frames", &schema::FRAMES),
    ("module_id", &schema::MODULES),
];

/// Checks a recording that tmq has just made.
///
/// # Panics
/// It breaks a promise.
pub fn recording(recording: &Recording) {
    for table in TABLES {
        let all = recording.read(table).expect("a table read");
        let rows: usize = all.iter().map(arrow::array::RecordBatch::num_rows).sum();
        assert_eq!(rows as u64, recording.rows(table), "{}", table.name);
        for batch in &all {
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                check_column(recording, table, field.name(), column);
            }
            check_order(table, batch);
        }
    }
    recording.metadata().expect("metadata read");
}

fn check_column(recording: &Recording, table: &Table, name: &str, column: &ArrayRef) {
    let what = || format!("{}.{name}", table.name);
    if let Some((_, other)) = IDS.iter().find(|(id, _)| *id == name) {
        let least = if name == "module_id" { -1 } else { 0 };
        let rows = recording.rows(other) as i64;
        for id in integers(column) {
            assert!((least..rows).contains(&id), "{}: {id} of {rows}", what());
        }
    }
    let is_sum = name.ends_with("_blocks") || name.ends_with("_bytes") || name == "bytes" || name == "weight";
    if is_sum && name != "rss_bytes" {
        for value in numbers(column) {
            assert!(value >= 0.0, "{}: {value}", what());
        }
    }
}

fn check_order(table: &Table, batch: &arrow::array::RecordBatch) {
    let (alloc, free) = (batch.column_by_name("alloc_ns"), batch.column_by_name("free_ns"));
    if let Some((alloc, free)) = alloc.zip(free) {
        let (alloc, free) = (alloc.as_primitive::<Int64Type>(), free.as_primitive::<Int64Type>());
        for row in 0..free.len() {
            assert!(free.is_null(row) || free.value(row) >= alloc.value(row), "{}: free before", table.name);
        }
    }
}

fn integers(column: &ArrayRef) -> Vec<i64> {
    match column.data_type() {
        DataType::List(_) => integers(column.as_list::<i32>().values()),
        _ => {
            let wide = cast(column, &DataType::Int64).expect("an integer column");
            wide.as_primitive::<Int64Type>().iter().flatten().collect()
        }
    }
}

fn numbers(column: &ArrayRef) -> Vec<f64> {
    let wide = cast(column, &DataType::Float64).expect("a column of numbers");
    wide.as_primitive::<Float64Type>().iter().flatten().collect()
}
