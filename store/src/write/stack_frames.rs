//! The table `stack_frames`, page by page: of all tables but `allocations` it has by far the most rows, some 45 a stack of
//! Python's, and the Parquet library's writer took as long for them as for all other tables together.

use std::path::Path;

use super::buffered::Buffered;
use super::pages::{Encoder, Physical};
use crate::Error;
use crate::recording::TableFile;
use crate::schema::{STACK_FRAMES, StackFramesRow};

/// Name, type and encoding of the columns, in the order in which [`StackFramesWriter::push`] fills them; a test compares
/// them with the schema.
const COLUMNS: [(&str, Physical, Encoder); 7] = {
    use Encoder::{Delta, Dictionary};
    use Physical::{Bool, Int32};
    [
        ("stack_id", Int32, Delta),
        ("position", Int32, Delta),
        ("frame_id", Int32, Dictionary),
        ("is_first_line", Bool, Delta),
        ("is_first_function", Bool, Delta),
        ("is_first_file", Bool, Delta),
        ("is_first_module", Bool, Delta),
    ]
};
const PAGE_ROWS: usize = 16 << 10;

/// Writes the table.
pub(crate) struct StackFramesWriter(Buffered<{ COLUMNS.len() }>);

impl StackFramesWriter {
    /// Begins its file in the recording directory `dir`.
    pub(crate) fn create(dir: &Path) -> Result<Self, Error> {
        Buffered::create(dir, &STACK_FRAMES, &COLUMNS).map(Self)
    }

    /// Appends a row.
    #[inline]
    pub(crate) fn push(&mut self, row: StackFramesRow) -> Result<(), Error> {
        let StackFramesRow {
            stack_id,
            position,
            frame_id,
            is_first_line,
            is_first_function,
            is_first_file,
            is_first_module,
        } = row;
        let numbers = [stack_id, position, frame_id].map(i64::from);
        let flags = [is_first_line, is_first_function, is_first_file, is_first_module].map(i64::from);
        for (column, value) in self.0.columns.iter_mut().zip(numbers.into_iter().chain(flags)) {
            column.push(value);
        }
        if self.rows() >= PAGE_ROWS { self.0.flush(self.rows(), None) } else { Ok(()) }
    }

    /// Rows of the next page.
    fn rows(&self) -> usize {
        self.0.columns[0].len()
    }

    /// Completes the file.
    pub(crate) fn finish(mut self) -> Result<TableFile, Error> {
        self.0.flush(self.rows(), None)?;
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use arrow::array::{Array, BooleanArray, Int32Array};
    use parquet::arrow::arrow_reader::{
        ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
    };
    use parquet::file::metadata::PageIndexPolicy;

    use super::*;

    #[test]
    fn columns_are_those_of_the_schema() {
        assert_eq!(STACK_FRAMES.columns.len(), COLUMNS.len());
        for (declared, (name, physical, _)) in STACK_FRAMES.columns.iter().zip(COLUMNS) {
            assert_eq!((declared.name, (declared.data_type)()), (name, physical.data_type()));
        }
    }

    fn row(i: usize) -> StackFramesRow {
        let flag = |step: usize| i.is_multiple_of(step);
        StackFramesRow {
            stack_id: (i / 45) as i32,
            position: (i % 45) as i32,
            frame_id: (i.wrapping_mul(0x9E37_79B9) >> 7) as i32 % 2500,
            is_first_line: flag(3),
            is_first_function: flag(7) || i < 20_000,
            is_first_file: i < 100_000,
            is_first_module: false,
        }
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        let scratch = tempfile::tempdir().unwrap();
        for rows in [0, 1, 7, PAGE_ROWS, PAGE_ROWS + 1, 600_000] {
            let mut writer = StackFramesWriter::create(scratch.path()).unwrap();
            (0..rows).for_each(|i| writer.push(row(i)).unwrap());
            let written = writer.finish().unwrap();
            let path = scratch.path().join(&written.path);
            assert_eq!((written.rows, written.bytes), (rows as u64, path.metadata().unwrap().len()));
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
            assert_eq!(*reader.schema(), STACK_FRAMES.schema());
            let mut i = 0;
            for batch in reader.build().unwrap() {
                let batch = batch.unwrap();
                let number = |column: usize| batch.column(column).as_any().downcast_ref::<Int32Array>().unwrap();
                let flag = |column: usize| batch.column(column).as_any().downcast_ref::<BooleanArray>().unwrap();
                for at in 0..batch.num_rows() {
                    let found = StackFramesRow {
                        stack_id: number(0).value(at),
                        position: number(1).value(at),
                        frame_id: number(2).value(at),
                        is_first_line: flag(3).value(at),
                        is_first_function: flag(4).value(at),
                        is_first_file: flag(5).value(at),
                        is_first_module: flag(6).value(at),
                    };
                    assert_eq!(found, row(i));
                    i += 1;
                }
            }
            assert_eq!(i, rows);
        }
    }

    /// Which takes what the offset index says about pages that do not lie in one piece of memory, behind a dictionary.
    #[test]
    fn rows_are_found_by_the_index_of_pages() {
        let scratch = tempfile::tempdir().unwrap();
        let mut writer = StackFramesWriter::create(scratch.path()).unwrap();
        const ROWS: usize = 600_000;
        (0..ROWS).for_each(|i| writer.push(row(i)).unwrap());
        let path = scratch.path().join(writer.finish().unwrap().path);
        for (start, count) in [(0, 3), (PAGE_ROWS * 7 - 2, 5), (524_286, 4), (ROWS - 3, 3)] {
            let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
            let file = File::open(&path).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
            let selection = RowSelection::from(vec![RowSelector::skip(start), RowSelector::select(count)]);
            let batches: Vec<_> = reader.with_row_selection(selection).build().unwrap().map(Result::unwrap).collect();
            let frames: Vec<i32> = batches
                .iter()
                .flat_map(|batch| batch.column(2).as_any().downcast_ref::<Int32Array>().unwrap().values().to_vec())
                .collect();
            assert_eq!(frames, (start..start + count).map(|i| row(i).frame_id).collect::<Vec<_>>());
        }
    }
}
