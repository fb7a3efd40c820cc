//! How each column is encoded: Parquet writer properties by table.
//!
//! Integers are DELTA_BINARY_PACKED: most rise and fall in small steps, and in tables of this size a dictionary, which has to
//! look up each value, takes longer to make and saves less. Texts and sums take few values: dictionary. zstd(1) over both
//! costs little and takes what is left. Tables that [`super::pages`] encodes say themselves how.

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::schema::Table;

/// Rows per row group: large enough for dictionaries to pay, small enough to spread a scan over cores and to keep the
/// writer's memory low.
pub(super) const ROW_GROUP_ROWS: usize = 512 << 10;
/// Rows per page: what page statistics can skip.
const PAGE_ROWS: usize = 20_000;

/// The column by whose value rows of `table` are ordered.
fn sorted_by(table: &Table) -> Option<usize> {
    let name = match table.name {
        "stacks" | "stack_frames" => "stack_id",
        "frames" => "frame_id",
        "callsites" => "callsite_id",
        "modules" => "module_id",
        "processes" => "process_id",
        "threads" => "thread_id",
        "timeline" => "bin_ns",
        _ => return None,
    };
    table.columns.iter().position(|c| c.name == name)
}

/// Rows of a table that is not worth a compressor for each column, which takes longer to make than to write the table.
pub(crate) const SMALL_ROWS: usize = 1000;

/// Writer properties of a table that will have so many rows; `None`: many.
pub(super) fn writer_properties(table: &Table, rows: Option<usize>) -> WriterProperties {
    let is_small = rows.is_some_and(|rows| rows <= SMALL_ROWS);
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default());
    let compression = if is_small { Compression::UNCOMPRESSED } else { zstd };
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_created_by(concat!("tmq ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page);
    for column in table.columns.iter().filter(|column| (column.data_type)().is_integer()) {
        let path = ColumnPath::from(column.name);
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    if let Some(index) = sorted_by(table) {
        let column_idx = i32::try_from(index).unwrap_or(0);
        builder = builder.set_sorting_columns(Some(vec![SortingColumn {
            column_idx,
            descending: false,
            nulls_first: false,
        }]));
    }
    builder.build()
}
