//! The table `stacks`, page by page: with the frames of each stack it has as many values as `stack_frames` has rows.

use std::path::Path;

use super::buffered::Buffered;
use super::pages::{Encoder, Physical};
use crate::Error;
use crate::recording::TableFile;
use crate::schema::STACKS;

/// How far the frames of a stack can be trusted: values of `stacks.quality`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StackQuality {
    Broken,
    Complete,
    Fallback,
    None,
    Truncated,
}

/// Texts of [`StackQuality`], in its order and their own.
const QUALITIES: [&str; 5] = ["broken", "complete", "fallback", "none", "truncated"];

/// Names, types and encodings of the columns, in the order in which [`StacksWriter::push`] fills them; a test compares them
/// with the schema.
const COLUMNS: [(&str, Physical, Encoder); 8] = {
    use Encoder::{Delta, Dictionary};
    use Physical::{Int32, Int64};
    [
        ("stack_id", Int32, Delta),
        ("stack_hash", Int64, Delta),
        ("callsite_id", Int32, Delta),
        ("depth", Int32, Delta),
        ("leaf_frame_id", Int32, Delta),
        ("user_leaf_frame_id", Int32, Delta),
        ("frames", Int32, Dictionary),
        ("quality", Physical::text(&QUALITIES), Dictionary),
    ]
};
/// Place of the column of lists.
const FRAMES: usize = 6;
const PAGE_ROWS: usize = 16 << 10;
/// Frames in a page, after which it ends with the stack that it is at.
const PAGE_FRAMES: usize = 64 << 10;

/// A row but for its frames, of which there is at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackRow {
    pub stack_id: i32,
    pub stack_hash: i64,
    pub callsite_id: i32,
    pub user_leaf_frame_id: i32,
    pub quality: StackQuality,
}

/// Writes the table.
pub(crate) struct StacksWriter {
    pages: Buffered<{ COLUMNS.len() }>,
    /// Lengths of the lists.
    depths: Vec<usize>,
}

impl StacksWriter {
    /// Begins its file in the recording directory `dir`.
    pub(crate) fn create(dir: &Path) -> Result<Self, Error> {
        Ok(Self { pages: Buffered::create(dir, &STACKS, &COLUMNS)?, depths: Vec::new() })
    }

    /// Appends a row with its frames, most recent first.
    pub(crate) fn push(&mut self, row: StackRow, frames: &[u32]) -> Result<(), Error> {
        let leaf = frames.first().copied().unwrap_or_default();
        let numbers = [
            row.stack_id.into(),
            row.stack_hash,
            row.callsite_id.into(),
            frames.len() as i64,
            leaf.into(),
            row.user_leaf_frame_id.into(),
        ];
        let columns = &mut self.pages.columns;
        for (column, value) in columns.iter_mut().zip(numbers) {
            column.push(value);
        }
        columns[FRAMES].extend(frames.iter().map(|&frame| i64::from(frame)));
        columns[FRAMES + 1].push(row.quality as i64);
        self.depths.push(frames.len());
        let is_full = self.depths.len() >= PAGE_ROWS || columns[FRAMES].len() >= PAGE_FRAMES;
        if is_full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.pages.flush(self.depths.len(), Some((FRAMES, &self.depths)))?;
        self.depths.clear();
        Ok(())
    }

    /// Completes the file.
    pub(crate) fn finish(mut self) -> Result<TableFile, Error> {
        self.flush()?;
        self.pages.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use arrow::array::{Array, AsArray, ListArray};
    use arrow::datatypes::{DataType, Int32Type, Int64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn columns_are_those_of_the_schema() {
        assert_eq!(STACKS.columns.len(), COLUMNS.len());
        for (declared, (name, physical, _)) in STACKS.columns.iter().zip(COLUMNS) {
            let data_type = match (declared.data_type)() {
                DataType::List(item) => item.data_type().clone(),
                other => other,
            };
            assert_eq!((declared.name, data_type), (name, physical.data_type()));
        }
        assert!(matches!((STACKS.columns[FRAMES].data_type)(), DataType::List(_)));
    }

    /// Short and long stacks, in turns and in rows.
    fn stack(i: usize) -> (StackRow, Vec<u32>) {
        use StackQuality::{Broken, Complete, Fallback, None, Truncated};
        let depth = match i % 100 {
            0..30 => 1,
            30..50 => 1 + i % 30,
            50 => 5000,
            _ => 45,
        };
        let row = StackRow {
            stack_id: i as i32,
            stack_hash: (i as i64).wrapping_mul(0x1E37_79B9_7F4A_7C15),
            callsite_id: (i / 3) as i32,
            user_leaf_frame_id: (i % 77) as i32,
            quality: [Complete, Complete, Fallback, Truncated, Broken, None][i % 6],
        };
        (row, (0..depth).map(|at| ((i * 31 + at) % 2500) as u32).collect())
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        let scratch = tempfile::tempdir().unwrap();
        for rows in [0, 1, 7, 30, 3000, 40_000] {
            let mut writer = StacksWriter::create(scratch.path()).unwrap();
            for (row, frames) in (0..rows).map(stack) {
                writer.push(row, &frames).unwrap();
            }
            let written = writer.finish().unwrap();
            let path = scratch.path().join(&written.path);
            assert_eq!((written.rows, written.bytes), (rows as u64, path.metadata().unwrap().len()));
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
            assert_eq!(*reader.schema(), STACKS.schema());
            for group in reader.metadata().row_groups() {
                let texts = group.column(COLUMNS.len() - 1).statistics().unwrap();
                let least = (0..rows).map(|i| QUALITIES[stack(i).0.quality as usize]).min().unwrap();
                let most = (0..rows).map(|i| QUALITIES[stack(i).0.quality as usize]).max().unwrap();
                assert_eq!(texts.min_bytes_opt().unwrap(), least.as_bytes());
                assert_eq!(texts.max_bytes_opt().unwrap(), most.as_bytes());
            }
            let mut i = 0;
            for batch in reader.build().unwrap() {
                let batch = batch.unwrap();
                let number = |column: usize, at: usize| batch.column(column).as_primitive::<Int32Type>().value(at);
                let lists: &ListArray = batch.column(FRAMES).as_list();
                assert_eq!(lists.null_count() + lists.values().null_count(), 0);
                for at in 0..batch.num_rows() {
                    let (row, frames) = stack(i);
                    let expected =
                        [row.stack_id, row.callsite_id, frames.len() as i32, frames[0] as i32, row.user_leaf_frame_id];
                    assert_eq!([0, 2, 3, 4, 5].map(|column| number(column, at)), expected, "row {i}");
                    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(at), row.stack_hash);
                    assert_eq!(batch.column(7).as_string::<i32>().value(at), QUALITIES[row.quality as usize]);
                    let items = lists.value(at);
                    let items = items.as_primitive::<Int32Type>().values().iter().map(|&frame| frame as u32);
                    assert!(items.eq(frames), "row {i}");
                    i += 1;
                }
            }
            assert_eq!(i, rows);
        }
    }
}
